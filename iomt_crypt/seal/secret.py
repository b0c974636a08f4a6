"""Files that hold keys: read with limits, refused when others may read a secret, written whole or not at all."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from iomt_crypt.durable import new_file
from iomt_crypt.errors import KeyMaterialError

_MAX_BYTES = 1 << 20  # a key file is a few hundred bytes; a list of recipients a few hundred kilobytes
_LOOKS_LIKE_KEY = re.compile(r"iomtsk.*|[A-Za-z0-9+/=]{40,}", re.IGNORECASE)


def read_key_file(path: Path, *, secret: bool) -> bytes:
    """The bytes of a key file.

    Raises
    ------
    KeyMaterialError
        It cannot be read, is larger than 1 MiB, or, when ``secret``, may be read by others.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or "not a path"
        hint = "" if secret else "a recipient's text begins with 'iomtpk1'; anything else is the name of a file"
        hint = hint or "the file of an identity, as 'iomt-crypt keygen -o FILE' makes it"
        raise KeyMaterialError(f"{shown(str(path))}: cannot be read ({reason})", hint=hint) from None
    if secret and stat.S_ISREG(mode) and mode & 0o077:
        raise KeyMaterialError(
            f"{path}: a secret that others may read (mode {stat.S_IMODE(mode):04o})", hint=f"chmod 600 {path}"
        )
    if len(raw) > _MAX_BYTES:
        raise KeyMaterialError(f"{path}: larger than {_MAX_BYTES} bytes, not a key file")
    return raw


def read_key_text(path: Path, *, secret: bool) -> str:
    """The text of a key file, in UTF-8: comments may be in any language.

    Raises
    ------
    KeyMaterialError
        As `read_key_file`, or it is no text.
    """
    try:
        return read_key_file(path, secret=secret).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise KeyMaterialError(f"{path}: not a key file", hint="a text file in UTF-8") from None


def others_may_read(path: Path) -> str:
    """A sentence when others than the owner may read the file, else empty."""
    mode = path.stat().st_mode
    return f"others may read it (mode {stat.S_IMODE(mode):04o})" if stat.S_ISREG(mode) and mode & 0o077 else ""


def read_secret_line(path: Path) -> bytes:
    """First line of a 0600 file, without its line end: a passphrase or a PIN.

    Raises
    ------
    KeyMaterialError
        As `read_key_file`, or the line is empty.
    """
    line = read_key_file(path, secret=True).split(b"\n", 1)[0].removesuffix(b"\r")
    if not line:
        raise KeyMaterialError(f"{path}: its first line is empty", hint="the secret is the first line")
    return line


def write_secret(path: Path, text: str) -> None:
    """Write a new file with mode 0600 that appears whole or not at all.

    Raises FileExistsError rather than overwrite: the old file may be somebody's only key.
    """
    with new_file(path, mode=0o600) as file:
        file.write(text.encode("ascii"))


def shown(value: str) -> str:
    """The name of a file, unless it looks like a key that was given in place of one."""
    return "this value" if _LOOKS_LIKE_KEY.fullmatch(value) and "/" not in value[:40] else value
