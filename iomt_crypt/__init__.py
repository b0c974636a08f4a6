"""iomt-crypt: encrypting DICOM gateway and toolkit.

Images leave as valid DICOM objects whose pixels are noise; whoever holds a key gets the original back, byte for byte.
The names below are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from iomt_crypt.archive.rekey import rekey_file
    from iomt_crypt.checks.door import encrypt_dataset, encrypt_file
    from iomt_crypt.dicom import Policy, decrypt_dataset, decrypt_file, inspect_file, verify_file
    from iomt_crypt.seal import Epoch, HpkeIdentity, HpkeRecipient, load_identities, load_recipients

_HOMES = {
    "Policy": "dicom",
    "decrypt_dataset": "dicom",
    "decrypt_file": "dicom",
    "encrypt_dataset": "checks.door",
    "encrypt_file": "checks.door",
    "inspect_file": "dicom",
    "rekey_file": "archive.rekey",
    "verify_file": "dicom",
    "Epoch": "seal",
    "HpkeIdentity": "seal",
    "HpkeRecipient": "seal",
    "load_identities": "seal",
    "load_recipients": "seal",
}

__all__ = [
    "Epoch",
    "HpkeIdentity",
    "HpkeRecipient",
    "Policy",
    "__version__",
    "decrypt_dataset",
    "decrypt_file",
    "encrypt_dataset",
    "encrypt_file",
    "inspect_file",
    "load_identities",
    "load_recipients",
    "rekey_file",
    "verify_file",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'iomt_crypt' has no attribute {name!r}")
    return getattr(importlib.import_module(f"iomt_crypt.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
