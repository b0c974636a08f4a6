"""Commands over trees: run an operation, tell what becomes of each object, sum up."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

import typer

from iomt_crypt.cli.console import (
    NO_FILES,
    TreeBar,
    full_hint,
    print_error,
    print_failure,
    print_json,
    print_note,
    totals_text,
)
from iomt_crypt.durable import appear, open_draft, storage_error, sync_folder
from iomt_crypt.errors import ConfigurationError, StorageError
from iomt_crypt.foreign_text import one_line

if TYPE_CHECKING:
    from iomt_crypt.archive.operation import Operation, Outcome, Summary
    from iomt_crypt.archive.result import Results
    from iomt_crypt.archive.scheduler import Scheduler

#: How every report begins, see `_ReportFile`.
_REPORT = re.compile(rb'\{"command": "[a-z -]+",\n "objects": \[')


@dataclass(frozen=True)
class Words:
    """What a command says: ``encrypting`` over the bar, ``encrypted`` before the totals."""

    label: str
    verb: str


@dataclass(frozen=True)
class Run:
    """How a command over a tree is run: the options that all of them have."""

    workers: int = 1
    scheduler: Scheduler | None = None
    journal: Path | None = None
    report: Path | None = None
    as_json: bool = False

    def __post_init__(self) -> None:
        if self.report is not None and not _takes_report(self.report):
            what = f"{self.report} exists and is not the report of an earlier run (choose another file, or remove it)"
            raise typer.BadParameter(what, param_hint="--report")

    @classmethod
    def of(
        cls,
        workers: int,
        scheduler: str | None,
        tls: tuple[Path | None, Path | None, Path | None],
        journal: Path | None,
        report: Path | None,
        *,
        as_json: bool,
        dry_run: bool = False,
    ) -> Run:
        """From the options; what cannot be is a usage error. ``tls``: files of authority, certificate and key."""
        from iomt_crypt.archive.scheduler import Scheduler

        if scheduler is not None and workers > 1:
            raise typer.BadParameter("a cluster has its own workers", param_hint="--workers")
        if dry_run and journal is not None:
            raise typer.BadParameter("nothing is done that could be remembered", param_hint="--journal")
        try:
            cluster = Scheduler(scheduler, *tls) if scheduler is not None else None
        except ConfigurationError as error:
            raise typer.BadParameter(f"{error} ({error.hint})", param_hint="--scheduler") from None
        return cls(workers, cluster, journal, report, as_json)

    def over(
        self,
        sources: Sequence[str],
        operation: Operation,
        words: Words,
        *,
        output: str | None = None,
        show: Callable[[Outcome], None] | None = None,
        heard: Callable[[Outcome], None] | None = None,
    ) -> None:
        """Run ``operation`` and tell of it; ``show`` says more about what is done. Exits 1 if any object failed.

        ``heard`` gets every outcome, without printing.
        """
        try:
            self._over(sources, operation, words, output, show, heard)
        except KeyboardInterrupt:
            known = self.journal is not None or getattr(operation, "in_place", False)
            again = "the same command goes on" if known else "the next time, --journal"
            print_error("interrupted", f"what was reported as done is done; {again}")
            raise typer.Exit(130) from None

    def _over(
        self,
        sources: Sequence[str],
        operation: Operation,
        words: Words,
        output: str | None,
        show: Callable[[Outcome], None] | None,
        heard: Callable[[Outcome], None] | None,
    ) -> None:
        from iomt_crypt.archive.runner import run_tree

        exclude = [output] if output is not None else []
        n_before = 0
        with _ReportFile(self.report, operation.name) as file, TreeBar(sources, exclude, words.label) as bar:

            def tell(outcome: Outcome) -> None:
                nonlocal n_before
                n_before += outcome.before
                if outcome.state == "failed":
                    outcome = replace(outcome, hint=full_hint(outcome.location, outcome.reason, outcome.hint))
                self._tell(outcome, show)
                file.add(outcome)
                if heard is not None:
                    heard(outcome)
                bar.advance()

            summary = run_tree(
                sources,
                operation,
                journal=self.journal,
                workers=self.workers,
                scheduler=self.scheduler,
                exclude=[*exclude, *([str(self.report)] if self.report else [])],
                report=tell,
                passed=bar.advance,
            )
            file.finish(summary)
        if n_before:
            print_note(f"skipped: {n_before} that were done before")
        self._sum_up(summary, words)

    def _tell(self, outcome: Outcome, show: Callable[[Outcome], None] | None) -> None:
        if outcome.before:
            pass  # summed up in one line at the end: of a million there are many
        elif outcome.state == "skipped":
            print_note(f"skipped: {outcome.location}: {outcome.reason}")
        elif outcome.state == "failed":
            print_failure(outcome.location, outcome.reason, outcome.hint)
        elif show is not None and not self.as_json:
            show(outcome)
        if self.as_json:
            print_json(_document(outcome))

    def _sum_up(self, summary: Summary, words: Words) -> None:
        if not self.as_json:
            others = ((summary.before, "before"), (summary.skipped, "skipped"), (summary.failed, "failed"))
            typer.echo(f"{words.verb}: {totals_text(summary.done, *others)}", err=True)
        nothing = not (summary.done or summary.before or summary.skipped or summary.failed)
        if nothing:
            print_error("no files found", NO_FILES)
        if summary.failed or nothing:
            raise typer.Exit(1)


def _document(outcome: Outcome) -> dict[str, Any]:
    """What ``--json`` prints of one object."""
    told: dict[str, Any] = {"source": outcome.location, "state": outcome.state}
    if outcome.state != "done":
        told |= {"error": outcome.reason, "hint": outcome.hint}
    return told | outcome.detail


def _takes_report(path: Path) -> bool:
    """Whether a report may be put there: nothing is there, or an earlier report. It may be an object's name."""
    try:
        if path.is_file():  # to open a pipe would be to wait for its writer
            with path.open("rb") as file:
                return _REPORT.match(file.read(100)) is not None
    except OSError:
        pass
    return not os.path.lexists(path)


class _ReportFile:
    """``--report FILE``: every object that is not done, then the totals; written as it comes, there when complete.

    An interrupted run leaves a report too, whose ``complete`` is false. What the run itself put there stays.
    """

    def __init__(self, path: Path | None, command: str) -> None:
        self._path, self._command = path, command
        self._n_told = 0
        self._file: TextIO | None = None
        self._summary: Summary | None = None

    def __enter__(self) -> Self:
        if self._path is None:
            return self
        try:
            self._draft, file = open_draft(self._path, 0o600)
        except OSError as cause:
            error = storage_error(cause, f"{self._path} (the report)")
            raise error from cause
        self._file = TextIOWrapper(file, encoding="utf-8", errors="backslashreplace")
        self._file.write(f'{{"command": {json.dumps(self._command)},\n "objects": [')
        self._began = time.monotonic()
        self._counts = {"done": 0, "skipped": 0, "failed": 0}
        self._vouch_seconds = 0.0  # of all processes together
        return self

    def add(self, outcome: Outcome) -> None:
        if self._file is None:
            return
        self._counts[outcome.state] += 1
        self._vouch_seconds += outcome.detail.get("vouch_seconds", 0.0)
        if outcome.state == "done":
            return
        self._file.write(("," if self._n_told else "") + "\n  " + json.dumps(_document(outcome), sort_keys=True))
        self._n_told += 1

    def finish(self, summary: Summary) -> None:
        self._summary = summary

    def __exit__(self, *_: object) -> None:
        if self._file is None or self._path is None:
            return
        seconds = self._summary.seconds if self._summary else time.monotonic() - self._began
        totals = {
            **self._counts,
            "before": self._summary.before if self._summary else None,
            "seconds": round(seconds, 3),
            "objects_per_second": round(self._counts["done"] / seconds, 3) if seconds else None,
            "complete": self._summary is not None,
        }
        if self._vouch_seconds:
            totals["vouch_seconds"] = round(self._vouch_seconds, 3)
        try:
            with self._file as file:
                file.write("],\n " + json.dumps(totals)[1:] + "\n")
                file.flush()
                os.fsync(file.fileno())
                if not _takes_report(self._path):  # a result of this run has the name
                    what = "something else was put there meanwhile"
                    raise StorageError(f"{self._path}: {what}; the report is {self._draft}")
                appear(self._draft, self._path, replace=True)
            sync_folder(self._path.parent)
        except OSError as cause:
            error = storage_error(cause, f"{self._path} (the report)")
            raise error from cause


def tree_sources(values: Sequence[str]) -> list[str]:
    """Paths in their plain form, addresses as they are."""
    from iomt_crypt.archive import store

    return [value if store.is_url(value) else str(Path(store.local_path(value))) for value in values]


def tree_results(output: str, sources: Sequence[str], *, overwrite: bool, resume: bool, encrypts: bool) -> Results:
    """Where results go; an output folder that is a source is a usage error."""
    from iomt_crypt.archive.result import Results

    results = Results(output, tuple(sources), overwrite=overwrite, resume=resume, encrypts=encrypts)
    try:
        results.check()
    except ConfigurationError as error:
        raise typer.BadParameter(one_line(f"{error} ({error.hint})"), param_hint="--output") from None
    return results
