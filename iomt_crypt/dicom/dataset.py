"""pydicom data sets: encrypt, decrypt, without a detour over files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from copy import deepcopy
from struct import pack

from pydicom import dcmread
from pydicom.charset import default_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian

from iomt_crypt.dicom import block
from iomt_crypt.dicom.element import Element
from iomt_crypt.dicom.encoding import EXPLICIT_LE, Encoding, default_transfer_syntax, is_deflated
from iomt_crypt.dicom.file import as_epoch, as_keyring, with_site_key
from iomt_crypt.dicom.meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from iomt_crypt.dicom.parse import UNDEFINED
from iomt_crypt.dicom.policy import Policy
from iomt_crypt.dicom.protect import prepare
from iomt_crypt.dicom.restore import Headers, restore
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
    pixels = b"".join(bytes(frame) for frame in prepared.frames(tags))
    creator, holder = block.record_elements(prepared.source.header, prepared.finished_record(tags).pack())
    elements = [*prepared.clear.elements, creator, holder]
    if prepared.plan is not None:
        elements.append(Element(prepared.record.pixel_tag, prepared.pixel_vr(), pixels + bytes(len(pixels) & 1)))
    raw: dict[BaseTag, DataElement | RawDataElement] = {
        BaseTag(e.tag): _raw(e) for e in sorted(elements, key=lambda e: e.tag)
    }
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(prepared.clear.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(prepared.clear.sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    encrypted = FileDataset("", Dataset(raw), bytes(128), meta, is_implicit_VR=False, is_little_endian=True)
    encrypted.set_original_encoding(False, True, ds.original_character_set)
    return encrypted


def _raw(element: Element) -> RawDataElement:
    return RawDataElement(BaseTag(element.tag), element.vr, len(element.value), element.value, 0, False, True)


def decrypt_dataset(
    ds: Dataset, *, identities: Sequence[Identity] | Keyring, headers: Headers = "merged"
) -> FileDataset:
    """The original of an encrypted data set; see `restore` for the errors."""
    sink = io.BytesIO()
    restore(io.BytesIO(_encode(ds, _encoding(ds))), sink, keyring=as_keyring(identities), headers=headers)
    sink.seek(0)
    return dcmread(sink, force=True)


def _encoding(ds: Dataset) -> Encoding:
    implicit, little = ds.original_encoding
    return EXPLICIT_LE if implicit is None or little is None else Encoding(implicit, little)


def _source(ds: Dataset) -> Source:
    """``ds`` as a source whose data set is encoded as pydicom would write it."""
    encoding = _encoding(ds)
    syntax = str(ds.file_meta.get("TransferSyntaxUID", "")) if hasattr(ds, "file_meta") else ""
    if not syntax or is_deflated(syntax):  # in memory it is inflated
        syntax = default_transfer_syntax(encoding)
    return read_network(_encode(ds, encoding), transfer_syntax_uid=syntax)


def _encode(ds: Dataset, encoding: Encoding) -> bytes:
    """``ds`` as pydicom writes it, group lengths left out."""
    if None in ds.original_encoding:
        buffer = _buffer(encoding)
        write_dataset(buffer, deepcopy(ds))  # corrects ambiguous VRs in place
        return buffer.getvalue()
    character_set = ds.get("SpecificCharacterSet", default_encoding)
    by_tag = {int(element.tag): element for element in ds.values()}
    return b"".join(
        _encode_element(by_tag[tag], encoding, character_set)
        for tag in sorted(by_tag)
        if tag & 0xFFFF or tag >> 16 <= 6
    )


def _encode_element(
    element: RawDataElement | DataElement, encoding: Encoding, character_set: str | list[str] | None
) -> bytes:
    if isinstance(element, RawDataElement) and element.length != UNDEFINED:
        value = element.value or b""
        if encoding == EXPLICIT_LE and element.VR is not None:
            return Element(int(element.tag), element.VR, value).encode()
        if encoding.implicit and encoding.little_endian:
            value += b"\0" * (len(value) & 1)
            return pack("<HHL", element.tag >> 16, element.tag & 0xFFFF, len(value)) + value
        element = element._replace(value=value)
    buffer = _buffer(encoding)
    write_data_element(buffer, element, character_set)
    return buffer.getvalue()


def _buffer(encoding: Encoding) -> DicomBytesIO:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = encoding.implicit, encoding.little_endian
    return buffer
