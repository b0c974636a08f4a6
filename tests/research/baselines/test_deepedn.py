"""The generative scheme on a tiny configuration: shapes, learning, determinism, and what its key is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.baselines import deepedn
from benchmarks.baselines.deepedn import DeepEdn, Recipe, Trainer, load, train, trained, weights_file
from benchmarks.baselines.generator import initialize, make_discriminator, make_generator

TINY = Recipe(steps=200, warm_up=190, batch=2, patch=16, width=8, n_blocks=1, learning_rate=2e-3)
SHORT = replace(TINY, steps=3, warm_up=1)
KEY, NONCE = bytes(32), bytes(12)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images():
    """Cones of different places, smooth enough for a tiny network."""
    y, x = np.mgrid[:24, :32]
    centres = ((4, 8), (16, 20), (30, 5), (10, 35))
    return [np.minimum(6 * np.hypot(y - row, x - column), 255).astype(np.uint8) for row, column in centres]


@pytest.fixture(scope="module")
def training(images):
    torch.set_num_threads(1)
    return train(images, TINY)


@pytest.fixture(scope="module")
def scheme(training):
    return training[0]


def test_generators_keep_shapes():
    batch = torch.zeros(3, 1, 20, 28)
    generated = make_generator(TINY)(batch)
    assert generated.shape == batch.shape
    assert generated.abs().max() <= 1
    assert make_discriminator(TINY)(batch).shape[:2] == (3, 1)


def test_initial_weights_keep_the_signal():
    """Too small an output would vanish in the rounding to 8 bits, too large a one in the ends of tanh."""
    torch.manual_seed(0)
    network = make_generator(Recipe())
    initialize(network)
    with torch.no_grad():
        deviation = network(torch.randn(2, 1, 64, 64)).std()
    assert 0.1 < deviation < 0.9


def test_training_lowers_the_loss(training):
    _, losses = training
    before, after = (np.mean([one.restoration for one in part]) for part in (losses[:10], losses[180:190]))
    assert after < 0.6 * before


def test_the_discriminator_joins_after_the_warm_up(training):
    _, losses = training
    assert {(one.discriminator, one.adversarial) for one in losses[: TINY.warm_up]} == {(0.0, 0.0)}
    assert all(one.discriminator > 0 and one.adversarial > 0 for one in losses[TINY.warm_up :])


def test_the_discriminator_learns(images):
    """Against a generator that stands still, its loss falls from that of a coin, 2 log 2."""
    recipe = Recipe(steps=40, warm_up=0, batch=4, patch=16, width=4, n_blocks=1, learning_rate=5e-3, restoration=0)
    trainer = Trainer(images, recipe)
    trainer._pair_step.param_groups[0]["lr"] = 0
    losses = [trainer.step().discriminator for _ in range(recipe.steps)]
    assert losses[0] == pytest.approx(2 * np.log(2), abs=0.3)
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_one_seed_gives_one_key(images):
    scheme, again = (train(images, SHORT)[0] for _ in range(2))
    other = train(images, replace(SHORT, seed=1))[0]
    first = scheme.weights()
    assert all(torch.equal(value, again.weights()[name]) for name, value in first.items())
    assert not all(torch.equal(value, other.weights()[name]) for name, value in first.items())


def test_training_leaves_the_global_generator_alone(images):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    train(images, SHORT)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("shape", [(24, 32), (17, 22), (5, 3), (1, 1)])
def test_any_shape(scheme, shape):
    image = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    encrypted = scheme.encrypt(image, KEY, NONCE)
    assert encrypted.shape == scheme.decrypt(encrypted, KEY, NONCE).shape == shape
    assert encrypted.dtype == np.uint8
    np.testing.assert_array_equal(scheme.encrypt(image, bytes(range(32)), bytes(range(12))), encrypted)


def test_what_comes_back_is_near_and_not_exact(images, scheme):
    back = scheme.decrypt(scheme.encrypt(images[0], KEY, NONCE), KEY, NONCE)
    error = np.abs(back.astype(int) - images[0]).mean()
    assert 0 < error < np.abs(images[0] - images[0].mean()).mean()
    assert not scheme.lossless


def test_another_seed_gives_other_cipher_images(images):
    """More is not to be had: a network of another seed may well undo a good part of what this one does."""
    first, second = (train(images, replace(SHORT, seed=seed))[0].encrypt(images[0]) for seed in (1, 2))
    assert np.mean(first != second) > 0.9


def test_the_nearest_key_differs_in_one_bit(scheme):
    first, second = scheme.weights(), scheme.nearest().weights()
    flipped = sum(
        int((value.view(torch.int32) ^ second[name].view(torch.int32)).ne(0).sum()) for name, value in first.items()
    )
    assert flipped == 1
    assert scheme.key_bytes == sum(4 * value.numel() for value in first.values())


def test_weights_are_kept_and_read_back(images, tmp_path, monkeypatch):
    made = trained(images, SHORT, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    assert path == weights_file(images, SHORT, tmp_path)
    monkeypatch.setattr(deepedn, "train", None)  # the second call must not train
    for other in (trained(images, SHORT, folder=tmp_path), load(path, SHORT)):
        assert isinstance(other, DeepEdn)
        np.testing.assert_array_equal(other.encrypt(images[1]), made.encrypt(images[1]))
        np.testing.assert_array_equal(other.decrypt(images[1]), made.decrypt(images[1]))


def test_other_images_or_recipes_have_other_weights(images, tmp_path):
    names = {
        weights_file(images, SHORT, tmp_path),
        weights_file(images[:3], SHORT, tmp_path),
        weights_file(images, Recipe(), tmp_path),
    }
    assert len(names) == 3


@pytest.mark.parametrize("count", [0, 1])
def test_training_needs_images_of_a_patch(count):
    with pytest.raises(ValueError, match="16 x 16 or larger"):
        Trainer([np.zeros((15, 40), np.uint8)] * count, TINY)
