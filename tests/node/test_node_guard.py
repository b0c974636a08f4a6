"""The guard in the node: what it holds, who lets it go, and what of that is on record."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pwd
import sqlite3
import time
from pathlib import Path

import pytest
from node_harness import EXPLICIT, cli, cli_json, dataset, uid, wait_until, write_object

from iomt_crypt.dicom import protect, read_network
from iomt_crypt.errors import ConfigurationError, InputError, KnownAnswerError, UnsupportedError
from iomt_crypt.node import decision
from iomt_crypt.node.check import check
from iomt_crypt.node.config import load
from iomt_crypt.node.entry import GUARD, NewEntry, State
from iomt_crypt.node.epoch import EpochSource
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.recovery import adopt
from iomt_crypt.node.sender import Sender
from iomt_crypt.node.spool import Spool
from iomt_crypt.node.transport import configure_pynetdicom

configure_pynetdicom()

CHECKED = {"policy": "block", "classifier": False}
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite3")
    journal.create()
    yield journal
    journal.close()


def add(journal: Journal, number: int) -> int:
    return journal.add(NewEntry(f"{number:020d}-00000000.dcm", "1.2", f"2.25.{number}", 10, 1000.0 + number))


def held_by_guard(journal: Journal, number: int) -> int:
    object_id = add(journal, number)
    journal.claim(limit=9, lease_s=60)
    journal.blocked(object_id, reason="statistics: plain")
    return object_id


def row(journal: Journal, object_id: int):
    return next(entry for entry in journal.entries() if entry.id == object_id)


class TestDecisions:
    def test_what_the_guard_holds(self, journal):
        number = held_by_guard(journal, 1)
        entry = row(journal, number)
        assert (entry.state, entry.held_by, entry.reason, entry.alarm, entry.cleared) == (
            State.HELD,
            GUARD,
            "statistics: plain",
            "statistics: plain",
            False,
        )
        assert journal.totals().n_held_by_guard == 1

    def test_all_passes_by_what_the_guard_holds(self, journal):
        guarded = held_by_guard(journal, 1)
        by_hand = add(journal, 2)
        journal.hold([by_hand], reason="maintenance")
        for reason in ("", "all is well"):
            journal.release(None, reason=reason)
            assert row(journal, guarded).state is State.HELD
        assert row(journal, by_hand).state is State.QUEUED

    def test_a_name_is_not_enough(self, journal):
        guarded, by_hand = held_by_guard(journal, 1), add(journal, 2)
        journal.hold([by_hand], reason="maintenance")
        for reason in ("", "   "):
            with pytest.raises(InputError, match=f"object {guarded} is held by the guard") as caught:
                journal.release([by_hand, guarded], reason=reason)
            assert "--reason TEXT sends it unchecked, in your name" in caught.value.hint
        assert row(journal, by_hand).state is State.HELD, "all or nothing"

    def test_a_person_lets_it_go_with_a_reason(self, journal):
        number = held_by_guard(journal, 1)
        assert journal.release([number], reason="test pattern", who="alice") == 1
        entry = row(journal, number)
        assert (entry.state, entry.held_by, entry.cleared) == (State.QUEUED, None, True)
        assert entry.alarm == "statistics: plain", "what was found is not forgotten"

    @pytest.mark.parametrize("named", [True, False])
    def test_the_guard_looks_again(self, journal, named):
        number = held_by_guard(journal, 1)
        assert journal.release([number] if named else None, again=True) == 1
        entry = row(journal, number)
        assert (entry.state, entry.cleared) == (State.QUEUED, False)

    def test_every_decision_is_on_record(self, journal):
        first, second = held_by_guard(journal, 1), add(journal, 2)
        journal.hold([second], reason="maintenance", who="bob")
        journal.release([second], who="bob")
        journal.release([first], reason="test pattern", who="alice")
        journal.claim(limit=9, lease_s=60)
        journal.failed(second, reason="refused")
        journal.resend([second], who="carol")
        journal.warned(first, reason="classifier: odd")
        assert [(d.who, d.action, d.object_id, d.sop_instance_uid, d.reason) for d in journal.decisions()] == [
            (GUARD, "held", first, "2.25.1", "statistics: plain"),
            ("bob", "held", second, "2.25.2", "maintenance"),
            ("bob", "released", second, "2.25.2", ""),
            ("alice", "released unchecked", first, "2.25.1", "test pattern"),
            ("carol", "resent", second, "2.25.2", ""),
            (GUARD, "warned", first, "2.25.1", "classifier: odd"),
        ]
        assert all(abs(d.at - time.time()) < 60 for d in journal.decisions())

    def test_a_refused_action_is_not_on_record(self, journal):
        with pytest.raises(InputError):
            journal.release([add(journal, 1)])
        assert journal.decisions() == []

    def test_many_objects(self, journal):
        numbers = [add(journal, number) for number in range(1203)]
        assert journal.hold(None, reason="maintenance") == len(numbers)
        assert journal.release(numbers) == len(numbers)
        assert len(journal.decisions()) == 2 * len(numbers)

    def test_who(self, monkeypatch):
        monkeypatch.delenv("SUDO_USER", raising=False)
        assert decision.operator() == ME
        monkeypatch.setattr(os, "getuid", lambda: 0)
        monkeypatch.setenv("SUDO_USER", "alice")
        assert decision.operator() == "root (sudo: alice)"
        monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
        assert decision.operator() == "uid 4000000"


_VERSION_1 = """
CREATE TABLE journal (schema_version INTEGER NOT NULL);
INSERT INTO journal VALUES (1);
CREATE TABLE object (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, spool_name VARCHAR NOT NULL, sop_class_uid VARCHAR NOT NULL,
    sop_instance_uid VARCHAR NOT NULL, original_sop_instance_uid VARCHAR, study_instance_uid VARCHAR,
    series_instance_uid VARCHAR, form VARCHAR, suite VARCHAR, n_frames INTEGER, size_bytes INTEGER NOT NULL,
    encrypt_seconds FLOAT, calling_ae_title VARCHAR, received_at FLOAT NOT NULL, state VARCHAR NOT NULL,
    attempts INTEGER NOT NULL, refusals INTEGER NOT NULL, not_before FLOAT NOT NULL, lease_until FLOAT,
    delivered_at FLOAT, reason VARCHAR NOT NULL, UNIQUE (spool_name)
);
CREATE INDEX object_by_state ON object (state, id);
CREATE INDEX ix_object_sop_instance_uid ON object (sop_instance_uid);
CREATE INDEX ix_object_original_sop_instance_uid ON object (original_sop_instance_uid);
CREATE TABLE record (
    object_id INTEGER NOT NULL PRIMARY KEY, record BLOB NOT NULL, FOREIGN KEY(object_id) REFERENCES object (id)
);
INSERT INTO object (spool_name, sop_class_uid, sop_instance_uid, size_bytes, received_at, state, attempts, refusals,
    not_before, reason) VALUES ('a.dcm', '1.2', '2.25.1', 10, 1000.0, 'queued', 0, 0, 0.0, ''),
    ('b.dcm', '1.2', '2.25.2', 10, 1001.0, 'held', 1, 0, 0.0, 'by hand');
"""


class TestVersion1:
    @pytest.fixture
    def old(self, tmp_path) -> Journal:
        path = tmp_path / "journal.sqlite3"
        connection = sqlite3.connect(path)
        connection.executescript(_VERSION_1)
        connection.close()
        journal = Journal(path)
        yield journal
        journal.close()

    def test_it_is_brought_up_to_date(self, old):
        old.create()
        old.create()
        old.require_version()
        first, second = old.entries()
        assert (first.sha256, first.held_by, first.alarm, first.cleared) == (None, None, None, False)
        assert old.release(None) == 1, "what a person held before is released as before"
        assert second.reason == "by hand"
        assert [entry.id for entry in old.claim(limit=9, lease_s=60)] == [1, 2]
        old.blocked(1, reason="digest: x")
        assert [d.action for d in old.decisions()] == ["released", "held"]

    def test_a_command_does_not_change_it(self, old):
        with pytest.raises(ConfigurationError, match="schema version 1") as caught:
            old.require_version()
        assert "start it with this version" in caught.value.hint
        connection = sqlite3.connect(old.path)
        assert connection.execute("SELECT schema_version FROM journal").fetchall() == [(1,)]
        columns = {row[1] for row in connection.execute("PRAGMA table_info(object)")}
        connection.close()
        assert "sha256" not in columns


class TestEpoch:
    """The known-answer test before each epoch."""

    def test_no_object_while_it_fails(self, identity):
        class Recipients:
            def read(self):
                return [identity.recipient]

            def changed(self):
                return False

        now, broken = [0.0], []

        def self_test():
            if broken:
                raise KnownAnswerError("known-answer test failed: x", hint="encrypt nothing")

        source = EpochSource(Recipients(), n_objects=2, hours=1, clock=lambda: now[0], self_test=self_test)
        first = source.current()
        source.current()
        broken.append(True)
        for _ in range(2):
            with pytest.raises(KnownAnswerError, match="known-answer test failed") as caught:
                source.current()
            assert caught.value.hint == "encrypt nothing"
        assert "known-answer" in source.facts().problem
        broken.clear()
        now[0] += 1000
        source.look()
        assert source.current().id != first.id
        assert source.facts().problem == ""
        broken.append(True)
        with pytest.raises(KnownAnswerError):
            EpochSource(Recipients(), n_objects=2, hours=1, self_test=self_test)


def test_an_object_that_is_adopted_has_its_digest(tmp_path, journal, epoch, policy):
    spool = Spool(tmp_path / "spool")
    spool.create()
    name = "00000000000000000001-00000000.dcm"
    path = spool.path(name)
    with path.open("wb+") as sink:
        protect(read_network(dataset(1), transfer_syntax_uid=EXPLICIT), sink, epoch=epoch, policy=policy)
    assert adopt(spool, journal) == 1
    (entry,) = journal.entries()
    assert entry.sha256 == hashlib.sha256(path.read_bytes()).digest()


def send(path: Path, port: int) -> None:
    sender = Sender([path], Peer("IOMTCRYPT", "127.0.0.1", port), calling_ae_title="MODALITY")
    sender.send(path)
    sender.close()


def states(config: Path) -> list[str]:
    journal = Journal(config.parent / "spool" / "journal.sqlite3")
    found = [str(entry.state) for entry in journal.entries()]
    journal.close()
    return found


def test_a_rotten_disk_is_found_before_the_archive_gets_it(tmp_path, archive, make_config, run_node):
    """Held, visible, passed by, checked again, and in the end released by name and with a reason."""
    archive.answer = lambda n, event: 0xA700
    config = make_config(archive.port, checks=CHECKED)
    node = run_node(config)
    send(write_object(tmp_path, 1, size=64), node.port)
    archive.wait(lambda: archive.n_requests > 0)
    (path,) = (tmp_path / "spool" / "objects").iterdir()
    with path.open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"\0")
    archive.answer = lambda n, event: 0
    node.wait_line("HELD by the guard")
    (found,) = cli_json("node", "queue", "--config", config)
    assert (found["state"], found["held_by"]) == ("held", "guard")
    assert found["reason"].startswith("digest: the file is not the one that was written")

    done = cli("node", "release", "--config", config, "--all", "--reason", "it will be all right")
    assert (done.returncode, done.stderr.splitlines()[:2]) == (0, ["released: 0", "still held by the guard: 1"])
    done = cli("node", "release", "--config", config, found["id"])
    assert done.returncode == 1
    assert "--check-again" in done.stderr
    assert states(config) == ["held"]

    assert cli("node", "release", "--config", config, "--check-again", "--all").stderr == "released: 1\n"
    node.wait_line("HELD by the guard", count=2)
    wait_until(lambda: states(config) == ["held"])
    assert not archive.stored

    done = cli("node", "release", "--config", config, "--reason", "seen by me", found["id"])
    assert (done.returncode, done.stderr) == (0, "released: 1\n")
    archive.wait(lambda: len(archive.stored) == 1)
    wait_until(lambda: states(config) == ["delivered"])
    trail = [(d["who"], d["action"], d["reason"]) for d in cli_json("node", "audit", "--config", config)]
    assert [(who, action) for who, action, _ in trail] == [
        ("guard", "held"),
        (decision.operator(), "checked again"),
        ("guard", "held"),
        (decision.operator(), "released unchecked"),
    ]
    assert trail[-1][2] == "seen by me"
    assert "released unchecked" in cli("node", "audit", "--config", config).stdout
    assert cli_json("node", "status", "--config", config)[0]["held_by_guard"] == 0
    node.stop()


OWN = """
from monai.transforms import Transform
from iomt_crypt.errors import PlainImageError

class NotOnSundays(Transform):
    def __call__(self, data):
        raise PlainImageError("not on Sundays")
"""


def test_warn_sends_it_with_the_alarm_on_record(tmp_path, archive, make_config, run_node, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "site_check.py").write_text(OWN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "own"))
    checks = {"policy": "warn", "classifier": False, "own": ["site_check:NotOnSundays"]}
    config = make_config(archive.port, checks=checks)
    node = run_node(config)
    send(write_object(tmp_path, 1, size=64), node.port)
    archive.wait(lambda: len(archive.stored) == 1)
    node.wait_line("ALARM, sent all the same id=1 .*NotOnSundays: not on Sundays")
    wait_until(lambda: states(config) == ["delivered"])
    (found,) = cli_json("node", "queue", "--config", config)
    assert found["alarm"] == "NotOnSundays: not on Sundays"
    assert [d["action"] for d in cli_json("node", "audit", "--config", config)] == ["warned"]
    node.stop()


def test_a_node_whose_checks_cannot_run_does_not_start(tmp_path, archive, make_config, run_node):
    config = make_config(archive.port, checks=CHECKED | {"own": ["no_such_module:Check"]})
    (finding,) = (finding for finding in check(load(config)) if finding.name == "checks")
    assert not finding.ok
    assert finding.text == "own check 'no_such_module:Check' cannot be loaded: there is no such module"
    node = run_node(config)
    assert node.process.wait(60) == 1
    node.close()
    assert any("own check 'no_such_module:Check' cannot be loaded" in line for line in node.lines)
    assert not any("node ready" in line for line in node.lines)


def test_a_node_whose_own_check_fails_to_load_ends(tmp_path, archive, make_config, run_node, monkeypatch):
    """It is there, so that only the forwarder finds out, when the receiver may be up already."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "site_check.py").write_text("raise RuntimeError('Zebedee')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "own"))
    node = run_node(make_config(archive.port, checks=CHECKED | {"own": ["site_check:Check"]}))
    assert node.process.wait(60) == 1
    node.close()
    assert any("own check 'site_check:Check' cannot be loaded: RuntimeError" in line for line in node.lines)
    assert not any("Zebedee" in line for line in node.lines)


def test_digest_of_the_file_is_in_the_journal(tmp_path, archive, make_config, run_node):
    archive.answer = lambda n, event: 0xA700
    config = make_config(archive.port)
    node = run_node(config)
    send(write_object(tmp_path, 1), node.port)
    (path,) = (tmp_path / "spool" / "objects").iterdir()
    journal = Journal(tmp_path / "spool" / "journal.sqlite3")
    (entry,) = journal.entries()
    journal.close()
    assert entry.sha256 == hashlib.sha256(path.read_bytes()).digest()
    assert entry.sop_instance_uid != uid(1)
    assert json.loads((tmp_path / "spool" / "node.json").read_text())["port"] == node.port
    node.stop()


@pytest.mark.parametrize("damage", ["header", "pixels", "other"])
def test_read_back_sees_any_difference(tmp_path, epoch, policy, damage):
    from iomt_crypt.checks.readback import read_back
    from iomt_crypt.dicom import protect, read_network

    received = dataset(1, size=64)
    with (tmp_path / "draft").open("w+b") as draft:
        protect(read_network(received, transfer_syntax_uid="1.2.840.10008.1.2.1"), draft, epoch=epoch, policy=policy)
        read_back(draft, io.BytesIO(received), origin="network", epoch=epoch)
        if damage == "other":
            received = dataset(2, size=64)
        else:
            draft.seek(700 if damage == "header" else -50, os.SEEK_SET if damage == "header" else os.SEEK_END)
            byte = draft.read(1)
            draft.seek(-1, os.SEEK_CUR)
            draft.write(bytes([byte[0] ^ 1]))
        kind = UnsupportedError if damage == "header" else KnownAnswerError  # a clear header that seems changed
        with pytest.raises(kind, match="read-back failed"):
            read_back(draft, io.BytesIO(received), origin="network", epoch=epoch)
