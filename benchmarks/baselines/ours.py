"""This project's cipher as a scheme: the image cipher alone, and in the suite that objects are encrypted with.

`ChaosCnn` is `iomt_crypt.cipher` on an 8-bit frame: the key is the key, the nonce is the tweak. It does not
authenticate (docs/SPEC.md). `Hybrid` is the suite `hybrid-1` of `iomt_crypt.seal` on an object of one frame: the key is
the object's data key, the nonce and four zero bytes are its identity, from which and the frame's number the suite
derives what it needs. In the gateway both are random and fresh for each object. The tag is carried apart, as in `aes`.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from benchmarks.baselines.scheme import Image
from iomt_crypt import cipher
from iomt_crypt.seal.schedule import OBJECT_ID_BYTES, ObjectKey
from iomt_crypt.seal.suite import Hybrid1, Layout

_INDEX = 0  # of the only frame


class ChaosCnn:
    """The chaos+CNN cipher alone; see `benchmarks.baselines.scheme.Scheme`."""

    name = "chaos-cnn-1"
    source = "docs/SPEC.md, as it is; the nonce is the tweak"
    lossless = True
    uses_nonce = True

    def encrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Return the cipher image; 32 bytes of key, a nonce of any length."""
        return cipher.encrypt(image, key, tweak=nonce)

    def decrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Undo `encrypt`."""
        return cipher.decrypt(image, key, tweak=nonce)


class Hybrid:
    """The chaos+CNN cipher and AES-256-GCM over its output; see `benchmarks.baselines.scheme.Scheme`."""

    name = "hybrid-1"
    source = "docs/SPEC.md and iomt_crypt.seal.suite, as they are; in the cipher image the tag is left out"
    lossless = True
    uses_nonce = True

    def seal(self, image: Image, key: bytes, nonce: bytes) -> tuple[Image, bytes]:
        """Encrypt and authenticate an object of one frame.

        Parameters
        ----------
        image
            uint8 (rows, columns); left unchanged.
        key, nonce
            32 bytes, and 12 bytes that never come twice under one key.

        Returns
        -------
        image, tag
            Cipher samples of the same shape, and 16 bytes.
        """
        sealed = image.copy()
        tag = _suite(image, key, nonce).seal(_INDEX, _bytes(sealed))
        return sealed, tag

    def open(self, image: Image, tag: bytes, key: bytes, nonce: bytes) -> Image:
        """Check the tag and undo `seal`.

        Raises
        ------
        iomt_crypt.errors.AuthenticationError
            Image, tag, key or nonce are not those of one call of `seal`.
        """
        opened = image.copy()
        _suite(image, key, nonce).open(_INDEX, _bytes(opened), tag)
        return opened

    def encrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Return what `seal` returns, without the tag."""
        return self.seal(image, key, nonce)[0]

    def decrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Undo `encrypt`. The suite never does this: without the tag nothing is checked."""
        keys = _object_key(key, nonce)
        gcm = Cipher(algorithms.AES(keys.derive("hybrid-1/tag")), modes.GCM(_INDEX.to_bytes(12, "big"))).decryptor()
        inner = np.frombuffer(gcm.update(image.tobytes()), np.uint8).reshape(image.shape)
        return cipher.decrypt(inner, keys.derive("hybrid-1/image"), tweak=_INDEX.to_bytes(8, "little"))


def _suite(image: Image, key: bytes, nonce: bytes) -> Hybrid1:
    layout = Layout(n_frames=1, frame_bytes=image.size, word_bits=8, row_length=image.shape[1])
    return Hybrid1(_object_key(key, nonce), layout, b"")


def _object_key(key: bytes, nonce: bytes) -> ObjectKey:
    return ObjectKey(key, nonce.ljust(OBJECT_ID_BYTES, b"\0"))


def _bytes(image: Image) -> memoryview:
    return memoryview(image.reshape(-1)).cast("B")
