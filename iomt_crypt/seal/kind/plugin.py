"""Key holders that live outside this package: ``plugin:NAME`` or ``plugin:NAME:ARGUMENT``.

A distribution offers one by an entry point of the group ``iomt_crypt.key_holders``, named NAME, that leads to a module
or an object with one of these functions, or both::

    def parse_recipient(argument: str, ask: AskPassphrase | None) -> Recipient: ...
    def parse_identity(argument: str, ask: AskPassphrase | None) -> Identity: ...

It is imported when a user names it, and not because it is installed. What it returns is checked, and the kind of its
stanzas is ``plugin:NAME`` or begins with ``plugin:NAME/``, so that no two kinds are taken for each other. An identity
is shown stanzas of its own kind only. Whatever it raises becomes a KeyMaterialError that names the plug-in; of its
words only those of our own errors are shown, which are made for users.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from iomt_crypt.errors import IomtCryptError, KeyMaterialError
from iomt_crypt.seal.recipient import (
    FINGERPRINT_BYTES,
    AskPassphrase,
    Identity,
    Recipient,
    Stanza,
    fingerprint_text,
)
from iomt_crypt.seal.schedule import KEY_BYTES

GROUP = "iomt_crypt.key_holders"
PREFIX = "plugin:"
MAX_BODY_BYTES = 1 << 16  # as `Record` reads it

_T = TypeVar("_T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_MAX_KIND = 64  # as `Record` reads it


class _Holder:
    """What recipients and identities of a plug-in have in common: a name, a fingerprint that does not change."""

    def __init__(self, name: str, made: Any) -> None:
        self.name = name
        self._made = made
        self.fingerprint = self._checked_fingerprint()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {fingerprint_text(self.fingerprint)}>"

    def _checked_fingerprint(self) -> bytes:
        fingerprint = _call(self.name, "give its fingerprint", lambda: self._made.fingerprint)
        if type(fingerprint) is not bytes or len(fingerprint) != FINGERPRINT_BYTES:
            raise _wrong(self.name, f"its fingerprint is not {FINGERPRINT_BYTES} bytes")
        return fingerprint

    def _owns(self, kind: str) -> bool:
        return kind == PREFIX + self.name or kind.startswith(f"{PREFIX}{self.name}/")


class PluginRecipient(_Holder):
    """A recipient that a plug-in made."""

    def wrap(self, epoch_key: bytes, epoch_id: bytes) -> Stanza:
        stanza = _call(self.name, "wrap a key", lambda: self._made.wrap(epoch_key, epoch_id))
        if type(stanza) is not Stanza:
            raise _wrong(self.name, "what it wrapped is no Stanza")
        if type(stanza.kind) is not str or not self._owns(stanza.kind) or len(stanza.kind) > _MAX_KIND:
            raise _wrong(self.name, f"the kind of its stanza is not {PREFIX}{self.name}, or longer than {_MAX_KIND}")
        if type(stanza.recipient) is not bytes or stanza.recipient != self.fingerprint:
            raise _wrong(self.name, "its stanza has another fingerprint")
        if type(stanza.body) is not bytes or not 0 < len(stanza.body) <= MAX_BODY_BYTES:
            raise _wrong(self.name, f"the body of its stanza is not 1 to {MAX_BODY_BYTES} bytes")
        if epoch_key in stanza.body:
            raise _wrong(self.name, "it did not encrypt the key at all")
        return stanza


class PluginIdentity(_Holder):
    """An identity that a plug-in made."""

    def unwrap(self, stanza: Stanza, epoch_id: bytes) -> bytes | None:
        if not self._owns(stanza.kind):
            return None
        epoch_key = _call(self.name, "unwrap a key", lambda: self._made.unwrap(stanza, epoch_id))
        if epoch_key is None:
            return None
        if type(epoch_key) is not bytes or len(epoch_key) != KEY_BYTES:
            raise _wrong(self.name, f"what it unwrapped is not {KEY_BYTES} bytes")
        return epoch_key


def parse_recipient(text: str, ask: AskPassphrase | None) -> Recipient:
    """The recipient that a plug-in makes of its argument, checked at each use."""
    name, argument = _parse(text)
    return PluginRecipient(name, _make(name, "parse_recipient", argument, ask))


def parse_identity(text: str, ask: AskPassphrase | None) -> Identity:
    """The identity that a plug-in makes of its argument, checked at each use."""
    name, argument = _parse(text)
    return PluginIdentity(name, _make(name, "parse_identity", argument, ask))


def _parse(text: str) -> tuple[str, str]:
    name, _, argument = text[len(PREFIX) :].partition(":")
    if not _NAME.fullmatch(name):
        raise KeyMaterialError(
            f"{PREFIX} is not followed by the name of a plug-in", hint=f"{PREFIX}NAME:ARGUMENT; {_installed()}"
        )
    return name, argument


def _make(name: str, function: str, argument: str, ask: AskPassphrase | None) -> Any:
    holder = _call(name, "be loaded", _entry_point(name).load)
    parse = getattr(holder, function, None)
    if not callable(parse):
        role = function.removeprefix("parse_")
        raise _wrong(name, f"it has no {role}", f"it has no function {function}: ask its maker")
    made = _call(name, f"make a {function.removeprefix('parse_')}", lambda: parse(argument, ask))
    if made is None:
        raise _wrong(name, "it made nothing")
    return made


def _entry_point(name: str) -> EntryPoint:
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        raise KeyMaterialError(f"there is no plug-in {name}", hint=_installed())
    if len({point.value for point in found}) > 1:
        makers = ", ".join(sorted(point.dist.name if point.dist else "?" for point in found))
        raise KeyMaterialError(f"the plug-in {name} is offered by several packages", hint=f"keep one of: {makers}")
    return found[0]


def _installed() -> str:
    names = ", ".join(sorted({point.name for point in entry_points(group=GROUP)}))
    return f"installed: {names}" if names else "no plug-ins for keys are installed"


def _call(name: str, what: str, work: Callable[[], _T]) -> _T:
    """``work()``; its exceptions are told without their words, which may hold secrets, and without their trail."""
    try:
        return work()
    except IomtCryptError as error:
        raise KeyMaterialError(f"plug-in {name}: {error}", hint=error.hint) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - nothing a plug-in does ends the program
        failure = type(error).__name__
    raise _wrong(name, f"it failed to {what} ({failure})")


def _wrong(name: str, what: str, hint: str = "this is a fault of the plug-in: ask its maker") -> KeyMaterialError:
    return KeyMaterialError(f"plug-in {name}: {what}", hint=hint)
