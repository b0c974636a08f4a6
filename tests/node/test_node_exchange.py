"""Only an answer to this very object confirms it: 100 objects against an archive that misanswers in every way."""

from __future__ import annotations

import hashlib
import random
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hostile_archive import WRONG_ANSWERS, HostileArchive, answer, pdu, request_of
from node_harness import CT, EXPLICIT, LIMIT_S, MR, cli, dataset, part10, uid, wait_until, write_object

from iomt_crypt.errors import NetworkError, UnsupportedError
from iomt_crypt.node.client import Client, Timeouts
from iomt_crypt.node.config import load
from iomt_crypt.node.entry import NewEntry, State
from iomt_crypt.node.exchange import Answer
from iomt_crypt.node.forwarder import Forwarder
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.sender import Sender
from iomt_crypt.node.spool import Spool
from iomt_crypt.node.transport import configure_pynetdicom

configure_pynetdicom()
N_OBJECTS = 100


@pytest.fixture
def hostile():
    archive = HostileArchive()
    yield archive
    archive.close()


def _client(archive: HostileArchive, answer_s: float = 30.0) -> Client:
    return Client(Peer("ARCHIVE", "127.0.0.1", archive.port), calling_ae_title="US", timeouts=Timeouts(30.0, answer_s))


class _Queue:
    """Spool, journal and forwarder of a node, in this process."""

    def __init__(self, config_path: Path, archive: HostileArchive) -> None:
        self.archive = archive
        config = load(config_path)
        self.spool = Spool(config.spool.folder)
        self.spool.create()
        self.journal = Journal(self.spool.journal_path)
        self.journal.create()
        self.forwarder = Forwarder(config, spool=self.spool, journal=self.journal)
        self._noted = self.journal.delivered
        self.journal.delivered = self._delivered
        self.unconfirmed: list[str] = []
        self._by_id: dict[int, str] = {}

    def _delivered(self, object_ids, *, reason=""):
        """What the journal is told must have been confirmed before."""
        self.unconfirmed += [self._by_id[n] for n in object_ids if self._by_id[n] not in self.archive.confirmed]
        self._noted(object_ids, reason=reason)

    def add(self, number: int, **options) -> int:
        content = part10(dataset(number, size=8), CT, uid(number))
        with self.spool.draft() as draft:
            draft.file.write(content)
            path = self.spool.commit(draft)
        values = {"original_sop_instance_uid": f"2.25.{number}"} | options
        entry = NewEntry(
            spool_name=path.name,
            sop_class_uid=CT,
            sop_instance_uid=uid(number),
            size_bytes=len(content),
            received_at=0.0,
            sha256=hashlib.sha256(content).digest(),
            **values,
        )
        self._by_id[self.journal.add(entry)] = uid(number)
        return max(self._by_id)

    def run(self, until) -> None:
        """Forward until ``until()`` holds."""
        done = threading.Event()
        timer = threading.Timer(LIMIT_S * 2, done.set)
        timer.start()
        self.forwarder.run(stop=lambda: done.is_set() or until(), wait=lambda seconds: done.wait(min(seconds, 0.02)))
        timer.cancel()
        assert not done.is_set(), self.journal.totals()

    def finished(self) -> bool:
        return not any(self.journal.totals().by_state[state] for state in (State.QUEUED, State.SENDING))


@pytest.mark.parametrize("seed", [1])
def test_of_a_hundred_objects_none_is_lost_and_none_is_delivered_unconfirmed(seed, hostile, make_config):
    rng = random.Random(seed)
    plan = [*WRONG_ANSWERS.values(), *[None] * len(WRONG_ANSWERS)]
    rng.shuffle(plan)

    def misanswer(request):
        wrong = plan[request.number] if request.number < len(plan) else None
        return wrong and wrong(request)

    hostile.misanswer = misanswer
    fast = {"retry_first_seconds": 0.001, "retry_limit_seconds": 0.002, "max_attempts": 50}
    node = _Queue(make_config(hostile.port, destination=fast), hostile)
    for number in range(N_OBJECTS):
        node.add(number)
    node.run(node.finished)
    assert node.unconfirmed == []
    assert hostile.n_requests >= N_OBJECTS + len(WRONG_ANSWERS) - 1
    assert hostile.confirmed.keys() == {uid(number) for number in range(N_OBJECTS)}
    assert all(hostile.confirmed[uid(number)] == dataset(number, size=8) for number in range(N_OBJECTS))
    assert node.journal.totals().by_state[State.DELIVERED] == N_OBJECTS
    assert node.spool.names() == []


@pytest.mark.parametrize("kind", WRONG_ANSWERS)
def test_a_wrong_answer_confirms_nothing_and_ends_the_association(kind, hostile, tmp_path):
    path = write_object(tmp_path, 1)
    hostile.misanswer = lambda request: WRONG_ANSWERS[kind](request) if request.number == 1 else None
    client = _client(hostile)
    contexts = [(CT, EXPLICIT), (MR, EXPLICIT)]
    client.open(contexts)
    with pytest.raises(NetworkError):
        client.store(path)
    assert not client.is_open
    client.open(contexts)
    assert client.store(path) == (0, "")
    assert hostile.n_associations == 2
    client.release()


def test_an_answer_need_not_name_class_and_instance(hostile, tmp_path):
    """PS3.7 Table 9.1-1: U(=) in a response."""
    hostile.misanswer = lambda request: answer(request, AffectedSOPClassUID=None, AffectedSOPInstanceUID=None)
    client = _client(hostile)
    client.open([(CT, EXPLICIT)])
    assert client.store(write_object(tmp_path, 1)) == (0, "")
    client.release()


def test_the_same_answer_twice_confirms_once(hostile, tmp_path):
    """The surplus one is not the next object's, however late it comes."""

    def twice(request):
        if request.number == 1:
            hostile.keep(request)
            return answer(request) + answer(request)
        return pdu(7, bytes(4))

    hostile.misanswer = twice
    client = _client(hostile)
    client.open([(CT, EXPLICIT)])
    assert client.store(write_object(tmp_path, 1)) == (0, "")
    client.open([(CT, EXPLICIT)])  # the old association, or a new one: the second answer may not be there yet
    path = write_object(tmp_path, 2)
    with pytest.raises(NetworkError):
        client.store(path)


@pytest.mark.parametrize("early", [True, False])
def test_success_before_the_whole_object_is_none(early, hostile):
    """The archive answers the command, with the right message ID, and reads on."""
    hostile.before = answer if early else (lambda request: b"")
    hostile.misanswer = lambda request: b"" if early else None
    client = _client(hostile)
    client.open([(CT, EXPLICIT)])

    def data():
        content = dataset(1, size=128)
        yield content[:20_000]  # more than one PDU, so that something has gone out
        if early:
            wait_until(lambda: client._exchange.is_disturbed)
        yield content[20_000:]

    asked = {0x0002: CT, 0x0100: 1, 0x0700: 0, 0x1000: uid(1)}
    if early:
        with pytest.raises(NetworkError, match="before it had the whole object"):
            client._request((CT, EXPLICIT), asked, data(), LIMIT_S)
    else:
        assert client._request((CT, EXPLICIT), asked, data(), LIMIT_S) == Answer(0)
        assert hostile.confirmed[uid(1)] == dataset(1, size=128)
    client.release()


def test_a_late_answer_is_not_the_next_ones(hostile, tmp_path):
    """The answer comes when the object has timed out: that association is gone, and nothing was delivered."""
    late = threading.Event()

    def answer_late(request):
        if request.number == 1:
            late.wait(LIMIT_S)
        elif request.number == 2:
            late.set()
            return pdu(7, bytes(4))
        return answer(request)

    hostile.misanswer = answer_late
    client = _client(hostile, answer_s=0.2)
    for number in (1, 2):
        client.open([(CT, EXPLICIT)])
        with pytest.raises(NetworkError, match="no answer"):
            client.store(write_object(tmp_path, number))
    late.set()


def test_what_was_said_before_is_not_the_answer(hostile, tmp_path):
    """A peer that speaks unasked between two objects: a new association, and the next object is asked for itself."""

    def unasked(request):
        return answer(request) + request_of(request, 0x0030) if request.number == 1 else None

    hostile.misanswer = unasked
    client = _client(hostile)
    client.open([(CT, EXPLICIT)])
    with suppress(NetworkError):  # when both are there at once
        client.store(write_object(tmp_path, 1))
    wait_until(lambda: not client.is_open)
    client.open([(CT, EXPLICIT)])
    assert client.store(write_object(tmp_path, 2)) == (0, "")
    assert hostile.n_associations == 2
    client.release()


def test_message_identifiers_differ_and_wrap(hostile, tmp_path):
    seen = []

    def note(request):
        seen.append(request.command.MessageID)

    hostile.misanswer = note
    client = _client(hostile)
    client.open([(CT, EXPLICIT)])
    client._exchange._message_id = 65533
    path = write_object(tmp_path, 1)
    for _ in range(4):
        client.store(path)
    client.release()
    assert seen == [65534, 65535, 1, 2]


ECHOES = {
    "message ID": lambda r: answer(r, MessageIDBeingRespondedTo=999),
    "C-STORE-RSP": lambda r: answer(r, CommandField=0x8001),
    "instance": lambda r: answer(r, AffectedSOPInstanceUID="1.2.3"),
    "class": lambda r: answer(r, AffectedSOPClassUID=CT),
    "status": lambda r: answer(r, status=0x0110),
    "no status": lambda r: answer(r, Status=None),
    "silence": lambda r: pdu(7, bytes(4)),
}


@pytest.mark.parametrize("kind", ECHOES)
def test_an_echo_is_believed_only_when_it_answers(kind, hostile):
    hostile.echo = ECHOES[kind]
    client = _client(hostile)
    with pytest.raises(NetworkError):
        client.echo()
    client.release()
    hostile.echo = None
    client.echo()
    client.release()


JPEG = "1.2.840.10008.1.2.4.50"
ACCEPTANCES = {
    "a syntax that was not proposed": lambda n, c, s: [(n, 0, [JPEG])],
    "two syntaxes": lambda n, c, s: [(n, 0, [s[0], JPEG])],
    "no syntax": lambda n, c, s: [(n, 0, [])],
    "yes and no": lambda n, c, s: [(n, 0, s), (n, 3, s)],
    "twice": lambda n, c, s: [(n, 0, s), (n, 0, s)],
    "a context that was not proposed": lambda n, c, s: [(n + 100, 0, s), (n, 3, s)],
}


@pytest.mark.parametrize("kind", ACCEPTANCES)
def test_an_acceptance_of_something_else_is_a_refusal(kind, hostile, tmp_path):
    def take(number, sop_class, syntaxes):
        return ACCEPTANCES[kind](number, sop_class, syntaxes) if sop_class == CT else [(number, 0, syntaxes[:1])]

    hostile.take = take
    client = _client(hostile)
    client.open([(CT, EXPLICIT)])
    assert not client.accepts((CT, EXPLICIT))
    with pytest.raises(UnsupportedError):
        client.store(write_object(tmp_path, 1))
    client.echo()
    client.release()
    assert hostile.n_requests == 0
    hostile.take = ACCEPTANCES[kind]
    with pytest.raises(UnsupportedError, match="accepts none"):
        client.open([(CT, EXPLICIT)])


def test_roles_nobody_proposed_change_nothing(hostile, tmp_path):
    class_uid = CT.encode()
    role = bytes([0x54, 0]) + (len(class_uid) + 4).to_bytes(2, "big") + len(class_uid).to_bytes(2, "big")
    hostile.user_items = role + class_uid + bytes([0, 1])
    client = _client(hostile)
    client.open([(CT, EXPLICIT)])
    assert client.store(write_object(tmp_path, 1)) == (0, "")
    client.release()


def test_send_names_each_object_that_was_not_confirmed(hostile, tmp_path):
    kinds = list(WRONG_ANSWERS.values())
    folder = tmp_path / "study"
    folder.mkdir()
    paths = [write_object(folder, number) for number in range(len(kinds) + 3)]
    write_object(folder, 9999, sop_class=MR)  # so that there is another context
    hostile.misanswer = lambda request: kinds[request.number - 1](request) if request.number <= len(kinds) else None
    done = cli("send", folder, "--to", f"ARCHIVE@127.0.0.1:{hostile.port}")
    assert done.returncode == 1
    stderr = done.stderr.replace("\n", "")
    named = {path.name for path in paths if path.name in stderr}
    assert named == {path.name for path in paths[: len(kinds)]}
    assert hostile.confirmed.keys() == {uid(number) for number in (len(kinds), len(kinds) + 1, len(kinds) + 2, 9999)}


def test_a_comment_is_shown_on_one_line_and_whole(hostile, tmp_path):
    hostile.misanswer = lambda request: answer(request, status=0xC000, ErrorComment="bad\nERROR forged \x1b[2J")
    sender = Sender(
        [], Peer("ARCHIVE", "127.0.0.1", hostile.port), calling_ae_title="US", timeouts=Timeouts(30.0, 30.0)
    )
    with pytest.raises(NetworkError) as caught:
        sender.send(write_object(tmp_path, 1))
    assert str(caught.value).endswith(r": bad\nERROR forged \x1b[2J")
    hostile.misanswer = lambda request: answer(request, status=0xC000, ErrorComment="x" * 70)
    with pytest.raises(NetworkError, match=r": x{64}\.\.\.$"):
        sender.send(write_object(tmp_path, 2))
    sender.close()


@pytest.mark.parametrize(
    ("case", "state"),
    [
        ("answer lost", State.DELIVERED),
        ("killed before it was noted", State.DELIVERED),
        ("never tried", State.FAILED),
        ("refused before", State.FAILED),
        ("uids kept", State.FAILED),
        ("not known whose", State.FAILED),
        ("another version sent", State.FAILED),
    ],
)
def test_a_duplicate_is_delivery_when_it_can_only_be_this_object(case, state, hostile, make_config):
    fast = {"retry_first_seconds": 0.001, "retry_limit_seconds": 0.002, "max_attempts": 2}
    node = _Queue(make_config(hostile.port, destination=fast), hostile)
    originals = {"uids kept": uid(1), "not known whose": None}
    if case == "another version sent":
        node.add(1)
        node.run(node.finished)
        assert hostile.right_answers == [uid(1)]
    number = node.add(1, original_sop_instance_uid=originals.get(case, "2.25.1"))
    hostile.confirmed[uid(1)] = dataset(1, size=8)  # the archive has it; whose it is, is the question
    if case == "killed before it was noted":
        assert [entry.id for entry in node.journal.claim(limit=1, lease_s=60)] == [number]
        node.journal.begun(number)
        node.forwarder.recover()
    hostile.refuses_again = True
    first = hostile.n_requests + 1
    hang_up = case not in ("killed before it was noted", "never tried", "refused before")
    if hang_up:
        hostile.misanswer = lambda request: pdu(7, bytes(4)) if request.number == first else None
    elif case == "refused before":
        hostile.misanswer = lambda request: answer(request, status=0xC000) if request.number == first else None
    node.run(node.finished)
    entry = node.journal.entries()[-1]
    assert (entry.id, entry.state) == (number, state)
    if state is State.DELIVERED:
        assert entry.reason.startswith("duplicate: the archive has it")
    assert node.spool.path(entry.spool_name).exists() == (state is State.FAILED)


@pytest.mark.parametrize("code", [0xB006, 0xB007])
def test_a_warning_that_may_have_cost_the_record_is_in_the_queue(code, hostile, make_config, caplog):
    hostile.status = lambda request: code
    node = _Queue(make_config(hostile.port), hostile)
    node.add(1)
    node.run(node.finished)
    (entry,) = node.journal.entries()
    assert entry.state is State.DELIVERED
    assert f"0x{code:04X}" in entry.reason
    assert "the record may be lost" in entry.reason
    assert "the record may be lost" in caplog.text
