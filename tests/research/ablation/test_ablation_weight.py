"""Weights from elsewhere than the key schedule keep the constraints of the cipher."""

import numpy as np
import pytest

from benchmarks.ablation.weight import Identity, Keyed, Small, Uniform

BANK = np.array([[1, 3, 5, 7, 9, 11, 13, 15, 17, 5, -3], [-1, -21, 33, 7, 127, -3, 1, -5, 9, 7, 3]], np.int64)
BANKS = {8: BANK, 16: 255 * BANK}
SOURCES = [Uniform(), Uniform(odd_taps=True), Small(), Identity(), Keyed(BANKS), Keyed(BANKS, multiply=False)]


@pytest.mark.parametrize("word_bits", [8, 16])
@pytest.mark.parametrize("source", SOURCES)
def test_output_weights_are_odd_and_equal_modulo_4(source, word_bits):
    network = source(np.random.default_rng(1), 300, word_bits)
    assert network.kernels.shape == (300, 10)
    assert network.mixes.shape == (300, 2)
    assert (network.mixes & 1).all() or isinstance(source, Identity)
    # The identity is linear: V+ + V- = 0, not 2 modulo 4.
    difference = (network.mixes[:, 0] - network.mixes[:, 1]) % 4
    assert (difference == (2 if isinstance(source, Identity) else 0)).all()


@pytest.mark.parametrize("source", [Uniform(odd_taps=True), Keyed(BANKS), Keyed(BANKS, multiply=False)])
def test_odd_taps(source):
    network = source(np.random.default_rng(1), 300, 16)
    assert (network.kernels[:, :9] & 1).all()


def test_uniform_taps_have_either_parity():
    taps = Uniform()(np.random.default_rng(1), 300, 16).kernels[:, :9]
    assert 0.4 < (taps & 1).mean() < 0.6


def test_equal_seeds_give_equal_weights():
    for source in SOURCES:
        first, second, other = (source(np.random.default_rng(seed), 4, 8) for seed in (1, 1, 2))
        assert np.array_equal(first.kernels, second.kernels)
        assert np.array_equal(first.mixes, second.mixes)
        assert isinstance(source, Identity) or not np.array_equal(first.kernels, other.kernels)


def test_keyed_filters_are_those_of_the_bank_in_disguise():
    network = Keyed(BANKS)(np.random.default_rng(1), 400, 16)
    taps = network.kernels[:, :9].view(np.int16).astype(np.int64)
    known = {tuple(sorted(np.abs(row[:9]))) for row in BANKS[16]}
    assert {tuple(sorted(np.abs(row))) for row in taps} == known
    # The centre stays where it is; corners stay corners.
    centres = {abs(int(row[4])) for row in BANKS[16]}
    assert {abs(int(row[4])) for row in taps} == centres
    corners = {tuple(sorted(abs(int(row[k])) for k in (0, 2, 6, 8))) for row in BANKS[16]}
    assert {tuple(sorted(abs(int(row[k])) for k in (0, 2, 6, 8))) for row in taps} == corners
    # Eight symmetries, two signs, two filters.
    assert len({row.tobytes() for row in taps}) == 32


def test_multiplier_keeps_the_ratio_of_output_weights():
    mixes = Keyed(BANKS)(np.random.default_rng(1), 100, 16).mixes.astype(np.int64)
    ratios = {int(below) * pow(int(above), -1, 1 << 16) % (1 << 16) for above, below in mixes}
    expected = {int(row[10]) * pow(int(row[9]), -1, 1 << 16) % (1 << 16) for row in BANKS[16]}
    assert ratios == expected
    assert len({int(above) for above, _ in mixes}) > 90
    assert len({int(above) for above, _ in Keyed(BANKS, multiply=False)(np.random.default_rng(1), 99, 16).mixes}) == 4


@pytest.mark.parametrize(
    ("source", "word_bits", "bits"),
    [
        # nine taps and a bias, two weights of w - 1 bits, one bit of them shared
        (Uniform(), 8, 93),
        (Uniform(), 16, 189),
        (Uniform(odd_taps=True), 16, 180),
        (Identity(), 16, 0),
        # filter, symmetry, sign, bias, multiplier
        (Keyed(BANKS), 16, 1 + 3 + 1 + 16 + 15),
        (Keyed(BANKS, multiply=False), 16, 1 + 3 + 1 + 16 + 1),
    ],
)
def test_key_space(source, word_bits, bits):
    assert source.key_bits(word_bits) == bits
