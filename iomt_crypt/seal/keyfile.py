"""Key files: identities (secret), lists of recipients (public), the site key (secret).

A file holds any number of entries of any kinds: lines, and PEM blocks. Lines that begin with ``#`` are comments. Secret
files are created exclusively with mode 0600 and refused when others may read them.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal import passphrase as locked
from iomt_crypt.seal.entry import Entry, read_entries
from iomt_crypt.seal.kind import registry
from iomt_crypt.seal.recipient import AskPassphrase, Identity, Recipient, decode_text, encode_text, fingerprint_text
from iomt_crypt.seal.schedule import KEY_BYTES
from iomt_crypt.seal.secret import write_secret

SITE_KEY_PREFIX = "iomtsite1"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}:")


class KeyPair(Protocol):
    """An identity that can be written to a file."""

    @property
    def fingerprint(self) -> bytes: ...

    @property
    def recipient(self) -> Recipient: ...

    def secret_text(self) -> str: ...


def write_identity(path: Path, identity: KeyPair, *, passphrase: bytes | None = None) -> None:
    """Write ``identity`` to a new 0600 file; with ``passphrase``, encrypted under it (scrypt, AES-256-GCM)."""
    secret = identity.secret_text()
    kind = registry.find_kind(secret)
    text = locked.lock(secret.encode("ascii"), passphrase) if passphrase is not None else secret
    head = (
        "# iomt-crypt identity: whoever holds this file can decrypt. Keep a copy in a safe place.\n"
        f"# kind: {kind.name if kind else 'unknown'}\n"
        f"# created: {datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}\n"
        f"# fingerprint: {fingerprint_text(identity.fingerprint)}\n"
        f"# recipient: {identity.recipient}\n"
    )
    write_secret(path, head + text + "\n")


def load_identities(values: Sequence[str | Path], *, ask: AskPassphrase | None = None) -> list[Identity]:
    """Identities from key files and from texts that name a secret (``pkcs11:...``, ``passphrase:FILE``).

    ``ask(what)`` is called for passphrases and PINs, with the path of the file where there is one.

    Raises
    ------
    KeyMaterialError
        Missing file, readable by others, no identity in it, damaged text, wrong passphrase; a secret in place of a
        file's name.
    """
    identities: list[Identity] = []
    for value in values:
        kind = registry.find_kind(str(value))
        if kind is not None and registry.is_identity(str(value)):
            if not kind.names_secret:
                raise KeyMaterialError(
                    "a secret key was given in place of a file",
                    hint="everybody on this machine can read command lines: put it into a 0600 file and name that",
                )
            identities.append(registry.parse_identity(str(value), ask))
            continue
        if kind is not None:
            registry.parse_identity(str(value))
        refuse_unknown_scheme(str(value), "identity")
        found = [open_identity(entry, str(value), ask) for entry in read_entries(Path(value), secret=True)]
        if not found:
            raise KeyMaterialError(f"{value}: no identity in it", hint="'iomt-crypt keygen -o FILE' makes one")
        identities += found
    return identities


def open_identity(entry: Entry, path: str, ask: AskPassphrase | None) -> Identity:
    """The identity of one entry of the file ``path``; a locked one is unlocked with ``ask(path)``."""
    with _in_place(entry, path):
        text = entry.text
        if locked.is_locked(text):
            if ask is None:
                raise KeyMaterialError("the identity is under a passphrase and nobody can be asked for it")
            text = locked.unlock(text, ask(path)).decode("ascii", "replace")
        return registry.parse_identity(text, _asking(path, ask))


def load_recipients(values: Sequence[str | Path], *, ask: AskPassphrase | None = None) -> list[Recipient]:
    """Recipients from texts (``iomtpk1...``, ``pkcs11:...``) or paths of files that hold them.

    Raises
    ------
    KeyMaterialError
        Missing file, no recipient in it, damaged text, an identity in place of a recipient.
    """
    recipients: list[Recipient] = []
    for value in values:
        if registry.find_kind(str(value)) is not None:
            recipients.append(registry.parse_recipient(str(value), ask))
            continue
        refuse_unknown_scheme(str(value), "recipient")
        found = [open_recipient(entry, str(value), ask) for entry in read_entries(Path(value), secret=False)]
        if not found:
            raise KeyMaterialError(f"{value}: no recipient in it")
        recipients += found
    return recipients


def open_recipient(entry: Entry, path: str, ask: AskPassphrase | None) -> Recipient:
    """The recipient of one entry of the file ``path``."""
    with _in_place(entry, path):
        _refuse_code_of_others(entry, path)
        return registry.parse_recipient(entry.text, _asking(path, ask))


def user_site_key_path() -> Path:
    """``$XDG_CONFIG_HOME/iomt-crypt/site.key``, or the same under ``~/.config``."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "iomt-crypt" / "site.key"


def load_or_create_site_key(path: Path) -> bytes:
    """The 32-byte site key under which UIDs are derived; made on first use.

    Losing it loses no image: the original UIDs are sealed in every object. Only resends would get other UIDs.
    """
    try:
        with contextlib.suppress(FileExistsError):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                head = "# iomt-crypt site key: UIDs of encrypted objects are derived under it. The same on all nodes.\n"
                write_secret(path, head + encode_text(SITE_KEY_PREFIX, secrets.token_bytes(KEY_BYTES)) + "\n")
    except OSError as error:
        raise KeyMaterialError(
            f"{path}: the site key cannot be made there ({error.strerror})", hint="--site-key FILE puts it elsewhere"
        ) from error
    entries = read_entries(path, secret=True)
    if len(entries) != 1 or not entries[0].text.startswith(SITE_KEY_PREFIX):
        raise KeyMaterialError(f"{path}: not a site key", hint=f"one line that begins with {SITE_KEY_PREFIX}")
    return decode_text(SITE_KEY_PREFIX, entries[0].text, KEY_BYTES)


def _refuse_code_of_others(entry: Entry, path: str) -> None:
    """Whoever may write such a line runs code as the reader. Files of identities are nobody else's anyway."""
    kind = registry.find_kind(entry.text)
    if kind is None or not kind.loads_code:
        return
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise KeyMaterialError(f"cannot be read ({error.strerror})") from None
    if mode & 0o022:
        raise KeyMaterialError(
            f"the line has code loaded ({kind.name}), and others may write the file", hint=f"chmod go-w {path}"
        )


@contextlib.contextmanager
def _in_place(entry: Entry, path: str) -> Iterator[None]:
    """Errors of a kind, which knows no files, get the file and the line."""
    try:
        yield
    except KeyMaterialError as error:
        raise KeyMaterialError(f"{path}, line {entry.line}: {error}", hint=error.hint) from error


def _asking(path: str, ask: AskPassphrase | None) -> AskPassphrase | None:
    return None if ask is None else lambda what: ask(f"{path}: {what}")


def refuse_unknown_scheme(value: str, role: str) -> None:
    """Raise KeyMaterialError for ``vault:...``, which is no file of that name unless there is one."""
    scheme = _SCHEME.match(value)
    if scheme and "/" not in scheme[0] and not os.path.lexists(value):
        raise KeyMaterialError(
            f"{scheme[0]}... is neither a file nor a known kind of {role}", hint=f"known: {registry.known(role)}"
        )
