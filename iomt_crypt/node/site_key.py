"""The site key of a node, and that it stays the same.

UIDs are derived under it. Under another one the same image gets another UID, and what an archive has twice it shows
twice. So a spool remembers which key its objects were encrypted under.
"""

from __future__ import annotations

import logging
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from iomt_crypt.errors import ConfigurationError
from iomt_crypt.node.spool import Spool
from iomt_crypt.seal import load_or_create_site_key

_log = logging.getLogger(__name__)

_FINGERPRINT_BYTES = 8


def load_site_key(path: Path, spool: Spool, *, accept_new: bool = False, is_used: bool = False) -> bytes:
    """The 32-byte site key in the file ``path``, made on first use; the spool remembers it.

    ``is_used``: objects came in before, perhaps under a version that did not remember the key.

    Raises
    ------
    KeyMaterialError
        The file cannot be used.
    ConfigurationError
        The file is gone, or holds another key than the one under which this spool's objects got their UIDs, and
        ``accept_new`` is False.
    """
    known = spool.known_site_key()
    if (known or is_used) and not accept_new and not path.exists():
        raise _lost(f"{path}: the site key is gone")
    key = load_or_create_site_key(path)
    found = fingerprint(key)
    if known and found != known:
        if not accept_new:
            raise _lost(f"{path}: not the site key of this spool ({found}, it was {known})")
        _log.warning("NEW SITE KEY %s, it was %s: an image that is sent again gets another UID", found, known)
    if found != known:
        spool.note_site_key(found)
    return key


def fingerprint(key: bytes) -> str:
    """What names a site key without telling anything of it: 16 hexadecimal digits (HKDF-SHA-256)."""
    derived = HKDF(hashes.SHA256(), _FINGERPRINT_BYTES, b"iomt-crypt/1/site-key", b"fingerprint").derive(key)
    return derived.hex()


def _lost(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{what}; with another one, an image that is sent again gets another UID and is stored twice",
        hint="put the file back from its copy; where there is none, say keys.new_site_key = true for one start",
    )
