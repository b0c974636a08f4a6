"""Text in the character sets of DICOM: what a value says, and how a text is written (PS3.5 6.1.2, PS3.3 C.12.1.1.2).

A decoder and an encoder of their own, which follow the standard's rules for code extensions (ISO/IEC 2022): which sets
are declared, what G0 and G1 hold, and where both go back to what Value 1 of Specific Character Set says. pydicom's
decoder is asked as well before a text is written; it shares nothing with this one but Python's tables of single sets.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes

from iomt_crypt.dicom.code_element import ASCII, ELEMENTS, INITIAL, STAND_ALONE, CodeElement

TEXT_VRS = frozenset(("SH", "LO", "ST", "LT", "PN", "UC", "UT"))  # PS3.5 6.1.2.3
_SINGLE_VALUED = frozenset(("ST", "LT", "UT"))  # the backslash is a character of these (PS3.5 6.4)
_ESC = 0x1B
_MISSPELT = re.compile(r"^ISO.(2022.)?IR.(\d+)$")
# The same character, taken for another one by other tables of JIS X 0201, JIS X 0208 and KS X 1001.
_VARIANTS = str.maketrans(
    {
        "\u203e": "~",
        "\u00a5": "\\",
        "\uff5e": "\u301c",
        "\u2225": "\u2016",
        "\uff0d": "\u2212",
        "\u2014": "\u2015",
        "\uffe0": "\u00a2",
        "\uffe1": "\u00a3",
        "\uffe2": "\u00ac",
    }
)

Terms = tuple[str, ...]


@dataclass(frozen=True)
class _Repertoire:
    """What values of Specific Character Set allow.

    codec
        of a set that stands alone (UTF-8, GB18030, GBK); else empty
    initial
        what G0 and G1 hold at the beginning and behind each delimiter
    declared
        the code elements that may be designated by escape sequences, in the order of their declaration
    """

    codec: str
    initial: tuple[CodeElement, CodeElement | None]
    declared: tuple[CodeElement, ...]


def terms_of(value: bytes) -> Terms:
    """Defined terms of a value of Specific Character Set; the common misspellings (``ISO-IR 100``) are put right."""
    terms = [term.strip(" \0") for term in value.decode("ascii", "replace").split("\\")]
    mended = []
    for term in terms:
        found = _MISSPELT.match(term)
        mended.append(f"ISO{' 2022 ' if found[1] else '_'}IR {found[2]}" if found else term)
    if not mended[0]:
        mended[0] = "ISO 2022 IR 6" if len(mended) > 1 else "ISO_IR 6"
    return tuple(mended)


def decode(value: bytes, vr: str, terms: Terms) -> str:
    """The text of a value, its padding included.

    Raises
    ------
    UnicodeError
        An unknown term, a set that was not declared, or bytes that are no text of the declared ones.
    """
    repertoire = _repertoire(terms)
    if repertoire.codec:
        if _ESC in value:
            raise UnicodeError("an escape sequence where no code extensions are allowed")
        return value.decode(repertoire.codec)
    return _decode_extended(value, repertoire, _delimiters(vr))


def encode(text: str, vr: str, terms: Terms) -> bytes:
    """A text as a value; two decoders have agreed that it says the same.

    Raises
    ------
    UnicodeError
        It cannot be written in these character sets.
    """
    repertoire = _repertoire(terms)
    if repertoire.codec:
        value = text.encode(repertoire.codec)
    else:
        try:
            value = _encode_extended(text, repertoire, _delimiters(vr))
        except UnicodeError:  # the sets of DICOM have letters with their accents, but no accents
            value = _encode_extended(unicodedata.normalize("NFC", text), repertoire, _delimiters(vr))
    if not _folded(decode(value, vr, terms)) == _folded(_decode_by_pydicom(value, vr, terms)) == _folded(text):
        raise UnicodeError("what was written reads differently")
    return value


def recode(value: bytes, vr: str, terms: Terms, target: Terms) -> bytes:
    """A value in other character sets, without padding; as it is where they are the same, or it is no text.

    Raises UnicodeError as `encode` does.
    """
    if vr not in TEXT_VRS or terms == target:
        return value
    return encode(decode(value.rstrip(b" \0"), vr, terms), vr, target)


def same_text(one: bytes, terms: Terms, other: bytes, other_terms: Terms, vr: str) -> bool:
    """Whether two values say the same: in whatever character sets, and but for what is not significant.

    That is padding, and in names empty components and component groups at the end (PS3.5 6.2, 6.2.1). Values that are
    no text of their character sets are compared as bytes.
    """
    one, other = one.rstrip(b" \0"), other.rstrip(b" \0")
    if one == other and (terms == other_terms or (one.isascii() and _ESC not in one)):
        return True
    try:
        return _significant(decode(one, vr, terms), vr) == _significant(decode(other, vr, other_terms), vr)
    except UnicodeError:
        return one == other


def _delimiters(vr: str) -> frozenset[int]:
    """Characters of G0 behind which Value 1 holds again (PS3.5 6.1.2.5.3); control characters do so in every VR."""
    if vr == "PN":
        return frozenset(b"\\^=")
    return frozenset() if vr in _SINGLE_VALUED else frozenset(b"\\")


@lru_cache(maxsize=64)
def _repertoire(terms: Terms) -> _Repertoire:
    if terms[0] in STAND_ALONE:
        return _Repertoire(STAND_ALONE[terms[0]], (ASCII, None), ())
    numbers = [term.removeprefix("ISO_IR ").removeprefix("ISO 2022 IR ") for term in terms]
    unknown = [term for term, number in zip(terms, numbers, strict=True) if number not in ELEMENTS or number == term]
    if unknown:
        raise UnicodeError(f"unknown character sets: {len(unknown)}")
    initial = INITIAL.get(numbers[0], (ASCII, None))
    declared = [element for number in numbers for element in ELEMENTS[number]]
    # ASCII may always be designated: it is what values go back to
    extended = len(terms) > 1 or terms[0].startswith("ISO 2022")
    return _Repertoire("", initial, tuple(dict.fromkeys([*declared, ASCII])) if extended else ())


def _decode_extended(value: bytes, repertoire: _Repertoire, delimiters: frozenset[int]) -> str:
    g0, g1 = repertoire.initial
    text, position = [], 0
    while position < len(value):
        byte = value[position]
        if byte == _ESC:
            designated = next((e for e in repertoire.declared if value.startswith(e.escape, position)), None)
            if designated is None:
                raise UnicodeError("an escape sequence of a set that was not declared")
            g0, g1 = (designated, g1) if designated.plane == 0 else (g0, designated)
            position += len(designated.escape)
            continue
        if byte <= 0x20 or byte == 0x7F:
            text.append(chr(byte))
            position += 1
            if byte != 0x20:
                g0, g1 = repertoire.initial
            continue
        active = g0 if byte < 0x80 else g1
        if active is None:
            raise UnicodeError("a byte above 7F where no set is designated for it")
        unit = value[position : position + active.width]
        text.append(active.decode(unit))
        position += active.width
        if active.width == 1 and byte in delimiters:
            g0, g1 = repertoire.initial
    return "".join(text)


def _encode_extended(text: str, repertoire: _Repertoire, delimiters: frozenset[int]) -> bytes:
    """Escape sequences where they are needed, and back to Value 1 before each delimiter and at the end."""
    value = bytearray()
    state = list(repertoire.initial)
    for character in text:
        resets = ord(character) in delimiters or (ord(character) < 0x20) or character == "\x7f"
        if resets:
            value += _back(state, repertoire)
            value.append(ord(character))
            continue
        if character == " ":
            value.append(0x20)
            continue
        for element in (*[e for e in (*state, *repertoire.initial) if e is not None], *repertoire.declared):
            unit = element.encode(character)
            if unit is not None:
                break
        else:
            raise UnicodeError("a character that is in none of the declared sets")
        if state[element.plane] != element:
            if element not in repertoire.declared:
                raise UnicodeError("a set that cannot be designated without code extensions")
            value += element.escape
            state[element.plane] = element
        value += unit
    return bytes(value + _back(state, repertoire))


def _back(state: list[CodeElement | None], repertoire: _Repertoire) -> bytes:
    """Escape sequences that bring G0 and G1 back to Value 1; what has no set in G1 leaves it (PS3.5 I.2)."""
    escapes = b""
    for plane, initial in enumerate(repertoire.initial):
        if initial is not None and state[plane] != initial:
            escapes += initial.escape
        state[plane] = initial
    return escapes


def _decode_by_pydicom(value: bytes, vr: str, terms: Terms) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what pydicom replaces, it warns of
        try:
            encodings = convert_encodings([term if term != "ISO_IR 6" else "" for term in terms])
            text = decode_bytes(value, encodings, set(_delimiters(vr) | frozenset(b"\t\n\f\r")))
        except (UserWarning, LookupError) as error:
            raise UnicodeError(f"pydicom: {type(error).__name__}") from None
    return text.replace("\x1b$)A", "")  # pydicom 3.0 leaves the escape sequence of ISO 2022 IR 58 in the text


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).translate(_VARIANTS)


def _significant(text: str, vr: str) -> tuple[object, ...]:
    """What of a text is significant, by value and, in names, by group and component."""
    text = _folded(text)
    if vr in _SINGLE_VALUED:
        return (text.rstrip(" \0"),)
    values = [value.strip(" \0") for value in text.split("\\")]
    return tuple(_name(value) if vr == "PN" else value for value in values)


def _name(value: str) -> tuple[object, ...]:
    groups = [_without_empty([part.strip(" ") for part in group.split("^")]) for group in value.split("=")]
    return _without_empty(groups)


def _without_empty(parts: Sequence[object]) -> tuple[object, ...]:
    end = len(parts)
    while end and not parts[end - 1]:
        end -= 1
    return tuple(parts[:end])
