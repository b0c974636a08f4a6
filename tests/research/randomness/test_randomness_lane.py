"""The long key stream, and the tests that know how it is made."""

import itertools

import numpy as np
import pytest

from iomt_crypt.analysis.randomness import LaneStream, examine_lanes, spacing, structure, word
from iomt_crypt.cipher.reference import logistic

STEPS = 1 << 16


@pytest.fixture(scope="module")
def ideal():
    return np.random.default_rng(1).integers(0, 2**32, (STEPS, 128), np.uint32)


@pytest.fixture(scope="module")
def lanes():
    return LaneStream.of(bytes(range(32))).steps(STEPS)


def worst(rows):
    return {row.row for row in rows if row.p_value < 1e-6}


def test_the_stream_is_that_of_the_cipher():
    seeds = np.random.default_rng(2).integers(0, 2**32, (3, 128), np.uint32)
    stream = LaneStream(seeds)
    found = b"".join(stream.steps(count).tobytes() for count in (1, 2, 0, 17, 300))
    assert found == logistic(seeds, len(found))
    assert len(found) == 320 * 512


def test_pieces():
    seeds = np.random.default_rng(3).integers(0, 2**32, (3, 128), np.uint32)
    whole = np.frombuffer(b"".join(itertools.islice(LaneStream(seeds).pieces(), 2)), np.uint32).reshape(-1, 128)
    assert whole.shape == (16384, 128)
    assert whole.tobytes() == logistic(seeds, whole.nbytes)
    pair = np.frombuffer(b"".join(itertools.islice(LaneStream(seeds).pieces(slice(4, 6)), 2)), np.uint32)
    assert np.array_equal(pair.reshape(-1, 2), whole[:, 4:6])


def test_without_veil():
    """A word then is (p >> 8) ^ W, of the even lane first."""
    seeds = np.array([[5] * 128, [7] * 128, [10] * 128], np.uint32)
    words = LaneStream(seeds, veiled=False).steps(1)
    x, w = 5, 7 + 11
    x, w = (x * (2**32 - 1 - x) >> 30) + w, w + 11
    assert words.tolist() == [[((x * (2**32 - 1 - x) >> 8) ^ w) % 2**32] * 128]


def test_keys_and_tweaks_give_other_streams():
    first, *others = (
        LaneStream.of(key, tweak=tweak).steps(8)
        for key, tweak in ((bytes(32), b""), (bytes(31) + b"\1", b""), (bytes(32), b"\0"))
    )
    for other in others:
        assert np.count_nonzero(first == other) == 0


@pytest.mark.parametrize("shape", [(3, 127), (2, 128), (384,)])
def test_seeds_have_one_shape(shape):
    with pytest.raises(ValueError, match="shape"):
        LaneStream(np.zeros(shape, np.uint32))


@pytest.mark.parametrize("shape", [(STEPS, 64), (STEPS - 1, 128), (0, 128), (STEPS * 128,)])
def test_words_have_one_shape(shape):
    with pytest.raises(ValueError, match="words must have the shape"):
        examine_lanes(np.zeros(shape, np.uint32))


def test_the_key_stream_passes(lanes):
    rows = examine_lanes(lanes)
    assert len(rows) == len({row.row for row in rows}) == 59
    assert min(row.p_value for row in rows) > 1e-4
    assert sum(row.p_value < 0.05 for row in rows) < 10


def test_orders_take_every_word_once():
    for order in word.ORDERS:
        places = sorted(base + offset for base in order.bases for offset in order.offsets)
        assert places == list(range(order.period))
        assert STEPS * 128 % order.period == 0


@pytest.mark.parametrize(
    ("order", "step", "shift"), [("lane", 1, 0), ("veil", 0, 32), ("stream", 0, 1), ("pair", 1, 1)]
)
def test_dependencies_are_seen_in_their_order(ideal, order, step, shift):
    """A word whose top byte is that of the one before in an order, in one of 50 words."""
    words = ideal.copy()
    source = np.roll(ideal, (step, shift), axis=(0, 1))
    if order == "pair":
        source = ideal.reshape(STEPS, 64, 2)[:, :, ::-1].reshape(STEPS, 128)
        source = np.roll(source, 1, axis=0)
    chosen = np.random.default_rng(4).random(words.shape) < 0.02
    words[chosen] = (words & 0xFFFFFF | source & 0xFF000000)[chosen]
    found = {o.name for o in word.ORDERS if worst(word.dependencies(words, o))}
    assert found == {order}


def test_hamming_weights_are_seen(ideal):
    words = ideal.copy()
    light = np.unpackbits(words[:-1].view(np.uint8).reshape(STEPS - 1, 128, 4), axis=2).sum(axis=2) < 12
    # after a light word a bit is cleared in the middle, which no table of bytes at the ends shows
    words[1:] &= np.where(light, np.uint32(0xFFF00FFF), np.uint32(0xFFFFFFFF))
    lane = next(order for order in word.ORDERS if order.name == "lane")
    assert worst(word.dependencies(words, lane)) == {"Hamming weights, lane"}


def test_correlations_are_seen(ideal):
    words = ideal[:8192].copy()
    words[1:, 1] ^= (words[1:, 1] ^ words[:-1, 0]) & np.where(np.arange(8191) % 5 == 0, 1 << 9, 0).astype(np.uint32)
    words[:, 100] ^= (words[:, 100] ^ words[:, 3]) & np.where(np.arange(8192) % 5 == 0, 1 << 15, 0).astype(np.uint32)
    assert worst(structure.correlations(words)) == {
        "correlation of bits, lane with its partner, lag 1",
        "correlation of bits, lanes with each other, bit 15",
    }


def test_spacings_collisions_and_gaps_are_seen(ideal):
    counter = (np.arange(STEPS, dtype=np.uint32) * np.uint32(2654435769))[:, np.newaxis] + ideal[:1]
    assert "birthday spacings, lane, 32 bits" in worst(spacing.spacings(counter, ""))
    few = ideal & np.uint32(0xFEFFFFFE)
    assert worst(spacing.collisions(few, "")) == {"collisions, lane, top 24 bits", "collisions, lane, low 24 bits"}
    assert worst(spacing.gaps(few, "")) == {"gaps, lane, top byte", "gaps, lane, low byte"}


def test_long_years():
    words = np.random.default_rng(5).integers(0, 2**32, (STEPS, 128), np.uint32)
    [row] = [row for row in spacing.spacings(words, "") if "pair" in row.variant]
    assert 1e-4 < row.p_value <= 1
    words[:, 1::2] &= np.uint32(0xFFFF0000)  # the upper word of each pair of 64 bits
    words[:, 0::2] = 0
    assert "birthday spacings, pair, 64 bits" in worst(spacing.spacings(words, ""))


def test_a_linear_plane_is_seen(ideal):
    words = ideal.copy()
    register = words[:, 62] >> np.uint32(3) & np.uint32(1)
    for start in range(89, STEPS, 38):
        end = min(STEPS, start + 38)
        register[start:end] = register[start - 89 : end - 89] ^ register[start - 38 : end - 38]
    words[:, :64] = words[:, :64] & ~np.uint32(8) | (register << np.uint32(3))[:, np.newaxis]
    found = structure.matrix_ranks(words)
    assert found.statistic == 64  # of the 1024 rows only these are not of another lane with the same register
    assert found.p_value < 1e-12
    found = structure.plane_complexity(words)
    assert found.statistic == (1 << 13) - 89
    assert found.p_value < 1e-12


def test_ideal_planes_pass(ideal):
    found = structure.matrix_ranks(ideal)
    assert found.statistic in (1020, 1021, 1022)
    assert found.p_value > 1e-3


def test_a_line_in_the_spectrum_is_seen(ideal):
    words = ideal.copy()
    weyl = np.arange(STEPS, dtype=np.uint32) * np.uint32(0x12345677)
    rare = np.random.default_rng(6).random(STEPS) < 0.04
    words[rare, 127] = weyl[rare]
    assert structure.spectral_line(words).p_value < 1e-6
    assert structure.spectral_line(ideal).p_value > 1e-3


def test_lanes_without_veil_repeat_a_relation():
    """Decision 0008: the structure of which a guess of Weyl words made use; 2^18 steps are enough to see it."""
    key = bytes(range(32))
    assert structure.recurrence(LaneStream.of(key, veiled=False).steps(1 << 18)).p_value < 1e-12
    assert structure.recurrence(LaneStream.of(key).steps(1 << 18)).p_value > 1e-3
