"""Caller mistakes are named with the exact rule, and nothing is written."""

import numpy as np
import pytest

from iomt_crypt import cipher

KEY = bytes(range(32))
FRAME = np.arange(24, dtype=np.uint16).reshape(4, 6)


@pytest.mark.parametrize("function", [cipher.encrypt, cipher.decrypt])
@pytest.mark.parametrize(
    ("samples", "options", "error", "message"),
    [
        (FRAME, {"key": bytes(16)}, ValueError, "^key must be 32 bytes, got 16$"),
        (FRAME, {"key": bytes(33)}, ValueError, "^key must be 32 bytes, got 33$"),
        (FRAME, {"key": "k" * 32}, TypeError, "^key must be bytes, got str$"),
        (FRAME, {"key": 32}, TypeError, "^key must be bytes, got int$"),
        (FRAME, {"tweak": "0"}, TypeError, "^tweak must be bytes, got str$"),
        (FRAME, {"tweak": None}, TypeError, "^tweak must be bytes, got NoneType$"),
        (
            FRAME,
            {"backend": "cuda"},
            ValueError,
            "^backend must be 'auto', 'reference', 'numba' or 'torch', got 'cuda'$",
        ),
        (FRAME.astype(np.int16), {}, TypeError, "^samples must be uint8 or native uint16, got <i2$"),
        (FRAME.astype(">u2"), {}, TypeError, "^samples must be uint8 or native uint16, got >u2$"),
        (FRAME.astype(np.float32), {}, TypeError, "^samples must be uint8 or native uint16, got <f4$"),
        (FRAME.tolist(), {}, TypeError, "^samples must be a numpy array, got list$"),
        (FRAME[:0], {"key": b""}, ValueError, "^key must be 32 bytes, got 0$"),
    ],
)
def test_mistakes_of_a_call(function, samples, options, error, message):
    with pytest.raises(error, match=message):
        function(samples, **{"key": KEY, **options})


def read_only(frame):
    frame = frame.copy()
    frame.flags.writeable = False
    return frame


@pytest.mark.parametrize("function", [cipher.encrypt_into, cipher.decrypt_into])
@pytest.mark.parametrize(
    ("source", "target", "error", "message"),
    [
        (FRAME, np.zeros(23, np.uint16), ValueError, "size and dtype of source .24 x uint16., got 23 x uint16$"),
        (FRAME, np.zeros(24, np.uint8), ValueError, "size and dtype of source .24 x uint16., got 24 x uint8$"),
        (FRAME.T, np.zeros((6, 4), np.uint16), ValueError, "^source and target must be C-contiguous$"),
        (FRAME, np.zeros((8, 6), np.uint16)[::2], ValueError, "^source and target must be C-contiguous$"),
        (FRAME, read_only(FRAME), ValueError, "^target must be writable$"),
        (FRAME, bytearray(48), TypeError, "^target must be a numpy array, got bytearray$"),
    ],
)
def test_mistakes_of_memory(function, source, target, error, message):
    before = bytes(np.asarray(target).tobytes())
    with pytest.raises(error, match=message):
        function(source, target, KEY)
    assert np.asarray(target).tobytes() == before


def test_row_length_must_be_a_whole_number():
    with pytest.raises(TypeError):
        cipher.encrypt_into(FRAME, np.empty_like(FRAME), KEY, row_length=2.5)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_key_and_tweak_may_be_any_bytes(kind):
    expected = cipher.encrypt(FRAME, KEY, tweak=b"tweak")
    assert np.array_equal(cipher.encrypt(FRAME, kind(KEY), tweak=kind(b"tweak")), expected)


def test_any_memory_layout_is_read():
    expected = cipher.encrypt(np.ascontiguousarray(FRAME.T), KEY)
    assert np.array_equal(cipher.encrypt(FRAME.T, KEY), expected)
    assert np.array_equal(cipher.encrypt(read_only(FRAME), KEY), cipher.encrypt(FRAME, KEY))


def test_the_shape_may_differ_where_memory_is_given():
    flat = np.empty(24, np.uint16)
    cipher.encrypt_into(FRAME, flat, KEY)
    assert np.array_equal(flat.reshape(4, 6), cipher.encrypt(FRAME, KEY))


def test_all_is_what_is_visible():
    visible = {name for name in vars(cipher) if not name.startswith("_") and callable(getattr(cipher, name))}
    assert visible | {"Backend"} == set(cipher.__all__)
