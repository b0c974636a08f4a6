"""Searches of key spaces that are small, or made small by giving most of the key away; for `benchmarks.attacks`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log2
from typing import Final

import numpy as np

from benchmarks.baselines.literal import LOWEST_R, Literal
from benchmarks.baselines.scheme import Image
from iomt_crypt import cipher
from iomt_crypt.analysis import attack
from iomt_crypt.analysis.attack import SearchResult

NONCE: Final = bytes(12)
#: Where the right candidate hides, in parts of the space: late enough that the mean cost is well measured.
PLACE: Final = 0.7

#: Entropy of a uniform number from (0, 1) rounded to float32: 23 bits of fraction and 2 of the exponent.
_X_BITS: Final = 25.0
#: float32 numbers from 3.9 to 4 are 2^-22 apart.
_R_BITS: Final = log2((4 - LOWEST_R) * 2**22)


def searches(images: Sequence[Image]) -> str:
    """Run all searches and return them as a table."""
    runs = [
        ("literal, float64; x of 5 decimals, r known", decimal_key(images)),
        ("literal, float32; 16 bits of x unknown", literal_bits(images)),
        ("chaos-cnn-1; 16 bits of the key unknown", last_bits(images)),
        ("chaos-cnn-1; nothing known, 2^16 keys tried", random_keys(images)),
    ]
    body = [_row(name, run) for name, run in runs]
    lines = [
        "| cipher and what is unknown | tried | key found | target recovered % | us for a key | bits of the whole key "
        "| years for the whole key, one core | within reach |",
        "|" + " --- |" * 8,
        *body,
    ]
    return "### Search of keys\n\n" + "\n".join(lines)


def _row(name: str, run: SearchResult) -> str:
    cells = [
        name, f"{run.n_tried:,}", "no" if run.found is None else "yes", f"{100 * run.attack.share:.3g}",
        f"{1e6 * run.seconds_per_key:.1f}", f"{run.key_bits:.1f}", f"{run.years_for_key:.2g}",
        "yes" if run.within_reach else "no",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def decimal_key(images: Sequence[Image], *, digits: int = 5) -> SearchResult:
    """Search the start value as papers print it: a few decimals, with r = 3.99 known."""
    scheme, size = Literal(np.float64), 10**digits

    def key(number: int) -> tuple[float, float]:
        return (number + 1) / (size + 1), 3.99

    right = int(PLACE * size)
    return attack.search_keys(
        lambda image: scheme.encrypt_with(image, *key(right)), images,
        encrypt_under=lambda number, image: scheme.encrypt_with(image, *key(number)),
        decrypt_under=lambda number, image: scheme.decrypt_with(image, *key(number)),
        n_candidates=size, key_bits=log2(size),
    )  # fmt: skip


def literal_bits(images: Sequence[Image], *, bits: int = 16) -> SearchResult:
    """Search the lowest bits of the start value in float32."""
    scheme = Literal(np.float32)
    base = int(np.float32(0.3).view(np.uint32)) >> bits << bits

    def key(number: int) -> tuple[float, float]:
        return float(np.uint32(base + number).view(np.float32)), 3.97

    right = int(PLACE * (1 << bits))
    return attack.search_keys(
        lambda image: scheme.encrypt_with(image, *key(right)), images,
        encrypt_under=lambda number, image: scheme.encrypt_with(image, *key(number)),
        decrypt_under=lambda number, image: scheme.decrypt_with(image, *key(number)),
        n_candidates=1 << bits, key_bits=_X_BITS + _R_BITS,
    )  # fmt: skip


def last_bits(images: Sequence[Image], *, bits: int = 16) -> SearchResult:
    """Search the last bits of a key of this project's cipher, all others given."""
    base = bytes(range(100, 100 + 32 - bits // 8))
    right = int(PLACE * (1 << bits))
    return _ours(images, lambda number: base + number.to_bytes(bits // 8, "big"), right, 1 << bits)


def random_keys(images: Sequence[Image], *, bits: int = 16) -> SearchResult:
    """Try 2^bits random keys of this project's cipher against another one."""
    rng = np.random.default_rng(256)
    tried = [rng.bytes(32) for _ in range((1 << bits) + 1)]
    return _ours(images, lambda number: tried[number], 1 << bits, 1 << bits)


def _ours(images: Sequence[Image], key: Callable[[int], bytes], right: int, n_candidates: int) -> SearchResult:
    return attack.search_keys(
        lambda image: cipher.encrypt(image, key(right), tweak=NONCE), images,
        encrypt_under=lambda number, image: cipher.encrypt(image, key(number), tweak=NONCE),
        decrypt_under=lambda number, image: cipher.decrypt(image, key(number), tweak=NONCE),
        n_candidates=n_candidates, key_bits=256.0,
    )  # fmt: skip
