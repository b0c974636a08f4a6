"""From the text a user gives to a Recipient or an Identity: a table of prefixes, and a module for each kind.

A new kind (a Vault transit key, say) is a module beside this one with two functions and one row in `KINDS`::

    def parse_recipient(text: str, ask: AskPassphrase | None) -> Recipient: ...
    def parse_identity(text: str, ask: AskPassphrase | None) -> Identity: ...

``text`` is one line, or PEM blocks with line ends, and begins with one of the row's prefixes in any case; ``ask(what)``
gives a passphrase or a PIN, and is None where nobody can be asked. Both raise KeyMaterialError, without repeating the
text. A stanza of the kind carries a name of its own (docs/FORMAT.md), by which identities of other kinds pass it by.
Modules are imported when a text of their kind is met, so their dependencies are no one else's. Kinds that live outside
this package are reached through ``plugin:``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Protocol

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal.recipient import AskPassphrase, Identity, Recipient


class _KindModule(Protocol):
    def parse_recipient(self, text: str, ask: AskPassphrase | None) -> Recipient: ...

    def parse_identity(self, text: str, ask: AskPassphrase | None) -> Identity: ...


@dataclass(frozen=True)
class Kind:
    """One row of the table.

    name
        for people
    module
        where ``parse_recipient`` and ``parse_identity`` are
    recipient, identity
        prefixes of the texts, in lower case
    names_secret
        the identity's text only names the secret (a URI), and may stand in a command line; otherwise it is the secret
    loads_code
        the text names a library or a package that is loaded into this process
    """

    name: str
    module: str
    recipient: tuple[str, ...]
    identity: tuple[str, ...]
    names_secret: bool = False
    loads_code: bool = False

    @property
    def prefixes(self) -> tuple[str, ...]:
        return self.recipient + self.identity


_HERE = __package__ + "."
KINDS = (
    Kind("hpke", _HERE + "hpke", ("iomtpk1",), ("iomtsk1",)),
    Kind("x25519", _HERE + "x25519", ("iomtpkx1",), ("iomtskx1",)),
    Kind(
        "certificate",
        _HERE + "certificate",
        ("-----begin certificate-----",),
        (
            "-----begin private key-----",
            "-----begin rsa private key-----",
            "-----begin encrypted private key-----",
        ),
    ),
    Kind("rsa", _HERE + "rsa", ("-----begin public key-----",), ()),
    Kind("passphrase", _HERE + "passphrase", ("passphrase:",), ("passphrase:",), names_secret=True),
    Kind("token", _HERE + "token", ("pkcs11:",), ("pkcs11:",), names_secret=True, loads_code=True),
    Kind("kms", _HERE + "kms", ("awskms:",), ("awskms:",), names_secret=True),
    Kind("plugin", _HERE + "plugin", ("plugin:",), ("plugin:",), names_secret=True, loads_code=True),
)


def find_kind(text: str) -> Kind | None:
    """The kind whose prefix ``text`` begins with; None when it is no key text (a path, for example)."""
    start = text.lstrip()[:64].lower()
    return next((kind for kind in KINDS if start.startswith(kind.prefixes)), None)


def is_recipient(text: str) -> bool:
    """Whether ``text`` begins like a recipient of a known kind."""
    kind = find_kind(text)
    return kind is not None and text.lstrip()[:64].lower().startswith(kind.recipient)


def is_identity(text: str) -> bool:
    """Whether ``text`` begins like an identity of a known kind."""
    kind = find_kind(text)
    return kind is not None and text.lstrip()[:64].lower().startswith(kind.identity)


def parse_recipient(text: str, ask: AskPassphrase | None = None) -> Recipient:
    """The recipient that ``text`` stands for.

    Raises
    ------
    KeyMaterialError
        No kind or an unknown one, an identity, damaged text, or what the kind itself finds wrong.
    """
    if not is_recipient(text):
        if is_identity(text):
            raise KeyMaterialError(
                "this is an identity (secret), a recipient (public) is needed",
                hint="'iomt-crypt key export-recipient FILE' prints the recipient of an identity file",
            )
        raise KeyMaterialError("not a recipient of a known kind", hint=f"known: {known('recipient')}")
    return _module(text).parse_recipient(text.strip(), ask)


def parse_identity(text: str, ask: AskPassphrase | None = None) -> Identity:
    """The identity that ``text`` stands for.

    Raises
    ------
    KeyMaterialError
        No kind or an unknown one, a recipient, damaged text, or what the kind itself finds wrong.
    """
    if not is_identity(text):
        if is_recipient(text):
            raise KeyMaterialError("this is a recipient (public), an identity (secret) is needed")
        raise KeyMaterialError("not an identity of a known kind", hint=f"known: {known('identity')}")
    return _module(text).parse_identity(text.strip(), ask)


def known(role: str) -> str:
    """The beginnings of all texts of a role, ``"recipient"`` or ``"identity"``, for messages."""
    return ", ".join(f"{prefix}..." for kind in KINDS for prefix in getattr(kind, role)[:1])


def _module(text: str) -> _KindModule:
    kind = find_kind(text)
    if kind is None:  # the callers have looked
        raise ValueError("no key text")
    module: _KindModule = importlib.import_module(kind.module)
    return module
