"""What archives make of an encrypted object: other encodings of the same elements, made without any library.

The input is an object as this product writes it (Explicit VR Little Endian, defined lengths). A VR that is lost in
implicit VR stays lost: nothing here knows more than the bytes that an archive would have.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from benchmarks.trust_object import CODECS
from tests.synthetic import BIG, DEFLATED, EXPLICIT, IMPLICIT, preamble

_LONG_VRS = ("OB", "OW", "OF", "OD", "OL", "OV", "SQ", "UC", "UR", "UT", "UN", "SV", "UV")
_WORDS = {"US": 2, "SS": 2, "OW": 2, "AT": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4, "FD": 8, "OD": 8, "OV": 8}
_TEXT_VRS = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")
_CHARACTER_SET = 0x00080005
_UNDEFINED = 0xFFFFFFFF
_PIXEL_GROUP = 0x7FE0


@dataclass
class Node:
    """One element; ``items`` of a sequence, else ``value``."""

    tag: int
    vr: str
    value: bytes = b""
    items: list[list[Node]] = field(default_factory=list)


@dataclass(frozen=True)
class Form:
    """How an archive stores."""

    syntax: str = EXPLICIT
    undefined: bool = False
    group_lengths: bool = False
    utf8: bool = False
    without_private_vr: bool = False


FORMS = {
    "implicit": Form(IMPLICIT),
    "big endian": Form(BIG),
    "deflated": Form(DEFLATED),
    "undefined lengths": Form(undefined=True),
    "group lengths": Form(group_lengths=True),
    "utf-8": Form(utf8=True),
    "implicit, undefined lengths, group lengths": Form(IMPLICIT, undefined=True, group_lengths=True),
    "big endian, undefined lengths, utf-8": Form(BIG, undefined=True, utf8=True),
    "private values as UN": Form(without_private_vr=True),
}


def converted(data: bytes, form: Form) -> bytes:
    """The file ``data`` as an archive of ``form`` stores it."""
    offset = 132 + 12 + struct.unpack_from("<L", data, 140)[0]
    nodes = list(_nodes(data, offset, len(data)))
    if form.utf8:
        _to_utf8(nodes)
    encoded = _encoded(nodes, form, top=True)
    return preamble(form.syntax) + (zlib.compress(encoded)[2:-4] if form.syntax == DEFLATED else encoded)


def _nodes(data: bytes, at: int, end: int) -> Iterator[Node]:
    while at < end:
        group, number, vr_bytes, size = struct.unpack_from("<HH2sH", data, at)
        vr, begin = vr_bytes.decode("ascii"), at + 8
        if vr in _LONG_VRS:
            size, begin = struct.unpack_from("<L", data, at + 8)[0], at + 12
        at = begin + size
        assert at <= end, f"({group:04X},{number:04X}) {vr} is longer than what holds it"
        node = Node(group << 16 | number, vr)
        if vr == "SQ":
            node.items = list(_items(data, begin, at))
        else:
            node.value = data[begin:at]
        yield node


def _items(data: bytes, at: int, end: int) -> Iterator[list[Node]]:
    while at < end:
        group, number, size = struct.unpack_from("<HHL", data, at)
        assert (group, number) == (0xFFFE, 0xE000)
        yield list(_nodes(data, at + 8, at + 8 + size))
        at += 8 + size


def _to_utf8(nodes: Sequence[Node]) -> None:
    declared = next((node.value.strip() for node in nodes if node.tag == _CHARACTER_SET), b"")
    if declared in CODECS:
        _recode(nodes, CODECS[declared])


def _recode(nodes: Sequence[Node], codec: str) -> None:
    for node in nodes:
        for item in node.items:
            _recode(item, codec)
        if node.tag == _CHARACTER_SET:
            node.value = b"ISO_IR 192"
        elif node.vr in _TEXT_VRS:
            try:
                value = node.value.decode(codec).encode()
            except UnicodeError:
                continue  # as dcmconv: what cannot be converted stays
            node.value = value + b" " * (len(value) & 1)


def _encoded(nodes: Sequence[Node], form: Form, *, top: bool = False) -> bytes:
    parts = []
    for group, members in groupby(nodes, key=lambda node: node.tag >> 16):
        body = b"".join(_element(node, form) for node in members)
        # not in front of the pixels, where it would be as long as they are
        if form.group_lengths and (group != _PIXEL_GROUP or not top):
            size = struct.pack("<L", len(body))
            body = _element(Node(group << 16, "UL", size), form) + body
        parts.append(body)
    return b"".join(parts)


def _element(node: Node, form: Form) -> bytes:
    order = ">" if form.syntax == BIG else "<"
    value, vr = node.value, node.vr
    if vr == "SQ":
        value = b"".join(_item(item, form, order) for item in node.items)
        value += struct.pack(f"{order}HHL", 0xFFFE, 0xE0DD, 0) if form.undefined else b""
    elif form.syntax == BIG:
        value = _swapped(value, _WORDS.get(vr, 1))
    length = _UNDEFINED if vr == "SQ" and form.undefined else len(value)
    if form.without_private_vr and node.tag >> 16 & 1 and node.tag & 0xFFFF > 0xFF and vr != "SQ":
        vr = "UN"
    encoded = struct.pack(f"{order}HH", node.tag >> 16, node.tag & 0xFFFF)
    if form.syntax == IMPLICIT:
        return encoded + struct.pack("<L", length) + value
    if vr not in _LONG_VRS and length > 0xFFFF:
        vr = "UN"
    if vr in _LONG_VRS:
        return encoded + vr.encode() + struct.pack(f"{order}xxL", length) + value
    return encoded + vr.encode() + struct.pack(f"{order}H", length) + value


def _item(item: Sequence[Node], form: Form, order: str) -> bytes:
    body = _encoded(item, form)
    if not form.undefined:
        return struct.pack(f"{order}HHL", 0xFFFE, 0xE000, len(body)) + body
    end = struct.pack(f"{order}HHL", 0xFFFE, 0xE00D, 0)
    return struct.pack(f"{order}HHL", 0xFFFE, 0xE000, _UNDEFINED) + body + end


def _swapped(value: bytes, word: int) -> bytes:
    if word == 1 or len(value) % word:
        return value
    return b"".join(value[at : at + word][::-1] for at in range(0, len(value), word))
