"""Keys that transforms, readers and data sets hold, and what becomes of them in other processes.

Data loaders copy transforms to their workers by fork or by pickle. A path is pickled as it is, and each process opens
the file itself, when it first needs the key. A secret that is in memory is pickled only while a process of our own is
being spawned, through its pipe, as the standard library does it with the keys of its own connections; anywhere else it
would end in a file or on another machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from iomt_crypt.errors import ConfigurationError
from iomt_crypt.seal import Epoch, Identity, Keyring, Recipient, Stanza, load_identities, load_recipients
from iomt_crypt.seal.kind import registry
from iomt_crypt.seal.recipient import epoch_info, fingerprint_of
from iomt_crypt.seal.schedule import KEY_BYTES

Given = str | os.PathLike[str]
K = TypeVar("K")


class SharedKey:
    """A 32-byte key that both wraps and unwraps: recipient and identity in one (AES-KW, RFC 3394).

    Raises
    ------
    ConfigurationError
        It is not 32 bytes.
    """

    kind = "shared-key"

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes | bytearray) or len(key) != KEY_BYTES:
            raise ConfigurationError(
                f"a key must be {KEY_BYTES} bytes",
                hint=f"secrets.token_bytes({KEY_BYTES}) makes one; keep it where only you can read it",
            )
        self._key = bytes(key)

    @property
    def fingerprint(self) -> bytes:
        return fingerprint_of(self._derive(b"fingerprint"))

    def wrap(self, epoch_key: bytes, epoch_id: bytes) -> Stanza:
        return Stanza(self.kind, self.fingerprint, aes_key_wrap(self._derive(epoch_info(epoch_id)), epoch_key))

    def unwrap(self, stanza: Stanza, epoch_id: bytes) -> bytes | None:
        if stanza.kind != self.kind:
            return None
        try:
            return aes_key_unwrap(self._derive(epoch_info(epoch_id)), stanza.body)
        except (InvalidUnwrap, ValueError):
            return None

    def secret(self) -> bytes:
        """The key itself."""
        return self._key

    def __reduce__(self) -> tuple[type[SharedKey], tuple[bytes]]:
        _refuse_outside_spawn()
        return type(self), (self._key,)

    def _derive(self, info: bytes) -> bytes:
        return HKDF(hashes.SHA256(), KEY_BYTES, b"iomt-crypt/1/shared-key", info).derive(self._key)


class _Holder(Generic[K]):
    """Keys as they were given: paths and texts, or objects. Not copied within a process; its repr names none."""

    def __init__(self, given: Sequence[Given | K] | Given | K) -> None:
        values = [given] if isinstance(given, str | os.PathLike) or not isinstance(given, Sequence) else given
        self._given: tuple[str | K, ...] = tuple(_absolute(v) for v in values)

    def __bool__(self) -> bool:
        return bool(self._given)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._given)}>"

    def _load(self, load: Callable[[Sequence[str]], list[K]]) -> list[K]:
        """The keys, in the order given."""
        keys: list[K] = []
        for value in self._given:
            keys += load([value]) if isinstance(value, str) else [value]
        return keys


class Sealer(_Holder[Recipient]):
    """Recipients; and for each process an epoch of its own.

    Raises
    ------
    KeyMaterialError
        A recipient cannot be read, or there is none, or more than 64.
    """

    def __init__(self, recipients: Sequence[Given | Recipient] | Given | Recipient) -> None:
        super().__init__(recipients)
        self._epoch: tuple[int, Epoch] | None = None
        self._recipients = self._load(load_recipients)

    def epoch(self) -> Epoch:
        if self._epoch is None or self._epoch[0] != os.getpid():
            self._epoch = os.getpid(), Epoch.create(self._recipients)
        return self._epoch[1]

    def __reduce__(self) -> tuple[type[Sealer], tuple[tuple[Any, ...]]]:
        return type(self), (tuple(v if isinstance(v, str | SharedKey) else _public_text(v) for v in self._given),)


class Opener(_Holder[Identity]):
    """Identities, opened when the process first needs one."""

    def __init__(self, identities: Sequence[Given | Identity] | Given | Identity | Keyring) -> None:
        self._opened: tuple[int, Keyring] | None = None
        self._ready = identities if isinstance(identities, Keyring) else None
        super().__init__(() if isinstance(identities, Keyring) else identities)
        for value in self._given:
            kind = registry.find_kind(value) if isinstance(value, str) else None
            if isinstance(value, str) and kind is not None and not kind.names_secret:
                load_identities([value])  # refuses a secret in place of a file's name

    def __bool__(self) -> bool:
        return self._ready is not None or super().__bool__()

    def keyring(self) -> Keyring:
        """The identities' keyring.

        Raises
        ------
        KeyMaterialError
            A file cannot be opened: missing, readable by others, under a passphrase.
        """
        if self._ready is not None:
            return self._ready
        # A token's session and a held lock do not survive a fork.
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), Keyring(self._load(load_identities))
        return self._opened[1]

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        if self._ready is not None:
            raise ConfigurationError("a keyring cannot be pickled", hint="give identities, or paths of identity files")
        as_given = tuple(isinstance(v, str | SharedKey) for v in self._given)
        values = tuple(v if isinstance(v, str | SharedKey) else _secret_text(v) for v in self._given)
        return _opener_of, (values, as_given)


def sealer_of(recipients: Sequence[Given | Recipient] | Given | Recipient, key: bytes | None) -> Sealer:
    """Sealer for recipients, a shared key, or both."""
    return Sealer([*Sealer(recipients)._given, *([SharedKey(key)] if key is not None else [])])


def opener_of(identities: Sequence[Given | Identity] | Given | Identity | Keyring, key: bytes | None) -> Opener:
    """Opener for identities, a shared key, or both."""
    if key is None:
        return Opener(identities)
    if isinstance(identities, Keyring):
        raise ConfigurationError("a keyring and a key were given", hint="give one of them")
    return Opener([*Opener(identities)._given, SharedKey(key)])


def _opener_of(values: tuple[Any, ...], as_given: tuple[bool, ...]) -> Opener:
    """An `Opener` from its pickle; what was an identity in memory is its secret text."""
    return Opener([v if g else registry.parse_identity(v) for v, g in zip(values, as_given, strict=True)])


def _absolute(value: Any) -> Any:
    """Paths as absolute ones: another process may have another working directory."""
    if not isinstance(value, str | os.PathLike):
        return value
    text = os.fspath(value)
    return text if registry.find_kind(text) is not None else str(Path(text).expanduser().absolute())


def _public_text(recipient: Recipient) -> str:
    text = str(recipient)
    if registry.find_kind(text) is None:
        raise ConfigurationError(
            f"a recipient of type {type(recipient).__name__} cannot be pickled", hint="give the path of its file"
        )
    return text


def _secret_text(identity: Identity) -> str:
    _refuse_outside_spawn()
    text = getattr(identity, "secret_text", None)
    if text is None:
        raise ConfigurationError(
            f"an identity of type {type(identity).__name__} cannot be pickled", hint="give its text or its file's path"
        )
    return str(text())


def _refuse_outside_spawn() -> None:
    if get_spawning_popen() is None:
        raise ConfigurationError(
            "a secret key is not pickled, except for a process that is being spawned",
            hint="give the path of the identity file: it is pickled as a path, and opened where it is needed",
        )
