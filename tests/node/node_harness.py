"""Live peers for the tests of the node: a sender's objects, an archive that can misbehave, the node itself."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from iomt_crypt.dicom import restore
from iomt_crypt.node.transport import EventSocket, abort_if_open
from iomt_crypt.seal import HpkeIdentity, Keyring
from tests.clean_environment import node_interpreter
from tests.command_line import invoke
from tests.fork_server import Fork

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = "1.2.840.10008.1.2.1"
PATIENT = "Zebedee^Quentin"
PATIENT_ID = "PID-7431-XK"
LIMIT_S = 180.0


def _element(tag: int, vr: str, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr == "UI" else b" "
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in ("OW", "OB", "SQ"):
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def uid(number: int) -> str:
    return f"1.2.826.0.1.3680043.10.1.{number}"


def dataset(number: int, *, sop_class: str = CT, size: int = 16, sop_instance: str | None = None) -> bytes:
    """An image data set, Explicit VR LE: size x size, 16 bits, pixels that depend on ``number``."""
    us = lambda n: struct.pack("<H", n)  # noqa: E731
    pixels = b"".join(us((number * 7919 + i * 31) & 0x0FFF) for i in range(size * size))
    return b"".join(
        (
            _element(0x00080008, "CS", b"ORIGINAL\\PRIMARY\\AXIAL"),
            _element(0x00080016, "UI", sop_class.encode()),
            _element(0x00080018, "UI", (sop_instance or uid(number)).encode()),
            _element(0x00080060, "CS", b"CT"),
            _element(0x00100010, "PN", PATIENT.encode()),
            _element(0x00100020, "LO", PATIENT_ID.encode()),
            _element(0x0020000D, "UI", uid(900001).encode()),
            _element(0x0020000E, "UI", uid(900002).encode()),
            _element(0x00200013, "IS", str(number).encode()),
            _element(0x00280002, "US", us(1)),
            _element(0x00280004, "CS", b"MONOCHROME2"),
            _element(0x00280010, "US", us(size)),
            _element(0x00280011, "US", us(size)),
            _element(0x00280100, "US", us(16)),
            _element(0x00280101, "US", us(12)),
            _element(0x00280102, "US", us(11)),
            _element(0x00280103, "US", us(0)),
            _element(0x7FE00010, "OW", pixels),
        )
    )


def part10(data: bytes, sop_class: str, sop_instance: str, syntax: str = EXPLICIT) -> bytes:
    from iomt_crypt.dicom.meta import file_meta

    return file_meta(sop_class, sop_instance, syntax) + data


def write_object(folder: Path, number: int, **options) -> Path:
    path = folder / f"{number:05d}.dcm"
    sop_class = options.get("sop_class", CT)
    path.write_bytes(part10(dataset(number, **options), sop_class, options.get("sop_instance") or uid(number)))
    return path


@dataclass(frozen=True)
class Stored:
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes
    association: int


class Archive:
    """A storage SCP on a free port. ``answer(n, event)`` gives the status of the n-th request, or misbehaves."""

    def __init__(self, port: int = 0, *, contexts=None, handlers=(), keeps: bool = True) -> None:
        self.stored: list[Stored] = []
        self.n_requests = 0
        self.n_associations = 0
        self.n_released = 0
        self.answer: Callable[[int, evt.Event], int] = lambda n, event: 0
        self.changed = threading.Condition()
        entity = AE("ARCHIVE")
        for context in contexts or AllStoragePresentationContexts:
            entity.add_supported_context(
                context.abstract_syntax, context.transfer_syntax, context.scu_role, context.scp_role
            )
        entity.add_supported_context(Verification)
        entity.maximum_pdu_size = 0
        self.entity = entity
        events = [
            (evt.EVT_CONN_OPEN, EventSocket.tune, [LIMIT_S]),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_RELEASED, self._on_released),
            *handlers,
        ]
        self.server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=events)
        self.port = self.server.server_address[1]

    def _count(self, name: str) -> None:
        with self.changed:
            setattr(self, name, getattr(self, name) + 1)
            self.changed.notify_all()

    def _on_established(self, event) -> None:
        self._count("n_associations")

    def _on_released(self, event) -> None:
        self._count("n_released")

    def _on_store(self, event) -> int:
        self._count("n_requests")
        code = self.answer(self.n_requests, event)
        if code in (0, 0xB000, 0xB006, 0xB007):
            request = event.request
            stored = Stored(
                str(request.AffectedSOPClassUID),
                str(request.AffectedSOPInstanceUID),
                str(event.context.transfer_syntax),
                request.DataSet.getvalue(),
                id(event.assoc),
            )
            with self.changed:
                self.stored.append(stored)
                self.changed.notify_all()
        return code

    def wait(self, condition: Callable[[], bool], timeout: float = LIMIT_S) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, timeout), f"stored {len(self.stored)}, asked {self.n_requests}"

    def close(self) -> None:
        if self.server not in self.entity._servers:
            return
        self.server.shutdown()
        deadline = time.monotonic() + LIMIT_S
        while active := self.server.active_associations:
            assert time.monotonic() < deadline, "an association does not end"
            for association in active:
                abort_if_open(association)
            time.sleep(0.005)


def opened(stored: Stored, identity: HpkeIdentity) -> tuple[str, bytes]:
    """Original SOP Instance UID and data set bytes of what the archive has."""
    encrypted = io.BytesIO(part10(stored.data, stored.sop_class_uid, stored.sop_instance_uid))
    plain = io.BytesIO()
    restored = restore(encrypted, plain, keyring=Keyring([identity]))
    from iomt_crypt.dicom import split_file

    offset = split_file(plain).dataset_offset
    return restored.sop_instance_uid, plain.getvalue()[offset:]


class Node:
    """``iomt-crypt node run`` as a process of its own, in its own process group; by ``prefix`` where there is one."""

    def __init__(self, config: Path, *, prefix: tuple[str, ...] = ()) -> None:
        arguments = ("node", "run", "--config", str(config))
        if prefix:
            code = "from iomt_crypt.cli import main; main()"
            command = [*prefix, node_interpreter(), "-c", code, *arguments]
            self.process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
        else:
            self.process = Fork(*arguments)
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._closed = False

    def _read(self) -> None:
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.decode())
                self._changed.notify_all()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_line(self, pattern: str, *, count: int = 1) -> re.Match[str]:
        """Wait until ``count`` lines match."""

        def found() -> list[re.Match[str]]:
            return [match for line in self.lines if (match := re.search(pattern, line))]

        with self._changed:
            self._changed.wait_for(lambda: len(found()) >= count or self._closed, LIMIT_S)
            assert len(found()) >= count, "".join(self.lines)
            return found()[count - 1]

    @property
    def port(self) -> int:
        return int(self.wait_line(r"node ready .*port=(\d+)")[1])

    def children(self) -> dict[str, int]:
        """Process ids of receiver and forwarder."""
        found = {}
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            for role in ("receiver", "forwarder"):
                if role.encode() in title:
                    found[role] = int(pid)
        return found

    def kill(self) -> None:
        """kill -9 of supervisor, receiver and forwarder at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(LIMIT_S)
        self.close()
        assert code == 0, "".join(self.lines)
        return code

    def close(self) -> None:
        """Close the pipe of an ended node."""
        self._reader.join(LIMIT_S)
        self.process.stderr.close()


def cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command: in this process, but for a node, which takes the signals of its process."""
    if arguments[:2] != ("node", "run"):
        return invoke(*arguments)
    fork = Fork(*arguments)
    with fork.stderr:
        text = fork.stderr.read().decode()
    return subprocess.CompletedProcess(fork.args, fork.wait(LIMIT_S), "", text)


def cli_json(*arguments: object) -> list[dict]:
    done = cli(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def wait_until(condition: Callable[[], bool], timeout: float = LIMIT_S) -> None:
    """Wait for a state that only another process can reach, and that nobody announces."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the state was not reached"
        pause.wait(0.02)
