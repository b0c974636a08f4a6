"""Histogram, correlation, distance and texture: worked examples, ideal images, and images that are not."""

from __future__ import annotations

from math import inf, isnan

import numpy as np
import pytest
from skimage.feature import graycomatrix, graycoprops

from iomt_crypt.analysis.metric import (
    DIRECTIONS,
    adjacent,
    adjacent_correlation,
    chi_square,
    co_occurrence,
    coefficient,
    fidelity,
    fold,
    histogram,
    mean_difference,
    mean_squared_error,
    mutual_correlation,
    psnr_db,
    scatter,
    signal_to_noise,
    similarity,
    squared_error,
    ssim,
    texture,
)

RAMP = (np.indices((96, 128)).sum(axis=0) * 200 + 300).astype(np.uint16)


def noise(seed, shape=(96, 128), dtype=np.uint16):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


class TestHistogram:
    def test_counts(self):
        image = np.array([[0, 0, 255], [128, 127, 1]], np.uint8)
        assert histogram(image).sum() == 6
        assert histogram(image)[[0, 1, 127, 128, 255]].tolist() == [2, 1, 1, 1, 1]
        assert histogram(image, n_bins=2).tolist() == [4, 2]
        assert histogram(np.array([0, 32767, 32768, 65535], np.uint16), n_bins=4).tolist() == [1, 1, 1, 1]

    @pytest.mark.parametrize("n_bins", [0, 3, 512])
    def test_bins_are_powers_of_two(self, n_bins):
        with pytest.raises(ValueError, match="power of two"):
            histogram(np.zeros(4, np.uint8), n_bins=n_bins)

    @pytest.mark.parametrize(
        ("n_samples", "dtype", "n_words", "n_bins"),
        [
            (1280, np.uint8, 1280, 256),
            (1279, np.uint8, 1279, 128),
            (10, np.uint8, 10, 2),
            (327680, np.uint16, 327680, 65536),
            (327679, np.uint16, 655358, 256),
            (300, np.uint16, 600, 64),
        ],
    )
    def test_five_words_are_expected_in_every_bin(self, n_samples, dtype, n_words, n_bins):
        words, found, description = fold(np.zeros(n_samples, dtype))
        assert (words.size, found) == (n_words, n_bins)
        assert words.size / found >= 5
        assert str(n_bins) in description
        if dtype == np.uint16:
            assert ("two bytes" in description) == (n_words != n_samples)

    def test_statistic(self):
        image = np.repeat(np.arange(256, dtype=np.uint8), 5)
        assert chi_square(image).value == 0
        image[0] = 1  # one bin has 4, one 6
        assert chi_square(image).value == pytest.approx(2 / 5)
        assert chi_square(np.zeros(1280, np.uint8)).passed is False

    def test_both_bytes_count(self):
        low_byte_fixed = noise(1) & np.uint16(0xFF00)
        assert chi_square(low_byte_fixed).passed is False


class TestCorrelation:
    def test_neighbours(self):
        plane = np.arange(6, dtype=np.uint8).reshape(2, 3)
        pairs = {
            d: [tuple(p) for p in zip(*(s.ravel().tolist() for s in adjacent(plane, d)), strict=True)]
            for d in DIRECTIONS
        }
        assert pairs["horizontal"] == [(0, 1), (1, 2), (3, 4), (4, 5)]
        assert pairs["vertical"] == [(0, 3), (1, 4), (2, 5)]
        assert pairs["diagonal"] == [(0, 4), (1, 5)]

    def test_coefficient(self):
        x, y = noise(1).reshape(-1), noise(2).reshape(-1)
        assert coefficient(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
        assert coefficient(x, x) == pytest.approx(1)
        assert isnan(coefficient(x, np.zeros_like(x)))
        assert isnan(coefficient(x[:1], y[:1]))

    def test_a_ramp_is_correlated_and_noise_is_not(self):
        for direction in DIRECTIONS:
            assert adjacent_correlation(RAMP, direction).value > 0.99
            assert adjacent_correlation(RAMP, direction).passed is False
            assert abs(adjacent_correlation(noise(3), direction).value) < 4 / np.sqrt(95 * 127)

    def test_a_constant_plane_has_none(self):
        found = adjacent_correlation(np.zeros((50, 50), np.uint8), "vertical")
        assert isnan(found.value)
        assert found.passed is None
        assert "constant" in found.note
        assert "fewer than 2 pairs" in adjacent_correlation(np.zeros((1, 9), np.uint8), "vertical").note

    def test_mutual(self):
        assert mutual_correlation(RAMP, RAMP).value == pytest.approx(1)
        assert mutual_correlation(RAMP, noise(4)).passed
        with pytest.raises(ValueError, match="one shape"):
            mutual_correlation(RAMP, RAMP[1:])

    def test_scatter_takes_real_pairs(self):
        first, second = scatter(RAMP, "diagonal", n_points=500, rng=np.random.default_rng(1))
        assert (first.size, second.size) == (500, 500)
        assert (second.astype(int) - first == 400).all()
        first, _ = scatter(RAMP[:2, :3], "horizontal", n_points=500, rng=np.random.default_rng(1))
        assert first.size == 4, "no pair twice"

    def test_one_dimension_is_refused(self):
        with pytest.raises(ValueError, match="two dimensions"):
            adjacent(np.zeros(5, np.uint8), "vertical")


class TestDistance:
    def test_worked_examples(self):
        first, second = np.array([0, 10], np.uint8), np.array([0, 0], np.uint8)
        assert mean_squared_error(first, second) == 50
        assert psnr_db(first, second) == pytest.approx(10 * np.log10(255**2 / 50))
        assert psnr_db(first, first) == inf
        with pytest.raises(ValueError, match="one shape"):
            mean_squared_error(first, second.astype(np.uint16))

    @pytest.mark.parametrize("level", [0, 100, 128, 255])
    def test_expectations_are_those_of_every_value(self, level):
        """Against all 256 values that an ideal cipher image takes."""
        plain = np.full(1000, level, np.uint8)
        distance = np.abs(np.arange(256) - level)
        mse, uaci = squared_error(plain, plain), mean_difference(plain, plain)
        reach = 1.959963985 / np.sqrt(1000)
        assert mse.ideal == pytest.approx((distance**2).mean())
        assert mse.upper - mse.ideal == pytest.approx(reach * (distance**2).std(), rel=1e-6)
        assert uaci.ideal == pytest.approx(100 * distance.mean() / 255)
        assert uaci.upper - uaci.ideal == pytest.approx(100 * reach * distance.std() / 255, rel=1e-6)

    def test_noise_is_as_far_as_expected(self):
        inside = {"MSE": 0, "PSNR": 0, "UACI": 0}
        for seed in range(400):
            image = noise(seed)
            for measure in (squared_error, signal_to_noise, mean_difference):
                found = measure(RAMP, image)
                inside[found.name] += bool(found.passed)
        assert all(abs(n / 400 - 0.95) < 4 * np.sqrt(0.05 * 0.95 / 400) for n in inside.values()), inside

    def test_the_image_itself_and_a_bright_one_are_not(self):
        for other in (RAMP, np.full_like(RAMP, 65535)):
            assert squared_error(RAMP, other).passed is False
            assert signal_to_noise(RAMP, other).passed is False
            assert mean_difference(RAMP, other).passed is False

    def test_ssim(self):
        rng = np.random.default_rng(1)
        assert ssim(RAMP, RAMP) == pytest.approx(1)
        assert similarity(RAMP, RAMP, rng=rng).passed is False
        found = similarity(RAMP, noise(5), rng=rng, alpha=0.001)
        assert abs(found.value) < 0.1
        assert found.lower < found.value < found.upper
        small = similarity(RAMP[:10], noise(5)[:10], rng=rng)
        assert isnan(small.value)
        assert small.passed is None

    def test_ssim_of_large_planes_is_that_of_their_middle(self, monkeypatch):
        monkeypatch.setattr(fidelity, "_SSIM_REFERENCES", 2)
        plane = np.zeros((1030, 1030), np.uint8)
        plane[:3] = 200  # outside of the middle
        assert similarity(plane, np.zeros_like(plane), rng=np.random.default_rng(1)).value == pytest.approx(1)


class TestTexture:
    def test_the_matrix_is_that_of_scikit_image(self):
        plane = noise(6, (40, 60), np.uint8)
        # Pairs that share no sample: the two halves of each pair side by side, with a column of level 8 between them.
        level = (plane >> 5).reshape(40, 30, 2)
        spread = np.concatenate([level, np.full((40, 30, 1), 8, np.uint8)], axis=2).reshape(40, 90)
        matrix = graycomatrix(spread, [1], [0], levels=9)[:8, :8]
        assert np.array_equal(co_occurrence(plane), matrix[:, :, 0, 0])
        share = matrix / matrix.sum()
        by_name = {m.name: m.value for m in texture(plane)}
        assert by_name["GLCM contrast"] == pytest.approx(graycoprops(share, "contrast")[0, 0])
        assert by_name["GLCM energy"] == pytest.approx(graycoprops(share, "ASM")[0, 0])

    def test_ideal_values(self):
        contrast, homogeneity, energy = texture(noise(7))
        assert contrast.ideal == pytest.approx((8**2 - 1) / 6)
        assert homogeneity.ideal == pytest.approx(0.38940, abs=1e-5)
        assert energy.ideal == pytest.approx(1 / 64, rel=0.02)
        assert all(m.passed for m in (contrast, homogeneity, energy))

    def test_a_ramp_has_another(self):
        assert not any(m.passed for m in texture(RAMP))

    def test_a_column_is_refused(self):
        with pytest.raises(ValueError, match="two columns"):
            co_occurrence(np.zeros((9, 1), np.uint8))


def test_noise_keeps_its_ranges():
    """All figures of single images at once: of each, 95 % of 300 ideal images, within 4.5 deviations."""
    counts: dict[str, int] = {}
    for seed in range(300):
        image = noise(seed + 1000)
        found = [chi_square(image), mutual_correlation(RAMP, image), *texture(image)]
        for measurement in [*found, *(adjacent_correlation(image, direction) for direction in DIRECTIONS)]:
            counts[measurement.name] = counts.get(measurement.name, 0) + bool(measurement.passed)
    assert len(counts) == 8
    assert all(abs(n / 300 - 0.95) < 4.5 * np.sqrt(0.05 * 0.95 / 300) for n in counts.values()), counts
