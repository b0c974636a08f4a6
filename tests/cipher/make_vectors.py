"""Write vectors.json: frozen inputs and outputs of the cipher, made by the reference backend.

Run ``python tests/cipher/make_vectors.py`` after a deliberate change of the cipher, and never to silence a test.
Plain sample i is ``(7 i^2 + 3 i + 1) mod 2^w``. Short outputs are given whole, all by their SHA-256 (little-endian).
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from iomt_crypt import cipher

PATH = Path(__file__).with_name("vectors.json")

# (word bits, shape, row length or None, tweak)
CASES = [
    (8, [1], None, b""),
    (16, [1], None, b"one"),
    (8, [2], None, b""),
    (16, [2], None, b""),
    (16, [3], None, b"t"),
    (8, [7, 1], None, b""),
    (16, [1, 9], None, bytes(16)),
    (16, [4, 6], None, b"frame 0"),
    (16, [4, 6], 5, b"frame 0"),
    (8, [5, 5, 3], None, b"colour"),
    (8, [33, 31], None, b""),
    (16, [64, 64], None, b"\x00\x01"),
    (16, [41, 67], 13, b"odd"),
    (8, [128, 130], None, b""),
]


def plain_of(word_bits, shape):
    i = np.arange(int(np.prod(shape)), dtype=np.uint64)
    return (7 * i * i + 3 * i + 1).astype(np.uint8 if word_bits == 8 else np.uint16).reshape(shape)


def make():
    vectors = []
    for number, (word_bits, shape, row_length, tweak) in enumerate(CASES):
        key = hashlib.sha256(b"vector %d" % number).digest()
        plain = plain_of(word_bits, shape)
        output = np.empty_like(plain)
        cipher.encrypt_into(plain, output, key, tweak=tweak, row_length=row_length, backend="reference")
        data = output.astype(output.dtype.newbyteorder("<")).tobytes()
        vectors.append(
            {
                "word_bits": word_bits,
                "shape": shape,
                "row_length": row_length,
                "key": key.hex(),
                "tweak": tweak.hex(),
                "cipher": data.hex() if len(data) <= 128 else None,
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
    return {"cipher": "chaos-cnn-1", "plain": "sample i = (7 i^2 + 3 i + 1) mod 2^word_bits", "vectors": vectors}


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=1) + "\n")
