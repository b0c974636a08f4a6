"""What verify should find: the truth about each object, from a file, and how the verdicts agree with it."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

from iomt_crypt.archive import store
from iomt_crypt.archive.operation import Outcome
from iomt_crypt.archive.verification import VERDICTS
from iomt_crypt.errors import InputError

ENCRYPTED = "encrypted"
UNREADABLE = "unreadable"
#: In the matrix: an object that the file does not name, and one that was not found.
UNKNOWN, MISSING = "not expected", "not found"
_TRUTHS = (*VERDICTS, ENCRYPTED, UNREADABLE)
_AGREES = {ENCRYPTED: ("authentic", "consistent")}
_HINT = f"a CSV file with the header path,truth, or JSON that maps paths to truths; truths: {', '.join(_TRUTHS)}"


class Expectation:
    """The truth about objects, and what was found.

    Paths are relative to the file that names them, or to the working folder. Truths are verify's verdicts; "encrypted"
    is either of "authentic" and "consistent", and "unreadable" is whatever gets no verdict.
    """

    def __init__(self, truths: dict[str, str]) -> None:
        self._truths = truths
        self._missing = set(truths)
        self._counts: Counter[tuple[str, str]] = Counter()

    @classmethod
    def read(cls, path: Path) -> Expectation:
        """Read a CSV or JSON file.

        Raises
        ------
        InputError
            It cannot be read, has another form, names a path twice or a truth that is none.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read ({type(error).__name__})", hint=_HINT) from None
        truths: dict[str, str] = {}
        for name, truth in _rows(path, text):
            if not name:
                raise InputError(f"{path}: a line has no path", hint=_HINT)
            if truth not in _TRUTHS:
                raise InputError(f"{path}: {truth!r} is no truth", hint=_HINT)
            if _key(name, path.parent) in truths:
                raise InputError(f"{path}: {name} is there twice", hint=_HINT)
            truths[_key(name, path.parent)] = truth
        return cls(truths)

    def add(self, outcome: Outcome) -> None:
        """Take note of what was found in one object."""
        key = _key(outcome.location, Path())
        verdict = str(outcome.detail.get("verdict", UNREADABLE))
        if outcome.state == "skipped" and key not in self._truths:
            return  # a file that is no object, and that nobody expected to be one
        self._missing.discard(key)
        self._counts[self._truths.get(key, UNKNOWN), verdict] += 1

    def matrix(self) -> dict[str, dict[str, int]]:
        """How many objects of each truth (rows) got each verdict (columns)."""
        counts = self._counts + Counter((self._truths[key], MISSING) for key in self._missing)
        rows, columns = ([*dict.fromkeys(sorted(pair[side] for pair in counts))] for side in (0, 1))
        return {truth: {verdict: counts[truth, verdict] for verdict in columns} for truth in rows}

    @property
    def n_disagreements(self) -> int:
        """Objects whose verdict is not the truth; those not expected and those not found are among them."""
        return sum(
            n
            for truth, row in self.matrix().items()
            for verdict, n in row.items()
            if verdict not in _AGREES.get(truth, (truth,))
        )


def _rows(path: Path, text: str) -> list[tuple[str, str]]:
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            raise InputError(f"{path}: not JSON", hint=_HINT) from None
        return [(str(name), str(truth)) for name, truth in found.items()]
    # Spreadsheets write semicolons where the comma is the decimal sign.
    separator = ";" if ";" in text.partition("\n")[0] else ","
    names, *rows = [*csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)] or [[]]
    columns = [name.strip() for name in names]
    if not {"path", "truth"} <= set(columns):
        raise InputError(f"{path}: the header path,truth is missing", hint=_HINT)
    found = [dict(zip(columns, (value.strip() for value in row), strict=False)) for row in rows]
    return [(row.get("path", ""), row.get("truth", "")) for row in found if any(row.values())]


def _key(name: str, folder: Path) -> str:
    if store.is_url(name):
        return name
    path = folder / store.local_path(name)
    # What is not there beside the file may be meant from where the command runs.
    return str((path if path.exists() else Path(store.local_path(name))).resolve())
