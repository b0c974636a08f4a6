"""`python -m tests.vectors.verify [FOLDER]`: check every vector; name those that do not hold, and exit with 1."""

import json
import sys
from pathlib import Path

from .vector import CHECKS


def problem(file: str, case: dict[str, object]) -> str | None:
    """Check one case; what is wrong with it, or nothing."""
    try:
        CHECKS[file](case)
    except Exception as error:
        # A vector may be wrong in any way, and the others are still of interest.
        return f"{type(error).__name__}: {error}"
    return None


def main(folder: Path) -> int:
    """Check all files of a folder and print a summary."""
    failures = 0
    for file in CHECKS:
        cases = json.loads((folder / file).read_text(encoding="ascii"))["cases"]
        held = 0
        for case in cases:
            found = problem(file, case)
            if found is None:
                held += 1
            else:
                print(f"FAILED {file}: {case['name']}: {found}")
        failures += len(cases) - held or not cases
        print(f"{file:<12} {'reject' if file == 'reject.json' else 'accept'} {held} of {len(cases)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent))
