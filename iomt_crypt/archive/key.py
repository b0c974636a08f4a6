"""Keys of an operation: where they lie, and the passphrases that open them, asked for once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal import Identity, Recipient, load_identities, load_or_create_site_key, load_recipients

Ask = Callable[[str], bytes]
_PASSPHRASE_FILE = "passphrase:"  # noqa: S105 - the kind, not one


@dataclass(frozen=True)
class KeySource:
    """Texts and paths of keys as the user gave them; travels to other processes, which load the keys themselves.

    values
        paths made absolute
    answers
        passphrases by what was asked
    """

    values: tuple[str, ...] = field(repr=False)
    answers: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    # Stretching a passphrase takes a while: not twice in a process.
    loaded: tuple[Any, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def identities_of(cls, values: Sequence[str], ask: Ask) -> KeySource:
        """Load identities once, here, and ask for what is needed. Raises KeyMaterialError."""
        return cls._opened(values, ask, load_identities)

    @classmethod
    def recipients_of(cls, values: Sequence[str], ask: Ask) -> KeySource:
        """Load recipients once, here, and ask for what is needed. Raises KeyMaterialError."""
        return cls._opened(values, ask, load_recipients)

    @classmethod
    def _opened(cls, values: Sequence[str], ask: Ask, load: Callable[..., Sequence[Any]]) -> KeySource:
        answers: dict[str, bytes] = {}

        def remember(what: str) -> bytes:
            answers[what] = ask(what)
            return answers[what]

        absolute = tuple(_absolute(value) for value in values)
        loaded = tuple(load(absolute, ask=remember))
        return cls(absolute, answers, loaded)

    def __reduce__(self) -> tuple[type[KeySource], tuple[tuple[str, ...], dict[str, bytes]]]:
        return KeySource, (self.values, dict(self.answers))

    @property
    def secret(self) -> bool:
        """Whether passphrases are in it."""
        return bool(self.answers)

    def identities(self) -> list[Identity]:
        """The identities. Raises KeyMaterialError when they cannot be had where this runs."""
        return list(self.loaded or load_identities(self.values, ask=self._answer))

    def recipients(self) -> list[Recipient]:
        """The recipients. Raises KeyMaterialError when they cannot be had where this runs."""
        return list(self.loaded or load_recipients(self.values, ask=self._answer))

    def fingerprint(self) -> str:
        """Which keys they are, whatever they were called; known where they were first loaded."""
        return ",".join(sorted(key.fingerprint.hex() for key in self.loaded))

    def _answer(self, what: str) -> bytes:
        if what not in self.answers:
            raise KeyMaterialError(f"{what}: a passphrase is needed and was not asked for")
        return self.answers[what]


@dataclass(frozen=True)
class SiteKey:
    """The key under which UIDs are derived: its file, and which key is meant.

    A worker on another host must not derive under a key of its own: the same image would get two UIDs.
    """

    path: str
    digest: str

    @classmethod
    def at(cls, path: Path) -> SiteKey:
        """The key in ``path``, made if missing. Raises KeyMaterialError."""
        return cls(str(path.absolute()), _digest(load_or_create_site_key(path)))

    def load(self) -> bytes:
        """The 32 bytes. Raises KeyMaterialError when the file is missing here, or holds another key."""
        if not Path(self.path).exists():
            raise KeyMaterialError(
                f"{self.path}: the site key is not there", hint="give all workers the same file, with --site-key"
            )
        key = load_or_create_site_key(Path(self.path))
        if _digest(key) != self.digest:
            raise KeyMaterialError(
                f"{self.path}: another site key than the one this run began with",
                hint="give all workers the same file, with --site-key",
            )
        return key


def _digest(key: bytes) -> str:
    return hashlib.sha256(b"iomt-crypt/site-key-digest\0" + key).hexdigest()[:16]


def _absolute(value: str) -> str:
    """Paths so that they mean the same in every process; texts of keys as they are."""
    if value.startswith(_PASSPHRASE_FILE) and value != _PASSPHRASE_FILE:
        return _PASSPHRASE_FILE + str(Path(value.removeprefix(_PASSPHRASE_FILE)).absolute())
    try:
        return str(Path(value).absolute()) if Path(value).exists() else value
    except (OSError, ValueError):  # a text that is too long for a name
        return value
