"""pydicom data sets, without a detour over files: read as objects, encrypted ones made, and the way back.

`iomt_crypt.encrypt_dataset` is in `iomt_crypt.checks.door`.
"""

from __future__ import annotations

import io
from bisect import bisect
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from struct import pack

from pydicom import dcmread
from pydicom.charset import default_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_dataset
from pydicom.tag import BaseTag

from iomt_crypt.dicom import block
from iomt_crypt.dicom.element import Element, encode_element
from iomt_crypt.dicom.encoding import EXPLICIT_LE, Encoding, default_transfer_syntax, is_deflated
from iomt_crypt.dicom.file import as_keyring
from iomt_crypt.dicom.meta import meta_elements
from iomt_crypt.dicom.parse import PIXEL_TAGS, UNDEFINED, Header, PixelValue, parse_elements
from iomt_crypt.dicom.protect import Prepared
from iomt_crypt.dicom.restore import Headers, restore_source
from iomt_crypt.dicom.source import Source, read_network
from iomt_crypt.errors import IomtCryptError, MalformedError
from iomt_crypt.foreign_text import is_uid
from iomt_crypt.seal import Identity, Keyring


def protect_dataset(prepared: Prepared, ds: Dataset) -> FileDataset:
    """The encrypted form of ``ds``, of which ``prepared`` is made; a step of `iomt_crypt.encrypt_dataset`."""
    tags: list[bytes] = []
    noise = prepared.pixel_value(tags)
    creator, holder = block.record_elements(prepared.source.header, prepared.finished_record(tags).pack())
    elements = [*prepared.clear.elements, creator, holder]
    if prepared.plan is not None:
        elements.append(Element(prepared.record.pixel_tag, prepared.pixel_vr(), noise))
    meta = FileMetaDataset(_raw(meta_elements(prepared.clear.sop_class_uid, prepared.clear.sop_instance_uid)))
    encrypted = FileDataset("", _raw(elements), bytes(128), meta, is_implicit_VR=False, is_little_endian=True)
    encrypted.set_original_encoding(False, True, ds.original_character_set)
    return encrypted


def read_dataset(ds: Dataset) -> Source:
    """``ds`` as a source, with the SOP class and instance that its file meta information names."""
    try:
        source = _source(ds)
    except IomtCryptError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the values lead pydicom to
        raise MalformedError(f"a data set that pydicom cannot write ({type(error).__name__})") from None
    meta = getattr(ds, "file_meta", None) or {}
    names = [str(meta.get(name, "")) for name in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID")]
    sop_class, sop_instance = (name if is_uid(name) else "" for name in names)
    return replace(source, media=(sop_class, sop_instance))


def _raw(elements: list[Element]) -> dict[BaseTag, DataElement | RawDataElement]:
    raw: dict[BaseTag, DataElement | RawDataElement] = {}
    for number, vr, value in sorted(elements):
        tag = BaseTag(number)
        raw[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return raw


def decrypt_dataset(
    ds: Dataset, *, identities: Sequence[Identity] | Keyring, headers: Headers = "merged"
) -> FileDataset:
    """The original of an encrypted data set; see `restore` for the errors."""
    sink = io.BytesIO()
    restore_source(_sealed_source(ds), sink, keyring=as_keyring(identities), headers=headers)
    sink.seek(0)
    return dcmread(sink, force=True)


def _sealed_source(ds: Dataset) -> Source:
    """``ds`` as a source for the way back: where pydicom cannot write it, the record and the pixels alone."""
    try:
        return _source(ds)
    except Exception as error:  # noqa: BLE001 - whatever the values lead pydicom to
        damage = f"a data set that pydicom cannot write ({type(error).__name__})"
    encoding = _encoding(ds)
    header = _by_tag(ds)
    pixels = [header[tag] for tag in PIXEL_TAGS if tag in header and isinstance(header[tag].value, bytes)]
    stream, pixel = io.BytesIO(), None
    if pixels:
        pixel, stream, _ = _pixel_value(pixels[0], encoding)
    kept = {tag: _undecoded(element, encoding) for tag, element in header.items() if tag >> 16 == block.GROUP}
    syntax = default_transfer_syntax(encoding)
    return Source(stream, "network", syntax, encoding, b"", b"", 0, b"", kept, pixel, damage=damage)


def _undecoded(element: RawDataElement | DataElement, encoding: Encoding) -> RawDataElement | DataElement:
    """An element of our block, as it is encoded."""
    if isinstance(element, RawDataElement):
        return element
    value = element.value if isinstance(element.value, bytes) else str(element.value).encode("ascii", "replace")
    return RawDataElement(element.tag, element.VR, len(value), value, 0, encoding.implicit, encoding.little_endian)


def _encoding(ds: Dataset) -> Encoding:
    implicit, little = ds.original_encoding
    return EXPLICIT_LE if implicit is None or little is None else Encoding(implicit, little)


def _source(ds: Dataset) -> Source:
    """``ds`` as a source whose data set is encoded as pydicom would write it.

    The data set is not put together to one string of bytes and parsed again: elements that pydicom has not decoded are
    taken as they are, and the pixel value is not copied.
    """
    encoding = _encoding(ds)
    syntax = str(ds.file_meta.get("TransferSyntaxUID", "")) if hasattr(ds, "file_meta") else ""
    if not syntax or is_deflated(syntax):  # in memory it is inflated
        syntax = default_transfer_syntax(encoding)
    header = _by_tag(ds)
    pixels = [header.pop(tag) for tag in PIXEL_TAGS if tag in header]
    if None in ds.original_encoding or len(pixels) != 1 or not isinstance(pixels[0].value, bytes):
        return read_network(_encode(ds, encoding), transfer_syntax_uid=syntax)
    pixel, stream, start = _pixel_value(pixels[0], encoding)
    encoded, decoded = _encoded_elements(ds, header, encoding)
    header |= parse_elements(b"".join(decoded), encoding)
    n_before = bisect(list(encoded), pixel.tag)
    parts = list(encoded.values())
    before, behind = b"".join(parts[:n_before]), b"".join(parts[n_before:])
    return Source(stream, "network", syntax, encoding, before + start, behind, 0, before + behind, header, pixel)


def _by_tag(ds: Dataset) -> Header:
    """Elements in tag order, group lengths (retired) left out."""
    by_tag = sorted(zip(map(int, ds.keys()), ds.values(), strict=True))
    return {tag: element for tag, element in by_tag if tag & 0xFFFF or tag >> 16 <= 6}


def _pixel_value(element: RawDataElement | DataElement, encoding: Encoding) -> tuple[PixelValue, io.BytesIO, bytes]:
    """Where the pixel value is, the stream it is in, and the element's own header."""
    encapsulated = element.length == UNDEFINED if isinstance(element, RawDataElement) else element.is_undefined_length
    value = element.value or b""
    value += b"\xfe\xff\xdd\xe0\0\0\0\0" if encapsulated else b"\0" * (len(value) & 1)
    length = UNDEFINED if encapsulated else len(value)
    tag, order = int(element.tag), encoding.byteorder
    start = pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    start += b"" if encoding.implicit else str(element.VR).encode("ascii") + b"\0\0"
    start += pack(f"{order}L", length)
    return PixelValue(tag, 0, len(value), encapsulated, len(start)), io.BytesIO(value), start


def _encode(ds: Dataset, encoding: Encoding) -> bytes:
    """``ds`` as pydicom writes it, group lengths left out."""
    if None in ds.original_encoding:
        buffer = _buffer(encoding)
        write_dataset(buffer, deepcopy(ds))  # corrects ambiguous VRs in place
        return buffer.getvalue()
    encoded, _ = _encoded_elements(ds, _by_tag(ds), encoding)
    return b"".join(encoded.values())


def _encoded_elements(ds: Dataset, by_tag: Header, encoding: Encoding) -> tuple[dict[int, bytes], list[bytes]]:
    """All elements, encoded, by tag; and those of them again that pydicom has decoded."""
    encode_raw = _encode_implicit if encoding.implicit else encode_element
    encoded: dict[int, bytes] = {}
    decoded: list[bytes] = []
    for tag, element in by_tag.items():
        is_raw = isinstance(element, RawDataElement) and element.length != UNDEFINED
        if is_raw and encoding.little_endian:
            encoded[tag] = encode_raw(tag, element.VR or "UN", element.value or b"")
            continue
        # asked for only here: pydicom decodes the element for the answer
        character_set = ds.get("SpecificCharacterSet", default_encoding)
        encoded[tag] = _encode_by_pydicom(element, encoding, character_set)
        if not is_raw:
            decoded.append(encoded[tag])
    return encoded, decoded


def _encode_implicit(tag: int, _: str, value: bytes) -> bytes:
    value += b"\0" * (len(value) & 1)
    return pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value


def _encode_by_pydicom(
    element: RawDataElement | DataElement, encoding: Encoding, character_set: str | list[str] | None
) -> bytes:
    """One element by pydicom's own writer."""
    if isinstance(element, RawDataElement) and element.value is None:
        element = element._replace(value=b"")
    buffer = _buffer(encoding)
    write_data_element(buffer, element, character_set)
    return buffer.getvalue()


def _buffer(encoding: Encoding) -> DicomBytesIO:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = encoding.implicit, encoding.little_endian
    return buffer
