"""Copies of sealed records in files, as `iomt-crypt node record export` writes them.

A record is nothing secret and nothing that has to be trusted: whether it fits an object, the object itself decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from iomt_crypt.errors import AuthenticationError, InputError
from iomt_crypt.foreign_text import is_uid

_SUFFIX = ".record"
_MAX_RECORD_BYTES = 1 << 30  # of a file that is to be read whole


def no_copies(sop_instance_uid: str) -> Sequence[bytes]:
    """No record of any object."""
    return ()


def record_name(sop_instance_uid: str, number: int = 1) -> str:
    """File name of the ``number``-th record (from 1, the newest) under a UID."""
    return f"{sop_instance_uid}{_SUFFIX}" if number == 1 else f"{sop_instance_uid}-{number}{_SUFFIX}"


@dataclass(frozen=True)
class RecordCopies:
    """Copies in the folder ``path``, or the one copy in the file ``path``."""

    path: str

    def require(self) -> None:
        """Check that there is a folder, or a file with a record.

        Raises
        ------
        InputError
            When there is none.
        """
        path = Path(self.path)
        if path.is_dir():
            return
        try:
            _uid_of(_read(path))
        except AuthenticationError:
            raise InputError(
                f"{path}: not a record", hint="'iomt-crypt node record export' writes them, from the node's journal"
            ) from None

    def of(self, sop_instance_uid: str) -> list[bytes]:
        """Copies for the object with this UID, newest first; none when there is none, or it is no UID."""
        path = Path(self.path)
        if not path.is_dir():
            record = _read(path)
            return [record] if _uid_of(record) == sop_instance_uid else []
        found: list[bytes] = []
        if is_uid(sop_instance_uid):  # it becomes a file name, and whoever wrote the object chose it
            for number in count(1):
                file = path / record_name(sop_instance_uid, number)
                if not file.is_file():
                    break
                found.append(_read(file))
        return found


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_RECORD_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes are too many for a record")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _uid_of(record: bytes) -> str:
    from iomt_crypt.seal import Record

    return Record.unpack(record).sop_instance_uid
