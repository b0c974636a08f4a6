"""Where other packages attach: every extension point, and how what they offer is found.

A package offers something by an entry point of one of the groups in `POINTS`; a user names it as ``NAME`` or
``NAME:ARGUMENT``. It is imported when it is named, and not because it is installed; it then runs inside the program,
so install it as you would the program itself. ``plugins/example/`` has one of each; `docs/guide/plugin.md` tells how.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from iomt_crypt.errors import ConfigurationError, IomtCryptError

_T = TypeVar("_T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True)
class Point:
    """One extension point.

    group
        of entry points; for checks, which are named by their class, a name that only this table knows
    offers
        what the entry point leads to
    named
        where a user names it
    """

    group: str
    offers: str
    named: str


POINTS = (
    Point("iomt_crypt.key_holders", "parse_recipient(argument, ask), parse_identity(argument, ask)", "-r, -i, keys"),
    Point("iomt_crypt.destinations", "open_destination(argument) -> Destination", "destination.plugin"),
    Point("iomt_crypt.routes", "open_route(argument) -> Route", "destination.predicates"),
    Point("iomt_crypt.checks", "a MONAI dictionary transform", "checks.own"),
)


def make(group: str, text: str) -> Any:
    """What the entry point ``NAME`` of ``group`` makes of its argument; ``text`` is ``NAME`` or ``NAME:ARGUMENT``.

    Raises
    ------
    ConfigurationError
        It is not installed, not the only one of its name, or fails; only our own errors' words are shown.
    """
    name, _, argument = text.partition(":")
    factory = guarded(name, "be loaded", _entry_point(group, name).load)
    if not callable(factory):
        raise ConfigurationError(f"plug-in {name}: what it offers cannot be called", hint="ask its maker")
    made = guarded(name, "start", lambda: factory(argument))
    if made is None:
        raise ConfigurationError(f"plug-in {name}: it made nothing", hint="ask its maker")
    return made


def guarded(name: str, what: str, work: Callable[[], _T]) -> _T:
    """``work()``; foreign exceptions become a ConfigurationError without their words, which may hold secrets."""
    try:
        return work()
    except IomtCryptError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - nothing a plug-in does ends the program
        failure = type(error).__name__
    raise ConfigurationError(f"plug-in {name}: it failed to {what} ({failure})", hint="ask its maker")


def installed(group: str) -> list[str]:
    """Names that can be used."""
    return sorted({point.name for point in entry_points(group=group)})


def _entry_point(group: str, name: str) -> EntryPoint:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name of a plug-in", hint=f"NAME or NAME:ARGUMENT; {_known(group)}")
    found = list(entry_points(group=group, name=name))
    if not found:
        raise ConfigurationError(f"there is no plug-in {name} in {group}", hint=_known(group))
    if len({point.value for point in found}) > 1:
        makers = ", ".join(sorted(point.dist.name if point.dist else "?" for point in found))
        raise ConfigurationError(f"the plug-in {name} is offered by several packages", hint=f"keep one of: {makers}")
    return found[0]


def _known(group: str) -> str:
    return f"installed: {', '.join(installed(group)) or 'none'}"
