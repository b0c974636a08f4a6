"""Text from outside reaches logs and messages on one line, bounded, and never where a UID should be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iomt_crypt.foreign_text import MAX_CHARACTERS, is_uid, one_line, printable, shown_uid


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no such class", "no such class"),
        ("two\nlines\r\n", r"two\nlines\r\n"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\\nb", r"a\\nb"),
        ("\u202eright to left", r"\u202eright to left"),
        ("Grüße", "Grüße"),
        ("", ""),
        (OSError, "<class 'OSError'>"),
    ],
)
def test_printable(text: object, shown: str):
    assert printable(text) == shown


def test_one_line():
    """Names of files, in a message of any length; what was escaped before is not escaped again."""
    assert (
        one_line("new\nline\x1b[31mred \udce9 a\\b Grüße" + "x" * 100)
        == r"new\nline\x1b[31mred \xe9 a\b Grüße" + "x" * 100
    )


def test_printable_is_bounded():
    assert printable("x" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS
    assert printable("x" * (MAX_CHARACTERS + 1)) == "x" * MAX_CHARACTERS + "..."
    assert printable("abcdef", limit=3) == "abc..."


@given(st.text())
def test_printable_is_one_printable_line_and_no_two_texts_become_one(text: str):
    shown = printable(text, limit=len(text))
    assert shown.isprintable()
    assert shown.encode("ascii", "backslashreplace").isascii()
    assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize("text", ["1.2.840.10008.1.1", "2.25.0", "1", "1.2.0003", "1." + "2" * 62])
def test_uid(text: str):
    assert is_uid(text)
    assert shown_uid(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "(no UID)"),
        ("Doe^Jane", "(no UID, 8 characters)"),
        ("1.2\n1.3", "(no UID, 7 characters)"),
        ("1..2", "(no UID, 4 characters)"),
        (".1", "(no UID, 2 characters)"),
        ("1.2 ", "(no UID, 4 characters)"),
        ("1.2\n", "(no UID, 4 characters)"),
        ("1." + "2" * 63, "(no UID, 65 characters)"),
        ("\u0661.\u0662", "(no UID, 3 characters)"),
    ],
)
def test_what_is_no_uid_is_not_shown(text: str, shown: str):
    assert not is_uid(text)
    assert shown_uid(text) == shown
