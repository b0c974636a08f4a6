"""The demo's work folder: made by the demo, wiped by the demo, and nobody else's."""

from __future__ import annotations

import shutil
from pathlib import Path

from demo.gateway import DemoError

_MARKER = ".made-by-iomt-crypt-demo"


def fresh(folder: Path) -> Path:
    """An empty folder, what an earlier demo left in it removed.

    Raises
    ------
    DemoError
        The folder holds something and no demo made it.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise DemoError(f"{folder} is not a folder", "remove it, the demo makes its own")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARKER).is_file():
            raise DemoError(f"{folder} was not made by the demo and is not empty", "move what is in it")
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / _MARKER).touch()
    return folder.resolve()
