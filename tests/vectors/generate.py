"""Write the vector files: `python -m tests.vectors.generate`.

To be run after a deliberate change of the cipher or of a suite, and never to silence a test. The files come out the
same on every machine; `python -m tests.vectors.verify` checks them with a second implementation.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.vectors import frame, sealed

FOLDER = Path(__file__).parent

ABOUT = {
    "cipher.json": """
        Image cipher chaos-cnn-1 (sections 3 to 8): plain words give the cipher words, and those the plain ones.
        n is the number of words, row_length what the caller gives. Long frames: plain_rule says what the plain
        words are, and cipher_sha256 is the SHA-256 of the cipher words. Rules: 'zero'; 'max', all bits set;
        'ramp', word i is i mod 2^w; 'shake LABEL', SHAKE-256 of the ASCII label.""",
    "stage.json": """
        Values on the way of single frames. schedule: section 4, row_length in it is the effective one; weight,
        bias, V+ and V- by round and filter. rounds: features are le64(h_0) || le64(h_1) of every block, seeds,
        stream and cnn those of section 5, L and R the halves after the round. move, between rounds 1 and 2:
        section 7 and the halves after it.""",
    "suite.json": """
        Suites (section 9): units give stored bytes and tags, and those the units. row_length is the one stored.""",
    "reject.json": """
        What must be refused, with nothing released. kind 'suite': unit i of an object, as in the case of
        suite.json that base names but for the fields in changed. kind 'cipher': encryption and decryption of
        words. outcome is 'authentication failed', or 'value error' for an error of the caller.""",
}
ABOUT_ALL = """
    Binary values are hexadecimal; words of w bits are little-endian bytes. Section numbers are those of
    docs/SPEC.md."""


def make() -> dict[str, bytes]:
    """Content of every file by its name."""
    cases = {
        "cipher.json": [frame.cipher_case(recipe) for recipe in frame.recipes()],
        "stage.json": [frame.stage_case(recipe) for recipe in frame.STAGES],
        "suite.json": sealed.suite_cases(),
        "reject.json": sealed.reject_cases(),
    }
    return {
        name: _text({"about": _line(ABOUT[name] + ABOUT_ALL), "cases": cases[name]}).encode("ascii") for name in cases
    }


def _line(text: str) -> str:
    return " ".join(text.split())


def _text(content: dict[str, Any]) -> str:
    """Sorted keys, one value a line, lists of numbers on one line."""
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    return re.sub(r"\[\s+(\d+(?:,\s+\d+)*)\s+\]", lambda found: "[" + " ".join(found[1].split()) + "]", text)


def main() -> None:
    for name, content in make().items():
        (FOLDER / name).write_bytes(content)
        print(f"{name:<12} {len(content):>8,} bytes")


if __name__ == "__main__":
    main()
