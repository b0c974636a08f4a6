"""Standard cryptography: suites, per-frame authentication, data keys, epochs, recipients, the sealed record.

Knows no DICOM. Everything that fails authentication raises the one opaque `AuthenticationError`.
"""

from iomt_crypt.seal.encoding import encode_map, require_few
from iomt_crypt.seal.epoch import Epoch, Keyring
from iomt_crypt.seal.header import open_header, seal_header
from iomt_crypt.seal.keyfile import (
    load_identities,
    load_or_create_site_key,
    load_recipients,
    write_identity,
)
from iomt_crypt.seal.kind.hpke import HpkeIdentity, HpkeRecipient
from iomt_crypt.seal.recipient import Identity, Recipient, Stanza, fingerprint_text
from iomt_crypt.seal.record import Record
from iomt_crypt.seal.schedule import ObjectKey
from iomt_crypt.seal.suite import DEFAULT_SUITE, SUITES, Layout, Suite

__all__ = [
    "DEFAULT_SUITE",
    "SUITES",
    "Epoch",
    "HpkeIdentity",
    "HpkeRecipient",
    "Identity",
    "Keyring",
    "Layout",
    "ObjectKey",
    "Recipient",
    "Record",
    "Stanza",
    "Suite",
    "encode_map",
    "fingerprint_text",
    "load_identities",
    "load_or_create_site_key",
    "load_recipients",
    "open_header",
    "require_few",
    "seal_header",
    "write_identity",
]
