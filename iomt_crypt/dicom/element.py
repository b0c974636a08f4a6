"""Data elements in Explicit VR Little Endian, made from raw ones without decoding their values.

Values keep their bytes (only the byte order of binary numbers changes), so no character set, odd number string or
private value can be lost or refused on the way into the clear header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from iomt_crypt.dicom.encoding import Encoding
from iomt_crypt.dicom.parse import Header, raw_value, wrong
from iomt_crypt.dicom.sequence import MAX_DEPTH, Steps, read_items
from iomt_crypt.errors import MalformedError

PIXEL_REPRESENTATION = 0x00280103
_WORD_BYTES = {"US": 2, "SS": 2, "OW": 2, "AT": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4} | {
    "FD": 8,
    "OD": 8,
    "SV": 8,
    "UV": 8,
    "OV": 8,
}
_KNOWN_VRS = frozenset(vr.value for vr in VR if len(vr.value) == 2)
_UNDISPUTED_VRS = _KNOWN_VRS - {"UN"}
_LONG_VRS = frozenset(str(vr.value) for vr in EXPLICIT_VR_LENGTH_32)
_SHORT_HEADER = struct.Struct("<HH2sH").pack  # PS3.5 7.1.2
_LONG_HEADER = struct.Struct("<HH2sxxL").pack
_ZERO_PADDED = frozenset(("UI", "OB", "OW", "OF", "OD", "OL", "OV", "UN"))


class Element(NamedTuple):
    """One element in Explicit VR Little Endian. The value of an SQ is its encoded items, of defined length."""

    tag: int
    vr: str
    value: bytes

    def encode(self) -> bytes:
        """Header and value, padded to even length (PS3.5 7.1.2)."""
        return encode_element(*self)


def encode_element(tag: int, vr: str, value: bytes) -> bytes:
    """Encode one element as `Element.encode` does, for loops in which an object for each element would cost as much."""
    if len(value) & 1:
        value += b"\0" if vr in _ZERO_PADDED else b" "
    if vr not in _LONG_VRS:
        if len(value) <= 0xFFFF:
            return _SHORT_HEADER(tag >> 16, tag & 0xFFFF, vr.encode("ascii"), len(value)) + value
        vr = "UN"  # PS3.5 6.2.2 note 2
    return _LONG_HEADER(tag >> 16, tag & 0xFFFF, vr.encode("ascii"), len(value)) + value


def is_long(vr: str) -> bool:
    """Whether an element of this VR has a length of 4 bytes in Explicit VR (PS3.5 7.1.2)."""
    return vr in _LONG_VRS


class Editor(Protocol):
    """Looks at every element, nested ones too, and says what becomes of it."""

    def edit(self, tag: int, vr: str, value: bytes, item: Header) -> bytes | None:
        """New value of an element of ``item`` that is no sequence; None drops it."""

    def keeps_sequence(self, tag: int, items: Sequence[Header]) -> bool:
        """Whether a sequence stays; its items are edited then."""


class KeepAll:
    """The editor that changes nothing."""

    def edit(self, tag: int, vr: str, value: bytes, item: Header) -> bytes | None:
        return value

    def keeps_sequence(self, tag: int, items: Sequence[Header]) -> bool:
        return True


class Transcoder:
    """Turns raw pydicom elements into `Element`s, through an editor.

    ``tolerant`` takes a value that should be a sequence and cannot be parsed as bytes, and raises nothing for it.
    ``steps`` is what its sequences may cost; without, as much as their size allows.
    """

    def __init__(
        self, encoding: Encoding, header: Header, editor: Editor, *, tolerant: bool = False, steps: Steps | None = None
    ) -> None:
        self._tolerant = tolerant
        self._steps = steps or Steps.of(header)
        self._swaps = not encoding.little_endian
        self._editor = editor
        representation = raw_value(header, PIXEL_REPRESENTATION)
        self._us_or_ss = "SS" if any(representation) else "US"
        self._depth = 0

    def elements(self, dataset: Header) -> list[Element]:
        """All elements of ``dataset`` that the editor keeps, in tag order, group lengths (retired) left out."""
        found = (self.element(dataset, tag) for tag in sorted(dataset))
        return [element for element in found if element is not None]

    def element(self, dataset: Header, tag: int) -> Element | None:
        """One element of ``dataset``; None for a group length or what the editor drops."""
        if tag & 0xFFFF == 0 and tag >> 16 > 6:
            return None
        raw = dataset[tag]
        vr = raw.VR
        if vr not in _UNDISPUTED_VRS:
            vr = self._vr(raw, dataset)
        if vr == "SQ":
            items = _parsed_items(raw, self._steps, tolerant=self._tolerant)
            if items is not None:
                return self._sequence(tag, items)
            vr = "UN"
        value = raw.value
        if not isinstance(value, bytes):
            value = b""
        if self._swaps and raw.VR != "UN":
            value = _swapped(vr, value)
        edited = self._editor.edit(tag, vr, value, dataset)
        return None if edited is None else Element(tag, vr, edited)

    def _sequence(self, tag: int, items: list[Header]) -> Element | None:
        if self._depth == MAX_DEPTH:
            raise MalformedError(f"sequence {_name(tag)} is nested deeper than {MAX_DEPTH} levels")
        if not self._editor.keeps_sequence(tag, items):
            return None
        self._depth += 1
        encoded = encode_items(self.elements(item) for item in items)
        self._depth -= 1
        return Element(tag, "SQ", encoded)

    def _vr(self, raw: DataElement | RawDataElement, dataset: Header) -> str:
        vr = raw.VR
        if vr is None:
            vr = _look_up(int(raw.tag), dataset)
        elif vr == "UN" and not raw.tag >> 16 & 1:
            # PS3.5 6.2.2: some archive did not know the tag. A sequence must not pass unseen, and a SOP Class UID must
            # be readable.
            vr = public_vr(int(raw.tag))
        if vr in _KNOWN_VRS:
            return str(vr)
        if len(vr) == 2:
            return "UN"  # a VR of the future, or damage
        # ambiguous, PS3.6: 'US or SS', 'OB or OW', 'US or OW', 'US or SS or OW'
        if vr == "US or SS" or (vr.startswith("US") and len(raw.value or b"") <= 2):
            return self._us_or_ss if "SS" in vr else "US"
        return "OW"


def _swapped(vr: str, value: bytes) -> bytes:
    """Binary numbers of the other byte order (PS3.5 7.3)."""
    word = _WORD_BYTES.get(vr, 1)
    if word == 1 or len(value) % word:
        return value
    return np.frombuffer(value, dtype=f"u{word}").byteswap().tobytes()


def encode_items(items: Iterable[Sequence[Element]]) -> bytes:
    """Items of a sequence, with defined lengths (PS3.5 7.5)."""
    encoded = []
    for item in items:
        body = b"".join(element.encode() for element in item)
        encoded.append(struct.pack("<HHL", 0xFFFE, 0xE000, len(body)) + body)
    return b"".join(encoded)


def without_vrs(items: bytes) -> bytes:
    """Items made by `encode_items`, in Implicit VR Little Endian."""
    encoded, position = [], 0
    while position < len(items):
        end = position + 8 + int.from_bytes(items[position + 4 : position + 8], "little")
        body, position = bytearray(), position + 8
        while position < end:
            tag, vr = items[position : position + 4], items[position + 4 : position + 6].decode("ascii")
            begin = position + (12 if vr in EXPLICIT_VR_LENGTH_32 else 8)
            width = begin - position - (8 if vr in EXPLICIT_VR_LENGTH_32 else 6)
            size = int.from_bytes(items[begin - width : begin], "little")
            position = begin + size
            value = without_vrs(items[begin:position]) if vr == "SQ" else items[begin:position]
            body += tag + struct.pack("<L", len(value)) + value
        encoded.append(struct.pack("<HHL", 0xFFFE, 0xE000, len(body)) + body)
    return b"".join(encoded)


def _parsed_items(raw: DataElement | RawDataElement, steps: Steps, *, tolerant: bool) -> list[Header] | None:
    """Items of a sequence; None for a private value in implicit VR that only pydicom's dictionary calls a sequence."""
    try:
        return _items(raw, steps)
    except MalformedError:
        raise
    except RecursionError:
        raise MalformedError(f"sequence {_name(raw.tag)} is nested deeper than {MAX_DEPTH} levels") from None
    except Exception as error:  # noqa: BLE001 - pydicom raises whatever the bytes lead to
        if tolerant or (raw.VR is None and raw.tag >> 16 & 1):
            return None
        raise MalformedError(f"sequence {_name(raw.tag)} cannot be parsed: {wrong(error)}") from None


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _items(raw: DataElement | RawDataElement, steps: Steps) -> list[Header]:
    if isinstance(raw, RawDataElement):
        return read_items(raw, steps)
    return [{int(nested.tag): nested for nested in item.values()} for item in raw.value or ()]


def _look_up(tag: int, dataset: Header) -> str:
    if not tag >> 16 & 1:
        return public_vr(tag)
    if 0x10 <= tag & 0xFFFF < 0x100:
        return "LO"  # private creator
    creator = raw_value(dataset, tag & 0xFFFF0000 | (tag & 0xFF00) >> 8)
    return _private_vr(tag, creator) if creator else "UN"


@lru_cache(maxsize=8192)
def public_vr(tag: int) -> str:
    """VR of an element of the standard (PS3.6); ``"UN"`` for one that is not in the dictionary."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


@lru_cache(maxsize=8192)
def _private_vr(tag: int, creator: bytes) -> str:
    try:
        return private_dictionary_VR(tag, creator.decode("ascii", "replace").strip(" \0"))
    except KeyError:
        return "UN"
