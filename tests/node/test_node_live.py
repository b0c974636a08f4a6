"""The node as a process, between a real sender and an archive that can misbehave."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from node_harness import (
    CT,
    EXPLICIT,
    LIMIT_S,
    MR,
    PATIENT,
    PATIENT_ID,
    Archive,
    _element,
    cli,
    cli_json,
    dataset,
    opened,
    part10,
    uid,
    wait_until,
    write_object,
)

from iomt_crypt.errors import IomtCryptError, NetworkError
from iomt_crypt.node.client import Client, Timeouts
from iomt_crypt.node.entry import State
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.sender import Sender
from iomt_crypt.node.spool import Spool
from iomt_crypt.node.transport import configure_pynetdicom

configure_pynetdicom()


def _send(port: int, paths, *, aet: str = "MODALITY") -> list[str]:
    """Send; return an error text for each file, empty for those answered with success."""
    sender = Sender(paths, Peer("IOMTCRYPT", "127.0.0.1", port), calling_ae_title=aet)
    answers = []
    for path in paths:
        try:
            sender.send(path)
            answers.append("")
        except IomtCryptError as error:
            answers.append(str(error))
    sender.close()
    return answers


def _check_delivered(archive: Archive, identity, numbers, **options) -> None:
    assert dict(opened(stored, identity) for stored in archive.stored) == {
        uid(number): dataset(number, **options) for number in numbers
    }


def test_objects_arrive_encrypted_and_return_byte_for_byte(tmp_path, archive, make_config, run_node, identity):
    node = run_node(make_config(archive.port))
    paths = [write_object(tmp_path, number, sop_class=CT if number % 2 else MR) for number in range(20)]
    assert _send(node.port, paths) == [""] * 20
    archive.wait(lambda: len(archive.stored) == 20)
    assert {stored.transfer_syntax_uid for stored in archive.stored} == {EXPLICIT}
    for stored in archive.stored:
        number = int(opened(stored, identity)[0].rpartition(".")[2])
        plain = dataset(number, sop_class=CT if number % 2 else MR)
        assert opened(stored, identity) == (uid(number), plain)
        assert plain[-64:] not in stored.data
    config = tmp_path / "node.toml"
    wait_until(lambda: cli_json("node", "status", "--config", config)[0]["delivered"] == 20)
    assert list((tmp_path / "spool" / "objects").iterdir()) == []
    rows = cli_json("node", "queue", "--config", config)
    assert {row["original_sop_instance_uid"] for row in rows} == {uid(number) for number in range(20)}
    assert {row["sop_instance_uid"] for row in rows} == {stored.sop_instance_uid for stored in archive.stored}
    assert all(row["encrypt_seconds"] > 0 and row["attempts"] == 1 and not row["reason"] for row in rows)
    assert archive.n_associations <= 4, "the association is kept"
    assert json.loads((tmp_path / "spool" / "node.json").read_text())["port"] == node.port
    assert node.stop(signal.SIGTERM) == 0
    assert archive.n_released == archive.n_associations
    assert not (tmp_path / "spool" / "node.json").exists()
    text = "".join(node.lines)
    assert "node stopped" in text
    for secret in (PATIENT, PATIENT_ID, "Zebedee"):
        assert secret not in text


def test_unknown_classes_and_syntaxes_are_accepted_and_refusals_say_why(tmp_path, archive, make_config, run_node):
    config = make_config(archive.port, receive={"max_object_bytes": 4000})
    node = run_node(config)
    private_class, private_syntax = "1.2.826.0.1.3680043.10.2.1", "1.2.826.0.1.3680043.10.2.2"
    good = write_object(tmp_path, 1)
    cases = {
        "private class": (part10(dataset(2, sop_class=private_class), private_class, uid(2)), ""),
        "private syntax": (part10(dataset(3), CT, uid(3), private_syntax), ""),
        "garbage": (part10(b"\x08\x00\x16\x00UI\xff\xffgarbage" * 9, CT, uid(6)), "0xC00"),
        "too large": (part10(dataset(7, size=64), CT, uid(7)), "0xC004"),
    }
    paths = []
    for name, (content, _) in cases.items():
        paths.append(tmp_path / f"{name}.dcm")
        paths[-1].write_bytes(content)
    answers = _send(node.port, [good, *paths, write_object(tmp_path, 8)])
    assert answers[0] == answers[-1] == ""
    for (name, (_, expected)), answer in zip(cases.items(), answers[1:-1], strict=True):
        assert (expected in answer) if expected else not answer, f"{name}: {answer}"
    # A command that names another object than the data set does.
    client = Client(Peer("IOMTCRYPT", "127.0.0.1", node.port), calling_ae_title="MODALITY")
    client.open([(CT, EXPLICIT), (MR, EXPLICIT)])
    for sop_class, instance in ((CT, uid(5)), (MR, uid(4))):
        (tmp_path / "other.dcm").write_bytes(part10(dataset(4), sop_class, instance))
        code, comment = client.store(tmp_path / "other.dcm")
        assert code == 0xA900
        assert "differs between command and data set" in comment
    client.release()
    archive.wait(lambda: len(archive.stored) == 3)
    for entry in (tmp_path / "spool" / "incoming").iterdir():
        raise AssertionError(f"{entry} was left behind")
    assert node.stop() == 0
    text = "".join(node.lines)
    assert "Traceback" not in text
    assert PATIENT not in text


def test_no_value_of_an_odd_header_reaches_the_log(tmp_path, archive, make_config, run_node):
    """Values that break their VR, which pydicom likes to quote; in an object taken and in one refused."""
    node = run_node(make_config(archive.port, node={"log_level": "DEBUG"}))
    odd = dataset(1)
    for tag, vr in ((0x00100030, "DA"), (0x00101010, "AS"), (0x00200052, "UI"), (0x00201040, "LO")):
        marker = _element(tag, vr, f"Zebedee\x07{'x' * 70}".encode())
        position = odd.index(_element(0x00280002, "US", b"\1\0"))
        earlier = odd.index(_element(0x0020000D, "UI", uid(900001).encode()))
        at = earlier if tag < 0x0020000D else position
        odd = odd[:at] + marker + odd[at:]
    paths = [tmp_path / "taken.dcm", tmp_path / "refused.dcm"]
    paths[0].write_bytes(part10(odd, CT, uid(1)))
    paths[1].write_bytes(part10(odd[:-40], CT, uid(1)))
    assert [bool(answer) for answer in _send(node.port, paths)] == [False, True]
    archive.wait(lambda: len(archive.stored) == 1)
    assert node.stop() == 0
    text = "".join(node.lines)
    assert "object stored" in text
    assert "object refused" in text
    assert "Zebedee" not in text
    assert PATIENT_ID not in text


def test_access_lists(tmp_path, archive, make_config, run_node):
    config = make_config(
        archive.port,
        receive={
            "allow_ae_titles": ["MODALITY"],
            "allow_addresses": ["127.0.0.0/8"],
            "require_called_ae_title": True,
            "max_associations": 2,
        },
    )
    node = run_node(config)
    limits = Timeouts(connect_s=60, answer_s=60)
    here = Peer("IOMTCRYPT", "127.0.0.1", node.port)
    first, second = (Client(here, calling_ae_title="MODALITY", timeouts=limits) for _ in range(2))
    first.echo()
    for peer, aet in ((here, "STRANGER"), (Peer("OTHER", "127.0.0.1", node.port), "MODALITY")):
        with pytest.raises(NetworkError, match="rejected"):
            Client(peer, calling_ae_title=aet, timeouts=limits).echo()
    # The associations just rejected count until their threads have ended.
    wait_until(lambda: _echoes(second))
    with pytest.raises(NetworkError, match="rejected"):
        Client(here, calling_ae_title="MODALITY", timeouts=limits).echo()
    first.release()
    second.release()
    assert node.stop() == 0


def _echoes(client: Client) -> bool:
    try:
        client.echo()
    except NetworkError:
        return False
    return True


def test_addresses_that_are_not_allowed_are_cut_off(archive, make_config, run_node):
    node = run_node(make_config(archive.port, receive={"allow_addresses": ["10.9.8.0/24"]}))
    with socket.create_connection(("127.0.0.1", node.port), 10) as connection:
        assert connection.recv(1) == b""
    assert node.stop() == 0


def test_a_destination_in_trouble_loses_nothing(tmp_path, archive, make_config, run_node, identity):
    """Out of resources, abort in the middle, silence of a warning: all arrive, each exactly once."""

    def answer(n, event):
        if n in (2, 3, 9):
            return 0xA700
        if n == 5:
            event.assoc.abort()
            return 0xC000
        return 0xB000 if n == 7 else 0

    archive.answer = answer
    node = run_node(make_config(archive.port))
    paths = [write_object(tmp_path, number) for number in range(12)]
    assert _send(node.port, paths) == [""] * 12
    archive.wait(lambda: len(archive.stored) == 12)
    _check_delivered(archive, identity, range(12))
    config = tmp_path / "node.toml"
    wait_until(lambda: cli_json("node", "status", "--config", config)[0]["delivered"] == 12)
    rows = cli_json("node", "queue", "--config", config)
    assert sum(row["attempts"] for row in rows) == 16
    assert sum("0xB000" in row["reason"] for row in rows) == 1
    assert len(archive.stored) == 12
    assert node.stop() == 0


def test_an_object_that_is_refused_stops_no_other(tmp_path, archive, make_config, run_node, identity):
    """0xC000 for one object: the rest arrives, it fails with its reason, and a person can resend it."""
    refusing = [True]
    derived = {}

    def answer(n, event):
        number = derived.setdefault(event.request.AffectedSOPInstanceUID, len(derived))
        return 0xC123 if number == 1 and refusing[0] else 0

    archive.answer = answer
    config = make_config(archive.port, destination={"max_attempts": 3})
    node = run_node(config)
    assert _send(node.port, [write_object(tmp_path, number) for number in range(8)]) == [""] * 8
    archive.wait(lambda: len(archive.stored) == 7)
    node.wait_line("failed id=")
    (row,) = cli_json("node", "queue", "--config", config, "--state", "failed")
    assert row["attempts"] == 3
    assert "0xC123" in row["reason"]
    assert row["original_sop_instance_uid"] == uid(1)
    refusing[0] = False
    assert cli("node", "resend", "--config", config, row["id"]).returncode == 0
    archive.wait(lambda: len(archive.stored) == 8)
    _check_delivered(archive, identity, range(8))
    assert node.stop() == 0


def test_a_class_the_archive_does_not_know_fails_and_the_rest_arrives(tmp_path, make_config, run_node, identity):
    from pynetdicom.presentation import build_context

    archive = Archive(contexts=[build_context(CT)])
    config = make_config(archive.port, destination={"max_attempts": 2})
    node = run_node(config)
    paths = [write_object(tmp_path, number, sop_class=MR if number == 2 else CT) for number in range(5)]
    assert _send(node.port, paths) == [""] * 5
    archive.wait(lambda: len(archive.stored) == 4)
    node.wait_line("failed id=")
    (row,) = cli_json("node", "queue", "--config", config, "--state", "failed")
    assert "does not accept SOP class MR Image Storage" in row["reason"]
    assert node.stop() == 0
    archive.close()


def test_an_archive_that_is_away_is_waited_for(tmp_path, make_config, run_node, identity):
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    config = make_config(port)
    checked = cli("node", "check", "--config", config)
    assert checked.returncode == 1
    assert "destination: failed" in checked.stdout
    assert checked.stdout.count(": ok:") == 6
    node = run_node(config)
    assert _send(node.port, [write_object(tmp_path, number) for number in range(5)]) == [""] * 5
    node.wait_line("cannot be reached", count=3)
    rows = cli_json("node", "queue", "--config", config)
    assert {row["state"] for row in rows} <= {"queued", "sending"}
    assert cli("node", "hold", "--config", config, rows[-1]["id"], "--reason", "why not").returncode == 0
    archive = Archive(port)
    archive.wait(lambda: len(archive.stored) == 4)
    (held,) = cli_json("node", "queue", "--config", config, "--state", "held")
    assert held["reason"] == "why not"
    assert cli("node", "release", "--config", config, "--all").returncode == 0
    archive.wait(lambda: len(archive.stored) == 5)
    _check_delivered(archive, identity, range(5))
    checked = cli("node", "check", "--config", config)
    assert checked.returncode == 0
    assert "storage: ok" in checked.stdout
    assert node.stop() == 0
    archive.close()


def test_stop_finishes_the_objects_in_hand(tmp_path, archive, make_config, run_node, identity):
    """SIGTERM in the middle of both transfers: what was answered is kept, what is being forwarded is finished."""
    forwarding, go_on = threading.Event(), threading.Event()

    def answer(n, event):
        if n == 3:
            forwarding.set()
            assert go_on.wait(60)
        return 0

    archive.answer = answer
    config = make_config(archive.port)
    node = run_node(config)
    paths = [write_object(tmp_path, number) for number in range(40)]
    answers: list[str] = []
    sender = threading.Thread(target=lambda: answers.extend(_send(node.port, paths)))
    sender.start()
    assert forwarding.wait(60)
    node.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "receiver" not in node.children())
    go_on.set()
    assert node.process.wait(60) == 0
    sender.join(60)
    assert len(archive.stored) == 3
    assert archive.n_released == archive.n_associations == 1
    accepted = {uid(number) for number, answer in enumerate(answers) if not answer}
    assert len(accepted) >= 3
    # Started again, the node delivers the rest of what it had accepted.
    again = run_node(config)
    archive.wait(lambda: len(archive.stored) >= len(accepted))
    assert again.stop() == 0
    assert accepted <= {opened(stored, identity)[0] for stored in archive.stored}


def test_dead_parts_are_started_again_and_end_with_their_supervisor(tmp_path, archive, make_config, run_node, identity):
    config = make_config(archive.port)
    node = run_node(config)
    port = node.port
    before = node.children()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    node.wait_line("node ready", count=2)
    assert node.port == port
    assert _send(port, [write_object(tmp_path, 1)]) == [""]
    archive.wait(lambda: len(archive.stored) == 1)
    wait_until(lambda: len(node.children()) == 2)
    orphans = node.children()
    assert not set(orphans.values()) & set(before.values())
    os.kill(node.process.pid, signal.SIGKILL)
    node.process.wait()
    wait_until(lambda: not any(_runs(pid) for pid in orphans.values()))
    again = run_node(config)
    assert _send(again.port, [write_object(tmp_path, 2)]) == [""]
    archive.wait(lambda: len(archive.stored) == 2)
    _check_delivered(archive, identity, [1, 2])
    second = cli("node", "run", "--config", config)
    assert second.returncode == 1
    assert "another node uses the spool" in second.stderr
    assert again.stop(signal.SIGINT) == 0


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_port_in_use_ends_the_node_with_a_hint(archive, make_config):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = make_config(archive.port, node={"host": "127.0.0.1", "port": taken.getsockname()[1]})
        done = cli("node", "run", "--config", config)
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
    assert "hint" in done.stderr


def test_what_it_writes_is_its_own_and_an_unread_log_does_not_keep_it(tmp_path, make_config):
    """Umask 000, and a log pipe that is full from the beginning and that nobody reads."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    with suppress(BlockingIOError):
        while os.write(write_fd, bytes(1 << 12)):
            pass
    os.set_blocking(write_fd, True)
    code = "import os; os.umask(0); from iomt_crypt.cli import main; main()"
    config = make_config(1, node={"log_level": "DEBUG"})
    command = [sys.executable, "-c", code, "node", "run", "--config", str(config)]
    process = subprocess.Popen(command, stderr=write_fd, start_new_session=True)
    try:
        folder = tmp_path / "spool"
        wait_until((folder / "node.json").exists)
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
        assert {"journal.sqlite3", "node.json", "node.lock", "ballast", "site-key.fingerprint"} <= modes.keys()
        assert set(modes.values()) == {0o600}
        assert {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir()) if path.is_dir()} == {0o700}
        process.terminate()
        assert process.wait(LIMIT_S) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(read_fd)
        os.close(write_fd)


def test_a_row_without_its_file_is_failed_with_the_reason(tmp_path, archive, make_config, run_node):
    config = make_config(archive.port)
    spool = Spool(tmp_path / "spool")
    spool.create()
    journal = Journal(spool.journal_path)
    journal.create()
    from test_node_journal import _entry

    journal.add(_entry(1))
    journal.claim(limit=1, lease_s=60)
    node = run_node(config)
    node.wait_line("n_files_missing=1")
    (entry,) = journal.entries()
    assert entry.state is State.FAILED
    assert "missing" in entry.reason
    journal.close()
    assert node.stop() == 0
