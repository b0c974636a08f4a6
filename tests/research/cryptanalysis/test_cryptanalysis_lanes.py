"""The models of the lanes are the cipher's lanes, the attack on bare ones works, and the veil blinds it."""

from itertools import product

import numpy as np
import pytest

from benchmarks.cryptanalysis import bias, guess
from benchmarks.cryptanalysis.lane import Lanes, first_word_counts, middle_bit_counts, run_lanes
from benchmarks.cryptanalysis.lift import predict, recover
from benchmarks.cryptanalysis.search import agreement, root_of, walk
from iomt_crypt.cipher.reference import logistic

pytestmark = pytest.mark.xdist_group("cryptanalysis-lanes")


@pytest.fixture
def seeds():
    return Lanes.random(32, 128, np.random.default_rng(7))


def test_the_model_is_the_stream_of_the_cipher(seeds):
    stream = run_lanes(seeds, 21).veiled.astype("<u4").tobytes()
    words = np.array([seeds.state, seeds.weyl, seeds.increment]).astype(np.uint32)
    assert logistic(words, 20 * 512) == stream


def test_with_the_first_step_only_veils_are_used(seeds):
    trace = run_lanes(seeds, 2)
    assert np.array_equal(trace.veiled[0, :32], trace.words[1, :32] ^ trace.veils[0, 96:])
    assert np.array_equal(trace.veiled[0, 32:], trace.words[1, 32:] ^ trace.veils[1, :96])


@pytest.mark.parametrize("seed", range(5))
def test_a_bare_pair_is_recovered_in_far_less_than_its_square(seed):
    words = run_lanes(Lanes.random(16, 8, np.random.default_rng(seed)), 160).words[:, :2]
    found = recover(words[:60], 16)
    assert found.pair is not None
    assert np.array_equal(predict(found.pair, 60, 100, 16), words[60:])
    assert found.n_nodes < 1 << 22  # both x at once would be 2^32


def test_the_search_finds_nothing_in_words_that_are_veiled():
    words = run_lanes(Lanes.random(16, 8, np.random.default_rng(1)), 61).veiled[:, :2]
    assert recover(words, 16).pair is None


def test_the_true_leaf_is_in_its_subtree_at_full_size(seeds):
    trace = run_lanes(seeds, 70)
    both = trace.words[:, :2].astype(np.int64).T.copy()
    weyl, step = int(trace.weyl[0, 0]), int(seeds.increment[0])
    tree = walk(both[0], both[1], 32, around=root_of(weyl, step, 32), n_roots=2)
    middle = trace.weyl[:-1, 1].astype(np.int64) >> 22 & 255
    assert any(
        (leaf.weyl_low, leaf.increment_low) == (weyl & 255, step & 255) and np.array_equal(leaf.line & 255, middle)
        for leaf in tree.leaves
    )
    assert tree.share == 2 / (1 << 15)


def test_the_check_is_certain_for_bare_words_and_a_coin_for_veiled_ones(seeds):
    trace = run_lanes(seeds, 201)
    assert agreement(trace.words, trace.weyl, 32) == 1
    # 199 * 128 coins: standard deviation 0.0031
    assert abs(agreement(trace.veiled, trace.weyl[1:], 32) - 0.5) < 0.016


@pytest.mark.parametrize("word_bits", [4, 8])
def test_first_words_of_uniform_seeds_are_exactly_uniform(word_bits):
    counts = first_word_counts(word_bits)
    assert counts.shape == (1 << word_bits, 1 << word_bits)
    assert (counts == 1 << (word_bits - 1)).all()


def test_first_words_of_a_lane_and_of_the_one_it_veils_are_uniform_together():
    seeds = Lanes.random(4, 8, np.random.default_rng(3))
    counts = np.zeros((16, 16), int)
    # lane 2 veils lane 4; every other seed is held
    for weyl_2, step_2, weyl_4, step_4 in product(range(16), range(1, 16, 2), range(0, 16), range(1, 16, 2)):
        weyl, step = seeds.weyl.copy(), seeds.increment.copy()
        weyl[[2, 4]], step[[2, 4]] = (weyl_2, weyl_4), (step_2, step_4)
        stream = run_lanes(Lanes(4, seeds.state, weyl, step), 2).veiled
        counts[int(stream[0, 2]), int(stream[0, 4])] += 1
    assert (counts == 64).all()


@pytest.mark.parametrize("word_bits", [4, 8, 16])
def test_middle_bits_of_the_product_come_twice_each(word_bits):
    assert (middle_bit_counts(word_bits) == 2).all()


def test_two_words_open_a_bare_pair_and_four_do_not_open_the_ring():
    assert [(v.n_complete > 0, v.n_checkable > 0) for v in guess.verdicts(guess.bare_pair(4), 2)] == [
        (False, False),
        (True, True),
    ]
    ring = list(guess.verdicts(guess.veiled_ring(3), 4))
    assert [(v.n_complete, v.n_checkable) for v in ring] == [(0, 0)] * 4
    assert ring[-1].most_determined < ring[-1].n_words // 4


def test_special_seeds_show_and_uniform_ones_do_not():
    found = {deviation.name: deviation for deviation in bias.deviations(256)}
    uniform = found["uniform"]
    assert max(uniform.bytes_, uniform.bits, uniform.steps, uniform.lanes) < 5
    assert found["partners have equal seeds"].lanes > 50
    assert found["all c = 1"].steps > 5


def test_lanes_rest_only_while_their_weyl_words_do():
    still, moving = bias.slow_weyl(8, 256), bias.slow_weyl(32, 256)
    assert still.resting > 0.1 > 0.01 > moving.resting
    assert still.bare > 8 > 5 > moving.bare
