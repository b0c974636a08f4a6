"""One operation over all objects below some sources: walk, journal, work, report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Protocol

from iomt_crypt.archive.batch import Pace, batches
from iomt_crypt.archive.journal import Journal
from iomt_crypt.archive.operation import Operation, Outcome, Summary
from iomt_crypt.archive.scheduler import Scheduler
from iomt_crypt.archive.tree import Found, walk
from iomt_crypt.errors import ConfigurationError

Batch = list[Found]
Report = Callable[[Outcome], None]


class Executor(Protocol):
    """Where the work is done."""

    def map(self, stream: Iterator[Batch], pace: Pace) -> Iterator[tuple[Batch, list[Outcome]]]:
        """Each batch with its outcomes, as they come. Bounded: takes no more of ``stream`` than it can work on."""


def run_tree(
    sources: Sequence[str],
    operation: Operation,
    *,
    journal: Path | None = None,
    workers: int = 1,
    scheduler: str | Scheduler | None = None,
    exclude: Sequence[str] = (),
    report: Report,
    passed: Callable[[], None] = lambda: None,
) -> Summary:
    """Run ``operation`` on every object below ``sources``.

    Parameters
    ----------
    journal
        file that remembers what is done: the same call again goes on where this one stops
    workers
        processes on this machine; 1: this one, and no other is started
    scheduler
        address of a Dask cluster that does the work instead
    exclude
        files and folders to pass over, such as results below a source
    report
        called with each outcome, in this thread, after it is in the journal
    passed
        called for each object that the journal has as done

    Raises
    ------
    ConfigurationError, StorageError, KeyMaterialError
        The run cannot begin, or the journal cannot be written. An object's failure is an Outcome instead.
    NetworkError
        The cluster is gone. What was reported is in the journal.
    """
    began = time.monotonic()
    _check_options(sources, exclude, workers, scheduler)
    if (prepare := getattr(operation, "prepare", None)) is not None:
        prepare(resumed=journal is not None)
    ledger = Journal(journal, operation, sources) if journal is not None else None
    kept = [*exclude, *(f"{journal}{end}" for end in ("", "-wal", "-shm") if journal is not None)]
    totals: Counter[str] = Counter()

    def tell(outcome: Outcome) -> None:
        totals[outcome.state] += 1
        report(outcome)

    def pass_by() -> None:
        totals["before"] += 1
        passed()

    pace: Pace = getattr(operation, "pace", Pace)()
    with ledger or nullcontext():
        walked = walk(sources, exclude=kept, in_place=getattr(operation, "in_place", False))
        stream = _begun(batches(_open(walked, ledger, tell, pass_by), pace), ledger)
        first = next(stream, None)
        if first is not None:  # else no key has to be asked for, and no process started
            with _executor(operation, workers, scheduler) as executor:
                for batch, outcomes in executor.map(chain([first], stream), pace):
                    if ledger is not None:
                        ledger.finish(batch, outcomes)
                    for outcome in outcomes:
                        tell(outcome)
    return Summary(
        totals["done"], totals["skipped"], totals["failed"], time.monotonic() - began, before=totals["before"]
    )


def _check_options(
    sources: Sequence[str], outputs: Sequence[str], workers: int, scheduler: str | Scheduler | None
) -> None:
    if workers < 1:
        raise ConfigurationError(f"workers must be at least 1, got {workers}")
    if workers > 1 and scheduler is not None:
        raise ConfigurationError("both workers and a scheduler are given", hint="a cluster has its own workers")
    spread = workers > 1 or scheduler is not None
    if spread and any(url.startswith("memory://") for url in (*sources, *outputs)):
        raise ConfigurationError("memory:// is seen by one process only", hint="leave --workers and --scheduler out")


def _open(
    walked: Iterator[Found | Outcome], ledger: Journal | None, tell: Report, pass_by: Callable[[], None]
) -> Iterator[Found]:
    """What is left to do."""
    for found in walked:
        if isinstance(found, Outcome):
            tell(found)
            continue
        standing = ledger.standing(found) if ledger is not None else "new"
        if standing == "done":
            pass_by()
        elif standing in ("begun", "skipped"):  # a result may be what it was skipped for
            yield found.again()
        else:
            yield found


def _begun(stream: Iterator[Batch], ledger: Journal | None) -> Iterator[Batch]:
    for batch in stream:
        if ledger is not None:
            ledger.begin(batch)
        yield batch


def _executor(
    operation: Operation, workers: int, scheduler: str | Scheduler | None
) -> AbstractContextManager[Executor]:
    if workers == 1 and scheduler is None:
        return _Here(operation)
    from iomt_crypt.archive.cluster import Cluster

    return Cluster(operation, workers, Scheduler(scheduler) if isinstance(scheduler, str) else scheduler)


class _Here:
    """This process."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def __enter__(self) -> _Here:
        self._worker = self._operation.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.close()

    def map(self, stream: Iterator[Batch], pace: Pace) -> Iterator[tuple[Batch, list[Outcome]]]:
        for batch in stream:
            began = pace.clock()
            outcomes = self._worker.run([found.item for found in batch])
            pace.observe(len(batch), pace.clock() - began)
            yield batch, outcomes
