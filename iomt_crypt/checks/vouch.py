"""The one way in: nothing that was encrypted is stored, sent or called a success unless it was vouched for.

In this order, and nothing is left of an object that fails:

1. Known answers of image cipher, suite and key wrapping: at the first use in a process and in each epoch.
2. Trial of the object's layout: once in each epoch. Both come before a byte of the object's pixels is written.
3. The object is encrypted.
4. The bytes that were written are held against the plain pixels: they must not be equal more often than noise is.
5. Read-back: the bytes that were written are opened by the ordinary way and compared with the bytes that came.

Command line, `iomt_crypt.encrypt_file`, `iomt_crypt.encrypt_dataset`, node, StoreHandler, and the plug-ins for Orthanc,
mercure and MONAI Deploy call what is here; so does ``rekey --rotate``. Memory: one frame. Needs neither MONAI nor
PyTorch.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.dataset import Dataset, FileDataset

from iomt_crypt.checks.layout import SuiteTrial
from iomt_crypt.checks.likeness import is_untouched
from iomt_crypt.checks.readback import read_back, read_back_source
from iomt_crypt.dicom import Policy, Protected, Source
from iomt_crypt.dicom.dataset import protect_dataset, read_dataset
from iomt_crypt.dicom.protect import prepare, write
from iomt_crypt.dicom.rekey import rotate
from iomt_crypt.dicom.restore import read_record
from iomt_crypt.dicom.salvage import read_sealed
from iomt_crypt.errors import KnownAnswerError
from iomt_crypt.seal import Epoch, Keyring, Layout

#: Of this process: an epoch's trials are made once in it.
TRIAL = SuiteTrial()
_LEAST_BYTES, _MOST_BYTES = 1 << 16, 1 << 20


@dataclass(frozen=True)
class Vouched:
    """What was written, and the seconds that steps 1, 2, 4 and 5 took."""

    protected: Protected
    seconds: float


def encrypt_source(source: Source, sink: BinaryIO, *, original: BinaryIO, epoch: Epoch, policy: Policy) -> Vouched:
    """Encrypt ``source`` into ``sink`` as `iomt_crypt.dicom.protect` does, and vouch for what is in it then.

    Parameters
    ----------
    sink
        Empty, writable, readable and seekable. It is left at its end. After an error throw it away.
    original
        What ``source`` was read from, from its beginning: the file, or the data set as received. It is read again.

    Raises
    ------
    InputError
        ``source`` cannot be encrypted; see `iomt_crypt.dicom.protect`.
    UnsupportedError
        It can, and its clear header would be taken for one that was changed.
    KnownAnswerError
        Encrypt nothing on this machine: an answer is wrong, a trial fails, pixels are still plain, or the object does
        not open as what came.
    """
    prepared = prepare(source, epoch=epoch, policy=policy)
    clock = _Clock()
    with clock:
        require(prepared.record.suite, prepared.record.layout, epoch)
    protected = write(prepared, sink)
    with clock:
        layout = prepared.record.layout
        size = layout.n_frames * layout.frame_bytes
        _require_apart(sink, protected.size_bytes - size - (size & 1), *_plain(source), layout)
        original.seek(0)
        read_back(sink, original, origin=source.origin, epoch=epoch)
    sink.seek(0, io.SEEK_END)
    return Vouched(protected, clock.seconds)


def encrypt_data_set(ds: Dataset, *, epoch: Epoch, policy: Policy) -> FileDataset:
    """The encrypted form of ``ds``, vouched for; the errors of `encrypt_source`."""
    source = read_dataset(ds)
    prepared = prepare(source, epoch=epoch, policy=policy)
    layout = prepared.record.layout
    require(prepared.record.suite, layout, epoch)
    encrypted = protect_dataset(prepared, ds)
    result = read_dataset(encrypted)
    if result.pixel is not None:
        _require_apart(result.stream, result.pixel.offset, *_plain(source), layout)
    read_back_source(result, _Joined(source), origin="network", epoch=epoch)
    return encrypted


def rotate_object(stream: BinaryIO, sink: BinaryIO, *, keyring: Keyring, epoch: Epoch) -> None:
    """`iomt_crypt.dicom.rekey.rotate`, which reads back what it wrote, between the other steps; their errors too."""
    record = read_record(read_sealed(stream))
    require(record.suite, record.layout, epoch)
    rotate(stream, sink, keyring=keyring, epoch=epoch, look=_look)


def _look(stored: memoryview, plain: memoryview) -> None:
    for at in range(0, len(plain), _MOST_BYTES):
        if is_untouched(stored[at : at + _MOST_BYTES], plain[at : at + _MOST_BYTES]):
            raise _untouched(min(_MOST_BYTES, len(plain) - at), at)


def require(suite: str, layout: Layout, epoch: Epoch) -> None:
    """Steps 1 and 2. Raises KnownAnswerError."""
    TRIAL.require(suite, layout, epoch_id=epoch.id)


def _plain(source: Source) -> tuple[BinaryIO, int, int]:
    """What stands in the raster before encryption: stream, offset, size."""
    if source.deflated is not None:
        return io.BytesIO(source.deflated), 0, len(source.deflated)
    return source.stream, source.pixel.offset if source.pixel else 0, source.pixel.size if source.pixel else 0


def _require_apart(
    stored: BinaryIO, offset: int, plain: BinaryIO, plain_offset: int, plain_bytes: int, layout: Layout
) -> None:
    """Raise KnownAnswerError if pixels are plain that were to be encrypted; see `is_untouched`."""
    end = min(layout.n_frames * layout.frame_bytes, plain_bytes)
    step = min(max(layout.frame_bytes, _LEAST_BYTES), _MOST_BYTES)
    for at in range(0, end, step):
        size = min(step, end - at)
        stored.seek(offset + at)
        plain.seek(plain_offset + at)
        if is_untouched(stored.read(size), plain.read(size)):
            raise _untouched(size, at)


def _untouched(size: int, at: int) -> KnownAnswerError:
    return KnownAnswerError(
        f"read-back failed: pixels are plain that were to be encrypted, {size} bytes from byte {at} on",
        hint="encrypt nothing on this machine until it is mended; nothing of the object was kept",
    )


class _Joined:
    """The data set of a source in memory, read once from its beginning: header, pixel value, and what follows."""

    def __init__(self, source: Source) -> None:
        size = source.pixel.size if source.pixel else 0
        if source.pixel is not None:
            source.stream.seek(source.pixel.offset)
        self._left = [(io.BytesIO(source.head), len(source.head)), (source.stream, size)]
        self._left += [(io.BytesIO(source.tail), len(source.tail))]

    def read(self, size: int, /) -> bytes:
        found = b""
        while self._left and len(found) < size:
            stream, n_left = self._left[0]
            piece = stream.read(min(size - len(found), n_left))
            found += piece
            if len(piece) < n_left and piece:
                self._left[0] = stream, n_left - len(piece)
            else:
                del self._left[0]
        return found


class _Clock:
    """Adds up the seconds of several blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began
