"""One study that a host hands over as files: all of it encrypted or decrypted into a folder, or nothing at all.

For hosts that call us once for each study (mercure, MONAI Deploy). Trees of any size are for `run_tree`.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from iomt_crypt.checks.door import encrypt_file
from iomt_crypt.dicom import Headers, Policy, Protected, Restored, decrypt_file, inspect_file
from iomt_crypt.durable import appear, open_draft_folder, remove_leftovers, sync_folder
from iomt_crypt.errors import DiskFullError, InputError, StorageError
from iomt_crypt.seal import Epoch, Identity, Keyring, Recipient


def encrypt_study(
    paths: Sequence[Path], folder: Path, *, recipients: Sequence[Recipient] | Epoch, policy: Policy
) -> list[Protected]:
    """Encrypt the files ``paths`` into ``folder``, as ``<Series Instance UID>#<SOP Instance UID>.dcm`` of the result.

    Cipher and frame sizes are tried, and each result is opened again and compared with its original, before any of
    them appears (`iomt_crypt.checks.vouch`). After an error ``folder`` is as it was. What is encrypted already is an
    error: nobody can say without a key whether it is what it says.

    Raises
    ------
    InputError
        There are no files, one cannot be encrypted, or two are the same SOP instance.
    KnownAnswerError
        This computer, or the cipher on it, is broken; or a result does not open again as what it was made of.
    StorageError
        A result cannot be written.
    """
    _require(paths)
    epoch = recipients if isinstance(recipients, Epoch) else Epoch.create(recipients)
    done: list[Protected] = []
    with _appearing_in(folder) as drafts:
        for path in paths:
            draft = drafts / "draft"
            protected = encrypt_file(path, draft, recipients=epoch, policy=policy)
            _name(draft, protected.series_instance_uid, protected.sop_instance_uid)
            done.append(protected)
    return done


def decrypt_study(
    paths: Sequence[Path], folder: Path, *, identities: Sequence[Identity] | Keyring, headers: Headers = "merged"
) -> list[Restored]:
    """Decrypt the files ``paths`` into ``folder``, as ``<Series Instance UID>#<SOP Instance UID>.dcm`` of the original.

    After an error ``folder`` is as it was. What lies in ``folder`` afterwards is in clear: let it be one that is gone
    with the power (``/dev/shm``).

    Raises
    ------
    InputError
        There are no files, one is not encrypted, or two are the same SOP instance.
    AuthenticationError, NoMatchingIdentityError, HeaderDriftError
        One cannot be decrypted; see `restore`.
    StorageError
        A result cannot be written.
    """
    _require(paths)
    keyring = identities if isinstance(identities, Keyring) else Keyring(identities)
    done: list[Restored] = []
    with _appearing_in(folder) as drafts:
        for path in paths:
            draft = drafts / "draft"
            restored = decrypt_file(path, draft, identities=keyring, headers=headers)
            _name(draft, inspect_file(draft).series_instance_uid, restored.sop_instance_uid)
            done.append(restored)
    return done


def _require(paths: Sequence[Path]) -> None:
    if not paths:
        raise InputError("there are no DICOM files", hint="an empty study is not taken for one that was done")


@contextmanager
def _appearing_in(folder: Path) -> Iterator[Path]:
    """A folder for drafts, mode 0700; all that is in it when the block ends well moves to ``folder``, durably.

    Where that fails in the middle, what has been moved goes again: ``folder`` is as it was.
    """
    remove_leftovers(folder)  # of a run that was killed: they may be in clear
    try:
        drafts, lock = open_draft_folder(folder / "study", 0o700)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror})") from error
    try:
        yield drafts
        _move(sorted(drafts.iterdir()), folder)
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
        os.close(lock)


def _move(drafts: list[Path], folder: Path) -> None:
    if taken := [path.name for path in drafts if os.path.lexists(folder / path.name)]:
        raise StorageError(f"{folder / taken[0]}: exists already")
    moved: list[Path] = []
    try:
        for path in drafts:
            appear(path, folder / path.name)
            moved.append(folder / path.name)
        sync_folder(folder)
    except BaseException as error:
        left = [path for path in moved if not _removed(path)]
        if not isinstance(error, OSError) and not left:
            raise
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        hint = f"remove {len(left)} that could not be removed again, the first is {left[0]}" if left else ""
        raise _storage_error(error, f"{folder}: the results cannot be written ({reason})", hint) from error


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _storage_error(error: BaseException, message: str, hint: str) -> StorageError:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return (DiskFullError if full else StorageError)(message, hint=hint)


def _name(draft: Path, series_instance_uid: str, sop_instance_uid: str) -> None:
    path = draft.with_name(f"{series_instance_uid}#{sop_instance_uid}.dcm")
    if "/" in path.name or not sop_instance_uid or path.parent != draft.parent:
        raise InputError("its UIDs cannot be the name of a file")
    if path.exists():
        raise InputError(f"SOP instance {sop_instance_uid} comes twice", hint="one of the two would be lost")
    draft.rename(path)
