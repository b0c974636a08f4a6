"""The code elements of DICOM's character sets (PS3.3 Tables C.12-2 to C.12-5): one set of characters in G0 or G1 each.

Which bytes belong to a set, and the escape sequence that designates it (PS3.5 6.1.2.4), are the standard's; the tables
from bytes to characters are Python's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CodeElement:
    """One coded set of characters.

    escape
        the escape sequence that designates it
    codec, prefix, high
        Python's codec that holds it; bytes before each character there; whether the bytes of a character have their
        highest bits set there and not in DICOM (sets in G0)
    plane
        0 for G0 (bytes 21 to 7E), 1 for G1 (A1 to FE; 80 and above in sets of single bytes)
    width
        bytes of a character
    """

    escape: bytes
    codec: str
    plane: int
    width: int = 1
    prefix: bytes = b""
    high: bool = False

    def decode(self, unit: bytes) -> str:
        """The character of ``unit``. Raises UnicodeError where it is none of this set."""
        if len(unit) != self.width or not all(self._is_own(byte) for byte in unit):
            raise UnicodeError("bytes that are no character of the active set")
        if self.high:
            unit = bytes(byte | 0x80 for byte in unit)
        character = (self.prefix + unit).decode(self.codec)
        if len(character) != 1:
            raise UnicodeError("bytes that are no character of the active set")
        return character

    def encode(self, character: str) -> bytes | None:
        """The bytes of ``character``; None where it is none of this set."""
        try:
            unit = character.encode(self.codec)
        except UnicodeError:
            return None
        if not unit.startswith(self.prefix):
            return None
        unit = unit[len(self.prefix) :]
        if self.high:
            if not all(byte & 0x80 for byte in unit):
                return None
            unit = bytes(byte & 0x7F for byte in unit)
        if len(unit) != self.width or not all(self._is_own(byte) for byte in unit):
            return None
        try:
            return unit if self.decode(unit) == character else None
        except UnicodeError:
            return None

    def _is_own(self, byte: int) -> bool:
        if self.plane == 0:
            return 0x21 <= byte <= 0x7E
        return byte >= (0xA1 if self.width > 1 else 0x80)


ASCII = CodeElement(b"\x1b(B", "ascii", 0)
_ROMAJI = CodeElement(b"\x1b(J", "shift_jis", 0)  # ISO-IR 14; 5C and 7E as in ASCII, for 5C delimits values in any set
_KATAKANA = CodeElement(b"\x1b)I", "shift_jis", 1)
_KANJI = CodeElement(b"\x1b$B", "euc_jp", 0, 2, high=True)
_KANJI_2 = CodeElement(b"\x1b$(D", "euc_jp", 0, 2, prefix=b"\x8f", high=True)
_HANGUL = CodeElement(b"\x1b$)C", "euc_kr", 1, 2)
_HANZI = CodeElement(b"\x1b$)A", "gb2312", 1, 2)
_SINGLE = {
    "100": ("iso8859_1", b"A"),
    "101": ("iso8859_2", b"B"),
    "109": ("iso8859_3", b"C"),
    "110": ("iso8859_4", b"D"),
    "144": ("iso8859_5", b"L"),
    "127": ("iso8859_6", b"G"),
    "126": ("iso8859_7", b"F"),
    "138": ("iso8859_8", b"H"),
    "148": ("iso8859_9", b"M"),
    "166": ("iso8859_11", b"T"),
    "203": ("iso8859_15", b"b"),
}
_LATIN = {number: CodeElement(b"\x1b-" + final, codec, 1) for number, (codec, final) in _SINGLE.items()}

# By the number of the defined term: what it declares, and what G0 and G1 hold where it is Value 1.
ELEMENTS: Mapping[str, tuple[CodeElement, ...]] = {
    "6": (ASCII,),
    "13": (_ROMAJI, _KATAKANA),
    "87": (_KANJI,),
    "159": (_KANJI_2,),
    "149": (_HANGUL,),
    "58": (_HANZI,),
} | {number: (ASCII, element) for number, element in _LATIN.items()}
INITIAL: Mapping[str, tuple[CodeElement, CodeElement | None]] = {
    "13": (_ROMAJI, _KATAKANA),
    "149": (ASCII, _HANGUL),
    "58": (ASCII, _HANZI),
} | {number: (ASCII, element) for number, element in _LATIN.items()}
STAND_ALONE = {"ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk"}
