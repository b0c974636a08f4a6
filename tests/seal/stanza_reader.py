"""Opens stanzas as docs/FORMAT.md says, with the standard library and bare primitives: no code of iomt_crypt.seal.

Curve, lattice, AES and RSA come from cryptography; HPKE (RFC 9180), X-Wing, HKDF, CMS and texts are written out here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def info(epoch_id: bytes) -> bytes:
    return b"iomt-crypt/1/epoch" + epoch_id


def secret_of(text: str) -> bytes:
    """Bytes of a key text."""
    prefix, digits = text[: text.index("1") + 1], text[text.index("1") + 1 :].upper()
    raw = base64.b32decode(digits + "=" * (-len(digits) % 8))
    assert raw[-4:] == hashlib.sha256(prefix.encode() + b"\0" + raw[:-4]).digest()[:4]
    return raw[:-4]


def _expand(key: bytes, context: bytes, size: int) -> bytes:
    out = block = b""
    while len(out) < size:
        block = hmac.digest(key, block + context + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:size]


def hkdf(secret: bytes, context: bytes) -> bytes:
    return _expand(hmac.digest(bytes(32), secret, "sha256"), context, 32)


def _labeled_extract(suite: bytes, label: bytes, secret: bytes) -> bytes:
    return hmac.digest(bytes(32), b"HPKE-v1" + suite + label + secret, "sha256")


def _labeled_expand(suite: bytes, key: bytes, label: bytes, context: bytes, size: int) -> bytes:
    return _expand(key, size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context, size)


def _open_hpke(kem: int, shared: bytes, epoch_id: bytes, sealed: bytes) -> bytes:
    """RFC 9180, 5.1 in base mode: KDF 1 (HKDF-SHA-256), AEAD 2 (AES-256-GCM)."""
    suite = b"HPKE" + bytes((kem >> 8, kem & 255, 0, 1, 0, 2))
    hashes = (_labeled_extract(suite, b"psk_id_hash", b""), _labeled_extract(suite, b"info_hash", info(epoch_id)))
    context = b"\0" + b"".join(hashes)
    # The shared secret is the salt here, and the empty pre-shared key the input.
    secret = hmac.digest(shared, b"HPKE-v1" + suite + b"secret", "sha256")
    key, nonce = (_labeled_expand(suite, secret, n, context, s) for n, s in ((b"key", 32), (b"base_nonce", 12)))
    return AESGCM(key).decrypt(nonce, sealed, b"")


def open_x25519(secret: str, body: bytes, epoch_id: bytes) -> bytes:
    """DHKEM(X25519, HKDF-SHA-256): RFC 9180, 4.1."""
    key = X25519PrivateKey.from_private_bytes(secret_of(secret))
    shared = key.exchange(X25519PublicKey.from_public_bytes(body[:32]))
    suite = b"KEM\x00\x20"
    context = body[:32] + key.public_key().public_bytes_raw()
    key_bytes = _labeled_expand(suite, _labeled_extract(suite, b"eae_prk", shared), b"shared_secret", context, 32)
    return _open_hpke(0x0020, key_bytes, epoch_id, body[32:])


def open_hybrid(secret: str, body: bytes, epoch_id: bytes) -> bytes:
    """X-Wing (draft-connolly-cfrg-xwing-kem): the combiner is SHA3-256."""
    raw = secret_of(secret)
    lattice, curve = MLKEM768PrivateKey.from_seed_bytes(raw[:64]), X25519PrivateKey.from_private_bytes(raw[64:])
    point = body[1088:1120]
    parts = (lattice.decapsulate(body[:1088]), curve.exchange(X25519PublicKey.from_public_bytes(point)), point)
    label = bytes.fromhex("5c2e2f2f5e5c")
    shared = hashlib.sha3_256(b"".join(parts) + curve.public_key().public_bytes_raw() + label).digest()
    return _open_hpke(0x647A, shared, epoch_id, body[1120:])


def open_cms(secret: str, body: bytes, epoch_id: bytes) -> bytes:
    """For a 2048-bit key: the last 80 bytes are ciphertext, the 256 before the content's head RSA."""
    key = load_pem_private_key(secret.encode(), None)
    ciphertext, head = body[-80:], body[:-80]
    nonce = head[-18:-2]
    encrypted_key = head[: head.rindex(bytes.fromhex("06092a864886f70d010701")) - 2][-256:]
    decryptor = Cipher(AES256(key.decrypt(encrypted_key, PKCS1v15())), CBC(nonce)).decryptor()
    content = decryptor.update(ciphertext) + decryptor.finalize()
    assert content[64:] == bytes([16]) * 16
    assert content[32:64] == hmac.digest(content[:32], info(epoch_id), "sha256")
    return content[:32]


def open_oaep(secret: str, body: bytes, epoch_id: bytes) -> bytes:
    key = load_pem_private_key(secret.encode(), None)
    plain = key.decrypt(body, OAEP(MGF1(SHA1()), SHA1(), None))
    assert plain[32:] == epoch_id
    return plain[:32]


def open_scrypt(secret: str, body: bytes, epoch_id: bytes) -> bytes:
    n, r, p = 1 << body[0], body[1], body[2]
    stretched = hashlib.scrypt(secret.encode(), salt=body[3:19], n=n, r=r, p=p, maxmem=1 << 28, dklen=32)
    return AESGCM(hkdf(stretched, info(epoch_id))).decrypt(bytes(12), body[19:], body[:19])


OPENERS = {
    "hpke-mlkem768-x25519": open_hybrid,
    "hpke-x25519": open_x25519,
    "cms-rsa-aes256": open_cms,
    "rsa-oaep-sha1": open_oaep,
    "scrypt": open_scrypt,
}
