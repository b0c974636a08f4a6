"""One DICOM object as it came: the spans before, of and after its pixel value, and its parsed header.

The spans are never re-encoded, so what goes back is what came in. The parsed header (raw pydicom elements) serves to
make the clear header.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

from iomt_crypt.dicom.encoding import Encoding, default_transfer_syntax, encoding_of, inflate, is_deflated
from iomt_crypt.dicom.parse import (
    MAX_HEADER_BYTES,
    PIXEL_TAGS,
    Header,
    PixelValue,
    locate_pixel_value,
    raw_value,
    read_elements,
)
from iomt_crypt.dicom.policy import Policy
from iomt_crypt.errors import MalformedError, NotDicomError
from iomt_crypt.foreign_text import is_uid

_DEFAULT = Policy()


@dataclass(frozen=True)
class Source:
    """A DICOM object, parsed as far as needed.

    stream
        seekable, holds what ``pixel`` points into
    head, tail
        the bytes before and after the pixel value; without pixels, all bytes are in ``head``. For a deflated object
        ``head`` ends where the deflated data set begins, and ``deflated`` is the data set.
    dataset_offset
        where the data set begins in ``head``
    elements
        the encoded elements of head and tail, without the pixel element
    header
        the same, parsed to raw elements
    media
        SOP class and instance that the file meta information names (0002,0002), (0002,0003); empty where it does not
    damage
        why no more than the record and the pixels of an encrypted object could be found (`iomt_crypt.dicom.salvage`);
        else empty
    """

    stream: BinaryIO
    origin: Literal["file", "network"]
    transfer_syntax_uid: str
    encoding: Encoding
    head: bytes
    tail: bytes
    dataset_offset: int
    elements: bytes
    header: Header
    pixel: PixelValue | None
    deflated: bytes | None = None
    media: tuple[str, str] = ("", "")
    damage: str = ""

    @property
    def sop_class_uid(self) -> str:
        """Of the data set; of the file meta information where the data set does not say it."""
        return self.text(0x00080016) or self.media[0]

    @property
    def sop_instance_uid(self) -> str:
        """Of the data set; of the file meta information where the data set does not say it."""
        return self.text(0x00080018) or self.media[1]

    def text(self, tag: int) -> str:
        """First value of an element with an ASCII value (UI, CS, IS); empty when absent."""
        return raw_value(self.header, tag).decode("ascii", "replace").strip(" \0").split("\\")[0].strip()

    def number(self, tag: int) -> int | None:
        """First value of a US element; None when absent or empty."""
        raw = raw_value(self.header, tag)
        if len(raw) < 2:
            return None
        return int.from_bytes(raw[:2], "little" if self.encoding.little_endian else "big")


@dataclass(frozen=True)
class FileParts:
    """Where the data set of a Part 10 file begins, its transfer syntax, and which instance it is."""

    dataset_offset: int
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    has_meta: bool


def read_file(stream: BinaryIO, *, policy: Policy = _DEFAULT) -> Source:
    """Parse a file, with or without preamble and file meta information (PS3.10 7).

    ``policy`` says how much a deflated data set may be inflated to.

    Raises
    ------
    NotDicomError, MalformedError
    """
    meta, offset = _read_meta(stream)
    source = _read(stream, offset, _meta_text(meta, 0x00020010) or None, "file", policy)
    return replace(source, media=(_meta_uid(meta, 0x00020002), _meta_uid(meta, 0x00020003)))


def read_network(
    data: bytes | bytearray | memoryview, *, transfer_syntax_uid: str, policy: Policy = _DEFAULT
) -> Source:
    """Parse a data set as it was received by C-STORE, in the negotiated transfer syntax; see `read_file`."""
    return _read(io.BytesIO(data), 0, transfer_syntax_uid, "network", policy)


def split_file(stream: BinaryIO) -> FileParts:
    """Find the data set of a Part 10 file, and its identity."""
    meta, offset = _read_meta(stream)
    stream.seek(offset)
    start = stream.read(8)
    syntax = _meta_text(meta, 0x00020010) or default_transfer_syntax(encoding_of(None, start))
    sop_class, sop_instance = _meta_text(meta, 0x00020002), _meta_text(meta, 0x00020003)
    with suppress(MalformedError):
        # A C-STORE names what is in the data set (PS3.4 B.4.1.2); file meta information is sometimes another object's.
        source = read_file(stream)
        sop_class = source.text(0x00080016) or sop_class
        sop_instance = source.text(0x00080018) or sop_instance
    return FileParts(offset, syntax, sop_class, sop_instance, has_meta=bool(meta))


def dataset_of(stream: BinaryIO) -> tuple[BinaryIO, int, str | None]:
    """The data set of a file, inflated: a stream, where it begins there, and its transfer syntax where that is said.

    Where group 0002 is damaged, or says deflated of what is not, it is the whole file.
    """
    try:
        meta, offset = _read_meta(stream)
    except MalformedError:
        return stream, 0, None
    syntax = _meta_text(meta, 0x00020010) or None
    if not is_deflated(syntax):
        return stream, offset, syntax
    stream.seek(offset)
    try:
        return io.BytesIO(inflate(stream.read())), 0, syntax
    except MalformedError:
        return stream, 0, None


def _read(
    stream: BinaryIO,
    offset: int,
    transfer_syntax_uid: str | None,
    origin: Literal["file", "network"],
    policy: Policy,
) -> Source:
    stream.seek(0)
    prefix = stream.read(offset)
    deflated = None
    start = offset
    if is_deflated(transfer_syntax_uid):
        deflated = stream.read()
        stream, start = io.BytesIO(inflate(deflated, policy.allowed_bytes(len(deflated)))), 0
    stream.seek(start)
    encoding = encoding_of(transfer_syntax_uid, stream.read(8))
    header = read_elements(stream, start, encoding, stop=PIXEL_TAGS)
    if not header:
        raise NotDicomError("not a DICOM object: no data element where the data set should begin")
    end_of_elements = stream.tell()
    pixel = locate_pixel_value(stream, end_of_elements, encoding)
    stream.seek(start)
    elements = stream.read(end_of_elements - start)
    head, tail = prefix, b""
    if deflated is None:
        head += elements + stream.read(pixel.header_bytes if pixel else -1)
    if pixel:
        stream.seek(pixel.offset + pixel.size)
        tail, behind = _read_tail(stream, encoding)
        elements += tail if behind else b""
        header |= behind
    return Source(
        stream=stream,
        origin=origin,
        transfer_syntax_uid=transfer_syntax_uid or default_transfer_syntax(encoding),
        encoding=encoding,
        head=head,
        tail=b"" if deflated is not None else tail,
        dataset_offset=offset,
        elements=elements,
        header=header,
        pixel=pixel,
        deflated=deflated,
    )


def _read_meta(stream: BinaryIO) -> tuple[Header, int]:
    stream.seek(0)
    start = stream.read(132)
    offset = 132 if start[128:] == b"DICM" else 0
    if not offset and (len(start) < 8 or not _plausible_start(start)):
        raise NotDicomError(
            "not a DICOM file: neither 'DICM' at offset 128 nor a data element at the beginning",
            hint="name DICOM objects; of a folder, what is none is skipped",
        )
    meta: Header = {}
    stream.seek(offset)
    first = stream.read(8)
    if first[:2] == b"\x02\x00":
        encoding = encoding_of("", first)
        meta = read_elements(stream, offset, encoding, stop=None)
        offset = stream.tell()
    if offset == 132 and not meta and not _plausible_start(first):
        # 'DICM' happened to be data at offset 128
        offset = 0
    return meta, offset


def _plausible_start(start: bytes) -> bool:
    """Whether a data element of a group that data sets begin with is here: 0002 to 0010, either byte order."""
    return start[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08", b"\x04\x00", b"\x10\x00")


def _meta_text(meta: Header, tag: int) -> str:
    return raw_value(meta, tag).decode("ascii", "replace").strip(" \0")


def _meta_uid(meta: Header, tag: int) -> str:
    """The UID there; empty where there is something else."""
    text = _meta_text(meta, tag)
    return text if is_uid(text) else ""


def _read_tail(stream: BinaryIO, encoding: Encoding) -> tuple[bytes, Header]:
    """The bytes behind the pixel value, and their elements; none where they are something else."""
    offset = stream.tell()
    tail = stream.read()
    if len(tail) > MAX_HEADER_BYTES:
        raise MalformedError(f"{len(tail)} bytes follow the pixel value, the limit is {MAX_HEADER_BYTES}")
    try:
        elements = read_elements(stream, offset, encoding, stop=())
    except MalformedError:
        return tail, {}  # nothing of it can stand in the clear header, and it comes back as it is
    if any(tag in elements for tag in PIXEL_TAGS):
        raise MalformedError("more than one pixel element (PS3.5 8.2: exactly one)")
    return tail, elements
