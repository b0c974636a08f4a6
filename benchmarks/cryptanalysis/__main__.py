"""Run experiments by name: ``python -m benchmarks.cryptanalysis lanes``; ``all --write`` renews the document."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.cryptanalysis.experiment import EXPERIMENTS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "CRYPTANALYSIS.md"


def place(text: str, name: str, lines: list[str]) -> str:
    """Put the lines of an experiment between its markers.

    Raises
    ------
    ValueError
        The document has no place for them.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    if begin not in text or end not in text:
        raise ValueError(f"{DOCUMENT.name} has no place for {name!r}: it needs the lines {begin.strip()!r} and {end!r}")
    before, after = text.split(begin, 1)[0], text.split(end, 1)[1]
    return before + begin + "```\n" + "\n".join(line.rstrip() for line in lines) + "\n```\n" + end + after


def main(arguments: list[str]) -> int:
    """Run what is named; `all`: everything that needs no further packages. With --write the document is renewed."""
    write = "--write" in arguments
    names = [name for name in arguments if name != "--write"]
    if names == ["all"]:
        names = [name for name, experiment in EXPERIMENTS.items() if not experiment.extra]
    if not names or any(name not in EXPERIMENTS for name in names):
        for name, experiment in EXPERIMENTS.items():
            print(f"{name:10} {experiment.what}")
        print("all        all but those that take minutes or further packages; --write: to docs/CRYPTANALYSIS.md")
        return 2 if names else 0
    for name in names:
        lines = EXPERIMENTS[name].run()
        print(f"\n== {name}: {EXPERIMENTS[name].what}", *lines, sep="\n", flush=True)
        if write:
            DOCUMENT.write_text(place(DOCUMENT.read_text(encoding="utf-8"), name, lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
