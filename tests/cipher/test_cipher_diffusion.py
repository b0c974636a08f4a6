"""One flipped plain bit changes the cipher image as a fresh random image would: NPCR and UACI in Wu's range.

Each trial has its own key and position, all from a generator with a fixed seed, so the result never varies. An ideal
cipher is inside each range in 95% of trials. Demanded are 93%: of 200 trials an ideal cipher misses that with
probability 0.08, so the trials are 1000, where that is 0.0023. Equal words of 16-bit images
are so few that NPCR is a Poisson count: its true level is 5.1% at 512 x 512 (4 equal words expected, 8 or more fail)
and 2.6% at 128 x 128 (0.25 expected, 2 or more fail).
"""

import numpy as np
import pydicom
import pytest
from corpus import SHARED
from pydicom.data import get_testdata_file

from iomt_crypt import cipher
from iomt_crypt.analysis.metric import critical_range, npcr_percent, uaci_percent

TRIALS = 1000
MINIMUM_INSIDE = 930
SHARED_CT = SHARED / "cornerstone" / "CTImage.dcm"


def pixels_of(path, dtype):
    """The raw cells of an uncompressed little-endian object."""
    dataset = pydicom.dcmread(path)
    cells = np.frombuffer(dataset.PixelData, dtype)
    return cells.reshape(dataset.Rows, -1)


def phantom(side):
    """Ellipses with soft edges on black, in 12 of 16 bits."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = np.clip(30 * (1 - (x / 0.8) ** 2 - (y / 0.6) ** 2), 0, 1)
    lung = np.clip(30 * (1 - ((np.abs(x) - 0.4) / 0.25) ** 2 - (y / 0.4) ** 2), 0, 1)
    return (2000 * body - 1500 * lung + 40).astype(np.uint16)


IMAGES = {
    "CT_small-16": lambda: pixels_of(get_testdata_file("CT_small.dcm"), "<u2"),
    "MR_small-8": lambda: pixels_of(get_testdata_file("MR_small.dcm"), np.uint8),
    "CT-512-16": lambda: pixels_of(SHARED_CT, "<u2") if SHARED_CT.exists() else phantom(512),
    "zero-512-16": lambda: np.zeros((512, 512), np.uint16),
    "zero-256-8": lambda: np.zeros((256, 256), np.uint8),
}


@pytest.mark.parametrize("name", IMAGES)
def test_npcr_and_uaci_of_one_flipped_bit(name):
    plain = IMAGES[name]().copy()
    word_bits = 8 * plain.dtype.itemsize
    limits = critical_range(plain.size, word_bits)
    rng = np.random.default_rng([2011, list(IMAGES).index(name)])
    flat = plain.reshape(-1)
    inside_npcr = inside_uaci = 0
    for trial in range(TRIALS):
        key, position = rng.bytes(32), rng.integers(plain.size)
        first = cipher.encrypt(plain, key)
        bit = plain.dtype.type(1 << (trial % word_bits))
        flat[position] ^= bit
        second = cipher.encrypt(plain, key)
        flat[position] ^= bit
        inside_npcr += npcr_percent(first, second) >= limits.npcr_minimum
        inside_uaci += limits.uaci_minimum <= uaci_percent(first, second) <= limits.uaci_maximum
    assert (inside_npcr >= MINIMUM_INSIDE, inside_uaci >= MINIMUM_INSIDE) == (True, True), (inside_npcr, inside_uaci)


@pytest.mark.parametrize("shape", [(256, 256), (3, 20000), (1, 65537)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_flipped_cipher_bit_changes_the_whole_plain_image(dtype, shape):
    rng = np.random.default_rng([2014, np.dtype(dtype).itemsize, *shape])
    encrypted = rng.integers(0, 1 << 8 * np.dtype(dtype).itemsize, shape).astype(dtype)
    limits = critical_range(encrypted.size, 8 * encrypted.itemsize, alpha=1e-6)
    # Both halves and what the repositioning leaves in place: first, last and both sides of the middle.
    for position in (0, encrypted.size // 2 - 1, encrypted.size // 2, encrypted.size - 1):
        key = rng.bytes(32)
        first = cipher.decrypt(encrypted, key)
        encrypted.reshape(-1)[position] ^= 1
        second = cipher.decrypt(encrypted, key)
        assert limits.uaci_minimum <= uaci_percent(first, second) <= limits.uaci_maximum
        assert npcr_percent(first, second) > 99


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("changed", ["key", "tweak"])
def test_another_key_or_tweak_gives_an_unrelated_image(dtype, changed):
    rng = np.random.default_rng([2012, np.dtype(dtype).itemsize, len(changed)])
    plain = np.zeros((256, 256), dtype)
    limits = critical_range(plain.size, 8 * plain.dtype.itemsize, alpha=1e-6)
    for _ in range(20):
        key, tweak = rng.bytes(32), rng.bytes(8)
        other = bytes([key[0] ^ 1]) + key[1:] if changed == "key" else key
        other_tweak = bytes([tweak[0] ^ 1]) + tweak[1:] if changed == "tweak" else tweak
        first = cipher.encrypt(plain, key, tweak=tweak)
        second = cipher.encrypt(plain, other, tweak=other_tweak)
        assert limits.uaci_minimum <= uaci_percent(first, second) <= limits.uaci_maximum
        assert npcr_percent(first, second) > 99


@pytest.mark.parametrize(("side", "dtype"), [(512, np.uint8), (512, np.uint16), (256, np.uint8)])
def test_a_constant_image_becomes_uniform_noise(side, dtype):
    # Chi-square over byte values, 255 degrees of freedom: mean 255, deviation 22.6; 5 deviations either side.
    rng = np.random.default_rng([2013, side, np.dtype(dtype).itemsize])
    for value in (0, 1, np.iinfo(dtype).max):
        encrypted = cipher.encrypt(np.full((side, side), value, dtype), rng.bytes(32)).view(np.uint8)
        for part in (encrypted.reshape(-1)[0::2], encrypted.reshape(-1)[1::2]):
            counts = np.bincount(part, minlength=256)
            expected = part.size / 256
            chi_square = float(((counts - expected) ** 2).sum() / expected)
            assert 255 - 113 < chi_square < 255 + 113


def test_neighbours_are_not_correlated():
    # Of 262144 pairs the coefficient deviates by 1/512 about 0; 5 deviations.
    encrypted = cipher.encrypt(phantom(512), bytes(32)).astype(np.float64)
    for first, second in (
        (encrypted[:, :-1], encrypted[:, 1:]),
        (encrypted[:-1], encrypted[1:]),
        (encrypted[:-1, :-1], encrypted[1:, 1:]),
    ):
        assert abs(np.corrcoef(first.reshape(-1), second.reshape(-1))[0, 1]) < 5 / 512
