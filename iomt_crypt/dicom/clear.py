"""The clear header: what the archive gets to see of an object.

PS3.3 C.7.6.1.1.2 (a derived image is a new instance), C.12.1 (SOP Common), PS3.5 8.1.1 (cells are used in full).
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydicom.uid import UID

from iomt_crypt import __version__
from iomt_crypt.dicom import bulk, pixel, uid
from iomt_crypt.dicom.element import Element, Transcoder, encode_items
from iomt_crypt.dicom.parse import Header, raw_value
from iomt_crypt.dicom.pixel import PixelPlan, Raster
from iomt_crypt.dicom.policy import Policy
from iomt_crypt.dicom.source import Source

SOP_CLASS = 0x00080016
IMAGE_TYPE = 0x00080008
DERIVATION = 0x00082111
CONTRIBUTING_EQUIPMENT = 0x0018A001
_FUNCTIONAL_GROUPS = 0x52009229
_ENHANCED = ("Enhanced", "3D", "Tomosynthesis")
_OPHTHALMIC_PHOTOGRAPHY = "1.2.840.10008.5.1.4.1.1.77.1.5"
_MAX_ST_CHARACTERS = 1024


@dataclass(frozen=True)
class ClearHeader:
    """Elements of the clear header, and how they differ from the original ones.

    delta
        tag -> element as written; None for an element that was dropped. Sealed in the object, so that on the way back
        a change made by the archive can be told from ours.
    """

    elements: list[Element]
    delta: dict[int, Element | None]
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str


class _ClearEditor:
    """Drops what shows pixels, and lets references follow the derived UIDs."""

    def __init__(self, uids: uid.UidMap) -> None:
        self._uids = uids
        self.edited = False

    def edit(self, tag: int, vr: str, value: bytes, item: Header) -> bytes | None:
        if tag not in uid.REFERENCES:
            if not bulk.is_dropped(tag, vr, value) and not bulk.is_disputed(tag, sequence=False):
                return value
            self.edited = True
            return None
        referenced = raw_value(item, uid.REFERENCED_CLASS).decode("ascii", "replace")
        derived = self._uids.derive_value(value, referenced.strip(" \0"))
        if derived.rstrip(b"\0 ") == value.rstrip(b"\0 "):
            return value
        self.edited = True
        return derived

    def keeps_sequence(self, tag: int, items: Sequence[Header]) -> bool:
        keeps = not bulk.is_dropped_sequence(tag, items) and not bulk.is_disputed(tag, sequence=True)
        self.edited = self.edited or not keeps
        return keeps


def clear_header(source: Source, plan: PixelPlan | None, policy: Policy) -> ClearHeader:
    """Make the clear header of ``source``.

    Raises
    ------
    MalformedError
        A sequence cannot be parsed.
    """
    study = source.text(uid.STUDY)
    site_key = policy.site_key if policy.uids == "derive" else None
    uids = uid.UidMap(site_key, keep=frozenset((study,)))
    editor = _ClearEditor(uids)
    transcoder = Transcoder(source.encoding, source.header, editor)
    elements: dict[int, Element] = {}
    delta: dict[int, Element | None] = {}
    for tag in sorted(source.header):
        editor.edited = False
        element = transcoder.element(source.header, tag)
        if element is not None:
            elements[tag] = element
        if editor.edited:
            delta[tag] = element
    changes = _changes(source, plan, elements)
    if plan is not None:
        # The frames are written last: what stands above them (private groups from 7FE1) is sealed only.
        changes |= {tag: None for tag in elements if tag > plan.raster.tag}
    changes |= _identity(source, elements, uids, fresh=plan is not None)
    for tag, changed in changes.items():
        delta[tag] = changed
        if changed is None:
            elements.pop(tag, None)
        else:
            elements[tag] = changed
    return ClearHeader(
        [elements[tag] for tag in sorted(elements)],
        delta,
        source.sop_class_uid,
        _text(elements, uid.SOP_INSTANCE),
        study,
        _text(elements, uid.SERIES),
    )


def _changes(source: Source, plan: PixelPlan | None, elements: dict[int, Element]) -> dict[int, Element | None]:
    now = dt.datetime.now(dt.UTC).strftime("%Y%m%d%H%M%S")
    changes: dict[int, Element | None] = {}
    if plan is not None:
        changes |= _pixel_module(plan.raster, source)
        changes |= _derivation(source, elements)
        changes[0x00080012] = _cs(0x00080012, "DA", now[:8])
        changes[0x00080013] = _cs(0x00080013, "TM", now[8:])
    changes[CONTRIBUTING_EQUIPMENT] = _contributing_equipment(elements, now, encrypted=plan is not None)
    return changes


def _identity(source: Source, elements: dict[int, Element], uids: uid.UidMap, *, fresh: bool) -> dict[int, Element]:
    """SOP class and instance where the data set has none: of the file meta information; ``fresh``: else a new one."""
    missing = {}
    if not _text(elements, SOP_CLASS) and source.media[0]:
        missing[SOP_CLASS] = source.media[0]
    if not _text(elements, uid.SOP_INSTANCE):
        # Random rather than derived from the header: slices without a UID may have equal headers.
        new = f"2.25.{uuid.uuid4().int}" if fresh else ""
        missing[uid.SOP_INSTANCE] = uids.derive(source.media[1]) or new
    return {tag: Element(tag, "UI", uid.encode_uid(value)) for tag, value in missing.items() if value}


def _pixel_module(raster: Raster, source: Source) -> dict[int, Element | None]:
    """Image Pixel Module of the encrypted raster (PS3.3 C.7.6.3): the whole cell is used."""
    changes: dict[int, Element | None] = {}
    if raster.photometric != source.text(pixel.PHOTOMETRIC):
        changes[pixel.PHOTOMETRIC] = Element(pixel.PHOTOMETRIC, "CS", raster.photometric.encode("ascii"))
    if raster.samples > 1 and source.number(pixel.PLANAR) is None:
        changes[pixel.PLANAR] = _us(pixel.PLANAR, 0)
    if raster.tag == pixel.PIXEL_DATA:
        changes[0x00280101] = _us(0x00280101, raster.bits)  # Bits Stored
        changes[0x00280102] = _us(0x00280102, raster.bits - 1)  # High Bit
        changes[0x00280103] = _us(0x00280103, 0)  # Pixel Representation
    declared = source.text(pixel.FRAMES)
    if raster.n_frames != (int(declared) if declared else 1):
        changes[pixel.FRAMES] = Element(pixel.FRAMES, "IS", str(raster.n_frames).encode())
    return changes


def _derivation(source: Source, elements: dict[int, Element]) -> dict[int, Element | None]:
    """Image Type value 1 and Derivation Description.

    Image Type stays in enhanced objects (attributes are conditional on ORIGINAL or MIXED) and in ophthalmic
    photography (DERIVED asks for a Source Image Sequence there).
    """
    changes: dict[int, Element | None] = {}
    image_type = elements[IMAGE_TYPE].value if IMAGE_TYPE in elements else b""
    if image_type.startswith(b"ORIGINAL") and _may_be_derived(source):
        changes[IMAGE_TYPE] = Element(IMAGE_TYPE, "CS", b"DERIVED" + image_type[len(b"ORIGINAL") :])
    text = f"pixel data encrypted by iomt-crypt {__version__}".encode()
    before = elements[DERIVATION].value.rstrip(b" \0") if DERIVATION in elements else b""
    joined = before + b"; " + text if before else text
    changes[DERIVATION] = Element(DERIVATION, "ST", joined if len(joined) <= _MAX_ST_CHARACTERS else text)
    return changes


def _may_be_derived(source: Source) -> bool:
    return _FUNCTIONAL_GROUPS not in source.header and not _stays_original(source.sop_class_uid)


@lru_cache(maxsize=256)
def _stays_original(sop_class: str) -> bool:
    name = UID(sop_class).name
    return any(word in name for word in _ENHANCED) or sop_class.startswith(_OPHTHALMIC_PHOTOGRAPHY)


def _contributing_equipment(elements: dict[int, Element], now: str, *, encrypted: bool) -> Element:
    """One more item: Purpose of Reference (109103, DCM, "Modifying Equipment"), PS3.3 C.12.1, CID 7005."""
    what = "pixel data and original header encrypted" if encrypted else "original header encrypted, UIDs replaced"
    item = [*_SOFTWARE, _cs(0x0018A002, "DT", now + "+0000"), _cs(0x0018A003, "ST", what), _PURPOSE]
    before = elements[CONTRIBUTING_EQUIPMENT].value if CONTRIBUTING_EQUIPMENT in elements else b""
    return Element(CONTRIBUTING_EQUIPMENT, "SQ", before + encode_items([item]))


def _us(tag: int, value: int) -> Element:
    return Element(tag, "US", value.to_bytes(2, "little"))


def _cs(tag: int, vr: str, text: str) -> Element:
    return Element(tag, vr, text.encode("ascii"))


_SOFTWARE = (
    _cs(0x00080070, "LO", "iomt-crypt"),
    _cs(0x00081090, "LO", "iomt-crypt"),
    _cs(0x00181020, "LO", __version__),
)
_MODIFYING = [
    _cs(0x00080100, "SH", "109103"),
    _cs(0x00080102, "SH", "DCM"),
    _cs(0x00080104, "LO", "Modifying Equipment"),
]
_PURPOSE = Element(0x0040A170, "SQ", encode_items([_MODIFYING]))


def _text(elements: dict[int, Element], tag: int) -> str:
    return elements[tag].value.decode("ascii", "replace").strip(" \0") if tag in elements else ""
