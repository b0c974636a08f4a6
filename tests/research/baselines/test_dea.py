"""Data envelopment analysis against examples solved by hand, and the cipher that takes its key from it."""

import numpy as np
import pytest

from benchmarks.baselines import dea
from benchmarks.baselines.dea import Dea, block_statistics, efficiencies

KEY, OTHER_KEY, NONCE = bytes(range(32)), bytes(32), bytes(12)


def real_like(rows, columns, seed=0):
    rng = np.random.default_rng(seed)
    shade = np.add.outer(np.linspace(0, 120, rows), np.linspace(0, 60, columns))
    return (shade + rng.normal(20, 6, (rows, columns))).clip(0, 255).astype(np.uint8)


def test_one_input_one_output():
    """Efficiency is output over input, over the best such ratio: 3 / 2 of the second unit.

    Cooper, Seiford, Tone: Data Envelopment Analysis, 2nd edition, example 2.1.
    """
    inputs = np.array([[2.0], [3], [3], [4], [5], [5], [6], [8]])
    outputs = np.array([[1.0], [3], [2], [3], [4], [2], [3], [5]])
    expected = outputs[:, 0] / inputs[:, 0]
    np.testing.assert_allclose(efficiencies(inputs, outputs), expected / expected.max(), rtol=1e-9)
    assert efficiencies(inputs, outputs).tolist() == pytest.approx([0.5, 1, 2 / 3, 0.75, 0.8, 0.4, 0.5, 0.625])


def test_two_inputs_one_output():
    """Cooper, Seiford, Tone, example 2.2, solved by hand.

    The frontier of (inputs) = (4, 3), (7, 3), (8, 1), (4, 2), (2, 4), (10, 1) goes through (2, 4), (4, 2), (8, 1).
    Unit 1: its ray meets the line through (4, 2) and (2, 4), x + y = 6, at 6/7 of (4, 3).
    Unit 2: its ray meets the line through (4, 2) and (8, 1), x + 4 y = 12, at 12/19 of (7, 3).
    Unit 6 is on the frontier's flat end, with a slack of 2: its radial efficiency is 1.
    """
    inputs = np.array([[4.0, 3], [7, 3], [8, 1], [4, 2], [2, 4], [10, 1]])
    found = efficiencies(inputs, np.ones((6, 1)))
    np.testing.assert_allclose(found, [6 / 7, 12 / 19, 1, 1, 1, 1], rtol=1e-9)


def test_one_input_two_outputs():
    """Outputs (1, 5), (4, 4), (5, 1) and (2, 2.5) of one input each.

    The frontier's corners are the first three. The ray of (2, 2.5) meets the line through (1, 5) and (4, 4),
    x + 3 y = 16, at 16 / 9.5 of it, so its output efficiency is 32/19, its input efficiency 19/32.
    """
    outputs = np.array([[1, 5], [4, 4], [5, 1], [2, 2.5]])
    inputs = np.full((4, 1), 7.0)
    np.testing.assert_allclose(efficiencies(inputs, outputs), [1, 1, 1, 19 / 32], rtol=1e-9)
    np.testing.assert_allclose(efficiencies(inputs, outputs, orientation="output"), [1, 1, 1, 32 / 19], rtol=1e-9)


def test_units_of_measurement_do_not_matter():
    rng = np.random.default_rng(3)
    inputs, outputs = rng.uniform(1, 9, (20, 3)), rng.uniform(1, 9, (20, 2))
    found = efficiencies(inputs, outputs)
    np.testing.assert_allclose(efficiencies(inputs * [1e-3, 1, 1e4], outputs * [50, 0.2]), found, rtol=1e-7)
    np.testing.assert_allclose(found * efficiencies(inputs, outputs, orientation="output"), 1, rtol=1e-7)
    assert found.max() == pytest.approx(1)


def test_equal_units_are_equal():
    inputs, outputs = np.array([[2.0], [4], [2], [4]]), np.array([[4.0], [4], [4], [4]])
    assert efficiencies(inputs, outputs).tolist() == pytest.approx([1, 0.5, 1, 0.5])


@pytest.mark.parametrize(
    ("inputs", "outputs", "orientation"),
    [
        (np.ones((3, 1)), np.ones((2, 1)), "input"),
        (np.zeros((3, 1)), np.ones((3, 1)), "input"),
        (np.ones((3, 1)), np.ones((3, 1)), "sideways"),
    ],
)
def test_nonsense_is_refused(inputs, outputs, orientation):
    with pytest.raises(ValueError, match="inputs and outputs must"):
        efficiencies(inputs, outputs, orientation=orientation)


def test_statistics_of_blocks():
    image = np.zeros((16, 16), np.uint8)
    image[:2, :2] = [[0, 0], [8, 8]]
    inputs, outputs = block_statistics(image)
    assert inputs.shape == outputs.shape == (64, 2)
    assert inputs[0].tolist() == [1 + 4, 1 + 4]
    assert outputs[0].tolist() == [1 + 1, 1 + 8]
    assert inputs[1:].tolist() == outputs[1:].tolist() == [[1, 1]] * 63


@pytest.mark.parametrize("shape", [(64, 64), (61, 83), (9, 7), (3, 5), (1, 40), (40, 1), (1, 2)])
def test_round_trips(shape):
    image = real_like(*shape)
    before = image.copy()
    encrypted = Dea().encrypt(image, KEY, NONCE)
    assert encrypted.shape == shape
    np.testing.assert_array_equal(Dea().decrypt(encrypted, KEY, NONCE), image)
    np.testing.assert_array_equal(image, before)
    assert not np.array_equal(encrypted, image)


@pytest.mark.parametrize("value", [0, 255])
def test_a_constant_image(value):
    image = np.full((48, 48), value, np.uint8)
    encrypted = Dea().encrypt(image, KEY, NONCE)
    np.testing.assert_array_equal(Dea().decrypt(encrypted, KEY, NONCE), image)
    assert len(np.unique(encrypted)) > 240


def test_a_wrong_key_gives_noise():
    image = real_like(64, 64)
    encrypted = Dea().encrypt(image, KEY, NONCE)
    assert np.mean(Dea().decrypt(encrypted, OTHER_KEY, NONCE) == image) < 0.02
    assert np.mean(Dea().encrypt(image, OTHER_KEY, NONCE) == encrypted) < 0.02


def test_every_image_has_its_key():
    image = real_like(64, 64)
    other = image.copy()
    other[40, 40] ^= 128
    assert np.mean(Dea().encrypt(image, KEY, NONCE) == Dea().encrypt(other, KEY, NONCE)) < 0.02


def test_images_with_equal_blocks_share_their_key():
    """What statistics don't see, the key does not either: samples of a block that change places show as they are."""
    image = real_like(64, 64)
    other = image.copy()
    other[40, [40, 41]] = image[40, [41, 40]]
    assert not np.array_equal(image, other)
    difference = Dea().encrypt(image, KEY, NONCE) ^ Dea().encrypt(other, KEY, NONCE)
    np.testing.assert_array_equal(difference, image ^ other)


@pytest.mark.parametrize("shape", [(64, 64), (33, 21), (4, 4)])
def test_three_chosen_images_decrypt_any_other(shape):
    image, asked = real_like(*shape, seed=9), []

    def oracle(chosen):
        asked.append(chosen.copy())
        return Dea().encrypt(chosen, KEY, NONCE)

    cipher_image = Dea().encrypt(image, KEY, NONCE)
    np.testing.assert_array_equal(dea.recover(oracle, cipher_image), image)
    assert len(asked) == 3
    # The third is the image with another head: the attacker had to find the body first.
    assert not any(np.array_equal(chosen, image) for chosen in asked)


def test_the_key_stream_is_even():
    stream = dea.key_stream((256, 256), KEY, np.arange(32, dtype=np.uint8))
    counts = np.bincount(stream, minlength=256)
    chi_square = ((counts - 256) ** 2 / 256).sum()
    assert 160 < chi_square < 370  # 255 degrees of freedom, five deviations
