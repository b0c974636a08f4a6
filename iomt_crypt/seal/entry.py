"""The entries of a key file: lines with one key each, and PEM blocks (RFC 7468). Comments begin with ``#``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal.kind import registry
from iomt_crypt.seal.secret import read_key_text

_PEM = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]+-----")
_NOTE = re.compile(r"#\s*([a-z]+):\s*(\S.*)")


@dataclass(frozen=True, repr=False)
class Entry:
    """One key of a file: a line, or the PEM blocks that belong together. Its text may be a secret.

    ``notes`` are the comments ``# name: value`` above it. They are for people: nothing vouches for them.
    """

    text: str
    line: int
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_pem(self) -> bool:
        return self.text.startswith("-----")


def read_entries(path: Path, *, secret: bool) -> list[Entry]:
    """The entries of a key file; ``secret`` refuses one that others may read.

    A private key in PEM and the certificates after it are one entry (with a single key, those before it too);
    certificates alone are one each.

    Raises
    ------
    KeyMaterialError
        The file cannot be read, is too large, no text, or a PEM block in it is not complete.
    """
    lines = read_key_text(path, secret=secret).splitlines()
    found: list[Entry] = []
    for is_pem, run in groupby(_units(lines, path), key=lambda entry: entry.is_pem):
        entries = list(run)
        found += _bundles(entries) if is_pem else entries
    return found


def _units(lines: Iterable[str], path: Path) -> Iterator[Entry]:
    """Lines and PEM blocks, each with the notes above it."""
    block: list[str] = []
    notes: dict[str, str] = {}
    for number, line in enumerate((line.strip() for line in lines), 1):
        marker = _PEM.fullmatch(line)
        if marker or block:
            if (marker is not None and marker[1] == "BEGIN") == bool(block):
                break
            block.append(line)
            if marker and marker[1] == "END":
                yield Entry("\n".join(block) + "\n", number - len(block) + 1, notes)
                block, notes = [], {}
        elif note := _NOTE.fullmatch(line):
            notes[note[1]] = note[2]
        elif line and not line.startswith("#"):
            yield Entry(line, number, notes)
            notes = {}
    else:
        if not block:
            return
    raise KeyMaterialError(f"{path}, line {number}: a PEM block is not complete")


def _bundles(blocks: list[Entry]) -> list[Entry]:
    keys = [n for n, block in enumerate(blocks) if registry.is_identity(block.text)]
    if not keys:
        return blocks
    if len(keys) == 1:
        key = blocks.pop(keys[0])
        return [_joined([key, *blocks])]
    starts = sorted({0, *keys})
    return [_joined(blocks[start:end]) for start, end in zip(starts, [*starts[1:], len(blocks)], strict=True)]


def _joined(blocks: list[Entry]) -> Entry:
    notes = {name: value for block in reversed(blocks) for name, value in block.notes.items()}
    return Entry("".join(block.text for block in blocks), blocks[0].line, notes)
