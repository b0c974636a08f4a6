"""Cycles of the maps, and searches of keys."""

from __future__ import annotations

import attack_image
import numpy as np
import pytest

from benchmarks import key_search
from iomt_crypt.analysis import attack
from iomt_crypt.analysis.attack import lane
from iomt_crypt.analysis.attack.search import WITHIN_REACH_BITS


def naive_rho(step, start):
    seen = {}
    state = start
    while state not in seen:
        seen[state] = len(seen)
        state = step(state)
    return seen[state], len(seen) - seen[state]


@pytest.mark.parametrize(("x", "r"), [(0.1, 3.99), (0.3, 3.9), (0.7, 4.0)])
def test_the_cycle_of_float32(x, r):
    r32, one = np.float32(r), np.float32(1)
    expected = naive_rho(lambda value: np.float32(np.float32(r32 * value) * np.float32(one - value)), np.float32(x))
    assert attack.logistic_rho(x, r, dtype=np.float32, limit=10**6) == expected


def test_a_search_that_gives_up():
    assert attack.logistic_rho(0.3, 3.99, dtype=np.float64, limit=1000) == (-1, -1)
    assert attack.lane_rho(12345, word_bits=32, limit=100) == (-1, -1)


def test_a_fixed_point():
    """x = 1/2 goes to 1 and on to 0 for r = 4."""
    assert attack.logistic_rho(0.5, 4.0, dtype=np.float64, limit=100) == (2, 1)


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_every_state_of_a_lane(bits):
    size = 1 << bits
    graph = lane.lane_graph(bits)
    assert graph.tolist() == [(x * (size - 1 - x) >> (bits - 2)) % size for x in range(size)]
    step = max(1, size // 64)
    for x in range(0, size, step):
        expected = naive_rho(lambda state: int(graph[state]), x)
        assert attack.lane_rho(x, word_bits=bits, limit=10**6) == expected
    if bits <= 8:
        ends = [naive_rho(lambda state: int(graph[state]), x) for x in range(size)]
        found = attack.lane_statistic(bits, weyl=None)
        assert found.mean_steps == np.mean([sum(end) for end in ends])
        assert found.n_states_left == sum(tail == 0 for tail, _ in ends)
        assert (found.shortest_period, found.longest_period) == (
            min(period for _, period in ends),
            max(period for _, period in ends),
        )


def test_a_step_of_32_bits_is_the_cipher_s():
    """Two lanes as docs/SPEC.md has them, without the Weyl words: the next state of one is a step of the other."""
    x = 0xDEADBEEF
    assert lane._lane_step.py_func(np.uint64(x), 32) == (x * (2**32 - 1 - x) >> 30) % 2**32


def naive_pair(bits, weyl, start):
    """The period of a pair of lanes, all of whose state is followed: both x and both Weyl words."""
    size = 1 << bits
    word, increment, partner_word, partner_increment = weyl

    def step(state):
        x, y, v, w = state
        v, w = (v + (increment | 1)) % size, (w + (partner_increment | 1)) % size
        p, q = x * (size - 1 - x), y * (size - 1 - y)
        return ((q >> (bits - 2)) + v) % size, ((p >> (bits - 2)) + w) % size, v, w

    return naive_rho(step, (start[0], start[1], word, partner_word))


@pytest.mark.parametrize("weyl", [(0, 1, 0, 1), (3, 4, 9, 15), (200, 77, 31, 130), (5, 255, 6, 254)])
@pytest.mark.parametrize("bits", [4, 5, 6, 8])
def test_weyl_words_hold_a_pair_out_of_short_cycles(bits, weyl):
    size = 1 << bits
    weyl = tuple(word % size for word in weyl)
    found = attack.lane_statistic(bits, weyl=weyl)
    periods = {naive_pair(bits, weyl, (x, (7 * x + 3) % size))[1] for x in range(size)}
    assert found.shortest_period >= size
    assert min(periods) >= size
    assert all(period % size == 0 for period in periods)
    assert found.shortest_period % size == 0
    assert max(periods) <= found.longest_period**2


def test_one_chain_of_a_pair_is_what_the_statistic_follows():
    """All start values of one lane: the states after 2^w steps, by hand."""
    bits, (word, increment, partner_word, partner_increment) = 5, (3, 5, 9, 13)
    size, left = 32, set()
    for start in range(size):
        x = start
        for step in range(1, size + 1):
            even = step % 2 == 0
            weyl = (word + step * increment if even else partner_word + step * partner_increment) % size
            x = ((x * (size - 1 - x) >> (bits - 2)) + weyl) % size
        left.add(x)
    assert attack.lane_statistic(bits, weyl=(3, 5, 9, 13)).n_states_left == len(left)


@pytest.mark.parametrize("bits", [3, 17])
def test_a_lane_of_another_width_is_refused(bits):
    with pytest.raises(ValueError, match=f"word_bits must be 4 to 16, got {bits}"):
        attack.lane_statistic(bits, weyl=None)


def test_a_start_value_of_three_decimals_is_found():
    found = key_search.decimal_key(attack_image.images(), digits=3)
    assert found.attack.share == 1
    assert found.attack.gained
    assert found.within_reach
    assert found.n_tried == found.found + 1


def test_the_last_bits_of_our_key_are_found_and_the_others_are_out_of_reach():
    found = key_search.last_bits(attack_image.images(), bits=8)
    assert found.attack.share == 1
    assert found.found == int(key_search.PLACE * 256)
    assert not found.within_reach
    assert found.years_for_key > 1e50


def test_keys_that_are_none_find_nothing():
    found = key_search.random_keys(attack_image.images(), bits=6)
    assert (found.found, found.n_tried, found.attack.n_claimed, found.attack.gained) == (None, 64, 0, False)


def test_bits_of_a_float32_key():
    found = key_search.literal_bits(attack_image.images(), bits=8)
    assert found.attack.share == 1
    assert 40 < found.key_bits < WITHIN_REACH_BITS
