"""Whether two elements of clear headers say the same, whatever an archive did to their encoding."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from iomt_crypt.dicom.character_set import TEXT_VRS, Terms, same_text, terms_of
from iomt_crypt.dicom.element import Element, is_long, without_vrs

CHARACTER_SET = 0x00080005
_LENGTH_16, _LENGTH_32 = struct.Struct("<H").unpack_from, struct.Struct("<L").unpack_from
_TAG = struct.Struct("<HH").unpack_from


def same_element(expected: Element | None, now: Element | None, terms: Terms, terms_now: Terms) -> bool:
    """Equal but for padding, character sets and VRs, nested ones too: an archive may have had to guess VRs.

    Parameters
    ----------
    expected, now
        An element as it was written and as it is now, in Explicit VR Little Endian; None and an empty one are the same.
    terms, terms_now
        The character sets around them (`character_set.terms_of`). Specific Character Set itself says nothing but how
        to read the others, and is always the same.
    """
    if CHARACTER_SET in (expected.tag if expected else 0, now.tag if now else 0):
        return True
    before, after = (element.value.rstrip(b" \0") if element else b"" for element in (expected, now))
    if expected is None or now is None:
        return before == after
    if "SQ" not in (expected.vr, now.vr):
        vr = next((vr for vr in (expected.vr, now.vr) if vr in TEXT_VRS), "")
        return same_text(before, terms, after, terms_now, vr) if vr else before == after
    if expected.vr == now.vr:
        return (before == after and terms == terms_now) or _same_items(expected.value, now.value, terms, terms_now)
    one, other = (without_vrs(e.value) if e.vr == "SQ" else e.value for e in (expected, now))
    return one == other


def _same_items(one: bytes, other: bytes, terms: Terms, terms_now: Terms) -> bool:
    items, items_now = list(_items(one)), list(_items(other))
    return len(items) == len(items_now) and all(
        _same_item(*pair, terms, terms_now) for pair in zip(items, items_now, strict=True)
    )


def _same_item(one: dict[int, Element], other: dict[int, Element], terms: Terms, terms_now: Terms) -> bool:
    """Items may have character sets of their own (PS3.5 7.5.3)."""
    if CHARACTER_SET in one:
        terms = terms_of(one[CHARACTER_SET].value)
    if CHARACTER_SET in other:
        terms_now = terms_of(other[CHARACTER_SET].value)
    return all(same_element(one.get(tag), other.get(tag), terms, terms_now) for tag in one.keys() | other.keys())


def _items(value: bytes) -> Iterator[dict[int, Element]]:
    """Items made by `encode_items`: defined lengths, Explicit VR Little Endian."""
    position = 0
    while position + 8 <= len(value):
        end = position + 8 + _LENGTH_32(value, position + 4)[0]
        position += 8
        item = {}
        while position < end:
            (group, number), vr = _TAG(value, position), value[position + 4 : position + 6].decode("ascii")
            begin = position + (12 if is_long(vr) else 8)
            size = _LENGTH_32(value, begin - 4)[0] if is_long(vr) else _LENGTH_16(value, begin - 2)[0]
            tag, position = group << 16 | number, begin + size
            item[tag] = Element(tag, vr, value[begin:position])
        yield item
