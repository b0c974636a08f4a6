"""Files and pydicom data sets: encrypt, decrypt. The public recipes of the package."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from iomt_crypt.dicom.encoding import EXPLICIT_LE, Encoding, default_transfer_syntax
from iomt_crypt.dicom.output import output_file
from iomt_crypt.dicom.policy import Policy
from iomt_crypt.dicom.protect import Protected, protect
from iomt_crypt.dicom.restore import Headers, Restored, restore
from iomt_crypt.dicom.source import read_file, read_network
from iomt_crypt.errors import InputError, UnsupportedError
from iomt_crypt.seal import Epoch, Identity, Keyring, Recipient, load_or_create_site_key
from iomt_crypt.seal.keyfile import user_site_key_path


def encrypt_file(
    src: str | Path,
    dst: str | Path,
    *,
    recipients: Sequence[Recipient] | Epoch,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    overwrite: bool = False,
) -> Protected:
    """Encrypt the DICOM file ``src`` to ``dst``.

    Parameters
    ----------
    recipients
        who will be able to decrypt; or an `Epoch`, which saves wrapping its key anew for each of many files
    overwrite
        replace ``dst`` if it exists

    Raises
    ------
    InputError
        ``src`` cannot be encrypted; see its subclasses.
    StorageError
        ``dst`` cannot be written. No output is left behind after any error.
    """
    with _reading(src) as stream:
        source = read_file(stream)
        with output_file(Path(dst), overwrite=overwrite) as sink:
            return protect(source, sink, epoch=_epoch(recipients), policy=with_site_key(policy))


def decrypt_file(
    src: str | Path,
    dst: str | Path,
    *,
    identities: Sequence[Identity] | Keyring,
    headers: Headers = "merged",
    overwrite: bool = False,
) -> Restored:
    """Decrypt the file ``src`` to ``dst``; see `restore` for ``headers`` and the errors.

    No output is left behind after any error.
    """
    with _reading(src) as stream, output_file(Path(dst), overwrite=overwrite) as sink:
        return restore(stream, sink, keyring=as_keyring(identities), headers=headers)


def encrypt_dataset(
    ds: Dataset,
    *,
    recipients: Sequence[Recipient] | Epoch,
    policy: Policy = Policy(),  # noqa: B008 - frozen
) -> FileDataset:
    """The encrypted form of a pydicom data set; ``ds`` is left as it is.

    What comes back from `decrypt_dataset` is ``ds`` as pydicom writes it in its own encoding, byte for byte.
    """
    meta = getattr(ds, "file_meta", None)
    syntax = str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""
    encoding = _encoding(ds)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = encoding.implicit, encoding.little_endian
    write_dataset(buffer, ds)
    data = buffer.getvalue()
    syntax = syntax or default_transfer_syntax(encoding)
    if syntax == "1.2.840.10008.1.2.1.99":
        syntax = default_transfer_syntax(encoding)  # in memory it is inflated
    sink = io.BytesIO()
    source = read_network(data, transfer_syntax_uid=syntax)
    protect(source, sink, epoch=_epoch(recipients), policy=with_site_key(policy))
    sink.seek(0)
    return dcmread(sink)


def decrypt_dataset(
    ds: Dataset, *, identities: Sequence[Identity] | Keyring, headers: Headers = "merged"
) -> FileDataset:
    """The original of an encrypted data set; see `restore` for the errors."""
    encoding = _encoding(ds)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = encoding.implicit, encoding.little_endian
    write_dataset(buffer, ds)
    sink = io.BytesIO()
    restore(io.BytesIO(buffer.getvalue()), sink, keyring=as_keyring(identities), headers=headers)
    sink.seek(0)
    return dcmread(sink, force=True)


def with_site_key(policy: Policy) -> Policy:
    """``policy`` with the user's own site key, where it needs one and has none."""
    if policy.uids != "derive" or policy.site_key is not None:
        return policy
    return replace(policy, site_key=load_or_create_site_key(user_site_key_path()))


def as_keyring(identities: Sequence[Identity] | Keyring) -> Keyring:
    return identities if isinstance(identities, Keyring) else Keyring(identities)


def _epoch(recipients: Sequence[Recipient] | Epoch) -> Epoch:
    return recipients if isinstance(recipients, Epoch) else Epoch.create(recipients)


def _encoding(ds: Dataset) -> Encoding:
    implicit, little = ds.original_encoding
    if implicit is None or little is None:
        return EXPLICIT_LE
    return Encoding(implicit, little)


def _reading(path: str | Path) -> BinaryIO:
    try:
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file") if not Path(path).exists() else UnsupportedError(
                f"{path}: not a regular file"
            )
        return Path(path).open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
