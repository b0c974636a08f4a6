"""Where results go, and which of two inputs a name belongs to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from iomt_crypt.archive import store
from iomt_crypt.archive.operation import Item, Outcome
from iomt_crypt.archive.tree import DICOMDIR
from iomt_crypt.durable import remove_leftovers
from iomt_crypt.errors import ConfigurationError, IomtCryptError, StorageError


@dataclass(frozen=True)
class Results:
    """The results of a run.

    folder
        path or URL below which they go
    sources
        the run's sources in their order
    overwrite, resume
        what to do where a result is: replace it, or take it as done. Neither: the input fails.
    encrypts
        results are encrypted objects; else they are plain ones
    """

    folder: str
    sources: tuple[str, ...]
    overwrite: bool = False
    resume: bool = False
    encrypts: bool = True

    def check(self) -> None:
        """Before anything is done.

        Raises
        ------
        ConfigurationError
            The folder is a source: each result would be, or take the place of, the object that it is made of.
        """
        for source in self.sources:
            if _same_place(self.folder, source):
                raise ConfigurationError(
                    f"{self.folder}: the folder for the results is the source {source}",
                    hint="originals are never replaced; choose another folder with -o",
                )

    def clear(self, *, below: bool) -> None:
        """Remove what killed runs left half-written in the folder, and with ``below`` under it: it may be in clear."""
        if not store.is_url(self.folder):
            remove_leftovers(Path(store.local_path(self.folder)), below=below or self.resume)

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
        self._roots = [_place(tree) + "/" for tree in map(_tree_of, results.sources) if tree]
        self._named = [source for source in results.sources if not _tree_of(source)]
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
        """Where the result of ``item`` goes.

        Raises
        ------
        StorageError
            An original is there: its own, or one of a source. Or it is the result of an earlier source's object.
        """
        target = store.join(self._results.folder, item.relative)
        if self._is_original(target, item):
            raise StorageError(
                f"{target}: the result would take the place of an original",
                hint="originals are never replaced; choose another folder with -o",
            )
        first = self._first(item)
        if first is not None and _is_object(first) and _is_object(item.location):
            raise StorageError(
                f"{target}: the result of {first} is there",
                hint="name the folder above both, or give each its own output folder",
            )
        return target

    def _is_original(self, target: str, item: Item) -> bool:
        """Whether ``target`` is an input, under whatever name; what is in a folder for results is none."""
        if _same_place(target, item.location):
            return True
        place, output = _place(target), _place(self._results.folder)
        within = [root for root in self._roots if place.startswith(root)]
        if any(not output.startswith(root) for root in within):
            return store.exists(target)
        if within and self._results.overwrite and _is_object(target):
            # Below a source there may be originals, too: what a run like this one cannot have made is one.
            return _is_encrypted(target) != self._results.encrypts
        return any(_same_place(target, file) for file in self._named)

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


def _tree_of(source: str) -> str:
    """The folder whose objects a source names; empty for a single file."""
    if store.is_url(source):
        return source
    path = Path(store.local_path(source))
    if os.path.isdir(path):  # noqa: PTH112 - a name that is too long is no error here
        return str(path)
    return str(path.parent) if path.name.upper() == DICOMDIR else ""


def _place(location: str) -> str:
    """One way of writing for all names of a folder or object; a link at the end of a path is not followed."""
    if store.is_url(location):
        return store.plain(location)
    folder, name = os.path.split(os.path.abspath(store.local_path(location)))  # noqa: PTH100
    path = os.path.join(os.path.realpath(folder), name)  # noqa: PTH118
    return (os.path.realpath(path) if os.path.isdir(path) else path).rstrip("/")  # noqa: PTH112


def _same_place(one: str, other: str) -> bool:
    """Whether two locations are the same file, folder or object, however they are written or linked."""
    if store.is_url(one) or store.is_url(other):
        return store.is_url(one) and store.is_url(other) and store.plain(one) == store.plain(other)
    try:
        return os.path.samefile(store.local_path(one), store.local_path(other))  # noqa: PTH121
    except (OSError, ValueError):  # one of them is not there
        return False


def _is_object(location: str) -> bool:
    """Whether a DICOM object is there: nothing else has a result."""
    from iomt_crypt.dicom import read_file

    try:
        with store.reading(location) as stream:
            read_file(stream)
    except IomtCryptError:
        return False
    return True


def _is_encrypted(location: str) -> bool:
    """Whether the DICOM object there holds a record."""
    from iomt_crypt.dicom import read_file
    from iomt_crypt.dicom.block import find_record

    with store.reading(location) as stream:
        return find_record(read_file(stream).header) is not None
