"""SP 800-22 Rev. 1a, appendix B: P-values of the first 10^6 binary digits of e, pi, and the roots of 2 and 3."""

import numpy as np
import pytest

from iomt_crypt.analysis.randomness import complexity, excursion, frequency, pattern, run_all, template

# One worker computes the digits, which takes seconds.
pytestmark = pytest.mark.xdist_group("digits of constants")

#: Test, row, and the printed values of pi, e, sqrt2, sqrt3.
PRINTED = [
    ("frequency", 0, 0.578211, 0.953749, 0.811881, 0.610051),
    ("block frequency", 0, 0.380615, 0.211072, 0.833222, 0.473961),
    ("runs", 0, 0.419268, 0.561917, 0.313427, 0.261123),
    ("binary matrix rank", 0, 0.083553, 0.306156, 0.823810, 0.314498),
    ("spectral", 0, 0.010186, 0.847187, 0.581909, 0.776046),
    ("non-overlapping template", 0, 0.165757, 0.078790, 0.569461, 0.532235),  # template 000000001
    ("universal", 0, 0.669012, 0.282568, 0.130805, 0.165981),
    ("serial", 0, 0.143005, 0.766182, 0.861925, 0.157500),
    ("approximate entropy", 0, 0.361595, 0.700073, 0.884740, 0.180481),
    ("cumulative sums", 0, 0.628308, 0.669887, 0.879009, 0.917121),
    ("cumulative sums", 1, 0.663369, 0.724266, 0.957206, 0.689519),
    ("random excursions", 4, 0.844143, 0.786868, 0.216235, 0.783283),  # state +1
    ("random excursions variant", 8, 0.760966, 0.826009, 0.566118, 0.155066),  # state -1
]
#: Three rows of the appendix were computed with other probabilities of the classes than the exact ones.
OLDER = {
    # 3.4, four digits, and not even right in these
    "longest run": (
        lambda bits: frequency.longest_run(
            bits, probabilities=(0.0882, 0.2092, 0.2483, 0.1933, 0.1208, 0.0675, 0.0727)
        ),
        (0.024390, 0.718945, 0.012117, 0.446726),
    ),
    # 2.8.4, the approximation before Hamano and Kaneko
    "overlapping template": (
        lambda bits: template.overlapping_template(
            bits, probabilities=(0.3678794412, 0.1839397206, 0.1379547904, 0.0996340153, 0.0699354146, 0.1406566179)
        ),
        (0.296897, 0.110434, 0.791982, 0.082716),
    ),
    # 2.10.4 prints 0.010417; the program has 0.01047
    "linear complexity": (
        lambda bits: complexity.linear_complexity(
            bits, probabilities=(0.01047, 0.03125, 0.125, 0.5, 0.25, 0.0625, 0.020833)
        ),
        (0.255475, 0.826335, 0.317127, 0.346469),
    ),
}
#: What follows from the exact probabilities (which test_randomness_exact.py counts).
EXACT = {
    "longest run": (0.027295, 0.718366, 0.013472, 0.464612),
    "overlapping template": (0.260718, 0.159037, 0.828877, 0.080773),
    "linear complexity": (0.246801, 0.826202, 0.321866, 0.338199),
}
NAMES = ("pi", "e", "sqrt2", "sqrt3")


@pytest.fixture(scope="module")
def results(constants):
    return {name: run_all(constants(name)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_all_rows(results, name):
    assert len(results[name]) == len({row.row for row in results[name]}) == 188
    assert all(0 <= row.p_value <= 1 and row.n_bits == 1_000_000 for row in results[name])


@pytest.mark.parametrize("name", NAMES)
def test_printed(results, name):
    for test, index, *printed in PRINTED:
        row = [row for row in results[name] if row.test == test][index]
        # one in the last printed digit: some were cut off instead of rounded
        assert row.p_value == pytest.approx(printed[NAMES.index(name)], abs=1.1e-6), row.row


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("test", OLDER)
def test_older_probabilities(constants, results, name, test):
    function, printed = OLDER[test]
    assert function(constants(name))[0].p_value == pytest.approx(printed[NAMES.index(name)], abs=1.1e-6)
    [row] = [row for row in results[name] if row.test == test]
    assert row.p_value == pytest.approx(EXACT[test][NAMES.index(name)], abs=1.1e-6)


def test_matrix_rank_of_e(constants):
    # 2.5.8, the first 100 000 digits
    [row] = complexity.binary_matrix_rank(constants("e")[:100_000])
    assert row.statistic == pytest.approx(1.2619656, abs=2e-6)
    assert row.p_value == pytest.approx(0.532069, abs=1e-6)


def test_overlapping_template_of_e(constants):
    # 2.8.8
    blocks = constants("e")[: 968 * 1032].reshape(968, 1032)
    counts = np.bincount(np.minimum(template.overlapping_matches(blocks, 9), 5))
    assert counts.tolist() == [329, 164, 150, 111, 78, 136]


def test_linear_complexity_of_e(constants):
    # 2.10.8, with the first probability as the program has it
    older = (0.01047, 0.03125, 0.125, 0.5, 0.25, 0.0625, 0.020833)
    [row] = complexity.linear_complexity(constants("e"), block_size=1000, probabilities=older)
    assert row.statistic == pytest.approx(2.700348, abs=1e-5)
    assert row.p_value == pytest.approx(0.845406, abs=1e-6)


def test_serial_of_e(constants):
    # 2.11.8
    rows = pattern.serial(constants("e"), length=2)
    assert [round(row.statistic, 6) for row in rows] == [0.339764, 0.3364]
    assert [round(row.p_value, 6) for row in rows] == [0.843764, 0.561915]


def test_random_excursions_of_e(constants):
    # 2.14.8; of its values for the positive states none agrees with appendix B, which `test_printed` checks
    assert excursion.n_cycles(constants("e")) == 1490
    rows = excursion.random_excursions(constants("e"))[:4]
    assert [row.statistic for row in rows] == pytest.approx([3.835698, 7.318707, 7.861927, 15.692617], abs=1e-6)
    assert [row.p_value for row in rows] == pytest.approx([0.573306, 0.197996, 0.164011, 0.007779], abs=1e-6)


def test_random_excursions_variant_of_e(constants):
    # 2.15.8
    rows = excursion.random_excursions_variant(constants("e"))
    printed = {
        1450: 0.858946, 1435: 0.794755, 1380: 0.576249, 1366: 0.493417, 1412: 0.633873, 1475: 0.917283,
        1480: 0.934708, 1468: 0.816012, 1502: 0.826009, 1409: 0.137861, 1369: 0.200642, 1396: 0.441254,
        1479: 0.939291, 1599: 0.505683, 1628: 0.445935, 1619: 0.512207, 1620: 0.538635, 1610: 0.593930,
    }  # fmt: skip
    assert [row.statistic for row in rows] == list(printed)
    assert [row.p_value for row in rows] == pytest.approx(list(printed.values()), abs=1e-6)
