"""The relaxation is the network, rounding keeps the constraints, and training lowers the loss, always the same way."""

import numpy as np
import pytest
import torch

from benchmarks.ablation import bank as bank_module
from benchmarks.ablation.loss import Batch, losses
from benchmarks.ablation.picture import Picture
from benchmarks.ablation.relaxation import neighbourhoods, output_turns, quantise, straight_through
from benchmarks.ablation.training import Sampler, Settings, in_turns, mean_loss, train
from benchmarks.ablation.weight import Uniform
from iomt_crypt.cipher import reference
from iomt_crypt.cipher.schedule import Geometry, Schedule

TINY = Settings(filters=8, steps=30, images=3, patches=24, largest_tap=0.01, tap_rate=3e-3, every=15)


def smooth_pictures(word_bits, seed):
    """Noisy slopes in the lower part of the range."""
    rng = np.random.default_rng(seed)
    dtype = np.uint8 if word_bits == 8 else np.uint16
    slopes = rng.uniform(0.1, 1, (3, 2)) * (1 if word_bits == 8 else 16)
    grid = np.indices((48, 40))
    return [
        Picture("slope", (np.tensordot(slope, grid, 1) + rng.integers(4, size=(48, 40))).astype(dtype), word_bits)
        for slope in slopes
    ]


@pytest.mark.parametrize("word_bits", [8, 16])
def test_relaxation_of_whole_weights_is_the_network(word_bits):
    rng = np.random.default_rng(3)
    dtype = np.uint8 if word_bits == 8 else np.uint16
    samples = rng.integers(1 << word_bits, size=(12, 10)).astype(dtype)
    network = Uniform()(rng, 2, word_bits)
    schedule = Schedule((), b"", np.zeros(0, np.uint32), network.kernels[np.newaxis], network.mixes[np.newaxis])
    expected = reference.convolve(samples.reshape(-1), samples.size, 0, Geometry(240, 10, word_bits), schedule)
    words = np.hstack([network.kernels[:, :9], network.mixes]).astype(np.int64) & ((1 << word_bits) - 1)
    taps, mixes = in_turns(words, word_bits)
    biases = torch.from_numpy((network.kernels[:, 9].astype(np.float64)) / 2**word_bits)
    patch = torch.from_numpy(samples.astype(np.float64))
    windows = patch.unfold(0, 3, 1).unfold(1, 3, 1).reshape(10, 8, 9)
    turns = output_turns(windows, taps, mixes, biases).sum(-1)
    found = (turns * 2**word_bits).numpy().astype(np.int64) % (1 << word_bits)
    assert np.array_equal(found, expected.reshape(12, 10)[1:-1, 1:-1])


def test_constrained_network_is_continuous_where_the_sign_wraps():
    taps, mixes = torch.tensor([[1.0] + [0.0] * 8]).double(), torch.tensor([[5.0, -3.0]]).double()
    windows = torch.zeros(2, 9).double()
    windows[:, 0] = torch.tensor([0.5 - 1e-9, 0.5 + 1e-9], dtype=torch.float64)
    below, above = output_turns(windows, taps, mixes, torch.zeros(1).double())[:, 0]
    step = float(above - below)
    assert abs(step - round(step)) < 1e-7
    assert round(step) != 0


def test_neighbourhoods_are_the_windows_of_the_inner_samples():
    patch = torch.arange(25.0).reshape(5, 5)
    found = neighbourhoods(patch)
    assert found.shape == (9, 9)
    assert found[4].tolist() == [6, 7, 8, 11, 12, 13, 16, 17, 18]
    assert found[:, 4].tolist() == found[4].tolist()


@pytest.mark.parametrize("word_bits", [8, 16])
def test_rounded_weights_keep_the_constraints(word_bits):
    generator = torch.Generator().manual_seed(4)
    taps = torch.rand((200, 9), generator=generator).double() - 0.5
    mixes = 40 * torch.rand((200, 2), generator=generator).double() - 20
    odd, whole = quantise(taps, mixes, word_bits)
    words = odd * 2**word_bits
    assert torch.equal(words, words.round())
    assert (words.long() % 2 == 1).all()
    assert (whole.long() % 2 == 1).all()
    assert ((whole[:, 0] - whole[:, 1]).long() % 4 == 0).all()
    assert (odd - taps).abs().max() <= 2**-word_bits
    assert (whole[:, 0] - mixes[:, 0]).abs().max() <= 1
    assert (whole[:, 1] - mixes[:, 1]).abs().max() <= 2


def test_gradients_pass_the_rounding():
    taps, mixes = torch.full((2, 9), 0.3).double().requires_grad_(), torch.full((2, 2), 2.2).double().requires_grad_()
    odd, whole = straight_through(taps, mixes, 8)
    (odd.sum() + whole.sum()).backward()
    assert (taps.grad == 1).all()
    assert (mixes.grad == 1).all()
    assert torch.equal(odd.detach(), quantise(taps.detach(), mixes.detach(), 8)[0])


def test_losses_of_constants_and_of_noise():
    rng = np.random.default_rng(6)
    source, target = np.full((4, 64, 5, 5), 7.0), np.zeros((4, 64, 9))
    changed = source.copy()
    changed[:, :, 2, 2] = 8
    taps, mixes = (part.double() for part in (torch.rand(2, 9), torch.tensor([[3.0, 3.0], [1.0, 5.0]])))
    found = losses(Batch(*(torch.from_numpy(part) for part in (source, changed, target))), taps, mixes, torch.rand(2))
    for part in (found.uniformity, found.decorrelation, found.avalanche):
        assert float(part) == pytest.approx(1, abs=1e-9)
    noise = rng.integers(256, size=(8, 256, 5, 5)).astype(np.float64)
    flipped = noise.copy()
    flipped[:, :, 2, 2] = rng.integers(256, size=(8, 256))
    words = Uniform(odd_taps=True)(rng, 2, 8)
    whole = np.hstack([words.kernels[:, :9], words.mixes]).astype(np.int64) & 255
    batch = Batch(torch.from_numpy(noise), torch.from_numpy(flipped), torch.zeros(8, 256, 9).double())
    found = losses(batch, *in_turns(whole, 8), torch.rand(2).double())
    assert abs(float(found.uniformity)) < 0.01
    assert abs(float(found.decorrelation)) < 0.01
    assert float(found.avalanche) < 0.05


def test_a_batch_changes_one_sample_by_one_or_by_one_bit():
    batch = Sampler(smooth_pictures(8, 1), 8).draw(np.random.default_rng(1), 12, 5)
    different = (batch.source != batch.changed).numpy()
    assert different[:, :, 2, 2].all()
    assert different.sum() == 12 * 5
    first, second = (part[:, :, 2, 2].numpy().astype(np.int64) for part in (batch.source, batch.changed))
    steps, flips = (second - first) % 256, first ^ second
    for step, flip in zip(steps, flips, strict=True):
        assert (step == 1).all() or (step == 255).all() or (flip == flip[0]).all()
    assert batch.target.shape == (12, 5, 9)
    assert 0 <= float(batch.target.min()) <= float(batch.target.max()) < 1


@pytest.mark.parametrize("word_bits", [8, 16])
def test_training_lowers_the_loss_and_is_deterministic(word_bits):
    training, held_out = (Sampler(smooth_pictures(word_bits, seed), word_bits) for seed in (1, 2))
    settings = TINY if word_bits == 8 else Settings(**{**TINY_FIELDS, "largest_tap": 5e-4})
    told = []
    bank = train(training, held_out, word_bits, settings, tell=told.append)
    assert [point.step for point in bank.curve] == [0, 15, 30]
    assert told == bank.curve
    assert bank.curve[1].training < 0.9 * bank.curve[0].training
    assert bank.curve[-1].training < 0.9 * bank.curve[0].training
    assert bank.curve[-1].held_out < bank.curve[0].held_out
    assert bank.filters.shape == bank.relaxed.shape == (8, 11)
    assert (bank.filters % 2 == 1).all()
    assert ((bank.filters[:, 9] - bank.filters[:, 10]) % 4 == 0).all()
    again = train(training, held_out, word_bits, settings)
    assert np.array_equal(again.filters, bank.filters)
    assert again.curve == bank.curve
    batch = training.draw(np.random.default_rng(9), 6, 48)
    assert mean_loss(batch, *in_turns(bank.filters, word_bits)) < bank.curve[0].training


TINY_FIELDS = {name: getattr(TINY, name) for name in Settings.__dataclass_fields__}


def test_banks_are_read_as_they_were_written(tmp_path):
    samplers = [Sampler(smooth_pictures(8, seed), 8) for seed in (1, 2)]
    bank = train(*samplers, 8, Settings(**{**TINY_FIELDS, "steps": 2}))
    bank_module.write({"small": {8: bank}}, tmp_path / "bank.json")
    found = bank_module.read(tmp_path / "bank.json")["small"][8]
    assert np.array_equal(found.filters, bank.filters)
    assert np.allclose(found.relaxed, bank.relaxed, rtol=1e-6)
    assert [point.step for point in found.curve] == [0, 2]


def test_the_banks_of_the_repository_keep_the_constraints():
    banks = bank_module.read()
    assert set(banks) == set(bank_module.STARTS)
    for by_size in banks.values():
        assert set(by_size) == set(bank_module.WORD_SIZES)
        for word_bits, bank in by_size.items():
            assert bank.filters.shape == (64, 11)
            assert (bank.filters % 2 == 1).all()
            assert ((bank.filters[:, 9] - bank.filters[:, 10]) % 4 == 0).all()
            assert np.abs(bank.filters[:, :9]).max() < 1 << word_bits
            assert bank.curve[-1].training <= bank.curve[0].training * 1.02
