"""Ten times 10^6 bits of our own streams under fixed keys; the full size is `make randomness`."""

from hashlib import sha256

import numpy as np
import pytest

from iomt_crypt.analysis.randomness import LaneStream, bits_of, interpret, run_all
from iomt_crypt.cipher import encrypt

N_SEQUENCES = 10
N_BYTES = 125_000
KEY = sha256(b"iomt-crypt: regression of randomness").digest()


def key_stream():
    for index in range(N_SEQUENCES):
        yield LaneStream.of(sha256(KEY + bytes([index])).digest()).steps(-(-N_BYTES // 512)).tobytes()[:N_BYTES]


def cipher_images(dtype):
    image = np.zeros((512, 512), dtype)
    stream = b""
    for tweak in range(-(-N_SEQUENCES * N_BYTES // image.nbytes)):
        stream += encrypt(image, KEY, tweak=tweak.to_bytes(8, "little")).tobytes()
    for index in range(N_SEQUENCES):
        yield stream[index * N_BYTES : (index + 1) * N_BYTES]


def float_logistic():
    """What such ciphers are often made of: a logistic map in single precision, a byte a step."""
    x, r = np.linspace(0.1, 0.9, N_SEQUENCES, dtype=np.float32), np.float32(3.99)
    steps = np.empty((N_BYTES, N_SEQUENCES), np.uint8)
    for step in steps:
        x = r * x * (np.float32(1) - x)
        step[:] = (x * np.float32(256)).astype(np.uint8)
    return [column.tobytes() for column in steps.T]


@pytest.mark.parametrize(
    "source",
    [key_stream, lambda: cipher_images(np.uint16), lambda: cipher_images(np.uint8)],
    ids=["key stream", "16-bit images", "8-bit images"],
)
def test_our_streams(source):
    values = [[row.p_value for row in run_all(bits_of(data))] for data in source()]
    flat = [value for row in values for value in row]
    assert len(flat) > 1500
    assert min(flat) > 1e-6
    # the rows of one sequence go together: six deviations instead of three
    assert abs(np.mean(np.array(flat) >= 0.01) - 0.99) < 6 * np.sqrt(0.0099 / len(flat))
    assert abs(np.mean(flat) - 0.5) < 0.05
    # the first rows of each sequence, whose tests are few enough to count as independent
    assert interpret([value for row in values for value in row[:6]]).passed


def test_a_float_map_fails():
    rows = [row for data in float_logistic() for row in run_all(bits_of(data))]
    failed = {row.test for row in rows if row.p_value < 1e-6}
    assert failed >= {"frequency", "runs", "spectral", "universal", "serial", "approximate entropy"}
