"""Constants and kernels against plain counting."""

from fractions import Fraction
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iomt_crypt.analysis.randomness import complexity, excursion, frequency, pattern, template
from iomt_crypt.analysis.randomness.kernel import (
    count_patterns,
    distance_logarithms,
    excursions,
    linear_complexity_of,
    longest_runs,
    matrix_ranks,
)
from iomt_crypt.analysis.randomness.structure import large_rank

SEQUENCES = st.lists(st.integers(0, 1), min_size=1, max_size=150).map(lambda values: np.array(values, np.uint8))


def longest_run_probabilities(block_size, lowest, n_classes):
    """Probabilities of at most `lowest` ones in a row, of one more each, and of all above, by counting sequences."""

    def at_most(run):
        counts = [1]
        for n in range(1, block_size + 1):
            counts.append(sum(counts[max(0, n - run - 1) :]) + (n <= run))
        return Fraction(counts[block_size], 1 << block_size)

    below = [at_most(lowest + k) for k in range(n_classes - 1)]
    return [float(b - a) for a, b in zip([0, *below], [*below, 1], strict=True)]


def overlapping_probabilities(block_size, length, n_classes):
    """Probabilities of 0, 1, ... matches of `length` ones: sequences by matches so far and ones at the end."""
    states = np.zeros((n_classes, length + 1), object)
    states[0, 0] = 1
    for _ in range(block_size):
        after = np.zeros_like(states)
        after[:, 0] = states.sum(axis=1)
        after[:, 1:length] = states[:, : length - 1]
        match = states[:, length - 1] + states[:, length]
        after[1:, length] = match[:-1]
        after[-1, length] += match[-1]
        states = after
    return [float(Fraction(int(count), 1 << block_size)) for count in states.sum(axis=1)]


@pytest.mark.parametrize("row", frequency._LONGEST_RUN)
def test_longest_run_probabilities(row):
    _, block_size, lowest, probabilities = row
    assert probabilities == pytest.approx(longest_run_probabilities(block_size, lowest, len(probabilities)), abs=6e-11)


def test_overlapping_probabilities():
    assert overlapping_probabilities(1032, 9, 6) == pytest.approx(template._OVERLAPPING, abs=6e-11)
    assert overlapping_probabilities(4, 2, 3) == [8 / 16, 5 / 16, 3 / 16]


def test_rank_probabilities():
    found = [complexity.rank_probability(rank, 32, 32) for rank in range(33)]
    assert sum(found) == pytest.approx(1)
    assert [round(p, 4) for p in (found[32], found[31], sum(found[:31]))] == [0.2888, 0.5776, 0.1336]  # 3.5
    assert [complexity.rank_probability(rank, 1, 1) for rank in (0, 1)] == [0.5, 0.5]


def test_maurer_means():
    # E = 2^-L sum over i of (1 - 2^-L)^(i-1) log2 i, section 3.9; the variance likewise
    for length in (6, 7, 8):
        i = np.arange(1, 60 * 2**length, dtype=np.float64)
        weights = 2.0**-length * (1 - 2.0**-length) ** (i - 1)
        mean = (weights * np.log2(i)).sum()
        variance = (weights * np.log2(i) ** 2).sum() - mean**2
        assert (mean, variance) == pytest.approx(pattern._MAURER[length], abs=1e-3)  # cut off, not rounded
        assert mean == pytest.approx(pattern._MAURER[length][0], abs=6e-8)


def test_visit_probabilities():
    for state in (-4, -1, 1, 2, 3, 4):
        assert excursion.visit_probabilities(state).sum() == pytest.approx(1)
    assert excursion.visit_probabilities(1).tolist() == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 32]
    assert [round(p, 4) for p in excursion.visit_probabilities(4)] == [0.875, 0.0156, 0.0137, 0.012, 0.0105, 0.0733]


def test_numbers_of_aperiodic_templates():
    # 2.7.2's program generates these
    assert [len(template.aperiodic_templates(m)) for m in range(2, 11)] == [2, 4, 6, 12, 20, 40, 74, 148, 284]
    for number in template.aperiodic_templates(5):
        text = f"{number:05b}"
        assert not any(text.startswith(text[shift:]) for shift in range(1, 5))


@given(SEQUENCES)
def test_linear_complexity(sequence):
    """Massey's algorithm as it is printed, one bit at a time."""
    c, b = [1] + [0] * len(sequence), [1] + [0] * len(sequence)
    length, last = 0, -1
    for n, bit in enumerate(sequence):
        if (bit + sum(c[i] & int(sequence[n - i]) for i in range(1, length + 1))) % 2 == 0:
            continue
        before = c.copy()
        for i in range(len(sequence) - (n - last) + 1):
            c[i + n - last] ^= b[i]
        if 2 * length <= n:
            length, last, b = n + 1 - length, n, before
    assert linear_complexity_of(sequence) == length


@given(SEQUENCES, st.integers(1, 6))
def test_patterns_and_runs(sequence, length):
    text = "".join(map(str, sequence))
    endless = text * (length + 1)
    expected = [0] * 2**length
    for start in range(len(text)):
        expected[int(endless[start : start + length], 2)] += 1
    assert count_patterns(sequence, length, len(text)).tolist() == expected
    assert longest_runs(sequence.reshape(1, -1)).tolist() == [max(map(len, text.split("0")))]


@given(SEQUENCES)
def test_excursions(sequence):
    walk = np.cumsum(2 * sequence.astype(int) - 1).tolist()
    cycles, current = [], []
    for place in walk:
        current.append(place)
        if place == 0:
            cycles.append(current)
            current = []
    cycles += [current] if current else []
    n_cycles, classes, visits = excursions(sequence)
    assert n_cycles == len(cycles)
    for state in (-4, -1, 1, 3):
        counts = [min(5, cycle.count(state)) for cycle in cycles]
        assert classes[state + 4].tolist() == np.bincount(counts, minlength=6).tolist()
    assert [visits[state + 9] for state in range(-9, 10) if state] == [walk.count(s) for s in range(-9, 10) if s]


@given(st.lists(st.integers(0, 7), min_size=1, max_size=60), st.integers(0, 10))
def test_distances(symbols, n_first):
    expected, last = 0.0, {}
    for i, symbol in enumerate(symbols, start=1):
        if i > n_first:
            expected += log2(i - last.get(symbol, 0))
        last[symbol] = i
    assert distance_logarithms(np.array(symbols, np.uint32), n_first, 8) == pytest.approx(expected, abs=1e-12)


def test_ranks_are_those_of_both_kernels():
    rng = np.random.default_rng(5)
    matrices = rng.integers(0, 2**32, (60, 32), dtype=np.uint32)
    for k, matrix in enumerate(matrices):
        matrix[rng.integers(0, 32, k % 7)] = 0
        matrix[3] = matrix[1] ^ matrix[2] if k % 2 else matrix[3]
    large = [large_rank(matrix.astype(np.uint64).reshape(32, 1)) for matrix in matrices]
    assert matrix_ranks(matrices).tolist() == large
    assert min(large) < 28
    assert max(large) == 32
    identity = np.eye(128, dtype=np.uint8)
    assert large_rank(np.packbits(identity, axis=1).view(np.uint64)) == 128
