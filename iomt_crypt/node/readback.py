"""Does what was just encrypted open again? Asked of every object, while the sender still has it."""

from __future__ import annotations

import hashlib
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from iomt_crypt.dicom import restore
from iomt_crypt.errors import IomtCryptError, KnownAnswerError
from iomt_crypt.seal import Epoch, Keyring


def read_back(file: BinaryIO, received: bytes, *, epoch: Epoch) -> bytes:
    """Decrypt the object in ``file`` by the ordinary way and compare it with the data set that was received.

    Memory: one frame besides what is there.

    Parameters
    ----------
    file
        Readable and seekable; what is in its buffer counts. Left at its end.
    epoch
        What the object was encrypted under.

    Returns
    -------
    bytes
        SHA-256 of the file.

    Raises
    ------
    KnownAnswerError
        The object does not open, or what comes out is not what came in.
    """
    sink = _Comparison(received)
    try:
        restore(file, cast(BinaryIO, sink), keyring=Keyring.of_epoch(epoch), headers="strict")
    except IomtCryptError as error:
        raise _failed(f"it does not open: {type(error).__name__}") from None
    if not sink.complete:
        raise _failed("it gives other bytes")
    file.seek(0)
    return hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]  # readinto() is there


class _Comparison:
    """A sink that keeps nothing: it compares what is written, after the file meta information, with what was received.

    Of an object from the network `restore` writes that information first, in one piece.
    """

    def __init__(self, received: bytes) -> None:
        self._expected: npt.NDArray[np.uint8] = np.frombuffer(received, np.uint8)
        self._position: int | None = None
        self._equal = True

    @property
    def complete(self) -> bool:
        return self._equal and self._position == self._expected.size

    def write(self, data: bytes | memoryview) -> int:
        if self._position is None:
            self._position = 0
            return len(data)
        start, self._position = self._position, self._position + len(data)
        if self._equal:
            self._equal = np.array_equal(np.frombuffer(data, np.uint8), self._expected[start : self._position])
        return len(data)


def _failed(what: str) -> KnownAnswerError:
    return KnownAnswerError(
        f"read-back failed: {what}",
        hint="the object was not taken; its sender still has it. Look at this machine before more is encrypted on it",
    )
