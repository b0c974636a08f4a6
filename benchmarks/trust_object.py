"""DICOM objects of any nesting and any damage, each from its seed: sequences, signatures, icons, private blocks."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from tests.synthetic import BIG, DEFLATED, EXPLICIT, IMPLICIT, image, preamble

SYNTAXES = (EXPLICIT, IMPLICIT, BIG, DEFLATED)
_LONG_VRS = ("OB", "OW", "OF", "OD", "OL", "OV", "SQ", "UC", "UR", "UT", "UN", "SV", "UV")
_WORDS = {"US": 2, "SS": 2, "OW": 2, "AT": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "FD": 8, "OD": 8}
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF

_SEQUENCES = (0x00081111, 0x00081140, 0x00082218, 0x00120064, 0x00400275, 0x0040A730, 0x0054001F, 0x52009229)
_ICON, _SIGNATURES, _MAC = 0x00880200, 0xFFFAFFFA, 0x4FFE0001
_TEXTS = ((0x00080080, "LO"), (0x00081030, "LO"), (0x00100010, "PN"), (0x00104000, "LT"), (0x00204000, "LT"))
_NUMBERS = ((0x00180050, "DS"), (0x00189087, "FD"), (0x00280106, "US"), (0x00280301, "CS"), (0x00720074, "US"))
_VRS = ("LO", "SH", "OB", "OW", "US", "UL", "UN", "UT", "SQ", "FD", "AT", "ZZ")
_CHARACTER_SETS = (
    (b"", ("Doe^John", "Roe^Jane")),
    (b"ISO_IR 100", ("M\xfcller^J\xf6rg", "Se\xf1or")),
    (b"ISO_IR 144", ("\u0418\u0432\u0430\u043d\u043e\u0432", "\u042e\u0440\u0438\u0439")),
    (b"ISO_IR 192", ("\u5c71\u7530^\u592a\u90ce", "M\xfcller")),
)
CODECS = {b"": "ascii", b"ISO_IR 100": "latin-1", b"ISO_IR 144": "iso8859_5", b"ISO_IR 192": "utf-8"}


@dataclass(frozen=True)
class Case:
    """One object, as a file. ``kind`` tells how its parts were made, for the figures."""

    seed: int
    syntax: str
    kind: str
    data: bytes


def make(seed: int) -> Case:
    """The object of ``seed``, always the same."""
    return _Maker(seed).case()


class _Maker:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.syntax = self.chance.choice(SYNTAXES)
        self.order = ">" if self.syntax == BIG else "<"
        self.implicit = self.syntax == IMPLICIT
        self.declared, self.names = self.chance.choice(_CHARACTER_SETS)
        # Half of the objects are sound: they have to come through, and not be refused.
        self.is_damaged = self.chance.random() < 0.5

    def case(self) -> Case:
        pixels = self.chance.choice((True, True, True, False))
        bits = self.chance.choice((8, 16))
        rows, columns = self.chance.randint(1, 6), self.chance.choice((2, 4, 6))
        content = self.chance.randbytes(rows * columns * bits // 8)
        made = image(content if pixels else None, rows=rows, columns=columns, bits=bits, vr="OW" if bits > 8 else "OB")
        parts = {tag: self.element(tag, *value) for tag, value in made.items()}
        if self.declared:
            parts[0x00080005] = self.element(0x00080005, "CS", self.declared)
        for tag, encoded in self.body(self.depth()):
            parts.setdefault(tag, b"")
            parts[tag] = encoded
        if self.chance.random() < 0.2:
            parts[_SIGNATURES] = self.sequence(_SIGNATURES, self.depth())
        ordered = [parts[tag] for tag in sorted(parts)]
        if self.is_damaged and self.chance.random() < 0.2:
            ordered.insert(self.chance.randrange(len(ordered)), self.stray())
        data = b"".join(ordered)
        if self.is_damaged and self.chance.random() < 0.2:
            data = self.mutated(data, 40)
        if self.syntax == DEFLATED:
            data = zlib.compress(data)[2:-4]
        return Case(self.seed, self.syntax, "damaged" if self.is_damaged else "sound", preamble(self.syntax) + data)

    def depth(self) -> int:
        """How deep sequences may go: mostly as in practice, sometimes far beyond."""
        return self.chance.choices((1, 2, 4, 70, 300, 2500), (30, 30, 20, 3, 1, 1))[0]

    def body(self, depth: int) -> list[tuple[int, bytes]]:
        kinds: list[Callable[[int], tuple[int, bytes]]] = [self.text, self.number, self.nested, self.icon]
        kinds += [self.private] * 2
        if self.is_damaged:
            kinds += [self.unknown, self.other_vr, self.no_sequence]
        found = [self.chance.choice(kinds)(depth) for _ in range(self.chance.choice((0, 1, 2, 4)))]
        return self.with_creators(found)

    def item_body(self, depth: int) -> bytes:
        parts = dict(self.body(depth))
        return b"".join(parts[tag] for tag in sorted(parts))

    def with_creators(self, found: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        groups = {tag >> 16 for tag, _ in found if tag >> 16 & 1 and tag & 0xFFFF > 0xFF}
        for group in sorted(groups):
            if not self.is_damaged or self.chance.random() < 0.8:
                creator = self.chance.choice((b"NOBODY", b"Philips US Imaging DD 109", b"SIEMENS CSA HEADER"))
                found.append((group << 16 | 0x10, self.element(group << 16 | 0x10, "LO", creator)))
        return found

    def text(self, _: int) -> tuple[int, bytes]:
        tag, vr = self.chance.choice(_TEXTS)
        return tag, self.element(tag, vr, self.chance.choice(self.names).encode(CODECS[self.declared]))

    def number(self, _: int) -> tuple[int, bytes]:
        tag, vr = self.chance.choice(_NUMBERS)
        value = {"DS": b"1.5", "CS": b"NO"}.get(vr, self.chance.randbytes(_WORDS.get(vr, 2)))
        return tag, self.element(tag, vr, value)

    def nested(self, depth: int) -> tuple[int, bytes]:
        tag = self.chance.choice(_SEQUENCES)
        return tag, self.sequence(tag, depth)

    def icon(self, depth: int) -> tuple[int, bytes]:
        return _ICON, self.sequence(_ICON, depth, pixels=True)

    def private(self, depth: int) -> tuple[int, bytes]:
        tag = self.chance.choice((0x00090000, 0x00290000, 0x200D0000)) | 0x1000 | self.chance.randrange(0x20)
        vr = self.chance.choice(("LO", "OB", "UN", "SQ", "US"))
        if vr == "SQ":
            return tag, self.sequence(tag, depth, pixels=self.chance.random() < 0.3)
        return tag, self.element(tag, vr, self.chance.randbytes(2 * self.chance.randrange(50)))

    def unknown(self, _: int) -> tuple[int, bytes]:
        """UN where a sequence, a text or anything should be, and no such thing in it."""
        tag = self.chance.choice((*_SEQUENCES, _ICON, _MAC, 0x00100010, 0x00091001))
        return tag, self.element(tag, "UN", self.chance.randbytes(self.chance.randrange(24)))

    def other_vr(self, _: int) -> tuple[int, bytes]:
        tag = self.chance.choice((*_SEQUENCES, _ICON, 0x00100030, 0x00280301, 0x00091002))
        return tag, self.element(tag, self.chance.choice(_VRS), self.chance.randbytes(self.chance.randrange(20)))

    def no_sequence(self, depth: int) -> tuple[int, bytes]:
        """A sequence where the dictionary has none."""
        tag = self.chance.choice((0x00100020, 0x00081030, 0x00280301, 0x00204000))
        return tag, self.sequence(tag, depth)

    def sequence(self, tag: int, depth: int, *, pixels: bool = False) -> bytes:
        if depth > 4:
            return self.deep(tag, depth)
        items = [self.item(depth, pixels=pixels) for _ in range(self.chance.choice((0, 1, 1, 2)))]
        if self.is_damaged and self.chance.random() < 0.15:
            items.insert(self.chance.randrange(len(items) + 1), self.stray())
        value = b"".join(items)
        if self.is_damaged and self.chance.random() < 0.25:
            value = self.chance.choice((value[: -self.chance.randint(1, 9)], value + b"\0" * 3, self.mutated(value, 8)))
        return self.enclosed(tag, value)

    def enclosed(self, tag: int, value: bytes) -> bytes:
        """``value`` as a sequence of defined or undefined length, whose end may be missing."""
        if self.chance.random() < 0.6:
            vr = "UN" if self.is_damaged and self.chance.random() < 0.2 else "SQ"
            return self.head(tag, vr, len(value)) + value
        end = b"" if self.is_damaged and self.chance.random() < 0.1 else self.mark(_SEQUENCE_END)
        return self.head(tag, "SQ", _UNDEFINED) + value + end

    def item(self, depth: int, *, pixels: bool) -> bytes:
        body = self.item_body(depth - 1) if depth > 1 else self.element(0x00081155, "UI", b"1.2.3")
        if pixels:
            body += self.element(0x7FE00010, "OB", self.chance.randbytes(16))
        if self.chance.random() < 0.6:
            return self.mark(_ITEM, len(body)) + body
        end = b"" if self.is_damaged and self.chance.random() < 0.1 else self.mark(_ITEM_END)
        return self.mark(_ITEM, _UNDEFINED) + body + end

    def deep(self, tag: int, depth: int) -> bytes:
        """One sequence in the other."""
        if self.chance.random() < 0.5:
            begin = self.head(tag, "SQ", _UNDEFINED) + self.mark(_ITEM, _UNDEFINED)
            return begin * depth + (self.mark(_ITEM_END) + self.mark(_SEQUENCE_END)) * depth
        value = self.element(0x00120064, "UN", b"ab")
        for _ in range(min(depth, 1000)):
            body = self.mark(_ITEM, len(value)) + value
            value = self.head(tag, "SQ", len(body)) + body
        return value

    def stray(self) -> bytes:
        return self.mark(self.chance.choice((_ITEM_END, _SEQUENCE_END, _ITEM)))

    def mutated(self, data: bytes, most: int) -> bytes:
        changed = bytearray(data)
        for _ in range(self.chance.choice((1, 1, 3)) if data else 0):
            at = self.chance.randrange(len(changed) or 1)
            kind = self.chance.randrange(3)
            if kind == 0:
                changed[at : at + 1] = self.chance.randbytes(1)
            elif kind == 1:
                del changed[at : at + self.chance.randint(1, most)]
            else:
                changed[at:at] = self.chance.randbytes(self.chance.randint(1, most))
        return bytes(changed)

    def element(self, tag: int, vr: str, value: bytes) -> bytes:
        """``value`` is little endian; odd lengths are padded, or left when damage is due."""
        if len(value) & 1 and not (self.is_damaged and self.chance.random() < 0.3):
            value += b"\0" if vr in ("UI", "OB", "OW", "UN") else b" "
        word = _WORDS.get(vr, 1)
        if self.syntax == BIG and word > 1 and len(value) % word == 0:
            value = b"".join(value[at : at + word][::-1] for at in range(0, len(value), word))
        return self.head(tag, vr, len(value)) + value

    def head(self, tag: int, vr: str, length: int) -> bytes:
        encoded = struct.pack(f"{self.order}HH", tag >> 16, tag & 0xFFFF)
        if self.implicit:
            return encoded + struct.pack("<L", length)
        if vr in _LONG_VRS:
            return encoded + vr.encode() + struct.pack(f"{self.order}xxL", length)
        return encoded + vr.encode() + struct.pack(f"{self.order}H", length)

    def mark(self, tag: int, length: int = 0) -> bytes:
        return struct.pack(f"{self.order}HHL", tag >> 16, tag & 0xFFFF, length)
