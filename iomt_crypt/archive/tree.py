"""The objects below files, folders, DICOMDIRs and stores: a stream in a stable order, whatever their number.

Memory: the names of one folder on each level. Links inside folders are not followed, and told where they lead out of
all sources; what we keep for ourselves (drafts, ``.iomt-crypt/``) is passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import Any

from iomt_crypt.archive import store
from iomt_crypt.archive.operation import Item, Outcome
from iomt_crypt.durable import is_draft
from iomt_crypt.errors import InputError, IomtCryptError, MalformedError

STATE_FOLDER = ".iomt-crypt"
DICOMDIR = "DICOMDIR"  # PS3.10 8.6
_VERSION = re.compile(r"\.?(;[0-9]+)?\Z")


@dataclass(frozen=True)
class Found:
    """An object and what tells whether it has changed; zeros where a store does not say."""

    item: Item
    size: int = 0
    mtime_ns: int = 0

    def again(self) -> Found:
        """The same object, marked as one whose result may be there."""
        return replace(self, item=replace(self.item, again=True))


def walk(sources: Sequence[str], *, exclude: Sequence[str] = (), in_place: bool = False) -> Iterator[Found | Outcome]:
    """Objects below ``sources``, one source after the other, names in order; what cannot be walked is a failed Outcome.

    A link in a folder that leads out of all sources is a skipped Outcome with ``"link": true`` in its detail.

    Parameters
    ----------
    exclude
        files and folders to pass over: results that are being written below a source
    in_place
        refuse sources that are reached through a link: the object behind it belongs to another tree; and pass over
        those that lie below other ones, so that no object is changed twice
    """
    left_out = frozenset(os.path.realpath(path) for path in exclude if not store.is_url(path))
    refused = {source for source in sources if in_place and _is_link(source)}
    roots = _roots([source for source in sources if source not in refused])
    seen: set[str] = set()
    for source in sources:
        if store.is_url(source):
            yield from _store(source, frozenset(path for path in exclude if store.is_url(path)))
        elif source in refused:
            yield Outcome(source, "failed", f"{source}: a link, and it would be changed in place", "name what it is to")
        elif not (in_place and _is_covered(store.local_path(source), seen, roots)):
            yield from _local(store.local_path(source), left_out, roots)


def _is_link(source: str) -> bool:
    return not store.is_url(source) and os.path.islink(store.local_path(source))  # noqa: PTH114 - whatever its name


def _roots(sources: Sequence[str]) -> tuple[str, ...]:
    """Where the local sources are, each with a slash at its end."""
    local = (store.local_path(source) for source in sources if not store.is_url(source))
    return tuple(os.path.realpath(path).rstrip("/") + "/" for path in local if os.path.exists(path))  # noqa: PTH110


def _is_covered(path: str, seen: set[str], roots: Sequence[str]) -> bool:
    """Whether a local source is below another one, or was ``seen``; notes it."""
    if not os.path.exists(path):  # noqa: PTH110 - a name that is too long is no error here
        return False
    path = os.path.realpath(path)
    covered = path in seen or path.startswith(tuple(roots))
    seen.add(path)
    return covered


def _local(source: str, left_out: frozenset[str], roots: Sequence[str]) -> Iterator[Found | Outcome]:
    try:
        status = os.stat(source)  # noqa: PTH116 - a name that is too long raises here, and is told when it is opened
    except (OSError, ValueError):
        yield Found(Item(source, Path(source).name, True, source))
        return
    if S_ISDIR(status.st_mode):
        yield from _folder(source, left_out, roots)
    elif Path(source).name.upper() == DICOMDIR and S_ISREG(status.st_mode):
        yield from _directory(source)
    else:
        yield Found(Item(source, Path(source).name, True, source), status.st_size, status.st_mtime_ns)


def _folder(source: str, left_out: frozenset[str], roots: Sequence[str]) -> Iterator[Found | Outcome]:
    """Depth first, folders and files by name: the same order in every run."""
    root = os.path.realpath(source)
    stack: list[tuple[str, Iterator[str]]] = []
    below: str | None = ""
    while below is not None or stack:
        if below is not None:
            try:
                stack.append((below, iter(sorted(os.listdir(source + "/" + below)))))  # noqa: PTH208 - a million names
            except OSError as error:
                yield Outcome(f"{source}/{below}", "failed", f"{source}/{below}: cannot be read ({error.strerror})")
            below = None
            continue
        prefix, names = stack[-1]
        name = next(names, None)
        if name is None:
            stack.pop()
            continue
        relative = prefix + name
        if _is_own(name) or (left_out and f"{root}/{relative}" in left_out):
            continue
        location = os.path.join(source, relative)  # noqa: PTH118 - a Path costs ten times as much
        status = _status(location)
        if status is not None and S_ISDIR(status.st_mode):
            below = relative + "/"
        elif status is not None and S_ISREG(status.st_mode):
            yield Found(Item(location, relative, False, source), status.st_size, status.st_mtime_ns)
        elif status is not None and S_ISLNK(status.st_mode) and not _leads_into(roots, location):
            hint = "name what it leads to as a source of its own"
            yield Outcome(location, "skipped", "a link, which is not followed", hint, detail={"link": True})


def _leads_into(roots: Sequence[str], link: str) -> bool:
    """Whether what is behind a link is met all the same. What is not there may be away only: a volume, not mounted."""
    return f"{os.path.realpath(link)}/".startswith(tuple(roots))


def _status(location: str) -> os.stat_result | None:
    try:
        return os.lstat(location)
    except OSError:  # gone since its folder was listed
        return None


def _is_own(name: str) -> bool:
    return name == STATE_FOLDER or is_draft(name)


def _directory(source: str) -> Iterator[Found | Outcome]:
    """The objects that a DICOMDIR names (PS3.3 F.3.2.2: Referenced File ID, components below its folder)."""
    folder = Path(source).parent
    try:
        names = _referenced(source)
    except IomtCryptError as error:
        yield Outcome(source, "failed", str(error), error.hint)
        return
    root = os.path.realpath(folder).rstrip("/") + "/"
    listed = lru_cache(16)(_names_by_id)
    for parts in names:
        named = folder.joinpath(*parts)
        proper = bool(parts) and not any(part in ("", ".", "..") or "/" in part for part in parts)
        candidates = _on_disk(folder, parts, listed) if proper else [named]
        if len(candidates) > 1:
            reason = f"{source}: names {'/'.join(parts)!r}, which may be {' or '.join(p.name for p in candidates)}"
            yield Outcome(str(named), "failed", reason, "they differ in case only; name the file itself")
            continue
        [location] = candidates
        if not proper or not os.path.realpath(location).startswith(root):
            reason = f"{source}: names {'/'.join(parts)!r}, which is outside of its folder"
            yield Outcome(str(named), "failed", reason, "nothing outside a medium is touched; name the file itself")
            continue
        status = _status(str(location))
        size, mtime_ns = (status.st_size, status.st_mtime_ns) if status else (0, 0)
        yield Found(Item(str(location), location.relative_to(folder).as_posix(), True, source), size, mtime_ns)


def _on_disk(folder: Path, parts: tuple[str, ...], listed: Callable[[Path], dict[str, list[str]]]) -> list[Path]:
    """Where the file of a Referenced File ID is; several where nobody can say which is meant.

    File IDs are in upper case (PS3.10 8.5). What was copied from ISO 9660 or FAT may be in lower case, and may have the
    dot or the version of ISO 9660 at its end.
    """
    place = folder
    for part in parts:
        exact = place / part
        names = [part] if os.path.lexists(exact) else listed(place).get(_file_id(part), [part])
        if len(names) > 1:
            return [place / name for name in names]
        place = place / names[0]
    return [place]


def _names_by_id(folder: Path) -> dict[str, list[str]]:
    """The names in a folder by the File ID that they stand for; empty when it cannot be read."""
    found: dict[str, list[str]] = {}
    with suppress(OSError):
        for name in sorted(os.listdir(folder)):  # noqa: PTH208 - a Path for each costs ten times as much
            found.setdefault(_file_id(name), []).append(name)
    return found


def _file_id(name: str) -> str:
    return _VERSION.sub("", name).upper()


def _referenced(source: str) -> list[tuple[str, ...]]:
    """Referenced File IDs, each once, in the order of the records."""
    from pydicom import dcmread

    try:
        records = dcmread(source).get("DirectoryRecordSequence") or []
        values = [record.get("ReferencedFileID") for record in records]
    except Exception as error:  # noqa: BLE001 - pydicom raises of many classes on what is no DICOMDIR
        raise MalformedError(f"{source}: not a DICOMDIR that can be read ({type(error).__name__})") from None
    return list(dict.fromkeys((v,) if isinstance(v, str) else tuple(str(p) for p in v) for v in values if v))


def _store(source: str, left_out: frozenset[str]) -> Iterator[Found | Outcome]:
    try:
        fs, path = store.file_system(source)
        outputs = tuple(store.file_system(url)[1].rstrip("/") for url in left_out)
        with store.translated(source, InputError):
            info = fs.info(path)
    except IomtCryptError as error:
        yield Outcome(source, "failed", str(error), error.hint)
        return
    if info.get("type") == "file":
        yield _found(Item(source, source.rpartition("/")[2], True, source), info)
        return
    root = path.rstrip("/")
    stack: list[Iterator[dict[str, Any]]] = []
    below: str | None = root
    while below is not None or stack:
        if below is not None:
            try:
                stack.append(iter(_entries(fs, below, source)))
            except IomtCryptError as error:
                yield Outcome(store.join(source, below[len(root) :].lstrip("/")), "failed", str(error), error.hint)
            below = None
            continue
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif entry["type"] == "directory":
            below = entry["name"] if entry["name"].rstrip("/") not in outputs else None
        else:
            relative = entry["name"][len(root) :].lstrip("/")
            yield _found(Item(store.join(source, relative), relative, False, source), entry)


def _entries(fs: Any, folder: str, source: str) -> list[dict[str, Any]]:
    """Entries of one folder by name, without ours, and without the markers that stand for the folder itself."""
    with store.translated(source, InputError):
        entries = sorted(fs.ls(folder, detail=True), key=lambda entry: str(entry["name"]))
    own = folder.rstrip("/")
    names = [str(entry["name"]).rstrip("/") for entry in entries]
    return [e for e, name in zip(entries, names, strict=True) if name != own and not _is_own(name.rpartition("/")[2])]


def _found(item: Item, info: dict[str, Any]) -> Found:
    changed = info.get("LastModified") or info.get("mtime") or info.get("created") or 0
    seconds = changed.timestamp() if isinstance(changed, datetime) else float(changed)
    return Found(item, int(info.get("size") or 0), int(seconds * 1e9))
