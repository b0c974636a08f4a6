"""Every backend against the frozen vectors: a change of one bit of the cipher breaks old archives."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from iomt_crypt import cipher

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())["vectors"]


def test_there_are_vectors_of_both_word_sizes():
    assert len(VECTORS) >= 14
    assert {vector["word_bits"] for vector in VECTORS} == {8, 16}


@pytest.mark.parametrize("backend", ["reference", "numba"])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['word_bits']}-{'x'.join(map(str, v['shape']))}")
def test_vector(vector, backend):
    i = np.arange(int(np.prod(vector["shape"])), dtype=np.uint64)
    dtype = np.uint8 if vector["word_bits"] == 8 else np.uint16
    plain = (7 * i * i + 3 * i + 1).astype(dtype).reshape(vector["shape"])
    options = {
        "key": bytes.fromhex(vector["key"]),
        "tweak": bytes.fromhex(vector["tweak"]),
        "row_length": vector["row_length"],
        "backend": backend,
    }
    output = np.empty_like(plain)
    cipher.encrypt_into(plain, output, **options)
    data = output.astype(output.dtype.newbyteorder("<")).tobytes()
    assert hashlib.sha256(data).hexdigest() == vector["sha256"]
    assert vector["cipher"] in (None, data.hex())
    cipher.decrypt_into(output, output, **options)
    assert np.array_equal(output, plain)
