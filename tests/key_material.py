"""RSA and elliptic keys with certificates of every shape."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
PASSPHRASE = b"five words that nobody guesses"


@dataclass(frozen=True)
class Certified:
    """A private key, and certificates of it."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    def certificate(self, start=NOW - DAY, end=NOW + 365 * DAY, usage: str | None = "key_encipherment") -> str:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Doe^Jane escrow")])
        builder = x509.CertificateBuilder(name, name, self.key.public_key(), x509.random_serial_number(), start, end)
        if usage is not None:
            names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
            names += ("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
            builder = builder.add_extension(x509.KeyUsage(**{n: n == usage for n in names}), critical=True)
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM).decode("ascii")

    def private(self, passphrase: bytes | None = None, form=PrivateFormat.PKCS8) -> str:
        lock = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
        return self.key.private_bytes(Encoding.PEM, form, lock).decode("ascii")
