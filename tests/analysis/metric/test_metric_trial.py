"""Sensitivity, robustness and speed, on ciphers whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from iomt_crypt.analysis.metric import (
    DAMAGES,
    Trials,
    crop,
    flip_key_bit,
    flip_one_bit,
    flipped_share,
    gaussian_noise,
    key_trials,
    measure_speed,
    plain_trials,
    salt_and_pepper,
    survive,
    wrong_key_image,
)

PLAIN = (np.indices((64, 80)).sum(axis=0) * 20).astype(np.uint16)


def ideal(image, key, nonce):
    """A random image for each image, key and nonce: no cipher, but what one should look like."""
    seed = np.frombuffer(key + nonce, np.uint8).tolist()
    # Every sample and its place count, so that one bit is enough for another image.
    digest = np.bitwise_xor.reduce(np.arange(1, image.size + 1, dtype=np.uint64) * image.reshape(-1))
    rng = np.random.default_rng([*seed, int(digest)])
    return rng.integers(0, np.iinfo(image.dtype).max, image.shape, image.dtype, endpoint=True)


def stream(image, key, nonce):
    """Exclusive or with a key stream: its own inverse, and no diffusion at all."""
    rng = np.random.default_rng(np.frombuffer(key + nonce, np.uint8).tolist())
    return image ^ rng.integers(0, np.iinfo(image.dtype).max, image.shape, image.dtype, endpoint=True)


class TestTrials:
    @pytest.mark.parametrize("make", [plain_trials, key_trials])
    def test_an_ideal_cipher_passes(self, make):
        trials = make(ideal, PLAIN, n_trials=60, rng=np.random.default_rng(3))
        names = [m.name for m in trials.measurements()]
        assert names == ["NPCR, mean", "NPCR within its bound", "UACI, mean", "UACI within its range", "Flipped bits"]
        assert all(m.passed for m in trials.measurements())
        assert trials.npcr.shape == trials.uaci.shape == trials.flipped.shape == (60,)

    def test_a_stream_cipher_has_no_diffusion(self):
        trials = plain_trials(stream, PLAIN, n_trials=10, rng=np.random.default_rng(3))
        assert (trials.npcr == 100 / PLAIN.size).all()
        assert (trials.flipped == 1 / (16 * PLAIN.size)).all()
        assert not any(m.passed for m in trials.measurements())
        by_key = key_trials(stream, PLAIN, n_trials=10, rng=np.random.default_rng(3))
        assert all(m.passed for m in by_key.measurements()), "but another key gives another stream"

    def test_each_trial_has_keys_of_its_own_and_leaves_the_image(self):
        before, seen = PLAIN.copy(), []

        def spy(image, key, nonce):
            seen.append((key, nonce, image.tobytes()))
            return image

        plain_trials(spy, PLAIN, n_trials=4, rng=np.random.default_rng(3))
        assert np.array_equal(PLAIN, before)
        assert len({(key, nonce) for key, nonce, _ in seen}) == 4
        for first, second in zip(seen[0::2], seen[1::2], strict=True):
            assert first[:2] == second[:2]
            assert first[2] == before.tobytes()
            flipped = int.from_bytes(first[2], "little") ^ int.from_bytes(second[2], "little")
            assert flipped.bit_count() == 1

    def test_a_biased_mean_fails_though_every_trial_is_inside(self):
        """UACI 0.6 deviations too high in each of 400 trials: all inside their ranges, and impossible together."""
        trials = plain_trials(ideal, PLAIN, n_trials=400, rng=np.random.default_rng(4))
        centre = 100 * 65537 / (3 * 65536)
        shifted = Trials(PLAIN.size, 16, trials.npcr, np.full(400, centre + 0.2), trials.flipped)
        by_name = {m.name: m for m in shifted.measurements()}
        assert by_name["UACI within its range"].value == 100
        assert by_name["UACI, mean"].passed is False

    def test_no_trials_are_refused(self):
        with pytest.raises(ValueError, match="n_trials"):
            key_trials(ideal, PLAIN, n_trials=0, rng=np.random.default_rng(1))


class TestBits:
    def test_key_bits(self):
        rng, key = np.random.default_rng(1), bytes(32)
        flipped = {flip_key_bit(key, rng) for _ in range(2000)}
        assert all(int.from_bytes(k, "little").bit_count() == 1 and len(k) == 32 for k in flipped)
        assert len(flipped) > 250, "any of them"

    def test_share(self):
        first = np.array([0, 0xFFFF], np.uint16)
        assert flipped_share(first, first) == 0
        assert flipped_share(first, ~first) == 1
        assert flipped_share(first, np.array([1, 0xFFFF], np.uint16)) == 1 / 32

    def test_wrong_key(self):
        encrypted, wrong = wrong_key_image(stream, stream, PLAIN, rng=np.random.default_rng(1))
        assert encrypted.shape == wrong.shape == PLAIN.shape
        assert flipped_share(wrong, PLAIN) == pytest.approx(0.5, abs=0.01)


class TestDamage:
    def test_salt_and_pepper(self):
        image = np.full((100, 100), 1000, np.uint16)
        damaged = salt_and_pepper(image, share=0.01, rng=np.random.default_rng(1))
        assert set(np.unique(damaged)) == {0, 1000, 65535}
        assert np.count_nonzero(damaged != 1000) == 100

    def test_gaussian(self):
        image = np.full((200, 200), 30000, np.uint16)
        difference = gaussian_noise(image, deviation=0.01, rng=np.random.default_rng(1)).astype(float) - 30000
        assert difference.std() == pytest.approx(655.35, rel=0.02)
        full = np.full((50, 50), 255, np.uint8)
        assert gaussian_noise(full, deviation=0.1, rng=np.random.default_rng(1)).max() == 255, "clipped, not wrapped"

    def test_crop(self):
        damaged = crop(np.full((100, 60, 3), 7, np.uint8), share=0.25)
        assert not damaged[:50, :30].any()
        assert (damaged[50:] == 7).all()
        assert (damaged[:, 30:] == 7).all()

    def test_one_bit(self):
        damaged = flip_one_bit(PLAIN, rng=np.random.default_rng(2))
        assert flipped_share(damaged, PLAIN) == 1 / (16 * PLAIN.size)

    def test_what_survives_of_a_stream_cipher(self):
        """Without diffusion only what was damaged is damaged: what the papers call robust."""
        found = survive(stream, stream, PLAIN, rng=np.random.default_rng(1), key=bytes(32), nonce=bytes(12))
        assert [s.damage for s in found] == [name for name, _ in DAMAGES]
        for survival in found:
            assert survival.intact_percent == pytest.approx(100 - survival.damaged_percent)
        assert found[0].psnr_db > 60
        assert found[0].damaged_percent == 100 / PLAIN.size


def test_speed_is_a_ratio_in_the_same_run():
    calls = []

    def transform(image, key, nonce):
        calls.append((len(key), len(nonce)))
        return stream(image, key, nonce)

    found = measure_speed({"stream": transform}, PLAIN)
    assert set(found) == {"stream", "AES-256-GCM"}
    assert set(calls) == {(32, 12)}
    for speed in found.values():
        assert speed.megabytes_per_second == pytest.approx(PLAIN.nbytes / speed.seconds / 1e6)
        assert speed.of_aes_gcm == pytest.approx(found["AES-256-GCM"].seconds / speed.seconds)
    assert found["AES-256-GCM"].of_aes_gcm == 1
