"""One DICOM object: read its spans, plan its pixels, make its clear header, seal it; and all the way back."""

from iomt_crypt.dicom.dataset import decrypt_dataset
from iomt_crypt.dicom.file import decrypt_file, with_site_key
from iomt_crypt.dicom.inspection import (
    EncryptionInfo,
    Inspection,
    RecipientInfo,
    Verification,
    inspect_file,
    verify_file,
)
from iomt_crypt.dicom.output import output_file
from iomt_crypt.dicom.policy import Policy
from iomt_crypt.dicom.protect import Protected, protect
from iomt_crypt.dicom.restore import Headers, Restored, restore
from iomt_crypt.dicom.source import FileParts, Source, read_file, read_network, split_file

__all__ = [
    "EncryptionInfo",
    "FileParts",
    "Headers",
    "Inspection",
    "Policy",
    "Protected",
    "RecipientInfo",
    "Restored",
    "Source",
    "Verification",
    "decrypt_dataset",
    "decrypt_file",
    "inspect_file",
    "output_file",
    "protect",
    "read_file",
    "read_network",
    "restore",
    "split_file",
    "verify_file",
    "with_site_key",
]
