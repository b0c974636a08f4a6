"""Four implementations, 10,000 frames: the same cipher words from each, and each gives the plain ones back.

The verifier was written from docs/SPEC.md alone, and shares no line with the package. In plain Python integers it takes
minutes for all of the frames: here are a quarter of them, and ``tests/research/agreement`` has the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from iomt_crypt import cipher
from tests.vectors.frame import BACKENDS
from tests.vectors.verify import cipher as verifier

CASES = 10_000
SHARDS = 8
HERE = 2


@dataclass(frozen=True)
class Frame:
    """What the cipher takes; `data` are the words, little-endian."""

    w: int
    row_length: int
    data: bytes
    key: bytes
    tweak: bytes


def frame_of(w: int, data: bytes, near: bool, row: int, tweak: bytes, key: bytes) -> Frame:
    """Whole words; a row length near the limit, half of the words, or near 0."""
    data = data[: len(data) // 2 * 2]
    return Frame(w, row + len(data) * 4 // w if near else row, data, key, tweak)


# Independent draws: hypothesis takes half the time that it takes where one depends on another.
SMALL = st.binary(max_size=80)
FRAMES = st.builds(
    frame_of,
    st.sampled_from((8, 16)),
    st.one_of(*[SMALL] * 7, st.binary(min_size=80, max_size=1200)),
    st.booleans(),
    st.integers(-3, 40),
    st.binary(max_size=40),
    st.binary(min_size=32, max_size=32),
)


def package(frame: Frame, backend: str) -> Iterator[bytes]:
    """Cipher words, and what comes back from them."""
    words = np.frombuffer(frame.data, f"<u{frame.w // 8}")
    target = words.astype(words.dtype.newbyteorder("="))
    for run in (cipher.encrypt_into, cipher.decrypt_into):
        run(target, target, frame.key, tweak=frame.tweak, row_length=frame.row_length, backend=backend)
        yield target.astype(words.dtype).tobytes()


def second(frame: Frame) -> Iterator[bytes]:
    """The same of the verifier."""
    words = verifier.to_words(frame.data, frame.w)
    for run in (verifier.encrypt, verifier.decrypt):
        words = run(words, w=frame.w, key=frame.key, tweak=frame.tweak, row_length=frame.row_length)
        yield verifier.to_bytes(words, frame.w)


@pytest.mark.parametrize("shard", range(HERE))
def test_agreement(shard):
    check_shard(shard)


def check_shard(shard: int) -> None:
    """Each shard has random frames of its own, the same in every run."""
    count = 0

    @seed(shard)
    @settings(
        max_examples=CASES // SHARDS,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(frame=FRAMES)
    def agree(frame: Frame) -> None:
        nonlocal count
        count += 1
        secret, plain = second(frame)
        assert plain == frame.data
        for backend in BACKENDS:
            assert tuple(package(frame, backend)) == (secret, plain), backend

    agree()
    assert count >= CASES // SHARDS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "row_length"),
    [
        ((), 0),
        ((0,), 0),
        ((24,), 0),
        ((24, 1), 1),
        ((1, 24), 24),
        ((4, 6), 6),
        ((6, 4), 4),
        ((5, 5, 3), 15),
        ((2, 0), 0),
    ],
)
def test_row_length_of_a_shape(shape, row_length, backend):
    """The array functions take the product of the dimensions after the first (docs/SPEC.md, section 3)."""
    key, tweak = bytes(range(32)), b"shape"
    for dtype in (np.uint8, np.uint16):
        plain = (np.arange(np.prod(shape), dtype=np.uint32) * 40503).astype(dtype).reshape(shape)
        secret = cipher.encrypt(plain, key, tweak=tweak, backend=backend)
        w = 8 * plain.itemsize
        expected = verifier.encrypt(plain.reshape(-1).tolist(), w=w, key=key, tweak=tweak, row_length=row_length)
        assert secret.shape == shape
        assert secret.reshape(-1).tolist() == expected
        assert np.array_equal(cipher.decrypt(secret, key, tweak=tweak, backend=backend), plain)
