"""Destinations other than a DICOM archive: plug-ins of the group ``iomt_crypt.destinations``."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from iomt_crypt import extension
from iomt_crypt.dicom import split_file
from iomt_crypt.errors import ConfigurationError, InputError, IomtCryptError, NetworkError
from iomt_crypt.node import status

GROUP = "iomt_crypt.destinations"


@dataclass(frozen=True)
class Parcel:
    """An encrypted object to be delivered: a whole DICOM file that stays until `Destination.deliver` returns."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str


class Destination(Protocol):
    """What ``open_destination(argument)`` of a plug-in makes. One thread at a time calls it."""

    def deliver(self, parcel: Parcel) -> None:
        """Return None when the object is kept there for good: the node forgets it then.

        Whatever else is returned counts as a failure. It may be the same object again: after a crash it comes twice
        rather than never.

        Raises
        ------
        NetworkError
            It cannot be reached now: everything waits and is tried again.
        InputError
            It does not take this object, whose attempts are counted. Anything else counts as NetworkError.
        """

    def close(self) -> None:
        """Nothing more comes for a while; `deliver` may be called again."""


def open_destination(text: str) -> Destination:
    """The destination that ``NAME:ARGUMENT`` stands for. Raises ConfigurationError."""
    made = extension.make(GROUP, text)
    if not callable(getattr(made, "deliver", None)) or not callable(getattr(made, "close", None)):
        raise ConfigurationError(f"plug-in {text.partition(':')[0]}: its destination lacks deliver or close")
    return cast(Destination, made)


def deliver(destination: Destination, parcel: Parcel) -> None:
    """``destination.deliver(parcel)``, with any failure as one of ours. Raises InputError, NetworkError."""
    try:
        # The protocol says None; anything else may be a "no", or a coroutine of which nothing has run yet.
        returned: object = cast(Any, destination).deliver(parcel)
    except (InputError, NetworkError):
        raise
    except IomtCryptError as error:
        raise NetworkError(str(error), hint=error.hint) from error
    except Exception as error:  # noqa: BLE001 - whatever it is, the object is not delivered
        failure = type(error).__name__  # its words may quote a value of the object
    else:
        if returned is None:
            return
        failure = f"deliver returned {type(returned).__name__} and not None"
        if inspect.iscoroutine(returned):
            returned.close()  # one that nobody awaits would be complained of
    raise NetworkError(f"the destination failed ({failure})")


class PluginClient:
    """A plug-in where the forwarder has a `Client`. Raises ConfigurationError when it cannot be opened."""

    is_open = False

    def __init__(self, text: str) -> None:
        self.peer = f"plug-in {text.partition(':')[0]}"
        self._destination = open_destination(text)

    def open(self, contexts: Iterable[object]) -> None:
        """There is nothing to negotiate."""
        self.is_open = True

    def store(self, path: Path) -> tuple[int, str]:
        """Deliver; success, or an exception as `Client.store` has them."""
        with path.open("rb") as stream:  # a file that is gone is the forwarder's business and not the plug-in's
            parts = split_file(stream)
        deliver(self._destination, Parcel(path, parts.sop_class_uid, parts.sop_instance_uid))
        return status.SUCCESS, ""

    def release(self) -> None:
        """Tell the plug-in that nothing comes for a while. What it makes of that harms no object."""
        if self.is_open:
            with suppress(Exception):
                self._destination.close()
        self.is_open = False
