from __future__ import annotations

import sqlite3
import time

import pytest

from iomt_crypt.dicom import protect, read_network
from iomt_crypt.errors import ConfigurationError, InputError, StorageError
from iomt_crypt.node.entry import TRANSITIONS, NewEntry, State
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.recovery import adopt
from iomt_crypt.node.spool import Spool


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite3")
    journal.create()
    yield journal
    journal.close()


def _entry(number: int, *, uid: str | None = None) -> NewEntry:
    return NewEntry(
        spool_name=f"{number:020d}-00000000.dcm",
        sop_class_uid="1.2",
        sop_instance_uid=uid or f"2.25.{number}",
        original_sop_instance_uid=f"1.2.3.{number}",
        size_bytes=100 + number,
        received_at=1000.0 + number,
        record=b"record %d" % number,
    )


def _in_state(journal: Journal, state: State) -> int:
    """Bring a new object into ``state`` by allowed steps."""
    number = journal.add(_entry(time.monotonic_ns()))
    claim = lambda: journal.claim(limit=100, lease_s=60)  # noqa: E731
    if state is State.SENDING:
        claim()
    elif state is State.DELIVERED:
        claim()
        journal.delivered([number])
    elif state is State.FAILED:
        claim()
        journal.failed(number, reason="x")
    elif state is State.HELD:
        journal.hold([number], reason="x")
    return number


def _state(journal: Journal, number: int) -> State:
    return next(entry.state for entry in journal.entries() if entry.id == number)


def test_every_state_has_its_transitions():
    assert set(TRANSITIONS) == set(State)
    assert not TRANSITIONS[State.COMMITTED]
    assert State.SENDING not in TRANSITIONS[State.DELIVERED], "nothing delivered is ever sent again"


@pytest.mark.parametrize("state", [s for s in State if s is not State.COMMITTED])
@pytest.mark.parametrize(
    ("target", "act"),
    [
        (State.DELIVERED, lambda j, n: j.delivered([n])),
        (State.FAILED, lambda j, n: j.failed(n, reason="r")),
        (State.QUEUED, lambda j, n: j.deferred(n, reason="r", not_before=0.0)),
        (State.QUEUED, lambda j, n: j.unclaimed([n])),
    ],
)
def test_only_allowed_transitions_happen(journal, state, target, act):
    number = _in_state(journal, state)
    if target in TRANSITIONS[state]:
        act(journal, number)
        assert _state(journal, number) is target
    else:
        with pytest.raises(StorageError):
            act(journal, number)
        assert _state(journal, number) is state


def test_claims_come_in_order_of_arrival_and_once(journal):
    numbers = [journal.add(_entry(n)) for n in range(5)]
    first = journal.claim(limit=3, lease_s=60)
    assert [entry.id for entry in first] == numbers[:3]
    assert [entry.id for entry in journal.claim(limit=9, lease_s=60)] == numbers[3:]
    assert journal.claim(limit=9, lease_s=60) == []


def test_the_same_instance_waits_for_its_earlier_version(journal):
    first, second = journal.add(_entry(1, uid="2.25.7")), journal.add(_entry(2, uid="2.25.7"))
    assert [entry.id for entry in journal.claim(limit=9, lease_s=60)] == [first]
    journal.deferred(first, reason="r", not_before=time.time() + 60)
    assert journal.claim(limit=9, lease_s=60) == []
    journal.resend([first])
    assert [entry.id for entry in journal.claim(limit=9, lease_s=60)] == [first]
    journal.delivered([first])
    assert [entry.id for entry in journal.claim(limit=9, lease_s=60)] == [second]


def test_deferred_objects_wait_and_count(journal):
    number = journal.add(_entry(1))
    journal.claim(limit=1, lease_s=60)
    journal.deferred(number, reason="refused", not_before=5000.0, refused=True)
    assert journal.claim(limit=1, lease_s=60, now=4999.0) == []
    assert journal.next_due() == 5000.0
    (entry,) = journal.claim(limit=1, lease_s=60, now=5000.0)
    assert (entry.attempts, entry.refusals, entry.reason) == (1, 1, "refused")


def test_dead_claims_are_queued_again(journal):
    journal.add(_entry(1))
    journal.claim(limit=1, lease_s=60, now=1000.0)
    assert journal.requeue_sending(lease_before=1059.0) == 0
    assert journal.requeue_sending(lease_before=1061.0) == 1
    journal.claim(limit=1, lease_s=60)
    assert journal.requeue_sending() == 1


def test_people_hold_release_and_resend(journal):
    numbers = [_in_state(journal, State.QUEUED), _in_state(journal, State.QUEUED)]
    assert journal.hold(None, reason="maintenance") == 2
    assert {entry.reason for entry in journal.entries(state=State.HELD)} == {"maintenance"}
    assert journal.claim(limit=9, lease_s=60) == []
    assert journal.release([numbers[0]]) == 1
    assert journal.release(None) == 1
    failed = _in_state(journal, State.FAILED)
    assert journal.resend(None) == 1
    assert _state(journal, failed) is State.QUEUED


@pytest.mark.parametrize(
    ("state", "action"), [(State.SENDING, "hold"), (State.QUEUED, "release"), (State.DELIVERED, "resend")]
)
def test_actions_on_objects_in_another_state_change_nothing(journal, state, action):
    number = _in_state(journal, state)
    arguments = {"reason": "r"} if action == "hold" else {}
    with pytest.raises(InputError, match=f"object {number} is {state}"):
        getattr(journal, action)([number], **arguments)
    with pytest.raises(InputError, match="object 999 is not in the journal"):
        getattr(journal, action)([999], **arguments)
    assert _state(journal, number) is state


def test_record_copy_is_kept(journal):
    number = journal.add(_entry(1))
    assert journal.record(number) == b"record 1"
    assert journal.record(number + 1) is None


def test_totals(journal):
    journal.add(_entry(5))
    journal.add(_entry(3))
    totals = journal.totals()
    assert totals.by_state[State.QUEUED] == 2
    assert totals.by_state[State.FAILED] == 0
    assert totals.oldest_waiting_at == 1003.0


def test_two_processes_may_use_it_at_once(journal):
    other = Journal(journal.path)
    number = journal.add(_entry(1))
    assert [entry.id for entry in other.claim(limit=1, lease_s=60)] == [number]
    assert journal.entries()[0].state is State.SENDING
    other.close()


def test_another_schema_version_is_refused(journal):
    with sqlite3.connect(journal.path) as connection:
        connection.execute("UPDATE journal SET schema_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="schema version 99"):
        journal.create()


def test_journal_is_for_the_owner_only(journal):
    assert journal.path.stat().st_mode & 0o077 == 0


def test_a_failed_statement_does_not_show_its_values(journal):
    journal.add(_entry(1))
    with pytest.raises(StorageError) as caught:
        journal.add(_entry(1))
    assert "2.25.1" not in str(caught.value)


def test_spool_files_without_a_row_are_adopted(tmp_path, journal, epoch, policy):
    from node_harness import EXPLICIT, dataset

    spool = Spool(tmp_path / "spool")
    spool.create()
    uids = []
    for number in (1, 2):
        source = read_network(dataset(number), transfer_syntax_uid=EXPLICIT)
        with spool.draft() as draft:
            uids.append(protect(source, draft.file, epoch=epoch, policy=policy).sop_instance_uid)
            spool.commit(draft)
    with spool.draft() as draft:
        draft.file.write(spool.path(spool.names()[0]).read_bytes()[:-100])
        spool.commit(draft)
    (spool.incoming / "half.tmp").write_bytes(b"x")
    assert adopt(spool, journal) == 2
    assert adopt(spool, journal) == 0
    assert [entry.sop_instance_uid for entry in journal.entries()] == uids
    assert all(journal.record(entry.id) for entry in journal.entries()), "a copy, for archives that drop it"
    assert spool.n_aside() == 1, "what was cut is not sent"
    assert [entry.spool_name for entry in journal.entries()] == spool.names()
    assert list(spool.incoming.iterdir()) == []
