"""How the encrypted pixel value is laid out: frames where they were, or the whole value in a carrier raster.

The image cipher works on the bytes of the pixel value, never on decoded pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil

from iomt_crypt.dicom.encoding import refuse_unsupported
from iomt_crypt.dicom.parse import PixelValue
from iomt_crypt.dicom.policy import Policy
from iomt_crypt.dicom.source import Source
from iomt_crypt.errors import MalformedError, UnsupportedError
from iomt_crypt.seal import Layout

SAMPLES, PHOTOMETRIC, PLANAR, FRAMES, ROWS, COLUMNS = (
    0x00280002,
    0x00280004,
    0x00280006,
    0x00280008,
    0x00280010,
    0x00280011,
)
BITS_ALLOCATED = 0x00280100
PIXEL_DATA = 0x7FE00010
_MAX_SEALED_EXCESS = 1 << 24
_UNIT_BYTES = 1 << 13  # what a unit costs besides its bytes: a call of the cipher takes as long as some kB
_EMPTY_ITEMS_BYTES = 16  # an offset table with no entries and the sequence delimiter (PS3.5 A.4)
_CELL_BITS = (1, 8, 16, 32, 64)
_COLOUR = ("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_422", "YBR_PARTIAL_420")


@dataclass(frozen=True)
class Raster:
    """Geometry of the encrypted pixels.

    n_frames counts image frames; for 1-bit images whose frames are not whole bytes, all frames are one unit.
    """

    tag: int
    rows: int
    columns: int
    samples: int
    bits: int
    n_frames: int
    photometric: str

    @property
    def frame_bits(self) -> int:
        return self.rows * self.columns * self.samples * self.bits

    @property
    def size_bytes(self) -> int:
        return ceil(self.frame_bits * self.n_frames / 8)

    def layout(self) -> Layout:
        """Units for the suite: one for each frame where frames are whole bytes."""
        aligned = self.frame_bits % 8 == 0
        n_units, unit_bytes = (self.n_frames, self.frame_bits // 8) if aligned else (1, self.size_bytes)
        word_bits = 16 if self.bits >= 16 and unit_bytes % 2 == 0 else 8
        row_length = max(1, self.columns * self.samples * self.bits // word_bits)
        return Layout(n_units, unit_bytes, word_bits, row_length)


@dataclass(frozen=True)
class PixelPlan:
    """What becomes of the pixels of one object.

    form
        ``"native"``: unit i of the raster is unit i of the source; ``"carrier"``: the payload runs through the raster
        from its first byte, zeros (encrypted: noise) behind it
    payload_bytes
        bytes of the source's value in the raster
    excess_bytes
        bytes of the source's value behind the raster, sealed with the header
    """

    form: str
    raster: Raster
    payload_bytes: int
    excess_bytes: int


def plan_pixels(source: Source, policy: Policy) -> PixelPlan | None:
    """Decide the form; None for an object without pixels, which may have an empty pixel element all the same.

    Raises
    ------
    MalformedError
        Geometry missing or contradicting the value, or a size over the policy's limit.
    UnsupportedError
        Transfer syntax or Bits Allocated that is not handled.
    """
    refuse_unsupported(source.transfer_syntax_uid)
    if source.pixel is None or _is_bare(source, source.pixel):
        return None
    declared = _declared_raster(source)
    size = source.pixel.size
    if size == 0:
        raise MalformedError("the pixel value is empty")
    if source.pixel.encapsulated:
        return _carrier(declared, size, policy)
    if source.deflated is not None:
        return _carrier(declared, len(source.deflated), policy)
    if declared.photometric == "YBR_FULL_422":
        # two samples for each pixel; written as RGB, for which the raster needs three
        _require(size, declared.size_bytes * 2 // 3, declared)
        return _carrier(declared, size, policy)
    _require(size, declared.size_bytes, declared)
    _limit(declared, size, policy)
    return PixelPlan("native", _written_as(declared), declared.size_bytes, size - declared.size_bytes)


def _is_bare(source: Source, pixel: PixelValue) -> bool:
    """Whether the pixel element is an empty one of an object that is no image, e.g. of a report."""
    is_empty = pixel.size == 0 or (pixel.encapsulated and pixel.size <= _EMPTY_ITEMS_BYTES)
    return is_empty and not source.number(ROWS) and not source.number(COLUMNS)


def _declared_raster(source: Source) -> Raster:
    if source.pixel is None:
        raise MalformedError("no pixel element")
    rows, columns = source.number(ROWS) or 0, source.number(COLUMNS) or 0
    bits, samples = source.number(BITS_ALLOCATED), source.number(SAMPLES) or 1
    if bits is None and source.pixel.tag != PIXEL_DATA:
        bits = 32 if source.pixel.tag == 0x7FE00008 else 64
    if not rows or not columns or not bits:
        raise MalformedError(f"Rows {rows}, Columns {columns}, Bits Allocated {bits}: an image needs all three")
    if bits not in _CELL_BITS:
        raise UnsupportedError(f"Bits Allocated {bits} is not handled; handled: {', '.join(map(str, _CELL_BITS))}")
    text = source.text(FRAMES)
    try:
        n_frames = int(text) if text else 1
    except ValueError:
        raise MalformedError("Number of Frames (0028,0008) is not a number") from None
    if n_frames < 1:
        n_frames = 1  # written by some devices for single frames
    return Raster(source.pixel.tag, rows, columns, samples, bits, n_frames, source.text(PHOTOMETRIC))


def _carrier(declared: Raster, payload_bytes: int, policy: Policy) -> PixelPlan:
    """The payload in the declared raster. What does not fit is sealed with the header, which leaves the geometry as it
    was; only much too much makes more frames.
    """
    raster = _written_as(declared)
    if payload_bytes - raster.size_bytes > _MAX_SEALED_EXCESS:
        raster = Raster(**{**vars(raster), "n_frames": ceil(payload_bytes * 8 / raster.frame_bits)})
    _limit(raster, payload_bytes, policy)
    in_raster = min(payload_bytes, raster.size_bytes)
    return PixelPlan("carrier", raster, in_raster, payload_bytes - in_raster)


def _written_as(declared: Raster) -> Raster:
    """Native pixels may not be YBR_ICT, YBR_RCT or YBR_PARTIAL (PS3.5 8.2), nor YBR_FULL in ultrasound: RGB."""
    photometric = declared.photometric
    if declared.samples == 3 and photometric in _COLOUR:
        photometric = "RGB"
    return Raster(**{**vars(declared), "photometric": photometric})


def _require(size: int, expected: int, declared: Raster) -> None:
    if size < expected:
        raise MalformedError(
            f"the pixel value has {size} bytes; {declared.n_frames} frame(s) of {declared.rows} x {declared.columns} x "
            f"{declared.samples} x {declared.bits} bit need {expected}"
        )


def _limit(raster: Raster, payload_bytes: int, policy: Policy) -> None:
    """Raise MalformedError where the raster is too large, for anything or for what there is to put into it."""
    what = (
        f"{raster.n_frames} frame(s) of {raster.rows} x {raster.columns} x {raster.samples} x {raster.bits} bit "
        f"need {raster.size_bytes} bytes"
    )
    if raster.size_bytes > policy.max_pixel_bytes:
        raise MalformedError(f"{what}, the limit is {policy.max_pixel_bytes}")
    allowed = policy.allowed_bytes(payload_bytes)
    n_units = raster.n_frames if raster.frame_bits % 8 == 0 else 1
    if raster.size_bytes + n_units * _UNIT_BYTES > allowed:
        raise MalformedError(
            f"{what} for {payload_bytes} bytes of pixels, the limit is {allowed} with {_UNIT_BYTES} for each unit",
            hint="where the image is what it should be: encrypt --max-expansion; of the node: policy.max_expansion",
        )


def units(source: Source, plan: PixelPlan, buffers: Iterable[memoryview]) -> Iterator[memoryview]:
    """Plain units of the raster, one after another, each in the next of ``buffers`` (one unit long each)."""
    layout = plan.raster.layout()
    stream, remaining = source.stream, plan.payload_bytes
    deflated = memoryview(source.deflated) if source.deflated is not None else None
    if deflated is None and source.pixel is not None:
        stream.seek(source.pixel.offset)
    for _, view in zip(range(layout.n_frames), buffers, strict=False):
        wanted = min(layout.frame_bytes, remaining)
        if deflated is None:
            got = stream.readinto(view[:wanted])  # type: ignore[attr-defined]
        else:
            start = plan.payload_bytes - remaining
            view[:wanted] = deflated[start : start + wanted]
            got = wanted
        if got != wanted:
            raise MalformedError(f"the pixel value ends {wanted - got} bytes early: the file changed while it was read")
        view[wanted:] = bytes(layout.frame_bytes - wanted)
        remaining -= wanted
        yield view
