"""The parts that attacks are made of: windows, permutations, linear systems, periods."""

from __future__ import annotations

import attack_image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iomt_crypt.analysis.attack import algebra, cycle, permutation
from iomt_crypt.analysis.attack.material import LAWS, refreshing, repeating, windows


def random_image(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


class TestWindows:
    def test_the_target_is_from_the_last_image_and_differs_from_all_others(self):
        found = windows(attack_image.images(), 64, 9)
        last = attack_image.images()[-1]
        assert len(found) == 9
        assert len({window.tobytes() for window in found}) == 9
        assert all(window.shape == (64, 64) for window in found)
        places = np.lib.stride_tricks.sliding_window_view(last, (64, 64))[::32, ::32]
        assert any(np.array_equal(found[-1], place) for row in places for place in row)

    def test_one_image_gives_turned_ones(self):
        found = windows(attack_image.images()[:1], 32, 8)
        assert len({window.tobytes() for window in found}) == 8

    @pytest.mark.parametrize(
        ("images", "side", "count", "message"),
        [
            ([], 8, 1, "got none"),
            ([np.zeros((8, 7), np.uint8)], 8, 1, r"of 8 or more, got uint8 \(8, 7\)"),
            ([np.zeros((8, 8), np.uint16)], 8, 1, "got uint16"),
            ([np.zeros(64, np.uint8)], 8, 1, r"got uint8 \(64,\)"),
            ([np.zeros((8, 8), np.uint8)] * 3, 8, 3, "3 images give 0 different windows, 2 are needed"),
        ],
    )
    def test_what_cannot_be_cut_is_refused(self, images, side, count, message):
        with pytest.raises(ValueError, match=message):
            windows(images, side, count)

    def test_oracles(self):
        def encrypt(image, key, nonce):
            return image ^ np.uint8(key[0]) ^ np.uint8(nonce[-1])

        image = random_image(0, 4, 4)
        again, fresh = repeating(encrypt, b"\1", b"\2"), refreshing(encrypt, b"\1")
        assert np.array_equal(again(image), image ^ 3)
        assert np.array_equal(again(image), image ^ 3)
        assert np.array_equal(fresh(image), image)
        assert np.array_equal(fresh(image), image ^ 1 ^ 2)

    @pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
    def test_laws(self, law):
        one, other = random_image(1, 64), random_image(2, 64)
        assert np.array_equal(law.remove(law.combine(one, other), other), one)


class TestPermutation:
    @settings(max_examples=20)
    @given(seed=st.integers(0, 1000), n_images=st.integers(3, 8))
    def test_a_stack_of_noise_shows_every_place(self, seed, n_images):
        plain = random_image(seed, n_images, 8, 8)
        order = np.random.default_rng(seed).permutation(64)
        moved = plain.reshape(n_images, 64)[:, order].reshape(plain.shape)
        found = permutation.match(plain, moved)
        assert np.array_equal(plain.reshape(n_images, 64)[:, found], moved.reshape(n_images, 64))

    def test_what_nobody_moved_stands(self):
        flat = np.zeros((3, 8, 8), np.uint8)
        assert np.array_equal(permutation.match(flat, flat), np.arange(64))

    def test_unknown_columns_are_left_open(self):
        plain, other = random_image(1, 5, 8, 8), random_image(2, 5, 8, 8)
        other[:, 0, :3] = plain[:, 4, 4:7]
        found = permutation.match(plain, other)
        assert found[:3].tolist() == [36, 37, 38]
        assert set(found[3:].tolist()) == {-1}

    @pytest.mark.parametrize(
        ("shape", "count"), [((1, 1), 1), ((16, 16), 1), ((16, 17), 2), ((256, 256), 2), ((257, 256), 3)]
    )
    def test_index_images(self, shape, count):
        digits = permutation.index_images(shape)
        assert len(digits) == count
        assert np.array_equal(permutation.read_order(digits), np.arange(shape[0] * shape[1]))

    def test_places_that_are_none_or_come_twice_are_open(self):
        digits = [np.array([0, 1, 1, 200], np.uint8), np.array([0, 0, 0, 9], np.uint8)]
        assert permutation.read_order(digits).tolist() == [0, -1, -1, -1]

    def test_put_back(self):
        found, known = permutation.put_back(np.array([[5, 6], [7, 8]], np.uint8), np.array([3, -1, 0, 1]), 9)
        assert found.tolist() == [[7, 8], [9, 5]]
        assert known.tolist() == [[True, True], [False, True]]


class TestAlgebra:
    @settings(max_examples=20)
    @given(seed=st.integers(0, 1000), n_bytes=st.integers(1, 12), n_outputs=st.integers(1, 12))
    def test_gf2(self, seed, n_bytes, n_outputs):
        matrix = np.random.default_rng(seed).integers(0, 2, (8 * n_bytes, 8 * n_outputs))

        def apply(rows):
            return np.packbits(np.unpackbits(rows, axis=-1).astype(int) @ matrix % 2, axis=-1).astype(np.uint8)

        inputs = random_image(seed, 8 * n_bytes + 20, n_bytes)
        target = random_image(seed + 1, n_bytes)
        assert np.array_equal(algebra.solve_gf2(inputs, apply(inputs), target), apply(target))

    @settings(max_examples=20)
    @given(seed=st.integers(0, 1000), n=st.integers(1, 20), n_outputs=st.integers(1, 12))
    def test_mod_256(self, seed, n, n_outputs):
        matrix = random_image(seed, n, n_outputs)
        inputs, target = random_image(seed + 1, n + 24, n), random_image(seed + 2, n)
        assert np.array_equal(algebra.solve_mod256(inputs, inputs @ matrix, target), target @ matrix)

    def test_nothing_known_gives_nothing(self):
        empty = np.zeros((0, 3), np.uint8)
        target = np.array([1, 2, 3], np.uint8)
        assert algebra.solve_gf2(empty, empty, target).tolist() == [0, 0, 0]
        assert algebra.solve_mod256(empty, empty, target).tolist() == [0, 0, 0]

    def test_least_squares(self):
        rng = np.random.default_rng(1)
        inputs = random_image(2, 400, 6)
        weights = rng.uniform(0, 0.15, (6, 4))
        outputs = np.rint(inputs @ weights + 9).astype(np.uint8)
        target = random_image(3, 6)
        found = algebra.solve_real(inputs, outputs, target)
        assert np.abs(found.astype(int) - np.rint(target @ weights + 9)).max() <= 1


class TestPeriod:
    @settings(max_examples=40)
    @given(tail=st.integers(0, 200), period=st.integers(1, 200), seed=st.integers(0, 100))
    def test_found_and_prolonged(self, tail, period, seed):
        noise = random_image(seed, tail + period)
        longer = np.concatenate([noise, np.resize(noise[tail:], 1000)])
        known = longer[: tail + 2 * period + 70]
        found = cycle.find_period(known)
        assert period % found == 0
        assert np.array_equal(cycle.prolong(known, found, longer.size), longer)

    def test_noise_has_none(self):
        assert cycle.find_period(random_image(0, 10000)) == 0
        assert cycle.find_period(random_image(0, 10)) == 0

    def test_cut_where_less_is_wanted(self):
        assert cycle.prolong(np.arange(9, dtype=np.uint8), 3, 4).tolist() == [0, 1, 2, 3]
        assert cycle.prolong(np.arange(4, dtype=np.uint8), 2, 9).tolist() == [0, 1, 2, 3, 2, 3, 2, 3, 2]

    @pytest.mark.parametrize("grid", [1, 2, 8])
    def test_an_order_of_parts_grows(self, grid):
        parts = np.random.default_rng(grid).permutation(grid * grid)
        small = cycle._order_of_parts(parts, grid, (16, 32))
        assert np.array_equal(
            cycle._grow_order(small, (16, 32), (32, 64)), cycle._order_of_parts(parts, grid, (32, 64))
        )
        image = np.kron(np.arange(grid * grid).reshape(grid, grid), np.ones((16 // grid, 32 // grid), int))
        moved = image.reshape(-1)[small].reshape(16, 32)
        assert moved[:: 16 // grid, :: 32 // grid].reshape(-1).tolist() == parts.tolist()

    def test_another_order_does_not(self):
        assert cycle._grow_order(np.random.default_rng(1).permutation(256), (16, 16), (32, 32)) is None
        assert cycle._grow_order(np.full(256, -1), (16, 16), (32, 32)) is None
