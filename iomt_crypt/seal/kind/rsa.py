"""An RSA public key without a certificate, such as the public half of a key pair on a token: RSA-OAEP (RFC 8017, 7.1).

With SHA-1, because that is the hash every token can do; OAEP does not need a hash that is free of collisions. Stanza
body: the ciphertext, as long as the modulus, of ``epoch key (32) | epoch id (16)``. The epoch's identity is in the
message, since many tokens refuse an OAEP label.
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal.kind.envelope import public_key_fingerprint
from iomt_crypt.seal.recipient import AskPassphrase, Stanza, fingerprint_text
from iomt_crypt.seal.schedule import KEY_BYTES

KIND = "rsa-oaep-sha1"
MIN_BITS, MAX_BITS = 2048, 16384


class RsaRecipient:
    """Whoever holds the private key; ``public`` has 2048 to 16384 bits."""

    def __init__(self, public: RSAPublicKey) -> None:
        if not MIN_BITS <= public.key_size <= MAX_BITS:
            raise KeyMaterialError(f"the RSA key has {public.key_size} bits, needed: {MIN_BITS} to {MAX_BITS}")
        self._public = public
        self.fingerprint = public_key_fingerprint(public)

    def __str__(self) -> str:
        return self._public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii").strip()

    def __repr__(self) -> str:
        return f"<RsaRecipient {fingerprint_text(self.fingerprint)}>"

    def wrap(self, epoch_key: bytes, epoch_id: bytes) -> Stanza:
        body = self._public.encrypt(epoch_key + epoch_id, oaep())
        return Stanza(KIND, self.fingerprint, body)


def oaep() -> padding.OAEP:
    """The padding of the kind."""
    return padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - see the module's docstring


def open_body(body: bytes, epoch_id: bytes, key: RSAPrivateKey) -> bytes | None:
    """The epoch key in a stanza's body; None when it is not for ``key``, or for another epoch."""
    try:
        plain = key.decrypt(body, oaep())
    except ValueError:
        return None
    if len(plain) != KEY_BYTES + len(epoch_id) or not hmac.compare_digest(plain[KEY_BYTES:], epoch_id):
        return None
    return plain[:KEY_BYTES]


def parse_recipient(text: str, ask: AskPassphrase | None) -> RsaRecipient:
    """A recipient from ``-----BEGIN PUBLIC KEY-----``."""
    del ask
    try:
        public = load_pem_public_key(text.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm):
        raise KeyMaterialError("the public key cannot be read: damaged, or of an unknown kind") from None
    if not isinstance(public, RSAPublicKey):
        raise KeyMaterialError("the public key is not an RSA key", hint="'iomt-crypt keygen' makes other kinds")
    return RsaRecipient(public)
