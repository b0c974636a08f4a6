"""Every worked example of SP 800-22 Rev. 1a, section 2, that the fixed parameters of the tests allow.

Where a figure of the publication is a slip, or was computed with rounded probabilities, the comment says so and the
value is the one that follows from its formulas.
"""

import numpy as np

from iomt_crypt.analysis.randomness import complexity, excursion, frequency, pattern, template
from iomt_crypt.analysis.randomness.kernel import count_patterns, excursions, linear_complexity_of, longest_runs
from iomt_crypt.analysis.randomness.structure import large_rank


def p_values(rows):
    return [round(row.p_value, 6) for row in rows]


def statistics(rows):
    return [round(row.statistic, 6) for row in rows]


def test_frequency(bits, pi_100):
    assert p_values(frequency.frequency(bits("1011010101"), n_minimum=10)) == [0.527089]
    assert statistics(frequency.frequency(pi_100)) == [1.6]
    assert p_values(frequency.frequency(pi_100)) == [0.109599]


def test_block_frequency(bits, pi_100):
    rows = frequency.block_frequency(bits("0110011010"), block_size=3, n_minimum=10)
    assert (statistics(rows), p_values(rows)) == ([1.0], [0.801252])
    rows = frequency.block_frequency(pi_100, block_size=10)
    assert (statistics(rows), p_values(rows)) == ([7.2], [0.706438])


def test_runs(bits, pi_100):
    rows = frequency.runs(bits("1001101011"), n_minimum=10)
    assert (statistics(rows), p_values(rows)) == ([7.0], [0.147232])
    rows = frequency.runs(pi_100)
    assert (statistics(rows), p_values(rows)) == ([52.0], [0.500798])


def test_longest_run(bits):
    text = (
        "11001100000101010110110001001100111000000000001001001101010100010001001111010110100000001101011111001100"
        "111001101101100010110010"
    )
    assert np.bincount(np.maximum(longest_runs(bits(text).reshape(16, 8)), 1))[1:].tolist() == [4, 9, 3]
    assert p_values(frequency.longest_run(bits(text))) == [0.180609]


def test_binary_matrix_rank():
    # 2.5.4: two matrices of 3 x 3
    for rows, rank in (((0b010, 0b110, 0b010), 2), ((0b010, 0b101, 0b011), 3)):
        assert large_rank(np.array(rows, np.uint64).reshape(3, 1)) == rank


def test_spectral(bits, pi_100):
    # 2.6.4 and 2.6.8 print N1 = 4 and 46, hence 0.029523 and 0.168669; below the threshold are 5 of 5 and 48 of 50
    rows = complexity.spectral(bits("1001010011"), n_minimum=10)
    assert (statistics(rows), p_values(rows)) == ([0.725476], [0.46816])
    rows = complexity.spectral(pi_100, n_minimum=100)
    assert (statistics(rows), p_values(rows)) == ([0.458831], [0.646355])


def test_non_overlapping_template(bits):
    rows = template.non_overlapping_template(
        bits("10100100101110010110"), length=3, templates=(0b001,), n_blocks=2, n_minimum=20
    )
    assert (statistics(rows), p_values(rows)) == ([2.133333], [0.344154])
    assert rows[0].variant == "template 001"


def test_overlapping_matches(bits):
    # 2.8.4: five blocks, template 11; the frequencies that it prints for blocks 2 to 5 add up to others
    blocks = bits("10111011110010110100011100101110111110000101101001").reshape(5, 10)
    found = template.overlapping_matches(blocks, 2)
    assert found.tolist() == [sum(row[i : i + 2] == "11" for i in range(9)) for row in map(text_of, blocks)]
    assert found.tolist() == [5, 1, 3, 4, 1]


def text_of(row):
    return "".join(map(str, row))


def test_universal(bits):
    value, n_tested = pattern.mean_distance(bits("01011010011101010111"), 2, 4)
    assert (round(value, 7), n_tested) == (1.1949875, 6)


def test_linear_complexity(bits):
    assert linear_complexity_of(bits("1101011110001")) == 4


def test_serial(bits):
    sequence = bits("0011011101")
    # 2.11.4 step 2 prints 0 for the pattern 111, which is there once
    assert count_patterns(sequence, 3, 10).tolist() == [0, 1, 1, 2, 1, 2, 2, 1]
    rows = pattern.serial(sequence, length=3, n_minimum=10)
    assert (statistics(rows), p_values(rows)) == ([1.6, 0.8], [0.808792, 0.67032])


def test_approximate_entropy(bits, pi_100):
    rows = pattern.approximate_entropy(bits("0100110101"), length=3, n_minimum=10)
    assert (statistics(rows), p_values(rows)) == ([10.043859], [0.261961])
    rows = pattern.approximate_entropy(pi_100, length=2, n_minimum=100)
    assert (statistics(rows), p_values(rows)) == ([5.550792], [0.235301])


def test_cumulative_sums(bits, pi_100):
    rows = frequency.cumulative_sums(bits("1011010111"), n_minimum=10)
    assert (rows[0].statistic, p_values(rows)[0]) == (4, 0.411659)
    rows = frequency.cumulative_sums(pi_100)
    assert (statistics(rows), p_values(rows)) == ([16.0, 19.0], [0.219194, 0.114866])


def test_random_excursions(bits):
    sequence = bits("0110110101")
    n_cycles, classes, visits = excursions(sequence)
    assert n_cycles == 3
    assert classes[5].tolist() == [1, 1, 0, 1, 0, 0]  # state +1
    assert visits[8:12].tolist() == [1, 3 - 1, 4, 3]  # states -1 to +2; the walk's end at zero is appended
    rows = excursion.random_excursions(sequence, n_minimum=10, n_cycles_minimum=1)
    # printed as 4.333033 and 0.502529, from probabilities of four digits
    assert (rows[4].variant, statistics(rows)[4], p_values(rows)[4]) == ("state +1", 4.333333, 0.502488)


def test_random_excursions_variant(bits):
    rows = excursion.random_excursions_variant(bits("0110110101"), n_minimum=10, n_cycles_minimum=1)
    assert (rows[9].variant, rows[9].statistic, p_values(rows)[9]) == ("state +1", 4, 0.683091)
    assert [row.statistic for row in rows] == [0] * 8 + [1, 4, 3] + [0] * 7
