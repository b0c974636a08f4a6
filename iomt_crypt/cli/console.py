"""What the commands share: errors, results, progress."""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from iomt_crypt.errors import AuthenticationError, IomtCryptError, NotDicomError, StorageError
from iomt_crypt.foreign_text import one_line

NO_FILES = "name files, or folders with DICOM files in them"
stderr = Console(stderr=True, highlight=False)


def print_error(message: str, hint: str = "") -> None:
    """``error:`` and ``hint:`` lines on stderr."""
    typer.echo(f"error: {one_line(message)}", err=True)
    if hint:
        typer.echo(f"hint: {one_line(hint)}", err=True)


def print_failure(location: str, reason: str, hint: str = "") -> None:
    """The error of one input, which is named once."""
    print_error(reason if reason.startswith(location) else f"{location}: {reason}", hint)


def full_hint(location: str, reason: str, hint: str) -> str:
    """``hint``; for an object that failed to authenticate, also where a re-keying was cut off that it may be a part of.

    Half written, an object is like a damaged one, and can be completed.
    """
    if str(AuthenticationError()) not in reason:
        return hint
    from iomt_crypt.archive import redo, store
    from iomt_crypt.archive.tree import STATE_FOLDER

    if store.is_url(location):  # nothing is changed in place there
        return hint
    for folder in Path(os.path.realpath(store.local_path(location))).parents:
        with suppress(OSError):  # none there, or not ours to see
            if any((folder / STATE_FOLDER / redo.FOLDER).iterdir()):
                go_on = f"iomt-crypt rekey --recover {shlex.quote(str(folder))}"
                return f"{hint}; a re-keying was cut off here, unless it is running: {go_on}"
    return hint


def print_note(text: str) -> None:
    """One line on stderr that is no error."""
    stderr.print(one_line(text), soft_wrap=True, markup=False)


def print_json(value: Any) -> None:
    """One JSON document on one line of stdout."""
    typer.echo(json.dumps(value, sort_keys=True))


def totals_text(done: int, *others: tuple[int, str]) -> str:
    """``4, 1 skipped``: the others only where there are any."""
    return ", ".join([str(done), *(f"{n} {what}" for n, what in others if n)])


def progress(items: Iterable[Any], total: int, label: str) -> Iterator[Any]:
    """Yield ``items`` under a progress bar; none when stderr is no terminal."""
    if not sys.stderr.isatty() or total < 2:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True) as bar:
        yield from bar.track(items, total=total, description=label)


class TreeBar:
    """Progress with rate and time left; none when stderr is no terminal.

    The objects are counted beside the work, for nobody knows their number before the tree has been walked.
    """

    def __init__(self, sources: Sequence[str], exclude: Sequence[str], label: str) -> None:
        self._sources, self._exclude, self._label = sources, exclude, label
        self._stop = threading.Event()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            rate = TextColumn("{task.completed}/{task.fields[of]} {task.fields[rate]}")
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                rate,
                TimeRemainingColumn(),
                console=stderr,
                transient=True,
            )
            self._task = self._bar.add_task(self._label, total=None, of="?", rate="")
            self._began = time.monotonic()
            self._bar.start()
            self._counter = threading.Thread(target=self._count, daemon=True)
            self._counter.start()
        return self

    def advance(self) -> None:
        if self._bar is None:
            return
        seconds = time.monotonic() - self._began
        completed = self._bar.tasks[0].completed + 1
        self._bar.update(self._task, completed=completed, rate=f"{completed / max(seconds, 0.001):.0f}/s")

    def _count(self) -> None:
        from iomt_crypt.archive.tree import walk

        total = 0
        with suppress(Exception):  # the run itself tells what is wrong with a source
            for _ in walk(self._sources, exclude=self._exclude):
                if self._stop.is_set():
                    return
                total += 1
            if self._bar is not None:
                self._bar.update(self._task, total=total, of=str(total))

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._bar is not None:
            self._counter.join()
            self._bar.stop()


@dataclass(frozen=True)
class Input:
    """One file to work on: where it is, where it goes below the output folder, and whether the user named it."""

    path: Path
    relative: Path
    named: bool


def collect(sources: list[Path]) -> list[Input]:
    """Files named, and all regular files below folders and DICOMDIRs named, in a stable order."""
    from iomt_crypt.archive.operation import Outcome
    from iomt_crypt.archive.tree import walk

    inputs: list[Input] = []
    for found in walk([str(source) for source in sources]):
        if isinstance(found, Outcome) and found.state == "skipped":
            print_note(f"skipped: {found.location}: {found.reason}")
            continue
        if isinstance(found, Outcome):
            print_failure(found.location, found.reason, found.hint)
            raise typer.Exit(1)
        inputs.append(Input(Path(found.item.location), Path(found.item.relative), named=found.item.named))
    return inputs


class Outputs:
    """The results of this run: no two inputs may become the same file, whatever --overwrite and --resume say."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[Path, Path] = {}

    def target(self, item: Input) -> Path:
        """Where the result of ``item`` goes. Raises StorageError when another input's result is there."""
        target = self._folder / item.relative
        if target in self._made:
            raise StorageError(
                f"{target}: the result of {self._made[target]} is there",
                hint="name the folder above both, or give each its own output folder",
            )
        return target

    def made(self, item: Input) -> None:
        """``item`` has its result."""
        self._made[self._folder / item.relative] = item.path


@dataclass
class Tally:
    """Results so far."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    notes: list[str] = field(default_factory=list)


def run_inputs(
    inputs: list[Input], work: Callable[[Input], dict[str, Any]], *, label: str, as_json: bool, verb: str
) -> None:
    """Run ``work`` on every input; a failed one does not stop the others. Exits 1 if any failed.

    ``work`` returns what ``--json`` prints; its ``state`` is ``done``, ``skipped`` or ``failed``. Files that are not
    DICOM are skipped when they were found in a folder, and are failures when the user named them.
    """
    tally = Tally()
    for item in progress(inputs, len(inputs), label):
        try:
            result = work(item)
        except IomtCryptError as error:
            skipped = isinstance(error, NotDicomError) and not item.named
            hint = full_hint(str(item.path), str(error), error.hint)
            result = {"state": "skipped" if skipped else "failed", "error": str(error), "hint": hint}
        _count(tally, item, result)
        if as_json:
            print_json({"source": str(item.path), **result})
    if not as_json:
        typer.echo(f"{verb}: {totals_text(tally.done, (tally.skipped, 'skipped'), (tally.failed, 'failed'))}", err=True)
    if not inputs:
        print_error("no files found", NO_FILES)
    if tally.failed or not inputs:
        raise typer.Exit(1)


def _count(tally: Tally, item: Input, result: dict[str, Any]) -> None:
    state = result["state"]
    if state == "done":
        tally.done += 1
    elif state == "skipped":
        tally.skipped += 1
        print_note(f"skipped: {item.path}: {result['error']}")
    else:
        tally.failed += 1
        print_failure(str(item.path), str(result["error"]), result["hint"])
