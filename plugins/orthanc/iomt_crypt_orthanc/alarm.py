"""The alarm: a file beside the quarantine, there as long as something is in it. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path

FILE_NAME = "ALARM"


def count(quarantine: Path) -> int:
    """Sealed files in the quarantine; 0 when there is no such folder."""
    try:
        with os.scandir(quarantine) as entries:
            return sum(entry.name.endswith(".sealed") for entry in entries)
    except FileNotFoundError:
        return 0


def update(folder: Path, reason: str = "") -> int:
    """Write or remove the file after a change of the quarantine; return how many objects are in it.

    The file is a convenience for people and monitoring: one that cannot be written is no error.
    """
    n = count(folder / "quarantine")
    path = folder / FILE_NAME
    try:
        if not n:
            path.unlink(missing_ok=True)
        elif reason or not path.exists():
            draft = folder / f"{FILE_NAME}.{os.getpid()}.draft"
            text = f"{n} objects in quarantine, in no archive yet\nlast: {reason or 'see the list'}\n"
            try:
                draft.write_text(text + "list them: python -m iomt_crypt_orthanc quarantine list\n", encoding="utf-8")
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
    except OSError:
        return n
    return n
