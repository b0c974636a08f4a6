"""Room for the journal on a disk that is full to the last byte.

To deliver is what makes room, and a delivery has to be noted first. So a file of a few megabytes lies in the spool for
nothing else than to be given up when the journal finds no room, and is made again when there is some.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

#: Several times what the journal's log grows to before SQLite takes it into the journal.
BALLAST_BYTES = 4 << 20


class Ballast:
    """The file ``path``, of `BALLAST_BYTES`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def is_there(self) -> bool:
        """Whether room is set aside."""
        try:
            return self._path.stat().st_size == BALLAST_BYTES
        except OSError:
            return False

    def set_aside(self) -> bool:
        """Set the room aside where it is not yet; return whether it is."""
        if self.is_there:
            return True
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
            except OSError:
                self._path.unlink()
                raise
            finally:
                os.close(descriptor)
        return self.is_there

    def give_up(self) -> bool:
        """Give the room to the journal; return whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
