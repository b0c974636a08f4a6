"""pydicom data sets: encrypt, decrypt, without a detour over files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from copy import deepcopy
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
from iomt_crypt.dicom.file import as_epoch, as_keyring, with_site_key
from iomt_crypt.dicom.meta import meta_elements
from iomt_crypt.dicom.parse import PIXEL_TAGS, UNDEFINED, Header, PixelValue, parse_elements
from iomt_crypt.dicom.policy import Policy
from iomt_crypt.dicom.protect import prepare
from iomt_crypt.dicom.restore import Headers, restore_source
from iomt_crypt.dicom.source import Source, read_network
from iomt_crypt.seal import Epoch, Identity, Keyring, Recipient


def encrypt_dataset(
    ds: Dataset,
    *,
    recipients: Sequence[Recipient] | Epoch,
    policy: Policy = Policy(),  # noqa: B008 - frozen
) -> FileDataset:
    """The encrypted form of a pydicom data set; ``ds`` is left as it is.

    What comes back from `decrypt_dataset` is ``ds`` as pydicom writes it in the encoding it was read in (Explicit VR
    Little Endian when it was not read), byte for byte.

    Raises
    ------
    InputError
        ``ds`` cannot be encrypted; see its subclasses.
    """
    prepared = prepare(_source(ds), epoch=as_epoch(recipients), policy=with_site_key(policy))
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
    restore_source(_source(ds), sink, keyring=as_keyring(identities), headers=headers)
    sink.seek(0)
    return dcmread(sink, force=True)


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
    by_tag = {int(element.tag): element for element in ds.values()}
    pixels = [by_tag[tag] for tag in PIXEL_TAGS if tag in by_tag]
    if None in ds.original_encoding or len(pixels) != 1 or not isinstance(pixels[0].value, bytes):
        return read_network(_encode(ds, encoding), transfer_syntax_uid=syntax)
    pixel, stream, start = _pixel_value(pixels[0], encoding)
    header: Header = {}
    head: list[bytes] = []
    tail: list[bytes] = []
    del by_tag[pixel.tag]
    for tag, encoded in _encoded_elements(ds, by_tag, encoding):
        raw = by_tag[tag]
        undecoded = isinstance(raw, RawDataElement) and raw.length != UNDEFINED
        if undecoded:
            header[tag] = raw
        else:
            header |= parse_elements(encoded, encoding)
        (head if tag < pixel.tag else tail).append(encoded)
    before, behind = b"".join(head), b"".join(tail)
    return Source(stream, "network", syntax, encoding, before + start, behind, 0, before + behind, header, pixel)


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
    by_tag = {int(element.tag): element for element in ds.values()}
    return b"".join(encoded for _, encoded in _encoded_elements(ds, by_tag, encoding))


def _encoded_elements(
    ds: Dataset, by_tag: dict[int, RawDataElement | DataElement], encoding: Encoding
) -> Iterator[tuple[int, bytes]]:
    for tag in sorted(by_tag):
        if tag & 0xFFFF == 0 and tag >> 16 > 6:
            continue
        element = by_tag[tag]
        if not isinstance(element, RawDataElement) or element.length == UNDEFINED or not encoding.little_endian:
            # asked for only here: pydicom decodes the element for the answer
            yield tag, _encode_by_pydicom(element, encoding, ds.get("SpecificCharacterSet", default_encoding))
        elif encoding.implicit:
            value = element.value or b""
            value += b"\0" * (len(value) & 1)
            yield tag, pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value
        else:
            yield tag, encode_element(tag, element.VR or "UN", element.value or b"")


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
