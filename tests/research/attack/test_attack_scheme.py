"""The attacks on whole schemes: they win where they are meant to, and what they get from the cipher is measured."""

from __future__ import annotations

import attack_image
import numpy as np
import pytest

from benchmarks.baselines.aes import AesGcm
from benchmarks.baselines.josephus import Josephus
from benchmarks.baselines.literal import Literal
from benchmarks.baselines.reduced import Reduced
from benchmarks.baselines.two_maps import TwoMaps
from iomt_crypt import cipher
from iomt_crypt.analysis import attack

KEY, NONCE = bytes(range(32)), bytes(12)
EFFORT = attack.QUICK

MOVED = Reduced("repositioning only", 0)
STREAMS = Reduced("streams from the key only, no network", use_cnn=False, use_pooling=False)
LOCAL = Reduced("streams from the key only, no repositioning", use_pooling=False, use_move=False)
TWO_ROUNDS = Reduced("two rounds", 2, use_move=False)

#: What each attack recovers completely; it is the reason for the attack to be there.
BROKEN = [
    (Literal(), ["known_plaintext", "chosen_plaintext", "codebook", "superposition", "repeating_stream"]),
    (Literal(np.float64), ["known_plaintext", "chosen_plaintext"]),
    (TwoMaps(), ["known_plaintext", "chosen_plaintext", "codebook", "superposition"]),
    (Josephus(), ["codebook", "superposition"]),
    (Josephus(1), ["codebook"]),
    (MOVED, ["known_permutation", "chosen_permutation", "known_plaintext", "chosen_plaintext"]),
    (STREAMS, ["known_plaintext", "chosen_plaintext"]),
    (TWO_ROUNDS, ["two_rounds"]),
    (AesGcm(), ["known_plaintext", "chosen_plaintext", "codebook"]),
]


def run(scheme, name):
    oracle = attack.repeating(scheme.encrypt, KEY, NONCE)
    (result,) = attack.run_all(oracle, attack_image.images(), effort=EFFORT, attacks=[name])
    return result


def whole(image):
    return cipher.encrypt(image, KEY, tweak=NONCE)


@pytest.mark.parametrize(
    ("scheme", "name"),
    [pytest.param(scheme, name, id=f"{scheme.name}-{name}") for scheme, names in BROKEN for name in names],
)
def test_recovers_the_image(scheme, name):
    result = run(scheme, name)
    assert result.share == 1
    assert result.psnr_db == float("inf")
    assert result.chance < 0.5
    assert result.gained


@pytest.mark.parametrize("name", ["known_plaintext", "known_permutation"])
def test_one_round_shows_half_of_the_image(name):
    result = run(Reduced("one round", 1), name)
    assert result.share >= 0.5
    assert result.gained


def test_equal_samples_show_what_does_not_depend_on_the_whole_image():
    """Flat parts give themselves away as soon as no round is seeded from the whole half."""
    flat_below = attack_image.images()[-1][:160, :160].copy()
    flat_below[70:90] = flat_below[150:] = flat_below[:10] = 7
    images = [*attack_image.images()[:-1], flat_below]
    effort = attack.Effort(side=160, n_known=3)
    for oracle, gains in ((attack.repeating(LOCAL.encrypt, KEY, NONCE), True), (whole, False)):
        (result,) = attack.run_all(oracle, images, effort=effort, attacks=["equal_samples"])
        assert result.gained is gains
        assert (result.share > 0.02) is gains


def test_what_an_attack_is_not_meant_for_it_does_not_claim():
    """A stream without a cycle within reach, an order without a stream, a diffusion that is no stream."""
    assert run(Literal(np.float64), "repeating_stream").n_claimed == 0
    assert run(Literal(), "known_permutation").n_claimed == 0
    assert not run(Josephus(), "chosen_plaintext").gained
    assert not run(Reduced("three rounds", 3, use_move=False), "two_rounds").gained


def test_without_the_true_image_the_attacks_say_the_same():
    """The oracle sees the target and the attacker does not: other values behind the scenes change no question."""
    asked: list[bytes] = []

    def oracle(image):
        asked.append(image.tobytes())
        return cipher.encrypt(image, KEY)

    first, *rest = attack_image.images()
    for last in (first, np.ascontiguousarray(first[::-1])):
        attack.run_all(oracle, [*rest, last], effort=EFFORT, attacks=["known_plaintext", "chosen_plaintext"])
    half = len(asked) // 2
    differing = [k for k in range(half) if asked[k] != asked[half + k]]
    assert len(differing) == 2  # the target itself, once for each attack


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("fresh", [False, True], ids=["repeated tweak", "fresh tweaks"])
def test_nothing_is_gained_on_the_cipher(number, fresh):
    key = bytes([number]) * 32

    def encrypt(image, key, nonce):
        return cipher.encrypt(image, key, tweak=nonce)

    oracle = attack.refreshing(encrypt, key) if fresh else attack.repeating(encrypt, key, NONCE)
    results = attack.run_all(oracle, attack_image.images(), effort=EFFORT)
    assert len(results) == len(attack.ATTACKS)
    assert [result for result in results if result.gained] == []


def test_a_fresh_nonce_saves_aes():
    oracle = attack.refreshing(AesGcm().encrypt, KEY)
    assert not any(result.gained for result in attack.run_all(oracle, attack_image.images(), effort=EFFORT))


def test_an_oracle_that_encrypts_nothing_is_found_out():
    results = attack.run_all(lambda image: image.copy(), attack_image.images(), effort=EFFORT)
    assert sum(result.share == 1 for result in results) >= 6


def test_names():
    oracle = attack.repeating(Literal().encrypt, KEY, NONCE)
    found = attack.run_all(oracle, attack_image.images(), effort=EFFORT, attacks=["chosen_plaintext", "codebook"])
    assert [result.attack for result in found] == ["equivalent key, chosen images", "codebook of differences"]
    assert [result.n_images for result in found] == [1 + 2, 8 * EFFORT.codebook_side**2 + 2]
    with pytest.raises(ValueError, match=r"attacks must be of known_plaintext, .*, got nonsense"):
        attack.run_all(oracle, attack_image.images(), attacks=["nonsense"])


def test_the_number_of_images_is_the_number_asked_for():
    for name in attack.ATTACKS:
        asked = []

        def oracle(image, asked=asked):
            asked.append(image)
            return cipher.encrypt(image, KEY)

        (result,) = attack.run_all(oracle, attack_image.images(), effort=EFFORT, attacks=[name])
        assert len(asked) in (result.n_images, result.n_images + 1), name
