"""The spool: encrypted objects on disk, between the answer to the sender and the delivery.

An object is in the spool from the moment its file has its final name, and that happens only when every byte of it is
on the disk. So the folder alone says what the node has promised to deliver; the journal is its index (decision 0003).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from iomt_crypt.durable import appear, new_file, sync_folder
from iomt_crypt.errors import ConfigurationError, DiskFullError, StorageError
from iomt_crypt.node.ballast import BALLAST_BYTES, Ballast
from iomt_crypt.node.status import is_disk_full

_SITE_KEY = "site-key.fingerprint"
_NAME = re.compile(r"[0-9]{20}-[0-9a-f]{8}\.dcm")


class Draft:
    """One object on its way into the spool: write to ``file``, then `Spool.commit`.

    ``file`` is a seekable binary file open for reading and writing, mode 0600, invisible to the forwarder.
    """

    def __init__(self, folder: Path) -> None:
        # Arrival time first, so that names sort by arrival; random, so that no two receptions share a name, not even
        # two of the same SOP instance.
        self.name = f"{time.time_ns():020d}-{os.urandom(4).hex()}.dcm"
        self.path = folder / f"{self.name}.tmp"
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.file: BinaryIO = os.fdopen(descriptor, "w+b", buffering=1 << 16)

    def discard(self) -> None:
        """Close and remove the file; does nothing when the draft was committed."""
        # On a full disk the last flush fails; the file is closed and goes away all the same.
        with suppress(OSError):
            self.file.close()
        self.path.unlink(missing_ok=True)


class Spool:
    """A folder with ``incoming/`` (half-written), ``objects/`` (complete), ``aside/``, the journal and the lock.

    ``reserve_bytes`` is the free space that new objects may not touch.
    """

    def __init__(self, folder: Path, *, reserve_bytes: int = 0) -> None:
        self.folder = folder
        self.incoming = folder / "incoming"
        self.objects = folder / "objects"
        self.aside = folder / "aside"  # what could not be read; a person looks
        self.ballast = Ballast(folder / "ballast")
        self.journal_path = folder / "journal.sqlite3"
        self.reserve_bytes = reserve_bytes

    def create(self) -> None:
        """Make the folders, mode 0700, where they are missing, and set aside room for the journal if there is any.

        Raises
        ------
        StorageError
            When a folder cannot be made.
        """
        try:
            for folder in (self.folder, self.incoming, self.objects, self.aside):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"spool folder {self.folder}: {error.strerror}", hint="choose a folder that the node's user may write"
            ) from error
        self.ballast.set_aside()

    def free_bytes(self) -> int:
        """Bytes that this user may still write to the file system of the spool."""
        return shutil.disk_usage(self.folder).free

    def require_room(self, size_bytes: int) -> None:
        """Check that ``size_bytes`` more leave the reserve untouched, and room for the journal.

        Raises
        ------
        DiskFullError
            When they do not.
        """
        free = self.free_bytes()
        # What the journal was given, it is to have until it is set aside again.
        reserve = self.reserve_bytes + (0 if self.ballast.is_there else BALLAST_BYTES)
        if free - size_bytes < reserve:
            raise DiskFullError(
                f"spool has {free} bytes free, {size_bytes} wanted, reserve {reserve}",
                hint="make room on the spool's file system",
            )

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """Open a draft; what was not committed when the block ends leaves no trace."""
        draft = Draft(self.incoming)
        try:
            yield draft
        finally:
            draft.discard()

    def commit(self, draft: Draft) -> Path:
        """Make the draft durable and give it its place; return the path of the object.

        When this returns, the object survives a power cut: its bytes are synced before the rename, the folder after.

        Raises
        ------
        OSError
            When the disk does not take it (ENOSPC, EIO); the object is then not in the spool.
        """
        draft.file.flush()
        os.fsync(draft.file.fileno())
        draft.file.close()
        path = self.objects / draft.name
        appear(draft.path, path)
        try:
            sync_folder(self.objects)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return path

    def path(self, name: str) -> Path:
        """Where the object called ``name`` lies."""
        return self.objects / name

    def names(self) -> list[str]:
        """Names of the complete objects, in order of arrival."""
        with os.scandir(self.objects) as entries:
            return sorted(entry.name for entry in entries if _NAME.fullmatch(entry.name))

    def remove(self, name: str) -> None:
        """Remove an object that was delivered; one that is gone already is no error."""
        self.path(name).unlink(missing_ok=True)

    def set_aside(self, name: str) -> Path:
        """Move an object out of the way, where a person finds it; return its new path. Raises OSError."""
        path = self.aside / name
        self.path(name).rename(path)
        sync_folder(self.aside)
        return path

    def n_aside(self) -> int:
        """How many objects lie aside."""
        try:
            return sum(1 for _ in self.aside.iterdir())
        except OSError:
            return 0

    def restore_ballast(self) -> None:
        """Set aside room for the journal again, once twice as much and the reserve are free."""
        if not self.ballast.is_there and self.free_bytes() >= self.reserve_bytes + 2 * BALLAST_BYTES:
            self.ballast.set_aside()

    def clear_incoming(self) -> int:
        """Remove what a dead receiver left half-written; return how many files that were."""
        n_removed = 0
        for path in self.incoming.iterdir():
            path.unlink(missing_ok=True)
            n_removed += 1
        return n_removed

    def lock(self, *, wait_s: float = 0.0) -> int:
        """Take the spool for this node; return the descriptor that holds the lock.

        The lock belongs to the open file, so children that inherit the descriptor keep it until the last of them is
        gone: a new node waits up to ``wait_s`` seconds for the remains of one whose supervisor was killed.

        Raises
        ------
        StorageError
            When another node has it.
        """
        descriptor = os.open(self.folder / "node.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                os.close(descriptor)
                raise StorageError(
                    f"another node uses the spool {self.folder}",
                    hint="one node per spool: stop the other, or give this one its own",
                ) from None
            return descriptor

    def announce(self, facts: dict[str, Any]) -> None:
        """Write ``facts`` to ``node.json``, mode 0600, whole or not at all."""
        self._write_small("node.json", json.dumps(facts))

    def known_site_key(self) -> str:
        """Fingerprint of the site key under which this spool's objects got their UIDs; empty when none came yet.

        Raises
        ------
        ConfigurationError
            The note of it cannot be read.
        """
        try:
            return (self.folder / _SITE_KEY).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{self.folder / _SITE_KEY}: cannot be read ({type(error).__name__})") from None

    def note_site_key(self, fingerprint: str) -> None:
        """Remember the site key in force, durably."""
        self._write_small(_SITE_KEY, fingerprint)

    def _write_small(self, name: str, text: str) -> None:
        with new_file(self.folder / name, mode=0o600, replace=True) as file:
            file.write(f"{text}\n".encode())

    def announced(self) -> dict[str, Any] | None:
        """Read ``node.json``; None when there is none."""
        try:
            facts = json.loads((self.folder / "node.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) else None

    def withdraw(self) -> None:
        """Remove ``node.json``: the node no longer listens."""
        (self.folder / "node.json").unlink(missing_ok=True)


def storage_error(error: OSError, where: str) -> StorageError:
    """Make ``error`` one of ours: no room, or a disk that does not work."""
    if is_disk_full(error):
        return DiskFullError(f"{where}: no room", hint="make room on the spool's file system")
    return StorageError(f"{where}: {error.strerror or type(error).__name__}")
