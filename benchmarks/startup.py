"""How long one waits for the package and for ``--help``, beside ``import pydicom`` in the same run.

``python -m benchmarks.startup [PYTHON]``; PYTHON is the interpreter of an environment, by default this one. What stands
in the way of a user is measured: a fresh process each time, the best of several, interleaved.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

N_ROUNDS = 9


def commands(python: str) -> dict[str, list[str]]:
    program = str(Path(python).parent / "iomt-crypt")
    return {
        "python -c pass": [python, "-c", "pass"],
        "import pydicom": [python, "-c", "import pydicom"],
        "import iomt_crypt": [python, "-c", "import iomt_crypt"],
        "iomt-crypt --help": [program, "--help"],
    }


def measure(python: str) -> dict[str, float]:
    """Seconds of each command, the best of `N_ROUNDS`."""
    best: dict[str, float] = {}
    for _ in range(N_ROUNDS):
        for name, command in commands(python).items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            took = time.perf_counter() - started
            best[name] = min(took, best.get(name, took))
    return best


def main() -> None:
    best = measure(sys.argv[1] if len(sys.argv) > 1 else sys.executable)
    base = best["import pydicom"]
    for name, seconds in best.items():
        print(f"{name:20} {seconds:.3f} s  {seconds / base:.2f} of import pydicom")


if __name__ == "__main__":
    main()
