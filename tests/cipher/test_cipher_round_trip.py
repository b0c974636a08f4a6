"""Properties of the cipher over shapes that hypothesis makes: lossless, and the same from every backend."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from iomt_crypt import cipher

SHAPES = st.one_of(
    st.tuples(st.integers(0, 40)),
    st.tuples(st.integers(0, 6000)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.just(1), st.integers(1, 3000)),
    st.tuples(st.integers(1, 3000), st.just(1)),
    st.tuples(st.integers(0, 9), st.integers(1, 30), st.integers(1, 30)),
    st.just(()),
)
DTYPES = st.sampled_from([np.uint8, np.uint16])


@st.composite
def frames(draw):
    """A frame of random, constant or nearly constant samples."""
    shape, dtype = draw(SHAPES), draw(DTYPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    highest = draw(st.sampled_from([1, 2, 1 << 8, 1 << 12, 1 << 16]))
    return rng.integers(0, highest, shape).astype(dtype), rng.bytes(32), draw(st.binary(max_size=40))


@settings(max_examples=150, deadline=None)
@given(frames())
@example((np.zeros((2,), np.uint16), bytes(32), b""))
@example((np.zeros((1, 1), np.uint8), bytes(32), b""))
@example((np.zeros((32, 32), np.uint16), bytes(32), b""))  # 1024 samples: the last with runs of one
@example((np.zeros((25, 41), np.uint16), bytes(32), b""))  # 1025: runs of two and a tail of one
def test_backends_agree_and_invert(frame):
    samples, key, tweak = frame
    before = samples.copy()
    encrypted = cipher.encrypt(samples, key, tweak=tweak, backend="numba")
    assert encrypted.shape == samples.shape
    assert encrypted.dtype == samples.dtype
    assert np.array_equal(samples, before)
    assert np.array_equal(encrypted, cipher.encrypt(samples, key, tweak=tweak, backend="reference"))
    assert np.array_equal(cipher.decrypt(encrypted, key, tweak=tweak, backend="numba"), samples)
    assert np.array_equal(cipher.decrypt(encrypted, key, tweak=tweak, backend="reference"), samples)


@settings(max_examples=100, deadline=None)
@given(frames(), st.integers(-2, 4000))
def test_any_row_length_works_in_place_and_out_of_place(frame, row_length):
    samples, key, tweak = frame
    options = {"tweak": tweak, "row_length": row_length}
    output = np.empty_like(samples)
    cipher.encrypt_into(samples, output, key, **options)
    reference = np.empty_like(samples)
    cipher.encrypt_into(samples, reference, key, **options, backend="reference")
    assert np.array_equal(output, reference)

    in_place = samples.copy()
    cipher.encrypt_into(in_place, in_place, key, **options)
    assert np.array_equal(in_place, output)
    cipher.decrypt_into(in_place, in_place, key, **options)
    assert np.array_equal(in_place, samples)
    cipher.decrypt_into(reference, reference, key, **options, backend="reference")
    assert np.array_equal(reference, samples)


@settings(max_examples=50, deadline=None)
@given(st.integers(16, 500), DTYPES, st.binary(min_size=32, max_size=32), st.binary(max_size=8))
def test_key_tweak_and_geometry_change_the_output(n_samples, dtype, key, tweak):
    samples = np.zeros(n_samples, dtype)

    def run(key=key, tweak=tweak, row_length=2):
        output = np.empty_like(samples)
        cipher.encrypt_into(samples, output, key, tweak=tweak, row_length=row_length)
        return output.tobytes()

    other_key = bytes([key[0] ^ 1]) + key[1:]
    outputs = {run(), run(key=other_key), run(tweak=tweak + b"\0"), run(row_length=3)}
    assert len(outputs) == 4
