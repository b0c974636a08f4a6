"""One login to each token, kept for the life of the process and shared by all keys on it.

PKCS#11 counts logins by process and token, not by session: a second login fails, and closing one session logs the
others out. So there is one `TokenSession` for each token, used by one thread at a time, since modules are not asked to
lock anything themselves.

A wrong PIN is never tried twice: tokens lock themselves after a few.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal.kind.token_uri import TokenUri
from iomt_crypt.seal.recipient import AskPassphrase
from iomt_crypt.seal.secret import read_secret_line

if TYPE_CHECKING:
    import pkcs11

_T = TypeVar("_T")

_SALT = secrets.token_bytes(16)
_lock = threading.RLock()
_sessions: dict[tuple[Path, bytes, str], TokenSession] = {}
# Modules that this process has inherited through a fork: PKCS#11 wants each process to initialise them itself.
_inherited: set[str] = set()


class TokenSession:
    """A token, found by ``uri``. `find_session` makes it.

    Its sessions are opened when they are needed first, and again after the token was taken out and put back.
    """

    def __init__(self, uri: TokenUri, name: str, ask: AskPassphrase | None) -> None:
        self._uri = uri
        self._ask = ask
        self._asked: bytes | None = None
        # Salted digests of PINs that the token has refused.
        self._refused: set[bytes] = set()
        self._anonymous: pkcs11.Session | None = None
        self._user: pkcs11.Session | None = None
        self.name = name

    def run(self, work: Callable[[pkcs11.Session], _T], *, login: bool = True) -> _T:
        """``work(session)``, once more with a new session when the token was away in between.

        Raises
        ------
        KeyMaterialError
            The token is not there, is locked, refuses the PIN, or fails in a way that ``work`` does not expect.
        """
        import pkcs11

        with _lock:
            try:
                try:
                    return work(self._session(login))
                except _gone():
                    self.forget()
                    return work(self._session(login))
            except pkcs11.PKCS11Error as error:
                raise self._wrong(f"it failed ({type(error).__name__})", "is it still plugged in?") from None

    def offer(self, uri: TokenUri, ask: AskPassphrase | None) -> None:
        """A newer way to the PIN: that of the first URI may have been missing or wrong."""
        if uri.pin_source is not None:
            self._uri = uri
        self._ask = ask or self._ask

    def forget(self) -> None:
        """Drop the sessions without a word to the token, which does not know them any more."""
        self._anonymous = self._user = None

    def close(self) -> None:
        """Log out."""
        import pkcs11

        for session in (self._user, self._anonymous):
            if session is not None:
                with suppress(pkcs11.PKCS11Error):
                    session.close()
        self.forget()

    def _session(self, login: bool) -> pkcs11.Session:
        if login:
            self._user = self._user or self._log_in()
            return self._user
        self._anonymous = self._anonymous or _token(self._uri).open()
        return self._anonymous

    def _log_in(self) -> pkcs11.Session:
        import pkcs11

        token = _token(self._uri)
        if not token.flags & pkcs11.TokenFlag.LOGIN_REQUIRED:
            return token.open()
        if token.flags & pkcs11.TokenFlag.USER_PIN_LOCKED:
            raise self._wrong("the PIN is locked", "the token's security officer can unlock it")
        try:
            if token.flags & pkcs11.TokenFlag.PROTECTED_AUTHENTICATION_PATH:
                return token.open(user_pin=pkcs11.types.PROTECTED_AUTH)
            return self._log_in_by_pin(token)
        except pkcs11.exceptions.UserAlreadyLoggedIn:
            return token.open()
        except pkcs11.exceptions.PinLocked:
            raise self._wrong("the PIN is locked", "the token's security officer can unlock it") from None
        except pkcs11.exceptions.PinExpired:
            raise self._wrong("the PIN has expired", "set a new one with the token's own tool") from None
        except pkcs11.exceptions.UserPinNotInitialized:
            raise self._wrong("no PIN has been set", "set one with the token's own tool") from None

    def _log_in_by_pin(self, token: pkcs11.Token) -> pkcs11.Session:
        import pkcs11

        if token.flags & pkcs11.TokenFlag.USER_PIN_FINAL_TRY:
            raise self._wrong(
                "it allows one more attempt before it locks itself",
                "log in once with the token's own tool, then try again",
            )
        pin = self._pin()
        digest = hashlib.sha256(_SALT + pin).digest()
        if digest in self._refused:
            raise self._wrong("it has refused this PIN before", "it is not tried again: a token locks itself")
        try:
            return token.open(user_pin=pin.decode("utf-8"))
        except (
            pkcs11.exceptions.PinIncorrect,
            pkcs11.exceptions.PinInvalid,
            pkcs11.exceptions.PinLenRange,
            UnicodeDecodeError,
        ):
            self._refused.add(digest)
            self._asked = None
            raise self._wrong("wrong PIN", "it is not tried again: a token locks itself after a few attempts") from None

    def _pin(self) -> bytes:
        if self._uri.pin_source is not None:
            return read_secret_line(self._uri.pin_source)
        if self._asked is None:
            if self._ask is None:
                raise self._wrong(
                    "a PIN is needed and nobody can be asked", "pin-source=/path/to/file in the URI, mode 0600"
                )
            # Kept in memory: whoever put the token back must not be asked again in the middle of the night.
            self._asked = self._ask(f"PIN of token {self.name}")
        return self._asked

    def _wrong(self, message: str, hint: str) -> KeyMaterialError:
        return KeyMaterialError(f"token {self.name}: {message}", hint=hint)


def find_session(uri: TokenUri, ask: AskPassphrase | None) -> TokenSession:
    """The session of the token that ``uri`` names; the same one for each URI that names the same token.

    Raises
    ------
    KeyMaterialError
        python-pkcs11 is not installed, the module cannot be loaded, no token fits, or several do.
    """
    with _lock:
        token = _token(uri)
        key = (uri.module_path, bytes(token.serial), token.label)
        session = _sessions.get(key)
        if session is None:
            session = _sessions[key] = TokenSession(uri, token.label, ask)
        session.offer(uri, ask)
        return session


def search(session: pkcs11.Session, wanted: dict[pkcs11.Attribute, Any]) -> list[Any]:
    """The objects of the token with these attributes."""
    import pkcs11

    # A search in a session that has ended leaves python-pkcs11's iterator in a state which it reports on stderr; this
    # fails cleanly, so that `TokenSession.run` opens a new one.
    with suppress(pkcs11.exceptions.RandomNoRNG, pkcs11.exceptions.FunctionNotSupported):
        session.generate_random(64)
    return list(session.get_objects(wanted))


def _token(uri: TokenUri) -> pkcs11.Token:
    found = [token for token in _tokens(_module(uri.module_path)) if _fits(uri, token)]
    if len(found) == 1:
        return found[0]
    if found:
        raise KeyMaterialError(
            f"{len(found)} tokens fit {uri.token_name!r}", hint="name one by its serial number: serial=..."
        )
    there = ", ".join(repr(token.label) for token in _tokens(_module(uri.module_path)))
    raise KeyMaterialError(
        f"no token {uri.token_name!r} in the readers of {uri.module_path}",
        hint=f"there: {there}" if there else "no token is there at all: is it plugged in?",
    )


def _tokens(module: Any) -> Iterator[pkcs11.Token]:
    import pkcs11

    for slot in module.get_slots(token_present=True):
        with suppress(pkcs11.exceptions.TokenNotPresent, pkcs11.exceptions.TokenNotRecognised):
            token = slot.get_token()
            if token.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED:
                yield token


def _fits(uri: TokenUri, token: pkcs11.Token) -> bool:
    return (
        uri.token in (None, token.label)
        and uri.serial in (None, token.serial.decode("ascii", "replace").strip("\0 "))
        and uri.manufacturer in (None, token.manufacturer_id)
        and uri.model in (None, token.model)
    )


def _module(path: Path) -> Any:
    try:
        import pkcs11
    except ImportError:
        raise KeyMaterialError(
            "tokens need the package python-pkcs11", hint="pip install 'iomt-crypt[token]'"
        ) from None
    try:
        module = pkcs11.lib(str(path))
        if str(path) in _inherited:
            with suppress(pkcs11.PKCS11Error):
                module.finalize()
            module.initialize()
            _inherited.discard(str(path))
    except (pkcs11.PKCS11Error, RuntimeError) as error:
        # The loader's own words: file not found, wrong architecture, no C_GetFunctionList.
        reason = str(error) or type(error).__name__
        raise KeyMaterialError(
            f"PKCS#11 module {path} cannot be used: {reason}", hint="module-path names the library of the token's maker"
        ) from None
    return module


def _gone() -> tuple[type[Exception], ...]:
    """What a module raises when the token was taken out, or the session ended otherwise, since the last call."""
    from pkcs11 import exceptions

    return (
        exceptions.DeviceRemoved,
        exceptions.TokenNotPresent,
        exceptions.SessionHandleInvalid,
        exceptions.SessionClosed,
        exceptions.UserNotLoggedIn,
        exceptions.KeyHandleInvalid,
        exceptions.ObjectHandleInvalid,
        exceptions.SlotIDInvalid,
    )


def _after_fork() -> None:
    """In the child: the parent's sessions are not ours, and a lock may be held by a thread that is not here."""
    global _lock
    _lock = threading.RLock()
    for key, session in _sessions.items():
        session.forget()
        _inherited.add(str(key[0]))


def _close_all() -> None:
    for session in _sessions.values():
        session.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_close_all)
