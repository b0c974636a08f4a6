"""Text from outside - peers, files, archives - made fit for a log line, a message or a terminal.

Whoever writes an Error Comment, a UID or an AE title chooses its characters: line breaks forge log lines, escape
sequences steer terminals, and a value that stands where a UID should be may be a patient's name.
"""

from __future__ import annotations

import re

MAX_CHARACTERS = 64  # what LO holds (PS3.5 6.2), the longest text that a command element may have
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_MAX_UID_CHARACTERS = 64  # PS3.5 9.1


def printable(text: object, *, limit: int = MAX_CHARACTERS) -> str:
    """``text`` on one line, in characters that can be printed, with at most ``limit`` of its own.

    Each other character becomes its escape, such as ``\\n`` or ``\\x1b``; a backslash becomes two, so that nobody can
    write an escape by hand. What is cut is replaced by ``...``.
    """
    whole = str(text)
    kept = whole[:limit]
    shown = "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode("ascii") for c in kept)
    return shown if len(whole) <= limit else shown + "..."


def one_line(message: str) -> str:
    """A whole message of ours, with names in it, on one line; its backslashes stay, as names may be escaped already.

    A byte of a file's name that is no UTF-8 is shown as ``\\xe9``.
    """
    return "".join(c if c.isprintable() else _escape(c) for c in message)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # PEP 383: what stands for such a byte
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def is_uid(text: str) -> bool:
    """Whether ``text`` has the form of a UID: digits and dots, at most 64 characters (PS3.5 9.1).

    Components that begin with a zero are let pass: devices write them, and they say nothing of a patient.
    """
    return len(text) <= _MAX_UID_CHARACTERS and _UID.fullmatch(text) is not None


def shown_uid(text: str) -> str:
    """``text`` when it is a UID, else what stands for it in a log: never the value, which may be anything."""
    return text if is_uid(text) else f"(no UID, {len(text)} characters)" if text else "(no UID)"
