"""The seam between work on one object and work on a tree of millions.

An `Operation` says what is done; it is small, travels to other processes, and shows no secret. It opens a `Worker`,
which does it: one for each process of a run, so that keys are loaded and epochs opened once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

State = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class Item:
    """One object to work on.

    location
        path or URL, as the user would write it
    relative
        POSIX path below the source it was found in; its name when it was named
    named
        whether the user named it: what is not DICOM is then a failure, and is skipped otherwise
    source
        the folder, DICOMDIR, URL or file that was given
    again
        an earlier attempt was begun and not heard of again: its result may be there already
    """

    location: str
    relative: str
    named: bool
    source: str
    again: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one object.

    reason, hint
        why it was skipped or failed, and what can be done about it
    detail
        what ``--json`` adds; can be written as JSON
    before
        skipped because what an earlier run made is there
    """

    location: str
    state: State
    reason: str = ""
    hint: str = ""
    detail: dict[str, Any] = field(default_factory=dict)
    before: bool = False


@dataclass(frozen=True)
class Summary:
    """Totals of a run.

    before
        done by an earlier run of the same operation, as its journal says; not looked at again, in no other total
    """

    done: int
    skipped: int
    failed: int
    seconds: float
    before: int = 0


class Worker(Protocol):
    """Does the work, in one process, one batch after the other."""

    def run(self, items: Sequence[Item]) -> list[Outcome]:
        """One outcome for each item, in their order. An item's failure never raises."""

    def close(self) -> None:
        """Give back what is held. No further `run`."""


class Operation(Protocol):
    """What is done to each object. Work is idempotent: a batch may be run again after a crash.

    Four attributes may be left out. ``secret`` is True for one that carries passphrases: it is sent to processes of
    this machine and over TLS only. ``in_place`` is True for one that changes objects: sources that are links are
    refused. ``pace()`` gives the `Pace` of its batches. ``prepare(resumed=...)`` is called once before anything is
    done, with whether there is a journal, and raises ConfigurationError where nothing can come of it.
    """

    @property
    def name(self) -> str:
        """The command's word, e.g. ``"encrypt"``."""

    def fingerprint(self) -> str:
        """Equal for runs whose results are interchangeable; a journal goes on only with an equal one."""

    def open(self) -> Worker:
        """A worker. Called once in a run for each process, or each thread of it, that has something to do."""
