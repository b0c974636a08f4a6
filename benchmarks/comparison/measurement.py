"""Measure one scheme: metrics, attacks, randomness, loss and speed, all by `iomt_crypt.analysis`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from math import pi, sqrt
from time import perf_counter
from typing import Final

import numpy as np

from benchmarks.baselines import dea
from benchmarks.baselines.deepedn import DeepEdn
from benchmarks.baselines.scheme import Image, Scheme
from benchmarks.comparison.image import Picture
from benchmarks.comparison.regression import local_regression
from benchmarks.comparison.result import Figure, Practice, Randomness, Result, Security
from iomt_crypt.analysis import attack, metric, randomness
from iomt_crypt.analysis.attack.result import judge

KEY, NONCE = bytes(range(32)), bytes(range(12))
#: Figures of a cipher image alone, then pairs that differ in one bit of image or key.
FIGURES: Final = (
    "entropy", "local entropy", "chi-square", "horizontal", "vertical", "diagonal",
    "NPCR", "UACI", "NPCR, fresh nonce", "UACI, fresh nonce", "NPCR, key", "UACI, key",
)  # fmt: skip
#: Pairs of images for each image.
_TRIALS = 2
_MEAN_LEVEL = 0.001
_CONSTANT_SIDE = 512
_ATTACKED = 4

Transform = Callable[[Image, bytes, bytes], Image]


def measure(
    scheme: Scheme,
    pictures: dict[int, list[Picture]],
    *,
    effort: attack.Effort = attack.FULL,
    tests: Iterable[str] | None = None,
    speed_side: int = 512,
) -> Result:
    """Measure everything.

    Parameters
    ----------
    scheme
        What is measured.
    pictures
        By their side; attacks take their images from the smallest ones.
    effort
        Of the attacks.
    tests
        Of SP 800-22 by name; None: all that the cipher image of a constant image of 512 x 512 is long enough for.
    speed_side
        Rows and columns of the image that is timed.
    """
    attacked = _attacked(pictures[min(pictures)])
    same, fresh = attack.repeating(scheme.encrypt, KEY, NONCE), attack.refreshing(scheme.encrypt, KEY)
    own = [_recover_dea(same, attacked[-1])] if isinstance(scheme, dea.Dea) else []
    return Result(
        name=scheme.name,
        source=scheme.source,
        uses_nonce=scheme.uses_nonce,
        security=[measure_security(scheme, side, [one.samples for one in part]) for side, part in pictures.items()],
        randomness=measure_randomness(scheme, _CONSTANT_SIDE, tests),
        attacks=measure_attacks(same, attacked, effort) + own,
        fresh_attacks=measure_attacks(fresh, attacked, effort) if scheme.uses_nonce else [],
        practice=measure_practice(scheme, [one.samples for part in pictures.values() for one in part], speed_side),
    )


def measure_security(scheme: Scheme, side: int, images: Sequence[Image]) -> Security:
    """Metrics of cipher images, and of pairs of them, each under a random key and nonce."""
    rng = np.random.default_rng([side, 2011])
    # Of one key stream all images would show the same accidents.
    encrypted = [scheme.encrypt(image, rng.bytes(len(KEY)), rng.bytes(len(NONCE))) for image in images]
    figures = {
        "entropy": _summed([metric.global_entropy(image) for image in encrypted]),
        "local entropy": _summed([metric.local_entropy(image, rng=rng) for image in encrypted]),
        "chi-square": _summed([metric.chi_square(image) for image in encrypted]),
    }
    for direction in metric.DIRECTIONS:
        figures[direction] = _absolute([metric.adjacent_correlation(image, direction) for image in encrypted], side)
    pairs = {"": [metric.plain_trials(scheme.encrypt, image, n_trials=_TRIALS, rng=rng) for image in images]}
    if scheme.uses_nonce:
        transform = _with_fresh_nonces(scheme)
        pairs[", fresh nonce"] = [metric.plain_trials(transform, image, n_trials=_TRIALS, rng=rng) for image in images]
    transform = _with_other_keys(scheme)
    pairs[", key"] = [metric.key_trials(transform, image, n_trials=_TRIALS, rng=rng) for image in images]
    for suffix, trials in pairs.items():
        npcr, uaci = _differences(trials)
        figures[f"NPCR{suffix}"], figures[f"UACI{suffix}"] = npcr, uaci
    return Security(side, len(images), figures)


def measure_randomness(scheme: Scheme, side: int, tests: Iterable[str] | None) -> Randomness:
    """SP 800-22 on the cipher image of a constant image, at its level of significance 0.01."""
    bits = randomness.bits_of(scheme.encrypt(np.zeros((side, side), np.uint8), KEY, NONCE))
    found = randomness.run_all(bits, tests=tests)
    failed = [result.test for result in found if not result.passed()]
    return Randomness(
        side=side,
        n_passed=len(found) - len(failed),
        n_total=len(found),
        failed=list(dict.fromkeys(failed)),
        left_out=sorted(randomness.applicable(bits).left_out),
    )


def measure_attacks(oracle: attack.Oracle, images: Sequence[Image], effort: attack.Effort) -> list[attack.AttackResult]:
    """All attacks of `iomt_crypt.analysis.attack`, and local regression; the last image is attacked."""
    return [*attack.run_all(oracle, images, effort=effort), local_regression(oracle, images)]


def measure_practice(scheme: Scheme, images: Sequence[Image], speed_side: int) -> Practice:
    """What comes back, and how fast."""
    back = [scheme.decrypt(scheme.encrypt(image, KEY, NONCE), KEY, NONCE) for image in images]
    lossy = [(one, other) for one, other in zip(images, back, strict=True) if not np.array_equal(one, other)]
    psnr = [metric.psnr_db(one, other) for one, other in lossy]
    ssim = [metric.ssim(one, other) for one, other in lossy]
    sample = np.random.default_rng(1).integers(0, 256, (speed_side, speed_side), np.uint8)
    speed = metric.measure_speed({"encrypt": scheme.encrypt, "decrypt": scheme.decrypt}, sample)
    return Practice(
        n_exact=len(images) - len(lossy),
        n_images=len(images),
        psnr_db=float(np.mean(psnr)) if lossy else None,
        worst_psnr_db=float(min(psnr)) if lossy else None,
        ssim=float(np.mean(ssim)) if lossy else None,
        encrypt=speed["encrypt"].megabytes_per_second,
        decrypt=speed["decrypt"].megabytes_per_second,
        encrypt_ratio=speed["encrypt"].of_aes_gcm,
        decrypt_ratio=speed["decrypt"].of_aes_gcm,
    )


def _recover_dea(oracle: attack.Oracle, target: Image) -> attack.AttackResult:
    start = perf_counter()
    found = dea.recover(oracle, oracle(target))
    return judge(
        "steered head", "adaptively chosen plaintext", "the whole image", found, target,
        n_images=3, seconds=perf_counter() - start,
    )  # fmt: skip


def _attacked(pictures: Sequence[Picture]) -> list[Image]:
    """The images of most entropy, of each file one; the first is attacked and stands last, the others are known."""
    ordered = sorted(pictures, key=lambda one: metric.entropy_bits(one.samples), reverse=True)
    by_file: dict[str, Image] = {}
    for one in ordered:
        by_file.setdefault(one.name.split("#", 1)[0], one.samples)
    return list(by_file.values())[_ATTACKED - 1 :: -1]


def _with_fresh_nonces(scheme: Scheme) -> Transform:
    """Encrypt every image under another nonce, as it must be done."""
    numbers = iter(range(1 << 32))
    return lambda image, key, nonce: scheme.encrypt(image, key, next(numbers).to_bytes(12, "big"))


def _with_other_keys(scheme: Scheme) -> Transform:
    """A network takes no key: its second call of every pair is one to the network with the nearest other key."""
    if not isinstance(scheme, DeepEdn):
        return scheme.encrypt
    networks = cycle([scheme, scheme.nearest()])
    return lambda image, key, nonce: next(networks).encrypt(image, key, nonce)


def _summed(found: Sequence[metric.Measurement]) -> Figure:
    ideals = [one.ideal for one in found if one.ideal is not None]
    return Figure(
        mean=float(np.mean([one.value for one in found])),
        ideal=float(np.mean(ideals)) if ideals else None,
        n_inside=sum(bool(one.passed) for one in found),
        n_total=len(found),
    )


def _absolute(found: Sequence[metric.Measurement], side: int) -> Figure:
    """Signs of correlations would cancel. For independent samples the mean is that of a half normal distribution."""
    signed = _summed(found)
    return Figure(
        mean=float(np.mean([abs(one.value) for one in found])),
        ideal=sqrt(2 / pi) / side,
        n_inside=signed.n_inside,
        n_total=signed.n_total,
    )


def _differences(trials: Sequence[metric.Trials]) -> tuple[Figure, Figure]:
    """NPCR and UACI of the trials of all images; a few pairs that hardly differ show in the mean, not in the counts."""
    columns = (np.concatenate([getattr(one, name) for one in trials]) for name in ("npcr", "uaci", "flipped"))
    merged = metric.Trials(trials[0].n_samples, trials[0].word_bits, *columns)
    means = {one.name: one for one in merged.measurements(alpha=_MEAN_LEVEL)}
    npcr, uaci = (
        Figure(one.value, one.ideal, int(inside.sum()), inside.size, bool(one.passed))
        for one, inside in zip((means["NPCR, mean"], means["UACI, mean"]), merged.inside(), strict=True)
    )
    return npcr, uaci
