"""Where the results of `encrypt_file` and `decrypt_file` appear."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from iomt_crypt.durable import appearing_file


def output_file(path: Path, *, overwrite: bool = False) -> AbstractContextManager[BinaryIO]:
    """A writable file that becomes ``path`` when the block ends well, see `appearing_file`; folders are made."""
    hint = "nothing is overwritten unless --overwrite is given"
    return appearing_file(path, replace=overwrite, folders=True, hint=hint)
