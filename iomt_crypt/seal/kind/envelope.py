"""The body of a certificate's stanza: CMS EnvelopedData (RFC 5652, 6) that holds an epoch key and its check value.

CMS encrypts with RSA (PKCS #1 v1.5) and AES-256-CBC and authenticates nothing. So the content is 64 bytes::

    epoch key (32) | HMAC-SHA-256 under the epoch key over "iomt-crypt/1/epoch" and the epoch id (32)

and whatever does not decrypt to such a pair is refused, always in the same way: a bad padding, a random key in place of
a bad RSA padding (RFC 8017, 7.2.2; OpenSSL gives one), and a wrong check value look alike.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7

from iomt_crypt.seal.recipient import epoch_info, fingerprint_of
from iomt_crypt.seal.schedule import KEY_BYTES

KIND = "cms-rsa-aes256"

_CONTENT_BYTES = KEY_BYTES + 32
_CIPHERTEXT_BYTES = _CONTENT_BYTES + 16  # a whole block of padding
_ENVELOPED_DATA = x509.ObjectIdentifier("1.2.840.113549.1.7.3")
_DATA = x509.ObjectIdentifier("1.2.840.113549.1.7.1")
_RSA = x509.ObjectIdentifier("1.2.840.113549.1.1.1")
_AES256_CBC = x509.ObjectIdentifier("2.16.840.1.101.3.4.1.42")


@dataclass(frozen=True)
class Envelope:
    """What a holder of the private key needs of the CMS.

    encrypted_key
        RSA PKCS #1 v1.5 ciphertext of the 32-byte content key, as long as the modulus
    nonce, ciphertext
        of AES-256-CBC, 16 and 80 bytes
    """

    encrypted_key: bytes
    nonce: bytes
    ciphertext: bytes


def public_key_fingerprint(key: RSAPublicKey) -> bytes:
    """Fingerprint over the SubjectPublicKeyInfo: the same for a renewed certificate, a key file and a token."""
    return fingerprint_of(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def seal_envelope(certificate: x509.Certificate, epoch_key: bytes, epoch_id: bytes) -> bytes:
    """DER of the CMS for the holder of the certificate's private key."""
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(epoch_key + _check_value(epoch_key, epoch_id))
    builder = builder.set_content_encryption_algorithm(AES256).add_recipient(certificate)
    return builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def read_envelope(body: bytes) -> Envelope | None:
    """The parts of a CMS as `seal_envelope` writes it; None for everything else, other encodings included."""
    try:
        outer = asn1.decode_der(_ContentInfo, body)
        if asn1.encode_der(outer) != body:
            return None
    except ValueError:
        return None
    data, content, recipients = outer.content, outer.content.content, outer.content.recipients.as_list()
    if len(recipients) != 1:
        return None
    info = recipients[0]
    sound = (
        (outer.type, data.version, info.version, info.algorithm.type) == (_ENVELOPED_DATA, 0, 0, _RSA)
        and (content.type, content.algorithm.type) == (_DATA, _AES256_CBC)
        and (len(content.algorithm.nonce), len(content.ciphertext)) == (16, _CIPHERTEXT_BYTES)
    )
    return Envelope(info.encrypted_key, content.algorithm.nonce, content.ciphertext) if sound else None


def open_envelope(envelope: Envelope, content_key: bytes, epoch_id: bytes) -> bytes | None:
    """The epoch key, once RSA gave ``content_key`` of any length; None when anything does not fit."""
    if len(content_key) != AES256.key_size // 8:
        return None
    decryptor = Cipher(AES256(content_key), CBC(envelope.nonce)).decryptor()
    padded = decryptor.update(envelope.ciphertext) + decryptor.finalize()
    remover = PKCS7(128).unpadder()
    try:
        content = remover.update(padded) + remover.finalize()
    except ValueError:
        return None
    epoch_key, check = content[:KEY_BYTES], content[KEY_BYTES:]
    return epoch_key if hmac.compare_digest(check, _check_value(epoch_key, epoch_id)) else None


def _check_value(epoch_key: bytes, epoch_id: bytes) -> bytes:
    return hmac.digest(epoch_key, epoch_info(epoch_id), "sha256")


# ASN.1 of RFC 5652, 6.1 and 6.2, as far as PKCS7EnvelopeBuilder writes it.


@asn1.sequence
class _IssuerAndSerialNumber:
    issuer: asn1.TLV
    serial: int


@asn1.sequence
class _KeyAlgorithm:
    type: x509.ObjectIdentifier
    parameters: asn1.Null


@asn1.sequence
class _KeyTransRecipientInfo:
    version: int
    recipient: _IssuerAndSerialNumber
    algorithm: _KeyAlgorithm
    encrypted_key: bytes


@asn1.sequence
class _ContentAlgorithm:
    type: x509.ObjectIdentifier
    nonce: bytes


@asn1.sequence
class _EncryptedContentInfo:
    type: x509.ObjectIdentifier
    algorithm: _ContentAlgorithm
    ciphertext: Annotated[bytes, asn1.Implicit(0)]


@asn1.sequence
class _EnvelopedData:
    version: int
    recipients: asn1.SetOf[_KeyTransRecipientInfo]
    content: _EncryptedContentInfo


@asn1.sequence
class _ContentInfo:
    type: x509.ObjectIdentifier
    content: Annotated[_EnvelopedData, asn1.Explicit(0)]
