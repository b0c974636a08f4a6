"""Files: decrypt, and what both ways need. `iomt_crypt.encrypt_file` is in `iomt_crypt.checks.door`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from iomt_crypt.dicom.output import output_file
from iomt_crypt.dicom.policy import Policy
from iomt_crypt.dicom.restore import Headers, Restored, restore
from iomt_crypt.errors import InputError, StorageError
from iomt_crypt.seal import Epoch, Identity, Keyring, Recipient, load_or_create_site_key
from iomt_crypt.seal.keyfile import user_site_key_path


def decrypt_file(
    src: str | Path,
    dst: str | Path,
    *,
    identities: Sequence[Identity] | Keyring,
    headers: Headers = "merged",
    overwrite: bool = False,
    records_of: Callable[[str], Sequence[bytes]] = lambda uid: (),
) -> Restored:
    """Decrypt the file ``src`` to ``dst``; see `restore` for ``headers``, ``records_of`` and the errors.

    No output is left behind after any error.
    """
    refuse_same(src, dst)
    with open_input(src) as stream, output_file(Path(dst), overwrite=overwrite) as sink:
        return restore(stream, sink, keyring=as_keyring(identities), headers=headers, records_of=records_of)


def refuse_same(src: str | Path, dst: str | Path) -> None:
    """Raise StorageError if the result would take the place of what it is made of, under whatever name."""
    with suppress(OSError, ValueError):  # one of them is not there
        if Path(dst).samefile(src):
            raise StorageError(
                f"{dst}: the result would take the place of the original", hint="originals are never replaced"
            )


def with_site_key(policy: Policy) -> Policy:
    """``policy`` with the user's own site key, where it needs one and has none."""
    if policy.uids != "derive" or policy.site_key is not None:
        return policy
    return replace(policy, site_key=load_or_create_site_key(user_site_key_path()))


def as_keyring(identities: Sequence[Identity] | Keyring) -> Keyring:
    return identities if isinstance(identities, Keyring) else Keyring(identities)


def as_epoch(recipients: Sequence[Recipient] | Epoch) -> Epoch:
    return recipients if isinstance(recipients, Epoch) else Epoch.create(recipients)


def open_input(path: str | Path) -> BinaryIO:
    """Open a file for reading. Raises InputError when there is no such regular file or it cannot be read."""
    try:
        if not Path(path).is_file():
            raise InputError(f"{path}: {'not a regular file' if Path(path).exists() else 'no such file'}")
        return Path(path).open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
