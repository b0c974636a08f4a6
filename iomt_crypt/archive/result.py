"""Where results go, and which of two inputs a name belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iomt_crypt.archive import store
from iomt_crypt.archive.operation import Item, Outcome
from iomt_crypt.archive.tree import DICOMDIR
from iomt_crypt.errors import IomtCryptError, StorageError


@dataclass(frozen=True)
class Results:
    """The results of a run.

    folder
        path or URL below which they go
    sources
        the run's sources in their order
    overwrite, resume
        what to do where a result is: replace it, or take it as done. Neither: the input fails.
    """

    folder: str
    sources: tuple[str, ...]
    overwrite: bool = False
    resume: bool = False

    def open(self) -> Targets:
        """Their names, for one process."""
        return Targets(self)


class Targets:
    """Names of results: no two inputs become the same one, whatever may be overwritten.

    Which input a name belongs to is asked of the sources themselves: with millions of objects in several processes
    nobody can remember what became what.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        self._folders: list[tuple[int, str]] = []
        self._files: dict[str, int] = {}
        for position, source in enumerate(results.sources if len(results.sources) > 1 else ()):
            name = source.rstrip("/").rpartition("/")[2]
            if store.is_url(source) or Path(store.local_path(source)).is_dir():
                self._folders.append((position, source))
            elif name.upper() == DICOMDIR:
                self._folders.append((position, str(Path(store.local_path(source)).parent)))
            else:
                self._files.setdefault(name, position)

    def settled(self, item: Item) -> Outcome | None:
        """The outcome of an item that needs no work: its result is there and counts.

        Results are whole when they are there, and one that an earlier attempt began may be.
        """
        target = self.of(item)
        if item.again and not self._results.overwrite and _is_object(target):
            return Outcome(item.location, "done", detail={"output": target})
        if self._results.resume and store.exists(target):
            return Outcome(item.location, "skipped", "done before", detail={"output": target}, before=True)
        return None

    def of(self, item: Item) -> str:
        """Where the result of ``item`` goes. Raises StorageError when it is that of an earlier source's object."""
        target = store.join(self._results.folder, item.relative)
        first = self._first(item)
        if first is not None and _is_object(first) and _is_object(item.location):
            raise StorageError(
                f"{target}: the result of {first} is there",
                hint="name the folder above both, or give each its own output folder",
            )
        return target

    def _first(self, item: Item) -> str | None:
        """The file of an earlier source whose result has the same name."""
        if len(self._results.sources) < 2:
            return None
        mine = self._results.sources.index(item.source)
        named = self._files.get(item.relative, mine)
        if named < mine:
            return self._results.sources[named]
        for position, folder in self._folders:
            other = store.join(folder, item.relative)
            if position < mine and store.exists(other):
                return other
        return None


def _is_object(location: str) -> bool:
    """Whether a DICOM object is there: nothing else has a result."""
    from iomt_crypt.dicom import read_file

    try:
        with store.reading(location) as stream:
            read_file(stream)
    except IomtCryptError:
        return False
    return True
