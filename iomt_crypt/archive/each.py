"""A Worker for operations that take one object at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from iomt_crypt.archive.operation import Item, Outcome
from iomt_crypt.archive.tree import DICOMDIR
from iomt_crypt.errors import IomtCryptError, MalformedError, NotDicomError, NotEncryptedError

_log = logging.getLogger(__name__)


class EachWorker:
    """Runs ``work`` on every item; what it raises becomes the item's outcome.

    What is not DICOM is skipped when it was found in a folder, and is a failure when the user named it.
    """

    def __init__(self, work: Callable[[Item], Outcome]) -> None:
        self._work = work

    def run(self, items: Sequence[Item]) -> list[Outcome]:
        return [self._one(item) for item in items]

    def close(self) -> None:
        pass

    def _one(self, item: Item) -> Outcome:
        try:
            return self._work(item)
        except IomtCryptError as error:
            skipped = not item.named and (isinstance(error, NotDicomError) or _is_index(item, error))
            return Outcome(item.location, "skipped" if skipped else "failed", str(error), error.hint)
        except Exception as error:  # noqa: BLE001
            # A fault of ours with one object must not end work on a million others. The traceback shows no variables.
            _log.exception("an object failed")
            reason = f"internal error ({type(error).__name__})"
            return Outcome(item.location, "failed", reason, "please report it with the traceback")


def _is_index(item: Item, error: IomtCryptError) -> bool:
    """A DICOMDIR lies beside the objects that it names: nothing is wrong with it."""
    return (
        isinstance(error, MalformedError | NotEncryptedError) and item.relative.rpartition("/")[2].upper() == DICOMDIR
    )
