"""Key files: identities (secret), lists of recipients (public), the site key (secret).

Secret files are created exclusively with mode 0600 and refused when others may read them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal import passphrase as locked
from iomt_crypt.seal.hpke import IDENTITY_PREFIX, RECIPIENT_PREFIX, HpkeIdentity, HpkeRecipient
from iomt_crypt.seal.recipient import Identity, Recipient, decode_text, encode_text, fingerprint_text
from iomt_crypt.seal.schedule import KEY_BYTES

SITE_KEY_PREFIX = "iomtsite1"
_MAX_BYTES = 1 << 20  # a key file is a few hundred bytes; a list of recipients a few hundred kilobytes

AskPassphrase = Callable[[str], bytes]


def write_identity(path: Path, identity: HpkeIdentity, *, passphrase: bytes | None = None) -> None:
    """Write ``identity`` to a new 0600 file; with ``passphrase``, encrypted under it (scrypt, AES-256-GCM)."""
    secret = identity.secret_text()
    text = locked.lock(secret.encode("ascii"), passphrase) if passphrase is not None else secret
    head = (
        "# iomt-crypt identity: whoever holds this file can decrypt. Keep a copy in a safe place.\n"
        f"# fingerprint: {fingerprint_text(identity.fingerprint)}\n"
        f"# recipient: {identity.recipient}\n"
    )
    write_secret(path, head + text + "\n")


def load_identities(values: Sequence[str | Path], *, ask: AskPassphrase | None = None) -> list[Identity]:
    """Identities from key files. ``ask(path)`` is called for the passphrase of a locked file.

    Raises
    ------
    KeyMaterialError
        Missing file, readable by others, no identity in it, damaged text, wrong passphrase.
    """
    identities: list[Identity] = []
    for value in values:
        lines = _lines(Path(value), secret=True)
        found = [_identity(line, str(value), ask) for line in lines]
        if not found:
            raise KeyMaterialError(f"{value}: no identity in it", hint="'iomt-crypt keygen -o FILE' makes one")
        identities += found
    return identities


def _identity(line: str, path: str, ask: AskPassphrase | None) -> Identity:
    if line.lower().startswith(RECIPIENT_PREFIX):
        raise KeyMaterialError(f"{path}: this is a recipient (public), an identity (secret) is needed")
    if locked.is_locked(line):
        if ask is None:
            raise KeyMaterialError(f"{path}: the identity is under a passphrase and nobody can be asked for it")
        line = locked.unlock(line, ask(path)).decode("ascii", "replace")
    if not line.lower().startswith(IDENTITY_PREFIX):
        raise KeyMaterialError(f"{path}: not an identity of a known kind", hint=f"it begins with {IDENTITY_PREFIX}")
    return HpkeIdentity.parse(line)


def load_recipients(values: Sequence[str | Path]) -> list[Recipient]:
    """Recipients from texts (``iomtpk1...``) or paths of files with one recipient on each line."""
    recipients: list[Recipient] = []
    for value in values:
        if str(value).lower().startswith(RECIPIENT_PREFIX):
            recipients.append(HpkeRecipient.parse(str(value)))
            continue
        lines = _lines(Path(value), secret=False)
        if not lines:
            raise KeyMaterialError(f"{value}: no recipient in it")
        for line in lines:
            if not line.lower().startswith(RECIPIENT_PREFIX):
                raise KeyMaterialError(
                    f"{value}: not a recipient of a known kind",
                    hint=f"it begins with {RECIPIENT_PREFIX}; an identity's recipient is in its '# recipient:' line",
                )
            recipients.append(HpkeRecipient.parse(line))
    return recipients


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
    lines = _lines(path, secret=True)
    if len(lines) != 1 or not lines[0].startswith(SITE_KEY_PREFIX):
        raise KeyMaterialError(f"{path}: not a site key", hint=f"one line that begins with {SITE_KEY_PREFIX}")
    return decode_text(SITE_KEY_PREFIX, lines[0], KEY_BYTES)


def write_secret(path: Path, text: str) -> None:
    """Write a new file with mode 0600 that appears whole or not at all.

    Raises FileExistsError rather than overwrite: the old file may be somebody's only key.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # fails when the file is there, unlike a rename
    finally:
        draft.unlink()


def _lines(path: Path, *, secret: bool) -> list[str]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise KeyMaterialError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from error
    if secret and stat.S_ISREG(mode) and mode & 0o077:
        raise KeyMaterialError(
            f"{path}: a secret that others may read (mode {stat.S_IMODE(mode):04o})", hint=f"chmod 600 {path}"
        )
    if len(raw) > _MAX_BYTES:
        raise KeyMaterialError(f"{path}: larger than {_MAX_BYTES} bytes, not a key file")
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise KeyMaterialError(f"{path}: not a key file") from error
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
