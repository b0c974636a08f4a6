"""AES-256-GCM over the samples of an image: the standard that every image cipher is measured against.

NIST SP 800-38D. The samples in C order are the plaintext, the 12-byte nonce is the initialization vector, the key is
the key, and there is no associated data. The tag has no place in an image of the same shape: `seal` and `open` carry
it apart, and `encrypt` and `decrypt` drop it, which leaves AES in counter mode. That serves a comparison of cipher
images and nothing else: whoever decrypts without checking the tag accepts every change.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.baselines.scheme import Image

TAG_BYTES = 16


class AesGcm:
    """AES-256-GCM with its tag apart; see `benchmarks.baselines.scheme.Scheme`."""

    name = "AES-256-GCM"
    source = "NIST SP 800-38D through the cryptography package; in the cipher image the tag is left out"
    lossless = True
    uses_nonce = True

    def seal(self, image: Image, key: bytes, nonce: bytes) -> tuple[Image, bytes]:
        """Encrypt and authenticate.

        Parameters
        ----------
        image
            uint8, any shape; left unchanged.
        key, nonce
            32 bytes, and 12 bytes that never come twice under one key.

        Returns
        -------
        image, tag
            Cipher samples of the same shape, and 16 bytes.
        """
        sealed = AESGCM(key).encrypt(nonce, image.tobytes(), None)
        return _image(sealed[:-TAG_BYTES], image), sealed[-TAG_BYTES:]

    def open(self, image: Image, tag: bytes, key: bytes, nonce: bytes) -> Image:
        """Check the tag and undo `seal`.

        Raises
        ------
        cryptography.exceptions.InvalidTag
            Image, tag, key or nonce are not those of one call of `seal`.
        """
        return _image(AESGCM(key).decrypt(nonce, image.tobytes() + tag, None), image)

    def encrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Return what `seal` returns, without the tag."""
        return self.seal(image, key, nonce)[0]

    def decrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Undo `encrypt`. Without the tag nothing is checked."""
        stream = Cipher(algorithms.AES(key), modes.GCM(nonce)).decryptor()
        return _image(stream.update(image.tobytes()), image)


def _image(samples: bytes, like: Image) -> Image:
    return np.frombuffer(samples, np.uint8).reshape(like.shape).copy()
