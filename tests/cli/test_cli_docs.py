"""docs/CLI.md says what the commands say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "CLI.md"


def test_the_reference_is_current(tmp_path: Path):
    made = tmp_path / "CLI.md"
    options = ("--name", "iomt-crypt", "--title", "Command line", "--output", str(made))
    command = [sys.executable, "-m", "typer", "iomt_crypt.cli.app", "utils", "docs", *options]
    subprocess.run(command, check=True, capture_output=True)
    assert made.read_text() == REFERENCE.read_text(), "run 'make docs'"
