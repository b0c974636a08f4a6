"""X.509 certificates with an RSA key: what hospitals' key infrastructures and smart cards have.

RSA is no protection against who records objects today and has a large quantum computer tomorrow. A certificate is
taken because the user names it: signatures, chains and revocation are not checked.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal.kind import rsa
from iomt_crypt.seal.kind.envelope import KIND, open_envelope, public_key_fingerprint, read_envelope, seal_envelope
from iomt_crypt.seal.kind.rsa import KIND as RSA_KIND
from iomt_crypt.seal.kind.rsa import RsaRecipient, open_body
from iomt_crypt.seal.recipient import AskPassphrase, Stanza, fingerprint_text

MIN_RSA_BITS = 2048
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class CertificateRecipient:
    """The holder of the private key that belongs to a certificate."""

    def __init__(self, certificate: x509.Certificate) -> None:
        try:
            key = certificate.public_key()
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, RSAPublicKey):
            raise KeyMaterialError(
                "the certificate's key is not RSA",
                hint="ask for one with an RSA key, or use 'iomt-crypt keygen'",
            )
        if key.key_size < MIN_RSA_BITS:
            raise KeyMaterialError(f"the certificate's RSA key has {key.key_size} bits, at least {MIN_RSA_BITS} needed")
        self.public_key = key
        self._certificate = certificate

    @cached_property
    def fingerprint(self) -> bytes:
        return public_key_fingerprint(self.public_key)

    @property
    def not_after(self) -> datetime.datetime:
        """End of its validity, UTC."""
        return self._certificate.not_valid_after_utc

    def __str__(self) -> str:
        return self._certificate.public_bytes(Encoding.PEM).decode("ascii")

    def __repr__(self) -> str:
        return f"<CertificateRecipient {fingerprint_text(self.fingerprint)}>"

    def check(self, now: datetime.datetime) -> None:
        """Raise KeyMaterialError unless the certificate may be encrypted to at ``now`` (RFC 5280, 4.1.2.5, 4.2.1.3).

        Done when a recipient is read, and not at each wrap: a node must not stop at midnight because a certificate did.
        """
        name = fingerprint_text(self.fingerprint)
        if now > self.not_after:
            raise KeyMaterialError(
                f"certificate {name} expired on {self.not_after:%Y-%m-%d}",
                hint="ask its owner for the new one; what was encrypted to it can still be decrypted",
            )
        if now < self._certificate.not_valid_before_utc:
            raise KeyMaterialError(
                f"certificate {name} is not valid before {self._certificate.not_valid_before_utc:%Y-%m-%d}",
                hint="check this machine's clock",
            )
        if not self._may_encipher():
            raise KeyMaterialError(
                f"certificate {name} is not for encryption: its key usage lacks keyEncipherment",
                hint="a certificate of an authority or for signatures only; ask for one for encryption",
            )

    def _may_encipher(self) -> bool:
        try:
            usage = self._certificate.extensions.get_extension_for_class(x509.KeyUsage)
        except x509.ExtensionNotFound:
            return True
        except ValueError:
            return False
        return usage.value.key_encipherment

    def wrap(self, epoch_key: bytes, epoch_id: bytes) -> Stanza:
        return Stanza(KIND, self.fingerprint, seal_envelope(self._certificate, epoch_key, epoch_id))


class CertificateIdentity:
    """An RSA private key: opens what was encrypted to a certificate of it, valid or not, or to its public key."""

    def __init__(self, key: RSAPrivateKey, recipient: CertificateRecipient | RsaRecipient | None = None) -> None:
        self._key = key
        self.recipient = recipient

    @cached_property
    def fingerprint(self) -> bytes:
        return public_key_fingerprint(self._key.public_key())

    def __repr__(self) -> str:
        return f"<CertificateIdentity {fingerprint_text(self.fingerprint)}>"

    def unwrap(self, stanza: Stanza, epoch_id: bytes) -> bytes | None:
        """Issuer and serial number in the CMS are not looked at: a renewed certificate has others for the same key."""
        if stanza.kind == rsa.KIND:
            return rsa.open_body(stanza.body, epoch_id, self._key)
        if stanza.kind == RSA_KIND:
            return open_body(stanza.body, epoch_id, self._key)
        envelope = read_envelope(stanza.body) if stanza.kind == KIND else None
        if envelope is None:
            return None
        try:
            content_key = self._key.decrypt(envelope.encrypted_key, PKCS1v15())
        except ValueError:
            return None
        return open_envelope(envelope, content_key, epoch_id)


def parse_recipient(text: str, ask: AskPassphrase | None) -> CertificateRecipient:
    del ask
    recipient = CertificateRecipient(_certificate(text))
    recipient.check(datetime.datetime.now(datetime.UTC))
    return recipient


def certificates(text: str) -> Iterator[CertificateRecipient]:
    """All certificates in PEM, whether they may be encrypted to now or not."""
    for block in _BLOCK.finditer(text):
        if block[1] == "CERTIFICATE":
            yield CertificateRecipient(_certificate(block[0]))


def parse_identity(text: str, ask: AskPassphrase | None) -> CertificateIdentity:
    """From one private key and any number of certificates in PEM; the one that belongs to the key is found."""
    blocks = [(block[1], block[0]) for block in _BLOCK.finditer(text)]
    keys = [block for label, block in blocks if label != "CERTIFICATE"]
    if len(keys) != 1:
        raise KeyMaterialError(f"{len(keys)} private keys together, 1 expected")
    key = _private_key(keys[0], ask)
    beside = [_certificate(block) for label, block in blocks if label == "CERTIFICATE"]
    found = [certificate for certificate in beside if certificate.public_key() == key.public_key()]
    if beside and not found:
        raise KeyMaterialError(
            "none of the certificates belongs to the private key",
            hint="a private key stands with its own certificate, or alone",
        )
    return CertificateIdentity(key, CertificateRecipient(found[0]) if found else RsaRecipient(key.public_key()))


def _private_key(block: str, ask: AskPassphrase | None) -> RSAPrivateKey:
    encrypted = "ENCRYPTED" in block
    if encrypted and ask is None:
        raise KeyMaterialError("the private key is under a passphrase and nobody can be asked for it")
    password = ask("private key") if encrypted and ask is not None else None
    try:
        key = load_pem_private_key(block.encode("ascii"), password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        what = "wrong passphrase, or a damaged private key" if encrypted else "the private key is damaged"
        raise KeyMaterialError(what) from None
    if not isinstance(key, RSAPrivateKey):
        raise KeyMaterialError("the private key is not RSA", hint="certificates with other keys are not supported")
    if key.key_size < MIN_RSA_BITS:
        raise KeyMaterialError(f"the private key has {key.key_size} bits, at least {MIN_RSA_BITS} needed")
    return key


def _certificate(block: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(block.encode("ascii"))
    except ValueError:
        raise KeyMaterialError("the certificate is damaged") from None
