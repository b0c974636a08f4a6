"""The product as a user runs it: a node in its own process, and the commands of ``iomt-crypt``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.archive import Archive

NODE_AE_TITLE = "IOMTCRYPT"
FETCH_AE_TITLE = "IOMTFETCH"
_COMMAND = (sys.executable, "-m", "iomt_crypt")
# The first start compiles the kernels.
_READY_S = 240.0
_STOP_S = 60.0
_READY = re.compile(r"node ready .*?port=(\d+)")
# Arguments of one command line; the rest goes into the next.
_BATCH = 200
_DONE = ("delivered", "committed")
_STUCK = ("failed", "held")


class DemoError(RuntimeError):
    """The demo cannot go on; ``hint`` is what the user may do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Entry:
    """One object as the node's journal has it."""

    sop_instance_uid: str
    original_sop_instance_uid: str
    state: str
    size_bytes: int
    encrypt_seconds: float | None
    reason: str

    @property
    def is_delivered(self) -> bool:
        """Whether the archive took it."""
        return self.state in _DONE

    @property
    def is_settled(self) -> bool:
        """Whether the node has done with it, for good or bad."""
        return self.state in _DONE or self.state in _STUCK


@dataclass(frozen=True)
class Node:
    """A running node."""

    config: Path
    log: Path
    address: str
    process: subprocess.Popen[bytes]

    def queue(self) -> list[Entry]:
        """The journal, an entry an object."""
        lines = command("node", "queue", "--json", "--config", str(self.config)).splitlines()
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [
            Entry(
                sop_instance_uid=row["sop_instance_uid"],
                original_sop_instance_uid=row["original_sop_instance_uid"] or "",
                state=row["state"],
                size_bytes=row["size_bytes"],
                encrypt_seconds=row["encrypt_seconds"],
                reason=row["reason"],
            )
            for row in rows
        ]


def command(*arguments: str) -> str:
    """Standard output of an ``iomt-crypt`` command.

    Raises
    ------
    DemoError
        It did not exit with 0; the message is what it said.
    """
    run = subprocess.run([*_COMMAND, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if run.returncode != 0:
        raise _failure(arguments, run.stderr or run.stdout)
    return run.stdout


def start_command(arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """An ``iomt-crypt`` command in the background; what it says goes to ``log``."""
    with log.open("ab") as file:
        return subprocess.Popen([*_COMMAND, *arguments], stdout=file, stderr=file)  # noqa: S603


def _failure(arguments: Sequence[str], said: str) -> DemoError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    hint = next((line.removeprefix("hint:").strip() for line in lines if line.startswith("hint:")), "")
    message = next((line for line in lines if line.startswith("error:")), lines[-1] if lines else "no message")
    return DemoError(f"iomt-crypt {arguments[0]}: {message.removeprefix('error:').strip()}", hint)


def batches(values: Sequence[str]) -> Iterator[list[str]]:
    """Portions that fit on a command line."""
    for start in range(0, len(values), _BATCH):
        yield list(values[start : start + _BATCH])


def make_key(folder: Path) -> tuple[Path, str]:
    """A new identity file and the recipient text that belongs to it."""
    identity = folder / "identity.key"
    said = command("keygen", "-o", str(identity))
    recipient = next((word for word in said.split() if word.startswith("iomtpk")), "")
    if not recipient:
        raise DemoError("iomt-crypt keygen gave no recipient")
    return identity, recipient


def write_config(folder: Path, recipient: str, archive: Archive) -> Path:
    """The node's configuration; paths in it are relative to its folder."""
    config = folder / "node.toml"
    config.write_text(
        f"""# Written by the demo: a node on a free port of this machine, in front of the demo's archive.
[node]
ae_title = "{NODE_AE_TITLE}"
host = "127.0.0.1"
port = 0

[spool]
folder = "spool"
reserve_bytes = 100_000_000

[keys]
recipients = ["{recipient}"]
site_key = "site.key"

[destination]
ae_title = "{archive.ae_title}"
host = "{archive.host}"
port = {archive.port}
"""
    )
    return config


@contextmanager
def run_node(config: Path) -> Iterator[Node]:
    """Run a node until the block ends.

    Raises
    ------
    DemoError
        It ended, or was not ready in time.
    """
    log = config.parent / "node.log"
    process = start_command(["node", "run", "--config", str(config)], log)
    try:
        port = _wait_for_port(process, log)
        yield Node(config, log, f"{NODE_AE_TITLE}@127.0.0.1:{port}", process)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        # The log wraps nothing: one record is one line.
        found = _READY.search(log.read_text(errors="replace"))
        if found:
            return int(found[1])
        if process.poll() is not None:
            raise DemoError(f"the node ended with exit code {process.returncode} before it was ready")
        time.sleep(0.05)
    raise DemoError(f"the node was not ready after {_READY_S:.0f} s")
