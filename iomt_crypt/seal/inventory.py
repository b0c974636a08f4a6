"""What a key file holds, as far as it can be shown: nothing here is a secret."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from pathlib import Path

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal import passphrase as locked
from iomt_crypt.seal.entry import Entry, read_entries
from iomt_crypt.seal.keyfile import (
    SITE_KEY_PREFIX,
    load_identities,
)
from iomt_crypt.seal.kind import registry
from iomt_crypt.seal.recipient import Expiring, Identity, Paired, Recipient, fingerprint_text
from iomt_crypt.seal.secret import others_may_read
from iomt_crypt.seal.share import holds_share


@dataclass(frozen=True)
class KeyInfo:
    """One key of a file, as far as it can be seen without a passphrase, a PIN or a network.

    role
        ``"identity"``, ``"recipient"``, ``"identity or recipient"`` (texts that name a key elsewhere), ``"site key"``
        or ``"share"``
    kind
        name in the registry; of a locked identity as its comments say, or empty
    fingerprint, recipient
        empty where they cannot be seen; of a locked identity and a share as the comments say
    created, expires
        as the comments and the certificate say, or empty
    locked
        whether a passphrase is needed
    problem
        what is wrong with it, or empty
    """

    location: str
    role: str
    kind: str = ""
    fingerprint: str = ""
    recipient: str = ""
    created: str = ""
    expires: str = ""
    locked: bool = False
    problem: str = ""


def describe(value: str | Path) -> list[KeyInfo]:
    """What a file holds, or a key text is.

    Raises
    ------
    KeyMaterialError
        It cannot be read or is no key file at all; a secret in place of a file's name.
    """
    kind = registry.find_kind(str(value))
    if kind is not None:
        if registry.is_identity(str(value)) and not kind.names_secret:
            load_identities([value])
        return [_describe(Entry(str(value), 0), kind.name, others="")]
    path = Path(value)
    entries = read_entries(path, secret=False)
    others = others_may_read(path)
    if not entries:
        raise KeyMaterialError(f"{path}: no key in it")
    if holds_share(entries):
        return [_describe_share(entries[0], path, others)]
    return [_describe(entry, f"{path}, line {entry.line}", others=others) for entry in entries]


def _describe_share(entry: Entry, path: Path, others: str) -> KeyInfo:
    notes = entry.notes
    return KeyInfo(
        str(path),
        f"share {notes['index']} of {notes.get('shares')}, {notes.get('threshold')} needed"
        if "index" in notes
        else "share",
        kind=notes.get("kind", ""),
        fingerprint=notes.get("fingerprint", ""),
        created=notes.get("created", ""),
        problem=others,
    )


def _describe(entry: Entry, location: str, *, others: str) -> KeyInfo:
    created = entry.notes.get("created", "")
    kind = registry.find_kind(entry.text)
    if entry.text.startswith(SITE_KEY_PREFIX):
        return KeyInfo(location, "site key", created=created, problem=others)
    if locked.is_locked(entry.text):
        notes = entry.notes
        return KeyInfo(
            location,
            "identity",
            kind=notes.get("kind", ""),
            fingerprint=notes.get("fingerprint", ""),
            recipient=notes.get("recipient", ""),
            created=created,
            locked=True,
            problem=others,
        )
    if kind is None:
        return KeyInfo(location, "unknown", problem="not a key of a known kind")
    if kind.names_secret:
        return KeyInfo(location, "identity or recipient", kind=kind.name, created=created)
    secret = registry.is_identity(entry.text)
    info = KeyInfo(location, "identity" if secret else "recipient", kind=kind.name, created=created)
    return _opened(info, entry, problem=others if secret else "")


def _opened(info: KeyInfo, entry: Entry, *, problem: str) -> KeyInfo:
    """With what the public half says, where that is at hand without a passphrase."""
    key: Identity | Recipient | None = None
    is_locked = "ENCRYPTED" in entry.text
    try:
        if info.kind == "certificate" and (is_locked or info.role == "recipient"):
            key = _first_certificate(entry.text)
        else:
            key = (
                registry.parse_identity(entry.text) if info.role == "identity" else registry.parse_recipient(entry.text)
            )
    except KeyMaterialError as error:
        problem = problem or str(error)
    public = key.recipient if isinstance(key, Paired) else key
    return replace(
        info,
        fingerprint=fingerprint_text(key.fingerprint) if key else "",
        recipient=str(public).strip() if public else "",
        expires=f"{public.not_after:%Y-%m-%dT%H:%M:%SZ}" if isinstance(public, Expiring) else "",
        locked=is_locked,
        problem=problem or (trouble_of(public) if info.role == "recipient" else ""),
    )


def _first_certificate(text: str) -> Recipient | None:
    from iomt_crypt.seal.kind import certificate

    return next(certificate.certificates(text), None)


def trouble_of(recipient: Identity | Recipient | None) -> str:
    """Why an expiring recipient cannot be encrypted to, or empty."""
    if isinstance(recipient, Expiring):
        try:
            recipient.check(datetime.datetime.now(datetime.UTC))
        except KeyMaterialError as error:
            return str(error)
    return ""
