"""The raw words of an object's pixels, as the image cipher sees them: what statistics and classifier look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom.encaps import generate_frames

from iomt_crypt.dicom import Policy, Source, block, read_file
from iomt_crypt.dicom.file import open_input
from iomt_crypt.dicom.pixel import COLUMNS, FRAMES, plan_pixels
from iomt_crypt.dicom.uid import SOP_INSTANCE
from iomt_crypt.errors import MalformedError

#: Words of one frame: uint8 or uint16.
Frame = npt.NDArray[np.unsignedinteger[Any]]

_SOP_CLASS = 0x00080016
# What was encrypted was limited then; here only single frames are read.
_LARGEST = Policy(max_pixel_bytes=0xFFFFFFFE, expansion_allowance_bytes=1 << 48)


@dataclass(frozen=True)
class Cells:
    """Frames of one object.

    Parameters
    ----------
    frames
        uint8 or uint16 in native byte order, read-only, (rows, words in a row) as the image cipher takes them: cells of
        16 bits and more as 16-bit words, of 8 bits and of 1 bit as bytes. (1, n) where the words do not make whole
        rows, and for compressed frames, which are the bytes of their fragments. Empty for an object without pixels.
    indices
        Which frames these are, from 0, ascending.
    n_total
        Frames of the object; 1-bit frames that are not whole bytes count as one, as for the cipher.
    word_bits
        8 or 16; 0 without pixels.
    has_record
        The object carries the record of its encryption; nothing in it was checked.
    compressed
        The pixels are encapsulated, so that the frames are compressed streams.
    """

    frames: tuple[Frame, ...]
    indices: tuple[int, ...]
    n_total: int
    word_bits: int
    has_record: bool
    sop_class_uid: str
    sop_instance_uid: str
    compressed: bool = False


def read_cells(source: str | Path | BinaryIO, *, n_frames: int | None = None) -> Cells:
    """Read the words of an object, plain or encrypted, native or compressed; nothing is decoded.

    Parameters
    ----------
    source
        A path, or a stream (readable, seekable) that stays open.
    n_frames
        Read so many frames at most, 1 or more: the first, the last, and between them one of each of equal parts. Which
        one varies from part to part, so that no regular pattern of frames escapes; it is the same in each run.

    Raises
    ------
    InputError
        No such file, no DICOM object, or one whose geometry contradicts its pixels.
    """
    if isinstance(source, str | Path):
        with open_input(source) as stream:
            return _read(stream, n_frames)
    return _read(source, n_frames)


def sample_indices(n_total: int, n_frames: int | None) -> tuple[int, ...]:
    """Choose ``n_frames`` of ``n_total`` frames, see `read_cells`; all of them for None, ascending."""
    if n_frames is not None and n_frames < 1:
        raise ValueError(f"n_frames must be 1 or more, got {n_frames}")
    if n_frames is None or n_frames >= n_total:
        return tuple(range(n_total))
    if n_frames == 1:
        return (0,)
    inner, n_parts = n_total - 2, n_frames - 2
    chosen = [0]
    for part in range(n_parts):
        start, end = part * inner // n_parts, (part + 1) * inner // n_parts
        # Fibonacci hashing: parts of one length do not give frames at one distance.
        chosen.append(1 + start + ((part * 0x9E3779B97F4A7C15 + n_total) >> 7) % (end - start))
    return (*chosen, n_total - 1)


def _read(stream: BinaryIO, n_frames: int | None) -> Cells:
    source = read_file(stream)
    frames: tuple[Frame, ...] = ()
    indices: tuple[int, ...] = ()
    n_total = 0
    if source.pixel is not None:
        reader = _encapsulated if source.pixel.encapsulated else _native
        n_total, indices, found = reader(source, n_frames)
        frames = tuple(_frozen(frame) for frame in found)
    return Cells(
        frames=frames,
        indices=indices,
        n_total=n_total,
        word_bits=frames[0].dtype.itemsize * 8 if frames else 0,
        has_record=block.find_record(source.header) is not None,
        sop_class_uid=source.text(_SOP_CLASS),
        sop_instance_uid=source.text(SOP_INSTANCE),
        compressed=source.pixel is not None and source.pixel.encapsulated,
    )


def _native(source: Source, n_frames: int | None) -> tuple[int, tuple[int, ...], Iterator[Frame]]:
    pixel, plan = source.pixel, plan_pixels(source, _LARGEST)
    assert pixel is not None  # noqa: S101 - for the type checker
    assert plan is not None  # noqa: S101 - for the type checker
    layout = plan.raster.layout()
    n_units, unit_bytes, row_length = layout.n_frames, layout.frame_bytes, layout.row_length
    if plan.form == "carrier":
        n_units = max(1, _declared_frames(source))
        if source.deflated is None:  # YBR_FULL_422: two samples for each pixel where the carrier has three
            unit_bytes, row_length = pixel.size // n_units, 2 * (source.number(COLUMNS) or 1)
        if pixel.size < n_units * unit_bytes:
            raise MalformedError(f"the pixel value has {pixel.size} bytes, {n_units * unit_bytes} are declared")
    indices = sample_indices(n_units, n_frames)
    order = "<" if source.encoding.little_endian else ">"
    dtype = np.dtype(f"{order}u{layout.word_bits // 8}")

    def frames() -> Iterator[Frame]:
        for index in indices:
            source.stream.seek(pixel.offset + index * unit_bytes)
            words: Frame = np.frombuffer(source.stream.read(unit_bytes), dtype).astype(dtype.newbyteorder("="))
            yield words.reshape(-1, row_length) if words.size % row_length == 0 else words.reshape(1, -1)

    return n_units, indices, frames()


def _encapsulated(source: Source, n_frames: int | None) -> tuple[int, tuple[int, ...], Iterator[Frame]]:
    """Frames by the offset table or, where it is empty, by the count of fragments (PS3.5 A.4)."""
    assert source.pixel is not None  # noqa: S101 - for the type checker
    n_total = max(1, _declared_frames(source))
    wanted = sample_indices(n_total, n_frames)
    source.stream.seek(source.pixel.offset)
    found = {}
    try:
        for index, frame in enumerate(generate_frames(source.stream, number_of_frames=n_total)):
            if index in wanted:
                found[index] = np.frombuffer(frame, np.uint8).reshape(1, -1)
            if index == wanted[-1]:
                break
    except Exception as error:  # noqa: BLE001 - pydicom raises whatever the bytes lead to
        raise MalformedError(f"the compressed frames cannot be told apart ({type(error).__name__})") from None
    if len(found) != len(wanted):
        raise MalformedError(f"the object declares {n_total} frames, and there are fewer")
    return n_total, wanted, iter(found.values())


def _declared_frames(source: Source) -> int:
    text = source.text(FRAMES)
    return int(text) if text.isdigit() else 1


def _frozen(frame: Frame) -> Frame:
    frame.flags.writeable = False
    return frame
