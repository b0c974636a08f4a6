"""Which objects may go to the destination: plug-ins of the group ``iomt_crypt.routes``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from pydicom import dcmread
from pydicom.dataset import Dataset

from iomt_crypt import extension
from iomt_crypt.errors import ConfigurationError

GROUP = "iomt_crypt.routes"


class Route(Protocol):
    """What ``open_route(argument)`` of a plug-in makes."""

    def accepts(self, header: Dataset) -> bool:
        """Whether an object may go; ``header`` is its clear header, as the archive would see it, without pixels.

        False, anything that is no bool, and any exception hold the object.
        """


class Routes:
    """All predicates of a destination: an object goes when each of them accepts it.

    Raises
    ------
    ConfigurationError
        One cannot be loaded.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._routes = [(text.partition(":")[0], _open(text)) for text in texts]

    def refusal(self, path: Path) -> str:
        """Why the object in the file ``path`` does not go; empty when it does. Raises nothing."""
        if not self._routes:
            return ""
        name = "object"
        try:
            header = dcmread(path, stop_before_pixels=True)
            for name, route in self._routes:
                answer = route.accepts(header)
                if answer is not True:
                    return f"route {name}: " + ("not for this destination" if answer is False else "no answer")
        except Exception as error:  # noqa: BLE001 - what nobody can route does not go; its words may quote the header
            return f"route {name}: it failed ({type(error).__name__})"
        return ""


def _open(text: str) -> Route:
    made = extension.make(GROUP, text)
    if not callable(getattr(made, "accepts", None)):
        raise ConfigurationError(f"plug-in {text.partition(':')[0]}: its route lacks accepts", hint="ask its maker")
    return cast(Route, made)
