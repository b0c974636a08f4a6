"""Whether keys work: a test key is wrapped for a recipient, and unwrapped by an identity."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from iomt_crypt.errors import IomtCryptError, KeyMaterialError
from iomt_crypt.seal import passphrase as locked
from iomt_crypt.seal.entry import Entry, read_entries
from iomt_crypt.seal.epoch import Epoch, Keyring
from iomt_crypt.seal.inventory import trouble_of
from iomt_crypt.seal.keyfile import (
    SITE_KEY_PREFIX,
    load_identities,
    load_or_create_site_key,
    open_identity,
    open_recipient,
    refuse_unknown_scheme,
)
from iomt_crypt.seal.kind import registry
from iomt_crypt.seal.recipient import AskPassphrase, Expiring, Identity, Paired, Recipient, fingerprint_text
from iomt_crypt.seal.schedule import KEY_BYTES
from iomt_crypt.seal.share import holds_share, read_share

EXPIRY_WARNING_DAYS = 30


@dataclass(frozen=True)
class KeyCheck:
    """Result for one key: it wrapped and unwrapped a test key, or why not.

    notes
        what works today and will not for long
    """

    location: str
    role: str
    fingerprint: str = ""
    error: IomtCryptError | None = None
    notes: tuple[str, ...] = ()


def check(value: str, *, ask: AskPassphrase | None, recipients_only: bool = False) -> Iterator[KeyCheck]:
    """Try every key of a file, or the key that a text names: a test key is wrapped and, by identities, unwrapped.

    ``recipients_only`` treats texts that name a key elsewhere as recipients, for lists of those: nothing is unwrapped
    with them, and no PIN is asked for.

    Raises
    ------
    KeyMaterialError
        The file cannot be read, others may read it though it holds a secret, or it holds no key.
    """
    kind = registry.find_kind(value)
    if kind is not None:
        if not kind.names_secret and registry.is_identity(value):
            load_identities([value])
        yield _check(Entry(value, 0), kind.name, ask, recipients_only)
        return
    refuse_unknown_scheme(value, "recipient" if recipients_only else "identity")
    entries = read_entries(Path(value), secret=False)
    if not entries:
        raise KeyMaterialError(f"{value}: no key in it")
    if holds_share(entries) or any(_is_secret(entry) for entry in entries):
        entries = read_entries(Path(value), secret=True)
    if holds_share(entries):
        yield _check_share(entries[0], value)
        return
    for entry in entries:
        yield _check(entry, value, ask, recipients_only)


def _is_secret(entry: Entry) -> bool:
    kind = registry.find_kind(entry.text)
    if kind is None:
        return locked.is_locked(entry.text) or entry.text.startswith(SITE_KEY_PREFIX)
    return registry.is_identity(entry.text) and not kind.names_secret


def _check_share(entry: Entry, path: str) -> KeyCheck:
    try:
        read_share(Path(path))
    except KeyMaterialError as error:
        return KeyCheck(path, "share", error=error)
    return KeyCheck(path, "share", entry.notes.get("fingerprint", ""))


def _check(entry: Entry, path: str, ask: AskPassphrase | None, recipients_only: bool) -> KeyCheck:
    location = f"{path}, line {entry.line}" if entry.line else path
    kind = registry.find_kind(entry.text)
    dual = kind is not None and kind.names_secret
    role = "recipient" if registry.is_recipient(entry.text) and not (dual and not recipients_only) else "identity"
    try:
        if entry.text.startswith(SITE_KEY_PREFIX):
            role = "site key"
            load_or_create_site_key(Path(path))
            return KeyCheck(location, role)
        if role == "recipient":
            recipient = open_recipient(entry, path, ask) if entry.line else registry.parse_recipient(entry.text, ask)
            Epoch.create([recipient])
            return KeyCheck(location, role, fingerprint_text(recipient.fingerprint), notes=_notes(recipient))
        asked = _once(ask)
        identity = open_identity(entry, path, asked) if entry.line else registry.parse_identity(entry.text, asked)
        public = identity.recipient if isinstance(identity, Paired) else None
        if public is None and dual:
            public = registry.parse_recipient(entry.text, asked)
        return KeyCheck(location, role, fingerprint_text(identity.fingerprint), notes=_exercise(identity, public))
    except IomtCryptError as error:
        return KeyCheck(location, role, error=error)


def _exercise(identity: Identity, recipient: Recipient | None) -> tuple[str, ...]:
    """Wrap and unwrap a test key. Raises NoMatchingIdentityError when it does not come back."""
    if recipient is None:
        return ("opened; nothing was unwrapped, since its recipient is not known",)
    epoch, data_key = Epoch.create([recipient]), secrets.token_bytes(KEY_BYTES)
    if Keyring([identity]).unwrap(epoch.wrap(data_key), epoch.id, epoch.stanzas) != data_key:
        raise KeyMaterialError("the test key came back changed")
    return _notes(recipient)


def _notes(recipient: Recipient) -> tuple[str, ...]:
    if not isinstance(recipient, Expiring):
        return ()
    trouble = trouble_of(recipient)
    days = (recipient.not_after - datetime.datetime.now(datetime.UTC)).days
    if trouble:
        return (f"decrypts, but cannot be encrypted to: {trouble}",)
    return (f"expires in {days} days",) if days < EXPIRY_WARNING_DAYS else ()


def _once(ask: AskPassphrase | None) -> AskPassphrase | None:
    """Asks for the same thing once."""
    return None if ask is None else cache(ask)
