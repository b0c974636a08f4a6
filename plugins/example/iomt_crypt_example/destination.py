"""A destination: a folder for each study, ``destination.plugin = "folder:PATH"``."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydicom import dcmread

from iomt_crypt.durable import new_file
from iomt_crypt.errors import InputError, NetworkError
from iomt_crypt.node.destination import Parcel


class FolderDestination:
    """``deliver`` returns when a file is durable under its final name; delivered twice, it is there once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deliver(self, parcel: Parcel) -> None:
        """Raises NetworkError when the folder is away or full (all wait), InputError when the object is to blame."""
        study = str(dcmread(parcel.path, specific_tags=["StudyInstanceUID"]).get("StudyInstanceUID", ""))
        if not study:
            raise InputError("it has no Study Instance UID")
        target = self._folder / study / f"{parcel.sop_instance_uid}.dcm"
        try:
            self._folder.stat()  # a mount that is away must not be filled from below
            target.parent.mkdir(exist_ok=True)
            with parcel.path.open("rb") as source, new_file(target, replace=True) as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
        except OSError as error:
            raise NetworkError(f"{self._folder}: {error.strerror}") from error

    def close(self) -> None:
        """Nothing is kept open."""


def open_destination(argument: str) -> FolderDestination:
    """What follows ``folder:`` in ``destination.plugin``."""
    return FolderDestination(Path(argument))
