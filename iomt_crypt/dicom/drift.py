"""Header drift: what an archive changed in the clear header since encryption, and what of it is carried back.

Archives correct names and merge patients. The clear header as we wrote it is known exactly: the sealed original,
edited by the sealed delta. The clear header as it is now is in nobody's trust: a comparison that it spoils is
incomplete, and keeps nobody from the sealed original.
"""

from __future__ import annotations

import io
from collections.abc import Container
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.filereader import data_element_generator
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from iomt_crypt.dicom import block
from iomt_crypt.dicom.character_set import Terms, recode, terms_of
from iomt_crypt.dicom.comparison import CHARACTER_SET, same_element
from iomt_crypt.dicom.element import Element, KeepAll, Transcoder
from iomt_crypt.dicom.encoding import Encoding, encoding_of
from iomt_crypt.dicom.original import Original
from iomt_crypt.dicom.parse import PIXEL_TAGS, Header, parse_elements, raw_value
from iomt_crypt.dicom.sequence import Steps
from iomt_crypt.dicom.source import Source
from iomt_crypt.errors import HeaderDriftError, IomtCryptError

# Patient, Patient Study and General Study modules (PS3.3 C.7.1.1, C.7.2.2, C.7.2.1): string values only.
CORRECTABLE = frozenset(
    (
        0x00080020,  # Study Date
        0x00080030,  # Study Time
        0x00080050,  # Accession Number
        0x00080090,  # Referring Physician's Name
        0x00081030,  # Study Description
        0x00081048,  # Physician(s) of Record
        0x00081060,  # Name of Physician(s) Reading Study
        0x00081080,  # Admitting Diagnoses Description
        0x00100010,  # Patient's Name
        0x00100020,  # Patient ID
        0x00100021,  # Issuer of Patient ID
        0x00100022,  # Type of Patient ID
        0x00100030,  # Patient's Birth Date
        0x00100032,  # Patient's Birth Time
        0x00100040,  # Patient's Sex
        0x00101001,  # Other Patient Names
        0x00101010,  # Patient's Age
        0x00101020,  # Patient's Size
        0x00101030,  # Patient's Weight
        0x00102160,  # Ethnic Group
        0x00102180,  # Occupation
        0x001021B0,  # Additional Patient History
        0x00104000,  # Patient Comments
        0x0020000D,  # Study Instance UID
        0x00200010,  # Study ID
    )
)


@dataclass(frozen=True)
class Drift:
    """Differences between the clear header as written and as it is now.

    changed
        names of all elements that are known to differ, e.g. ``"PatientName (0010,0010)"``; never their values
    corrections
        patient- and study-level elements as they are now; None where they were removed
    obstacle
        what kept the clear header, or some of it, from being compared; empty when all of it was
    """

    changed: tuple[str, ...]
    corrections: dict[int, Element | None]
    character_set: Terms
    character_set_now: Terms
    obstacle: str = ""


def compare(original: Original, clear: Source) -> Drift:
    """Compare the clear header of ``clear`` with what was written, as far as that can be done. Raises nothing."""
    if clear.damage:
        return _not_compared(clear.damage)
    try:
        return find_drift(original, clear)
    except IomtCryptError as error:
        return _not_compared(str(error))
    except Exception as error:  # noqa: BLE001 - pydicom raises whatever the bytes lead to
        return _not_compared(type(error).__name__)


def _not_compared(why: str) -> Drift:
    return Drift((), {}, ("",), ("",), f"the clear header was not compared: {why}")


def find_drift(original: Original, clear: Source) -> Drift:
    """Compare the clear header of ``clear`` with what was written."""
    encoding = original_encoding(original)
    before, lost = _readable(parse_elements(original.header_elements(), encoding), encoding, original.delta)
    expected = before | {tag: element for tag, element in original.delta.items() if element is not None}
    ours = block.find_record(clear.header)
    own = () if ours is None else (ours[0], block.creator_tag(ours[0]))
    now, lost_now = _readable(clear.header, clear.encoding, own)
    lost |= lost_now
    tags = (expected.keys() | now.keys()) - lost
    terms, terms_now = _character_set(expected), _character_set(now)
    differing = sorted(t for t in tags if not same_element(expected.get(t), now.get(t), terms, terms_now))
    return Drift(
        tuple(_name(tag) for tag in differing),
        {tag: now.get(tag) for tag in differing if tag in CORRECTABLE},
        terms,
        terms_now,
        f"not compared, because not readable: {', '.join(_name(tag) for tag in sorted(lost))}" if lost else "",
    )


def _readable(header: Header, encoding: Encoding, skipped: Container[int]) -> tuple[dict[int, Element], set[int]]:
    """Elements of a header in Explicit VR Little Endian, by tag; and the tags of those that cannot be read so.

    A value that should be a sequence and is none is taken as bytes.
    """
    elements: dict[int, Element] = {}
    lost = set()
    steps = Steps.of(header)
    for tag in sorted(header):
        if tag in skipped:
            continue
        try:
            element = Transcoder(encoding, header, KeepAll(), tolerant=True, steps=steps).element(header, tag)
        except Exception:  # noqa: BLE001 - pydicom raises whatever the bytes lead to
            lost.add(tag)
            continue
        if element is not None:
            elements[tag] = element
    return elements, lost


def original_encoding(original: Original) -> Encoding:
    return encoding_of(original.transfer_syntax_uid, original.header_elements()[:8])


def _name(tag: int) -> str:
    return f"{keyword_for_tag(tag) or 'private or unknown'} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _character_set(elements: dict[int, Element]) -> Terms:
    return terms_of(elements[CHARACTER_SET].value if CHARACTER_SET in elements else b"")


def merge(original: Original, drift: Drift) -> bytes:
    """``original.head`` with the corrections spliced in; every other byte stays.

    Raises
    ------
    HeaderDriftError
        A correction cannot be written in the original's character set or encoding, or the original is deflated.
    """
    if original.deflated:
        raise HeaderDriftError(
            f"{', '.join(drift.changed)}: corrections cannot be applied to a deflated object",
            hint="--headers original restores the object as it was",
        )
    encoding = original_encoding(original)
    before = parse_elements(original.header_elements(), encoding)
    spans = _spans(original.head, original.dataset_offset, encoding)
    end = len(original.head) - original.pixel_header_bytes
    edits: list[tuple[int, int, int, bytes]] = []
    for tag, element in drift.corrections.items():
        encoded = b""
        if element is not None:
            recoded = _recode(element, drift.character_set_now, drift.character_set)
            if tag in before and recoded.value.rstrip(b" \0") == raw_value(before, tag).rstrip(b" \0"):
                continue  # the archive changed the character set, and not the text
            encoded = _encode(recoded, encoding)
        following = min((begin for t, begin, _ in spans if t > tag), default=end)
        places = [(begin, behind) for t, begin, behind in spans if t == tag] or [(following, following)]
        edits += [(begin, tag, behind, encoded) for begin, behind in places]
    pieces, position = [], 0
    for begin, _, behind, encoded in sorted(edits):  # by offset: there are files whose tags are not in order
        pieces += [original.head[position:begin], encoded]
        position = behind
    return b"".join([*pieces, original.head[position:]])


def _spans(head: bytes, start: int, encoding: Encoding) -> list[tuple[int, int, int]]:
    """Where each element lies in ``head``: tag, offset of the tag, offset behind the value."""
    stream = io.BytesIO(head)
    stream.seek(start)
    spans: list[tuple[int, int, int]] = []
    begin = start
    for element in data_element_generator(
        stream, encoding.implicit, encoding.little_endian, stop_when=lambda tag, vr, length: tag in PIXEL_TAGS
    ):
        spans.append((int(element.tag), begin, stream.tell()))
        begin = stream.tell()
    return spans


def _recode(element: Element, now: Terms, target: Terms) -> Element:
    vr = dictionary_VR(element.tag)
    if element.vr not in (vr, "UN"):
        raise _unwritable(element.tag, f"it has the VR {element.vr}, needed: {vr}")
    try:
        return Element(element.tag, vr, recode(element.value, vr, now, target))
    except UnicodeError:
        raise _unwritable(element.tag, "it cannot be written in the original's character set") from None


def _unwritable(tag: int, why: str) -> HeaderDriftError:
    return HeaderDriftError(
        f"{_name(tag)}: the correction cannot be applied: {why}",
        hint="--headers original restores the object as it was",
    )


def _encode(element: Element, encoding: Encoding) -> bytes:
    """A string element in the original's own encoding."""
    vr = element.vr
    value = element.value + (b"" if len(element.value) % 2 == 0 else b"\0" if vr == "UI" else b" ")
    if not encoding.implicit and vr not in EXPLICIT_VR_LENGTH_32 and len(value) > 0xFFFF:
        raise _unwritable(element.tag, f"it has {len(value)} bytes, the limit is 65535")
    order = "little" if encoding.little_endian else "big"
    tag = (element.tag >> 16).to_bytes(2, order) + (element.tag & 0xFFFF).to_bytes(2, order)  # type: ignore[arg-type]
    if encoding.implicit:
        return tag + len(value).to_bytes(4, order) + value  # type: ignore[arg-type]
    if vr in EXPLICIT_VR_LENGTH_32:
        return tag + vr.encode() + b"\0\0" + len(value).to_bytes(4, order) + value  # type: ignore[arg-type]
    return tag + vr.encode() + len(value).to_bytes(2, order) + value  # type: ignore[arg-type]
