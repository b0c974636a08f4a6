"""Files and data sets for callers of the package: encrypted and vouched for, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset

from iomt_crypt.checks.vouch import encrypt_data_set, encrypt_source
from iomt_crypt.dicom import Policy, Protected, output_file, read_file, with_site_key
from iomt_crypt.dicom.file import as_epoch, open_input, refuse_same
from iomt_crypt.seal import Epoch, Recipient


def encrypt_file(
    src: str | Path,
    dst: str | Path,
    *,
    recipients: Sequence[Recipient] | Epoch,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    overwrite: bool = False,
) -> Protected:
    """Encrypt the DICOM file ``src`` to ``dst``.

    The result is opened again and compared with ``src``, byte for byte, before it appears; cipher and frame size are
    tried before (`iomt_crypt.checks.vouch`).

    Parameters
    ----------
    recipients
        who will be able to decrypt; or an `Epoch`, which saves wrapping its key anew, and trying the cipher anew, for
        each of many files
    overwrite
        replace ``dst`` if it exists

    Raises
    ------
    InputError
        ``src`` cannot be encrypted; see its subclasses.
    KnownAnswerError
        The cipher does not work on this machine, or the result does not open as what ``src`` is.
    StorageError
        ``dst`` cannot be written. No output is left behind after any error.
    """
    refuse_same(src, dst)
    with open_input(src) as stream:
        source = read_file(stream, policy=policy)
        epoch, policy = as_epoch(recipients), with_site_key(policy)
        with output_file(Path(dst), overwrite=overwrite) as sink:
            return encrypt_source(source, sink, original=stream, epoch=epoch, policy=policy).protected


def encrypt_dataset(
    ds: Dataset,
    *,
    recipients: Sequence[Recipient] | Epoch,
    policy: Policy = Policy(),  # noqa: B008 - frozen
) -> FileDataset:
    """The encrypted form of a pydicom data set; ``ds`` is left as it is.

    What comes back from `decrypt_dataset` is ``ds`` as pydicom writes it in the encoding it was read in (Explicit VR
    Little Endian when it was not read), byte for byte: that is tried before the result is returned.

    Raises
    ------
    InputError
        ``ds`` cannot be encrypted; see its subclasses.
    KnownAnswerError
        The cipher does not work on this machine, or the result does not open as what ``ds`` is.
    """
    return encrypt_data_set(ds, epoch=as_epoch(recipients), policy=with_site_key(policy))
