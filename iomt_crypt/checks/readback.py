"""Does what was just encrypted open again? Asked of every object, while its original is still there."""

from __future__ import annotations

from typing import BinaryIO, Literal, Protocol, cast

from iomt_crypt.dicom.restore import restore_source
from iomt_crypt.dicom.source import Source, read_file
from iomt_crypt.errors import HeaderDriftError, IomtCryptError, KnownAnswerError, MalformedError, UnsupportedError
from iomt_crypt.seal import Epoch, Keyring

_PIECE_BYTES = 1 << 20

Origin = Literal["file", "network"]


class Original(Protocol):
    """What is compared with, from its beginning: a file, or anything else that can be read once."""

    def read(self, size: int, /) -> bytes: ...


def read_back(file: BinaryIO, original: Original, *, origin: Origin, epoch: Epoch) -> None:
    """Decrypt the object in ``file`` by the ordinary way and compare it with ``original``, byte for byte.

    Memory: one frame and a mebibyte besides what is there.

    Parameters
    ----------
    file
        Readable and seekable; what is in its buffer counts.
    original
        The file that was encrypted, or the data set as it was received, read from where it stands to its end.
    origin
        Which of the two it is.
    epoch
        What the object was encrypted under.

    Raises
    ------
    KnownAnswerError
        The object does not open, or what comes out is not what came in.
    UnsupportedError
        Its clear header cannot be read, or would be taken for one that was changed, though its pixels open: the object
        is of a kind that is not handled.
    """
    try:
        source = read_file(file)
    except (MalformedError, UnsupportedError) as error:
        raise _strange(type(error).__name__) from None
    except IomtCryptError as error:
        raise _failed(f"it does not open: {type(error).__name__}") from None
    read_back_source(source, original, origin=origin, epoch=epoch)


def read_back_source(source: Source, original: Original, *, origin: Origin, epoch: Epoch) -> None:
    """`read_back` of an object that is parsed already."""
    sink = _Comparison(original, skips_meta=origin == "network")
    try:
        # As it is opened by default. Any change that is seen is one too many; what cannot be compared is not one.
        restored = restore_source(source, cast(BinaryIO, sink), keyring=Keyring.of_epoch(epoch), headers="merged")
    except (HeaderDriftError, MalformedError, UnsupportedError) as error:
        raise _strange(type(error).__name__) from None
    except IomtCryptError as error:
        raise _failed(f"it does not open: {type(error).__name__}") from None
    if restored.changed:
        raise _strange(f"{', '.join(restored.changed[:3])} would be called changed")
    if restored.origin != origin or not sink.complete():
        raise _failed("it gives other bytes")


class _Comparison:
    """A sink that keeps nothing: it compares what is written with an original.

    Of an object from the network `restore_source` writes file meta information first, in one piece, which the original
    does not have.
    """

    def __init__(self, original: Original, *, skips_meta: bool) -> None:
        self._original = original
        self._skips = skips_meta
        self._equal = True

    def write(self, data: bytes | memoryview) -> int:
        if self._skips:
            self._skips = False
        elif self._equal:
            view = memoryview(data)
            pieces = (view[at : at + _PIECE_BYTES] for at in range(0, len(view), _PIECE_BYTES))
            self._equal = all(self._next_is(piece) for piece in pieces)
        return len(data)

    def _next_is(self, piece: memoryview) -> bool:
        expected = self._original.read(len(piece))
        # one memcmp; '==' with a view compares element by element
        return len(expected) == len(piece) and expected.startswith(piece)

    def complete(self) -> bool:
        """Whether all that was written is equal, and nothing of the original is left."""
        return self._equal and not self._original.read(1)


def _strange(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"read-back failed: the encrypted object would not come back ({what})",
        hint="nothing was kept; where it comes again, a header of this kind is not handled: please report it",
    )


def _failed(what: str) -> KnownAnswerError:
    return KnownAnswerError(
        f"read-back failed: {what}",
        hint="the object was not taken, its original is where it was. Look at this machine, its memory first, before "
        "more is encrypted on it",
    )
