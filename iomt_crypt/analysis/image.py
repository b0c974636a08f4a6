"""One frame of a file as the image cipher gets it, and what a viewer would show of it.

DICOM objects are read by the parts that encrypt them, so that the words are those of the gateway: raw cells of native
frames, and for compressed objects the raster that carries the compressed bytes. PNG and JPEG files are decoded by
scikit-image.
"""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from iomt_crypt.dicom import Policy, Source, block, bulk, read_file
from iomt_crypt.dicom.file import open_input
from iomt_crypt.dicom.pixel import PLANAR, PixelPlan, plan_pixels, units
from iomt_crypt.errors import AlreadyEncryptedError, InputError, MalformedError, UnsupportedError
from iomt_crypt.seal import Layout

_BITS_STORED, _SIGNED, _MODALITY, _SOP_CLASS = 0x00280101, 0x00280103, 0x00080060, 0x00080016
_WINDOW_CENTRE, _WINDOW_WIDTH, _INTERCEPT, _SLOPE = 0x00281050, 0x00281051, 0x00281052, 0x00281053
#: Largest frame that is read, in bytes.
MAXIMUM_FRAME_BYTES = 1 << 26
_CHANNELS = {1: ("",), 2: ("grey", "alpha"), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}
_COLOUR_SPACE = ("Y", "Cb", "Cr")
_PNG_MAGIC, _JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_PNG_COLOUR = (2, 4, 6)  # IHDR colour types with more than one channel

Form = Literal["native", "carrier", "picture"]


@dataclass(frozen=True, slots=True)
class Look:
    """What a viewer needs to show the words as an image.

    Parameters
    ----------
    photometric
        Photometric Interpretation (0028,0004), or "MONOCHROME2" or "RGB" for a file that is not DICOM.
    signed
        Words are two's complement.
    window
        Stored values shown as black and white; None: not given.
    """

    photometric: str
    signed: bool = False
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class Frame:
    """One frame to be encrypted.

    Parameters
    ----------
    name
        Name of the file, without its folder.
    form
        "native": cells of a DICOM image; "carrier": raster that carries compressed bytes; "picture": samples of a PNG
        or JPEG file.
    kind
        Of the file, in words; nothing about a patient.
    image
        uint8 or uint16, C-contiguous, read-only: (rows, columns), (rows, columns, channels), or with planar colour
        (channels * rows, columns). Its words in this order are what the cipher gets.
    channels
        Names of the colour planes; one empty name where there is no colour.
    planar
        The planes lie one behind the other.
    layout, index
        How the suite divides the object into units, and which unit this is (from 0).
    number, n_frames
        Which frame of the object this is, from 1, and how many it has.
    bits_stored
        Of the header, or the bits of a cell.
    look
        How to show the image.
    decoded
        The decoded frame of a carrier, (rows, columns) or (rows, columns, 3), any integers; None for other forms, or if
        nothing installed decodes it.
    notes
        What a reader must know about the form, in sentences.
    """

    name: str
    form: Form
    kind: str
    image: npt.NDArray[np.unsignedinteger[Any]]
    channels: tuple[str, ...]
    planar: bool
    layout: Layout
    index: int
    number: int
    n_frames: int
    bits_stored: int
    look: Look
    decoded: npt.NDArray[Any] | None = None
    notes: tuple[str, ...] = ()

    def planes(
        self, image: npt.NDArray[np.unsignedinteger[Any]]
    ) -> list[tuple[str, npt.NDArray[np.unsignedinteger[Any]]]]:
        """Names and 2-D planes of an image that is laid out as this frame's."""
        if len(self.channels) == 1:
            return [("", image)]
        parts = np.split(image, len(self.channels)) if self.planar else list(np.moveaxis(image, -1, 0))
        return list(zip(self.channels, parts, strict=True))


def read_frame(path: Path, *, number: int = 1) -> Frame:
    """Read frame `number` (from 1) of a DICOM, PNG or JPEG file.

    Raises
    ------
    NotDicomError
        Neither DICOM, nor PNG, nor JPEG.
    MalformedError
        Damaged.
    UnsupportedError
        No pixels, or of a kind or size that is not handled.
    AlreadyEncryptedError
        A DICOM object that is encrypted already.
    InputError
        The file cannot be read, or has no such frame.
    """
    with open_input(path) as stream:
        start = stream.read(132)
        stream.seek(0)
        if start[128:] != b"DICM" and start.startswith((_PNG_MAGIC, _JPEG_MAGIC)):
            if number != 1:
                raise InputError(f"frame {number} does not exist, the file has 1")
            return _read_picture(path, start)
        return _read_dicom(path, stream, number)


def decode_frame(data: BinaryIO, number: int) -> npt.NDArray[Any] | None:
    """Decode frame `number` (from 1) of a compressed DICOM object; None if nothing installed can.

    Returns
    -------
    ndarray
        (rows, columns), or (rows, columns, 3) as RGB.
    """
    with warnings.catch_warnings(), suppress(Exception):  # decoders fail in many ways; then there is no picture
        warnings.simplefilter("ignore")
        decoded = pixel_array(dcmread(data, force=True), index=number - 1)
        if decoded.ndim == 2 or (decoded.ndim == 3 and decoded.shape[-1] == 3):
            return np.asarray(decoded)
    return None


def _read_dicom(path: Path, stream: BinaryIO, number: int) -> Frame:
    source = read_file(stream)
    if block.find_record(source.header) is not None:
        raise AlreadyEncryptedError("encrypted already", hint="the report needs the original: decrypt it")
    bulk.refuse_unsupported_bulk(source)
    plan = plan_pixels(source, Policy())
    if plan is None:
        raise UnsupportedError("no pixels", hint="the report is about images")
    layout, n_frames = plan.raster.layout(), plan.raster.n_frames
    if layout.frame_bytes > MAXIMUM_FRAME_BYTES:
        raise UnsupportedError(f"a frame has {layout.frame_bytes} bytes, the limit is {MAXIMUM_FRAME_BYTES}")
    if not 1 <= number <= n_frames:
        raise InputError(f"frame {number} does not exist, the object has {n_frames}")
    index = number - 1 if layout.n_frames == n_frames else 0
    buffer = memoryview(bytearray(layout.frame_bytes))
    next(islice(units(source, plan, repeat(buffer)), index, None))
    words = np.frombuffer(buffer, "<u2" if layout.word_bits == 16 else np.uint8)
    shape, channels, planar, notes = _arrangement(source, plan, layout)
    decoded = None
    if plan.form == "carrier":
        stream.seek(0)
        decoded = decode_frame(io.BytesIO(stream.read()), number)
        if decoded is None:
            notes = (*notes, "Nothing that is installed decodes this compression, so the image itself is not shown.")
    return Frame(
        path.name,
        "native" if plan.form == "native" else "carrier",
        _kind(source),
        _frozen(words.astype(words.dtype.newbyteorder("=")).reshape(shape)),
        channels,
        planar,
        layout,
        index,
        number,
        n_frames,
        source.number(_BITS_STORED) or plan.raster.bits,
        _look(source, plan),
        decoded,
        notes,
    )


def _arrangement(
    source: Source, plan: PixelPlan, layout: Layout
) -> tuple[tuple[int, ...], tuple[str, ...], bool, tuple[str, ...]]:
    """Shape of the words, names of the channels, whether planes follow each other, and what to know about it."""
    raster = plan.raster
    n_words = layout.frame_bytes * 8 // layout.word_bits
    notes: tuple[str, ...] = ()
    if plan.form == "carrier":
        notes = (
            f"The pixels are compressed or subsampled. The suite encrypts the {plan.payload_bytes} bytes of their "
            "value in a raster of the declared geometry, with zeros behind them. The figures are of one frame of that "
            "raster; what they call the input is compressed data, and not the decoded image that is shown.",
        )
    if plan.form == "native" and raster.bits in (8, 16) and raster.bits == layout.word_bits:
        channels = _CHANNELS.get(raster.samples)
        if raster.samples == 3 and source.text(0x00280004).startswith("YBR"):
            channels = _COLOUR_SPACE
        if channels is None:
            channels = tuple(f"sample {k + 1}" for k in range(raster.samples))
        if raster.samples == 1:
            return (raster.rows, raster.columns), channels, False, notes
        if source.number(PLANAR) == 1:
            return (raster.samples * raster.rows, raster.columns), channels, True, notes
        return (raster.rows, raster.columns, raster.samples), channels, False, notes
    if plan.form == "native":
        notes = (f"Cells of {raster.bits} bits: the cipher takes them as words of {layout.word_bits} bits.",)
    rows, rest = divmod(n_words, layout.row_length)
    return ((rows, layout.row_length) if not rest else (1, n_words)), ("",), False, notes


def _kind(source: Source) -> str:
    """SOP class and transfer syntax by name; values of the header that are no UIDs of the standard are left out."""
    sop_class, syntax = UID(source.text(_SOP_CLASS)), UID(source.transfer_syntax_uid)
    names = [uid.name if uid.name != uid else "private or unknown" for uid in (sop_class, syntax)]
    return f"DICOM: {names[0]}, {names[1]}"


def _look(source: Source, plan: PixelPlan) -> Look:
    centre, width = _decimal(source, _WINDOW_CENTRE), _decimal(source, _WINDOW_WIDTH)
    slope, intercept = _decimal(source, _SLOPE) or 1.0, _decimal(source, _INTERCEPT) or 0.0
    window = None
    if centre is not None and width:
        low, high = sorted((centre + side * width / 2 - intercept) / slope for side in (-1, 1))
        window = low, high
    signed = source.number(_SIGNED) == 1 and plan.raster.bits > 1
    return Look(source.text(0x00280004), signed, window)


def _decimal(source: Source, tag: int) -> float | None:
    try:
        return float(source.text(tag))
    except ValueError:
        return None


def _read_picture(path: Path, start: bytes) -> Frame:
    what = "PNG" if start.startswith(_PNG_MAGIC) else "JPEG"
    if what == "PNG" and start[24] == 16 and start[25] in _PNG_COLOUR:
        # Pillow, which reads it for scikit-image, returns the upper 8 bits without a word.
        raise UnsupportedError(
            "a PNG file of 16 bits with more than one channel is not handled",
            hint="store each channel as a grey PNG of 16 bits, or the image with 8 bits",
        )
    from skimage.io import imread

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            samples = np.asarray(imread(path))
    except Exception as error:  # whatever the bytes lead the decoder to
        raise MalformedError(f"the {what} file cannot be decoded ({type(error).__name__})") from error
    if samples.dtype == np.bool_:
        samples = samples.astype(np.uint8) * np.uint8(255)
    if samples.dtype not in (np.uint8, np.uint16) or samples.ndim not in (2, 3):
        raise UnsupportedError(f"{samples.dtype} samples in {samples.ndim} dimensions are not handled")
    if samples.nbytes > MAXIMUM_FRAME_BYTES:
        raise UnsupportedError(f"the image has {samples.nbytes} bytes, the limit is {MAXIMUM_FRAME_BYTES}")
    n_channels = samples.shape[2] if samples.ndim == 3 else 1
    channels = _CHANNELS.get(n_channels) or tuple(f"sample {k + 1}" for k in range(n_channels))
    bits = 8 * samples.dtype.itemsize
    layout = Layout(1, samples.nbytes, bits, samples.size // samples.shape[0])
    look = Look("RGB" if n_channels >= 3 else "MONOCHROME2")
    notes = ("The file was decoded: iomt-crypt encrypts DICOM objects, and here its cipher is measured on samples.",)
    kind = f"{what}, {n_channels} channel{'s' if n_channels > 1 else ''} of {bits} bits"
    return Frame(
        path.name, "picture", kind, _frozen(samples), channels, False, layout, 0, 1, 1, bits, look, None, notes
    )


def _frozen(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    image = np.ascontiguousarray(image)
    image.flags.writeable = False
    return image
