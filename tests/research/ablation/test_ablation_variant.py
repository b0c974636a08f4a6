"""The cipher with switches: it is the cipher, it can be inverted, and its wiring is what it says."""

import numpy as np
import pytest

from benchmarks.ablation import study
from benchmarks.ablation.study import Banks
from benchmarks.ablation.variant import Machine, Variant
from benchmarks.ablation.weight import Uniform
from iomt_crypt import cipher
from iomt_crypt.cipher import schedule

KEY = bytes(range(32))
SHAPES = [(2, 1), (3, 3), (24, 20), (41, 33)]


def make_frame(shape, dtype, seed=5):
    return np.random.default_rng(seed).integers(np.iinfo(dtype).max + 1, size=shape).astype(dtype)


@pytest.fixture(scope="module")
def variants():
    """All of the study, with banks of three filters that nobody trained."""
    filters = np.random.default_rng(2).integers(-100, 100, (3, 11)) | 1
    filters[:, 10] = filters[:, 9] + 4
    return study.every(Banks({8: filters, 16: filters}, {8: filters, 16: filters}))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [*SHAPES, (128, 128)])
def test_with_all_switches_on_it_is_the_cipher(shape, dtype):
    frame = make_frame(shape, dtype)
    machine = Machine.of(study.FULL, KEY, frame, tweak=b"frame 3")
    expected = cipher.encrypt(frame, KEY, tweak=b"frame 3", backend="reference")
    assert np.array_equal(machine.encrypt(frame), expected)
    assert np.array_equal(machine.decrypt(expected), frame)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_variant_can_be_inverted(variants, shape, dtype):
    frame = make_frame(shape, dtype)
    for variant in variants:
        machine = Machine.of(variant, KEY, frame)
        assert np.array_equal(machine.decrypt(machine.encrypt(frame)), frame), variant.name


def test_variants_are_different_ciphers(variants):
    frame = make_frame((24, 20), np.uint16)
    images = {Machine.of(variant, KEY, frame).encrypt(frame).tobytes() for variant in variants}
    # The two banks of the fixture are one.
    assert len(images) == len(variants) - 2


def test_names_are_unique_and_cover_what_is_asked(variants):
    names = [variant.name for variant in variants]
    assert len(set(names)) == len(names)
    assert {variant.rounds for variant in variants} == {1, 2, 3, 4, 6}
    assert {variant.filters for variant in variants} == {1, 2, 4}
    for switch in ("network", "pooling", "stream", "move"):
        assert any(not getattr(variant, switch) for variant in variants)


def test_more_rounds_and_filters_begin_with_those_of_the_cipher():
    frame = make_frame((24, 20), np.uint16)
    geometry = schedule.Geometry.of(frame.size, 20, 16)
    own = schedule.make_schedule(KEY, b"", geometry)
    found = Machine.of(Variant("", rounds=6, filters=4), KEY, frame).schedule
    assert found.kernels.shape == (6, 4, 10)
    assert found.mixes.shape == (6, 4, 2)
    assert np.array_equal(found.kernels[:4, :2], own.kernels)
    assert np.array_equal(found.mixes[:4, :2], own.mixes)
    assert found.round_keys[:4] == own.round_keys
    assert len({kernel.tobytes() for kernel in found.kernels.reshape(24, 10)}) == 24
    assert len(set(found.round_keys)) == len(found.round_keys) >= 6


@pytest.mark.parametrize(
    "variant",
    [
        Variant("", pooling=False),
        Variant("", stream=False, move=False),
        Variant("", network=False, pooling=False),
        Variant("", rounds=1),
        Variant("", rounds=2),
    ],
)
@pytest.mark.parametrize("place", [0, 17, 239, 240, 311, 479])
def test_a_change_stays_within_reach(variant, place):
    frame = make_frame((24, 20), np.uint16)
    machine = Machine.of(variant, KEY, frame)
    changed = frame.copy()
    changed.reshape(-1)[place] ^= 1
    start = np.zeros(frame.shape, bool)
    start.reshape(-1)[place] = True
    forward = machine.encrypt(frame) != machine.encrypt(changed)
    back = machine.decrypt(frame) != machine.decrypt(changed)
    reach, reach_back = machine.reach(start), machine.reach(start, decrypting=True)
    assert forward.any()
    assert not (forward & ~reach).any()
    assert not (back & ~reach_back).any()
    # And it is no trivial bound: most of what is in reach does change, or little is.
    assert forward.sum() > 0.4 * reach.sum()


def test_everything_is_in_reach_of_the_cipher():
    frame = make_frame((24, 20), np.uint8)
    machine = Machine.of(study.FULL, KEY, frame)
    start = np.zeros(frame.shape, bool)
    start[3, 4] = True
    assert machine.reach(start).all()


def test_weights_of_a_source_depend_on_key_and_tweak_only():
    frame = make_frame((24, 20), np.uint16)
    variant = Variant("", source=Uniform(odd_taps=True))
    kernels = [
        Machine.of(variant, key, frame, tweak=tweak).schedule.kernels
        for key, tweak in ((KEY, b""), (KEY, b""), (KEY, b"1"), (KEY[::-1], b""))
    ]
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    assert not np.array_equal(kernels[0], kernels[3])
