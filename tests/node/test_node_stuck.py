"""Whatever happens, the queue moves, and what is said is true when it is said. In process; no peer is needed."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from iomt_crypt.errors import (
    ConfigurationError,
    DiskFullError,
    KeyMaterialError,
    NetworkError,
    StorageError,
    UnsupportedError,
)
from iomt_crypt.node import forwarder as forwarder_module
from iomt_crypt.node.ballast import BALLAST_BYTES
from iomt_crypt.node.client import Client
from iomt_crypt.node.config import load
from iomt_crypt.node.entry import NewEntry, State
from iomt_crypt.node.forwarder import Forwarder
from iomt_crypt.node.gate import Gate
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.log_output import LogOutput, configure_logging
from iomt_crypt.node.part import Part
from iomt_crypt.node.pulse import Pulse, PulseWatch
from iomt_crypt.node.recovery import adopt
from iomt_crypt.node.route import Routes
from iomt_crypt.node.site_key import load_site_key
from iomt_crypt.node.spool import Spool
from iomt_crypt.node.supervisor import Supervisor
from iomt_crypt.seal import load_or_create_site_key

HOUR = 3600.0
#: Newer Pythons warn of every fork in a process with threads, as that of the tests has them.
FORKS = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Destination:
    """Stands where the client has an archive: ``answer(path)`` gives status and comment, or raises."""

    peer = "ARCHIVE@nowhere"
    is_open = True

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.answer = lambda path: (0, "")

    def open(self, contexts) -> None:
        """Always open."""

    def release(self) -> None:
        """Nothing to release."""

    def store(self, path: Path, *_: object, **__: object) -> tuple[int, str]:
        answer = self.answer(path)
        self.sent.append(path.name)
        return answer


def _hang(lifeline_fd: int, pulse: Pulse) -> int:
    time.sleep(600)
    return 0


def _fail(lifeline_fd: int, pulse: Pulse) -> int:
    configure_logging("INFO")
    value = "Zebedee"
    raise ZeroDivisionError(value)


@pytest.fixture
def destination() -> Destination:
    return Destination()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "spool")
    spool.create()
    return spool


@pytest.fixture
def journal(spool: Spool):
    journal = Journal(spool.journal_path)
    journal.create()
    yield journal
    journal.close()


@pytest.fixture
def make_forwarder(make_config, spool, journal, destination, monkeypatch):
    def make(**options: float) -> Forwarder:
        config = load(make_config(1, destination=options or {"max_attempts": 3}))
        monkeypatch.setattr(forwarder_module, "_client", lambda config: destination)
        return Forwarder(config, spool=spool, journal=journal)

    return make


def add(spool: Spool, journal: Journal, number: int, *, data: bytes = b"noise", claimed: bytes = b"noise") -> int:
    name = f"{number:020d}-0000000{number}.dcm"
    spool.path(name).write_bytes(data)
    digest = hashlib.sha256(claimed).digest()
    return journal.add(NewEntry(name, "1.2", f"2.25.{number}", len(data), 1000.0 + number, sha256=digest))


def states(journal: Journal) -> dict[int, State]:
    return {entry.id: entry.state for entry in journal.entries()}


def run(forwarder: Forwarder, *, turns: int = 50) -> None:
    """Let it work until it has had ``turns`` looks; waits are not waited for."""
    left = iter(range(turns))
    forwarder.run(stop=lambda: next(left, None) is None, wait=lambda seconds: False)


class TestClock:
    def test_an_hour_back_and_what_waits_is_sent(self, make_forwarder, spool, journal, destination, monkeypatch):
        add(spool, journal, 1)
        destination.answer = lambda path: (0xA700, "")
        forwarder = make_forwarder()
        run(forwarder, turns=3)
        assert set(states(journal).values()) == {State.QUEUED}
        destination.answer = lambda path: (0, "")
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - HOUR)
        forwarder._retry_at = time.monotonic()  # the destination's own wait of 0.2 s at most is over
        run(forwarder)
        assert set(states(journal).values()) == {State.DELIVERED}

    @pytest.mark.parametrize("jump", [-HOUR, 365 * 24 * HOUR], ids=["an hour back", "a year ahead"])
    def test_a_destination_that_was_away_is_asked_again(
        self, make_forwarder, spool, journal, destination, monkeypatch, jump
    ):
        add(spool, journal, 1)

        def away(path: Path) -> tuple[int, str]:
            raise NetworkError("away")

        destination.answer = away
        forwarder = make_forwarder()
        run(forwarder, turns=2)
        destination.answer = lambda path: (0, "")
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + jump)
        deadline = time.monotonic() + 30
        while states(journal) != {1: State.DELIVERED} and time.monotonic() < deadline:
            run(forwarder, turns=5)
        assert states(journal) == {1: State.DELIVERED}

    def test_resent_is_due_at_once_however_long_the_destination_waits(
        self, make_forwarder, spool, journal, destination
    ):
        number = add(spool, journal, 1)
        forwarder = make_forwarder()
        forwarder._n_failures, forwarder._retry_at = 5, time.monotonic() + HOUR
        run(forwarder)
        assert states(journal) == {number: State.QUEUED}
        journal.resend([number])
        run(forwarder)
        assert states(journal) == {number: State.DELIVERED}

    def test_what_waits_for_an_earlier_version_asks_for_nothing(self, make_forwarder, spool, journal, destination):
        """No hot loop while the archive is down."""
        for number in (1, 2):
            name = f"{number:020d}-0000000{number}.dcm"
            spool.path(name).write_bytes(b"noise")
            journal.add(NewEntry(name, "1.2", "2.25.1", 5, 1000.0))
        journal.resend([2])
        assert not journal.is_asked_for()
        journal.resend([1])
        assert journal.is_asked_for()

    def test_what_was_asked_for_is_tried_once_and_then_waits(self, make_forwarder, spool, journal, destination):
        number = add(spool, journal, 1)
        attempts = []

        def away(contexts) -> None:
            attempts.append(contexts)
            raise NetworkError("away")

        destination.open = away
        forwarder = make_forwarder(retry_first_seconds=600.0, retry_limit_seconds=600.0)
        forwarder._n_failures, forwarder._retry_at = 5, time.monotonic() + HOUR
        journal.resend([number])
        run(forwarder)
        assert len(attempts) == 1


class TestUnexpected:
    def test_a_file_that_cannot_be_removed_stops_nothing(
        self, make_forwarder, spool, journal, destination, monkeypatch, caplog
    ):
        first, second = add(spool, journal, 1), add(spool, journal, 2)
        real = Spool.remove

        def remove(self, name: str) -> None:
            if name.endswith("1.dcm"):
                raise PermissionError(13, "Permission denied")
            real(self, name)

        monkeypatch.setattr(Spool, "remove", remove)
        run(make_forwarder())
        assert states(journal) == {first: State.DELIVERED, second: State.DELIVERED}
        assert "was delivered and cannot be removed: Permission denied" in caplog.text
        # ... nor does it at the next start.
        forwarder = make_forwarder()
        forwarder.recover()
        run(forwarder)
        assert len(destination.sent) == 2

    def test_an_object_that_nobody_foresaw_ends_the_process_and_stops_no_other(
        self, make_forwarder, spool, journal, destination
    ):
        poison, good = add(spool, journal, 1), add(spool, journal, 2)

        def answer(path: Path) -> tuple[int, str]:
            if path.name.endswith("1.dcm"):
                raise ZeroDivisionError
            return 0, ""

        destination.answer = answer
        n_ended, deadline = 0, time.monotonic() + 30
        while State.QUEUED in states(journal).values() or State.SENDING in states(journal).values():
            assert time.monotonic() < deadline
            forwarder = make_forwarder()  # the supervisor starts another one
            forwarder.recover()
            try:
                run(forwarder)
            except ZeroDivisionError:
                n_ended += 1
        assert states(journal) == {poison: State.FAILED, good: State.DELIVERED}
        assert n_ended == 3, "max_attempts"
        assert "unexpected ZeroDivisionError" in next(e.reason for e in journal.entries() if e.id == poison)

    def test_a_class_that_the_archive_does_not_take_stops_no_other(self, make_forwarder, spool, journal, destination):
        """Not even at the head of the queue, of an archive that takes no Verification either."""
        name = f"{1:020d}-00000001.dcm"
        spool.path(name).write_bytes(b"noise")
        refused = journal.add(NewEntry(name, "1.9", "2.25.1", 5, 1000.0))
        good = add(spool, journal, 2)

        def take(contexts) -> None:
            if {sop_class for sop_class, _ in contexts} == {"1.9"}:
                raise UnsupportedError("accepts none of the presentation contexts")

        destination.open = take
        forwarder = make_forwarder(max_attempts=1)
        forwarder._n_failures = 1  # one at a time
        run(forwarder)
        assert states(journal) == {refused: State.FAILED, good: State.DELIVERED}

    def test_what_was_in_hand_when_the_last_one_died_steps_back(self, make_forwarder, spool, journal, destination):
        add(spool, journal, 1)
        journal.claim(limit=1, lease_s=60)
        add(spool, journal, 2)
        make_forwarder().recover()
        assert [entry.id for entry in journal.claim(limit=9, lease_s=60)] == [2]
        assert {entry.id: entry.attempts for entry in journal.entries()} == {1: 1, 2: 0}

    @FORKS
    def test_a_part_that_hangs_is_replaced(self, make_config, caplog):
        supervisor = Supervisor(load(make_config(1)))
        part = supervisor._forwarder
        part.start(_hang)
        supervisor._replace_if_stuck(part)
        assert part.exit_status is None, "it has time to start"
        Pulse(part.pulse.write_fd).promise(-1.0)
        pid = part.pid
        supervisor._replace_if_stuck(part)
        assert not part.is_there
        assert not Path(f"/proc/{pid}").exists()
        assert part.n_crashes == 1
        assert "forwarder makes no progress" in caplog.text
        for each in (supervisor._receiver, supervisor._forwarder):
            each.pulse.close()

    @FORKS
    def test_what_nobody_foresaw_ends_a_part_and_its_values_are_not_told(self, capfd):
        part = Part("receiver")
        part.start(_fail)
        assert part.wait(60)
        assert part.exit_status == 1
        told = capfd.readouterr().err
        assert "unexpected ZeroDivisionError" in told
        assert "Zebedee" not in told
        part.give_up()
        part.pulse.close()

    def test_a_promise_counts_from_when_it_was_given(self, monkeypatch):
        now = [1000.0]
        monkeypatch.setattr("iomt_crypt.node.pulse.time.monotonic", lambda: now[0])
        watch = PulseWatch()
        pulse = Pulse(watch.write_fd)
        pulse.promise(20.0)
        assert watch.late_s() == -20.0
        now[0] += 25
        assert watch.late_s() == 5.0
        pulse.promise(20.0)
        pulse.promise(50.0)
        assert watch.late_s() == -50.0, "the last one counts"
        now[0] += 10_000
        assert watch.late_s() < 0, "who looks cannot have been there all that time"
        watch.close()

    def test_every_step_is_promised(self, make_config, spool, journal, destination, monkeypatch):
        add(spool, journal, 1)
        promised: list[float] = []
        monkeypatch.setattr(forwarder_module, "_client", lambda config: destination)
        run(Forwarder(load(make_config(1)), spool=spool, journal=journal, promise=promised.append), turns=3)
        assert len(promised) >= 3
        assert all(seconds >= 60 for seconds in promised)


class TestWhatIsSaidIsTrue:
    @pytest.mark.parametrize("why", ["guard", "route"])
    def test_held_is_said_after_the_journal_has_it(self, spool, journal, monkeypatch, caplog, why):
        number = add(spool, journal, 1)
        (entry,) = journal.claim(limit=1, lease_s=60)

        class Verdict:
            passed, cost_s = why == "route", 0.0

            def __str__(self) -> str:
                return "statistics: plain"

        class Guard:
            class policy:
                action = "block"

            def check(self, path: Path, *, sha256: bytes) -> Verdict:
                return Verdict()

        class Turned(Routes):
            def __init__(self) -> None:
                """No predicates."""

            def refusal(self, path: Path) -> str:
                return "no route"

        gate = Gate(journal, guard=Guard(), routes=Turned())
        real = journal.blocked

        def full(*_: object, **__: object) -> None:
            raise DiskFullError("journal: no room")

        monkeypatch.setattr(journal, "blocked", full)
        with caplog.at_level(logging.DEBUG), pytest.raises(DiskFullError):
            gate.lets_pass(entry, spool.path(entry.spool_name))
        assert "HELD" not in caplog.text

        def noted(object_id: int, *, reason: str) -> None:
            assert "HELD" not in caplog.text
            real(object_id, reason=reason)

        monkeypatch.setattr(journal, "blocked", noted)
        assert not gate.lets_pass(entry, spool.path(entry.spool_name))
        assert "HELD" in caplog.text
        assert states(journal) == {number: State.HELD}

    @pytest.mark.parametrize("method", ["delivered", "failed"])
    def test_nor_is_an_end_said_that_is_not_noted(
        self, make_forwarder, spool, journal, destination, monkeypatch, caplog, method
    ):
        add(spool, journal, 1)
        destination.answer = lambda path: (0, "") if method == "delivered" else (0xC000, "no")

        def full(*_: object, **__: object) -> None:
            raise StorageError("journal: broken")

        monkeypatch.setattr(journal, method, full)
        with caplog.at_level(logging.DEBUG):
            run(make_forwarder(max_attempts=1), turns=3)
        assert f"{method} id=" not in caplog.text
        assert spool.names(), "and its file stays"

    def test_a_damaged_file_is_not_sent_though_nothing_else_is_checked(
        self, make_forwarder, spool, journal, destination, caplog
    ):
        damaged, good = add(spool, journal, 1, data=b"noisy"), add(spool, journal, 2)
        run(make_forwarder())
        assert states(journal) == {damaged: State.FAILED, good: State.DELIVERED}
        assert len(destination.sent) == 1
        assert "damaged" in caplog.text
        assert len(spool.names()) == 1

    @pytest.mark.parametrize("why", ["warned", "released"])
    def test_nor_is_it_where_the_guard_warns_or_a_person_let_it_go(self, spool, journal, why):
        """A look may be overruled; other bytes than those that were written are nobody's."""
        number = add(spool, journal, 1, data=b"noisy")

        class Guard:
            class policy:
                action = "warn" if why == "warned" else "block"

            def check(self, path: Path, *, sha256: bytes) -> object:
                raise AssertionError("it is not asked")

        if why == "released":
            journal.claim(limit=1, lease_s=60)
            journal.blocked(number, reason="statistics: plain")
            journal.release([number], reason="it is noise")
        (entry,) = journal.claim(limit=1, lease_s=60)
        assert not Gate(journal, guard=Guard(), routes=Routes([])).lets_pass(entry, spool.path(entry.spool_name))
        assert states(journal) == {number: State.FAILED}

    def test_words_of_an_archive_are_one_line(self, make_forwarder, spool, journal, destination, caplog):
        add(spool, journal, 1)
        destination.answer = lambda path: (0xC000, "two\nlines \x1b[2J")
        run(make_forwarder(max_attempts=1))
        assert all(len(record.getMessage().splitlines()) == 1 for record in caplog.records)
        assert r"two\nlines \x1b[2J" in caplog.text
        assert "\x1b" not in "".join(entry.reason for entry in journal.entries())

    def test_no_uid_that_is_none_is_logged(self, make_forwarder, spool, journal, destination, caplog):
        name = f"{1:020d}-00000001.dcm"
        spool.path(name).write_bytes(b"noise")
        journal.add(NewEntry(name, "1.2", "Zebedee^Quentin\n", 5, 1000.0))
        destination.answer = lambda path: (0xC000, "no")
        with caplog.at_level(logging.DEBUG):
            run(make_forwarder(max_attempts=1))
        assert "failed id=1" in caplog.text
        assert "Zebedee" not in caplog.text


class TestFullDisk:
    def test_the_journal_gets_the_room_that_was_set_aside(
        self, make_forwarder, spool, journal, destination, monkeypatch, caplog
    ):
        number = add(spool, journal, 1)
        real = journal.claim

        def claim(**options: object) -> object:
            if spool.ballast.is_there:
                raise DiskFullError("journal: no room")
            return real(**options)

        monkeypatch.setattr(journal, "claim", claim)
        monkeypatch.setattr(Spool, "restore_ballast", lambda self: None)  # there is no room for it again
        assert spool.ballast.is_there
        forwarder = make_forwarder()
        run(forwarder)
        assert states(journal) == {number: State.DELIVERED}
        assert forwarder._n_failures == 0, "the archive had no part in it"
        assert "is given up, forwarding goes on" in caplog.text

    def test_it_is_set_aside_again_and_senders_have_to_wait_for_that(self, spool, monkeypatch):
        assert spool.ballast.give_up()
        assert not spool.ballast.give_up()
        monkeypatch.setattr(Spool, "free_bytes", lambda self: 2 * BALLAST_BYTES - 1)
        spool.restore_ballast()
        assert not spool.ballast.is_there
        with pytest.raises(DiskFullError, match=f"reserve {BALLAST_BYTES}"):
            spool.require_room(BALLAST_BYTES)
        monkeypatch.setattr(Spool, "free_bytes", lambda self: 2 * BALLAST_BYTES)
        spool.restore_ballast()
        assert spool.ballast.is_there
        spool.require_room(2 * BALLAST_BYTES)

    def test_where_there_is_no_room_for_it_nothing_of_it_is_left(self, spool, monkeypatch):
        spool.ballast.give_up()

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        assert not spool.ballast.set_aside()
        assert not (spool.folder / "ballast").exists()


class TestDuplicate:
    """0x0111 is delivery only where an attempt with this very object was begun and nobody knows its end."""

    def add(self, spool: Spool, journal: Journal) -> int:
        name = f"{1:020d}-00000001.dcm"
        spool.path(name).write_bytes(b"noise")
        return journal.add(NewEntry(name, "1.2", "2.25.1", 5, 1000.0, original_sop_instance_uid="1.2.3"))

    def test_an_archive_that_refused_every_attempt_has_another_object(
        self, make_forwarder, spool, journal, destination
    ):
        number = self.add(spool, journal)
        destination.answer = lambda path: (0x0111, "")
        for _ in range(2):
            run(make_forwarder())
            deadline = time.monotonic() + 30
            while states(journal) == {number: State.QUEUED} and time.monotonic() < deadline:
                run(make_forwarder(), turns=5)
            assert states(journal) == {number: State.FAILED}
            journal.resend([number])
        assert spool.names()

    @pytest.mark.parametrize("before", ["claimed", "out of room"])
    def test_nor_does_it_have_what_was_never_sent_or_not_kept(
        self, make_forwarder, spool, journal, destination, before
    ):
        number = self.add(spool, journal)
        if before == "claimed":
            journal.claim(limit=9, lease_s=60)
            make_forwarder().recover()
        else:
            destination.answer = lambda path: (0xA700, "")
            run(make_forwarder(), turns=2)
        destination.answer = lambda path: (0x0111, "")
        journal.resend([number])
        run(make_forwarder(max_attempts=1))
        assert states(journal) == {number: State.FAILED}

    @pytest.mark.parametrize("how", ["answer lost", "killed"])
    def test_what_may_have_arrived_has(self, make_forwarder, spool, journal, destination, how):
        number = self.add(spool, journal)

        def lost(path: Path) -> tuple[int, str]:
            raise NetworkError("no answer") if how == "answer lost" else KeyboardInterrupt

        destination.answer = lost
        with suppress(KeyboardInterrupt):
            run(make_forwarder(), turns=2)
        forwarder = make_forwarder()
        forwarder.recover()
        journal.resend([number])
        destination.answer = lambda path: (0x0111, "")
        run(forwarder)
        assert states(journal) == {number: State.DELIVERED}


class TestStart:
    def test_a_file_that_cannot_be_read_is_set_aside(self, spool, journal, caplog):
        name = f"{1:020d}-00000001.dcm"
        spool.path(name).write_bytes(b"not DICOM")
        assert adopt(spool, journal) == 0
        assert (spool.aside / name).read_bytes() == b"not DICOM"
        assert spool.n_aside() == 1
        assert "SET ASIDE" in caplog.text
        assert not spool.names()

    def test_a_site_key_that_is_gone_is_not_replaced(self, spool, tmp_path):
        path = tmp_path / "site.key"
        key = load_site_key(path, spool)
        assert load_site_key(path, spool) == key
        path.unlink()
        with pytest.raises(ConfigurationError, match="the site key is gone"):
            load_site_key(path, spool)
        assert not path.exists()
        (spool.folder / "site-key.fingerprint").unlink()  # as an earlier version left it
        with pytest.raises(ConfigurationError, match="the site key is gone"):
            load_site_key(path, spool, is_used=True)
        fresh = load_site_key(path, spool, accept_new=True)
        assert fresh != key
        assert load_site_key(path, spool) == fresh, "once is enough"

    def test_nor_is_another_one_taken(self, spool, tmp_path, caplog):
        load_site_key(tmp_path / "one.key", spool)
        load_or_create_site_key(tmp_path / "other.key")
        with pytest.raises(ConfigurationError, match="not the site key of this spool") as caught:
            load_site_key(tmp_path / "other.key", spool)
        assert "keys.new_site_key" in caught.value.hint
        load_site_key(tmp_path / "other.key", spool, accept_new=True)
        assert "NEW SITE KEY" in caplog.text

    def test_a_damaged_one_is_an_error_of_its_own(self, spool, tmp_path):
        path = tmp_path / "site.key"
        path.write_text("nothing\n")
        path.chmod(0o600)
        with pytest.raises(KeyMaterialError):
            load_site_key(path, spool)
        assert spool.known_site_key() == ""


class TestLogOutput:
    def test_nobody_waits_for_a_reader(self):
        read_fd, write_fd = os.pipe()
        output = LogOutput(write_fd, max_lines=10)
        record = logging.LogRecord("name", logging.INFO, "path", 1, "x" * 10_000, None, None)
        started = time.monotonic()
        for _ in range(200):
            output.emit(record)
        output.flush()
        assert time.monotonic() - started < 20, "it waits a second for what is on its way, and no longer"
        got = bytearray()
        told = threading.Event()

        def read() -> None:
            while b"lost: nobody read them in time" not in got:
                got.extend(os.read(read_fd, 1 << 16))
            told.set()

        threading.Thread(target=read, daemon=True).start()
        deadline = time.monotonic() + 30
        while not told.wait(0.05) and time.monotonic() < deadline:
            output.emit(logging.LogRecord("name", logging.INFO, "path", 1, "one more", None, None))
        assert told.is_set()


def test_client_can_still_be_made_as_the_forwarder_makes_it(make_config):
    assert isinstance(forwarder_module._client(load(make_config(1))), Client)
