"""A real Orthanc with the plug-in, whose parts can be made to fail while it runs."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from demo import orthanc

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "plugins" / "orthanc"
SCRIPT = PACKAGE / "iomt_crypt_orthanc" / "script" / "iomt_crypt_plugin.py"
LIBRARIES = Path("/usr/share/orthanc/plugins")
PASSWORDS = {"alice": "alice's word", "bob": "bob:s wörd"}
LIMIT_S = 180.0

# Both halves look for a word in the file FAULT whenever they do something, and fail there.
_FAULTS = """
import sys
from pathlib import Path

FAULT = Path({fault!r})


def due(name):
    return FAULT.exists() and name in FAULT.read_text().split()


def broken(name, function, error):
    def call(*arguments, **options):
        if due(name):
            raise type(error)(*error.args)
        return function(*arguments, **options)
    return call
"""
_WORKER_FAULTS = """
import errno, io, os, time
if any("iomt_crypt_orthanc" in word for word in sys.orig_argv):
    import iomt_crypt_orthanc.protector as protector
    import iomt_crypt_orthanc.quarantine as quarantine
    from iomt_crypt.errors import UnsupportedError
    protector.read_file = broken("read", protector.read_file, RuntimeError("Zebedee^Quentin"))
    protector.encrypt_source = broken("protect", protector.encrypt_source, MemoryError("Zebedee^Quentin"))
    protector.find_record = broken("find", protector.find_record, UnsupportedError("of no kind"))
    full = OSError(errno.ENOSPC, "No space left on device")
    quarantine._sealed = broken("full", quarantine._sealed, full)
    os.fsync = broken("fsync", os.fsync, OSError(errno.EIO, "Input/output error"))
    take = protector.Protector.take
    def fatal(self, data):
        if b"Zebedee" not in data:
            return take(self, data)  # the test object of a worker that starts
        if due("die"):
            os._exit(9)
        if due("hang"):
            time.sleep(1000)
        return take(self, data)
    protector.Protector.take = fatal
    aside = protector.Protector.set_aside
    def aside_fatal(self, data, reason):
        if due("die-twice"):
            os._exit(9)
        return aside(self, data, reason)
    protector.Protector.set_aside = aside_fatal
"""
_HOST_FAULTS = """
import iomt_crypt_orthanc.reception as reception
Reception = reception.Reception
Reception._decide = broken("decide", Reception._decide, RuntimeError("Zebedee^Quentin"))
Reception._count = broken("count", Reception._count, MemoryError())
Reception.received = broken("callback", Reception.received, RuntimeError())  # Orthanc logs its message
Reception.approve_c_store = broken("filter", Reception.approve_c_store, RuntimeError())
"""


def make_python(folder: Path, fault: Path) -> Path:
    """An interpreter that finds both packages, and the faults."""
    faults = folder / "fault"
    faults.mkdir()
    (faults / "sitecustomize.py").write_text(_FAULTS.format(fault=str(fault)) + _WORKER_FAULTS)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={faults}:{PACKAGE}:{ROOT} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def make_script(folder: Path, fault: Path) -> Path:
    """The plug-in's script, with the faults."""
    script = folder / "faulty_plugin.py"
    start = f"import sys\nsys.path[:0] = [{str(SCRIPT.parent)!r}]\nsys.path += [{str(PACKAGE)!r}, {str(ROOT)!r}]\n"
    script.write_text(start + _FAULTS.format(fault=str(fault)) + _HOST_FAULTS + "import iomt_crypt_plugin\n")
    return script


class Plugged(orthanc.Orthanc):
    """An Orthanc that asks for a password, with plug-ins."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        super().__init__(folder, "ARCHIVE", orthanc.AE_TITLES)
        self._options = options

    def configuration(self) -> dict[str, Any]:
        return super().configuration() | {"AuthenticationEnabled": True, "RegisteredUsers": PASSWORDS} | self._options

    def get(self, path: str) -> bytes:
        status, body = self.ask("GET", path)
        if status != 200:
            raise OSError(f"Orthanc answered {status} to GET {path}")
        return body

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, user: str | None = "bob", **headers: str
    ) -> tuple[int, bytes]:
        """Status and body; ``user=None`` comes without a password."""
        with closing(HTTPConnection(self.host, self.http_port, timeout=LIMIT_S)) as connection:
            if user is not None:
                pair = f"{user}:{PASSWORDS.get(user, '')}".encode()
                headers = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"} | headers
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def status(self) -> dict[str, Any]:
        return json.loads(self.get("/iomt-crypt/status"))

    def files(self) -> dict[str, bytes]:
        """Every stored file, by Orthanc's identifier."""
        return {each: self.get(f"/instances/{each}/file") for each in json.loads(self.get("/instances"))}


@contextmanager
def start(folder: Path, options: dict[str, Any]) -> Iterator[Plugged]:
    """Run Orthanc with the options until the block ends.

    Raises
    ------
    RuntimeError
        It does not start; the message is its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(3):  # a free port may be taken by somebody else before Orthanc binds it
        server = Plugged(folder, options)
        (folder / "orthanc.json").write_text(json.dumps(server.configuration(), indent=1))
        with server.log.open("wb") as log:
            # Without TCP_NODELAY an answer waits for a delayed acknowledgement (40 ms) again and again.
            process = subprocess.Popen(
                [str(orthanc.binary()), str(folder / "orthanc.json")],
                stdout=log,
                stderr=log,
                cwd=folder,
                # The host half finds iomt_crypt.errors where it is installed beside it, or here.
                env={**os.environ, "TCP_NODELAY": "1", "PYTHONPATH": str(ROOT)},
            )
        server.process = process
        try:
            if server.wait_until_ready(process):
                yield server
                return
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if "Address already in use" not in server.log.read_text():
            break
    raise RuntimeError(server.log.read_text())


def storescu(program: str, server: orthanc.Orthanc, folder: Path, *options: str) -> list[bool]:
    """Send every file of a folder in order of name; for each whether storescu saw it accepted."""
    command = [program, "-aet", "STORESCU", "-aec", server.ae_title, "-v", "-nh", *options, server.host]
    paths = [str(path) for path in sorted(folder.iterdir())]
    done = subprocess.run(
        [*command, str(server.port), *paths],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    answers = [
        line for line in done.stderr.splitlines() + done.stdout.splitlines() if "Received Store Response" in line
    ]
    accepted = ["(Success)" in line for line in answers]
    return accepted + [False] * (len(paths) - len(accepted))


def require_libraries() -> None:
    """Orthanc's own plug-ins that are needed here; they are not programs that could be looked up on the PATH."""
    for name in ("libOrthancPython.so", "libOrthancDicomWeb.so"):
        if not (LIBRARIES / name).is_file():
            message = f"{LIBRARIES / name} is not installed (tests/install_peers.sh)"
            pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)


@dataclass
class Running:
    """A server with its faults."""

    server: Plugged
    folder: Path
    fault_file: Path
    log_seen: int = field(default=0)

    @contextmanager
    def fault(self, words: str) -> Iterator[None]:
        self.fault_file.write_text(words)
        try:
            yield
        finally:
            self.fault_file.unlink()

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def quarantined(self) -> list[Path]:
        return sorted((self.state / "quarantine").glob("*.sealed"))

    def log_text(self) -> str:
        return self.server.log.read_text()


def wait_until(condition: Any, limit_s: float = LIMIT_S) -> None:
    """Wait for a state of another process that nobody announces."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the state was not reached"
        time.sleep(0.05)
