"""The schedule's promises on the weights, which vectors alone would not explain."""

import numpy as np

from iomt_crypt.cipher.schedule import Geometry, make_schedule


def test_no_filter_is_linear_and_none_drops_a_bit():
    """Odd output weights, whose sum is 2 modulo 4: never 0, in words of 8 bits too."""
    geometry = Geometry.of(100, 10, 8)
    mixes = np.stack([make_schedule(bytes([n]) * 32, b"", geometry).mixes for n in range(256)])
    assert mixes.shape == (256, 4, 2, 2)
    assert np.all(mixes & 1 == 1)
    assert np.all(mixes.sum(axis=-1) % 4 == 2)
    # every other bit is free
    assert np.bitwise_or.reduce(mixes, axis=None) == 0xFFFF
    assert np.bitwise_and.reduce(mixes, axis=None) == 1
