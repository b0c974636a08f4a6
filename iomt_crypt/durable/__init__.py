"""Files that appear whole, or not at all: the one way in which this package makes a file that others see.

A file is written under the name of a draft beside it, brought to the disk, and only then given its name. Whoever is
killed on the way, or finds the disk full, leaves at most a draft: nobody takes it for a result, and the next run
removes it. Nothing that is there already is replaced, unless the caller says so.
"""

from iomt_crypt.durable.appearance import (
    appear,
    appearing_file,
    appearing_folder,
    make_folder,
    new_file,
    storage_error,
    sync_folder,
)
from iomt_crypt.durable.draft import draft_path, is_draft, open_draft, open_draft_folder, remove_leftovers

__all__ = [
    "appear",
    "appearing_file",
    "appearing_folder",
    "draft_path",
    "is_draft",
    "make_folder",
    "new_file",
    "open_draft",
    "open_draft_folder",
    "remove_leftovers",
    "storage_error",
    "sync_folder",
]
