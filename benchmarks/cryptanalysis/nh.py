"""NH with Toeplitz keys over words so small that all keys and messages can be gone through.

docs/decisions/0001 claims for 32-bit words: two different messages of one size have both features equal for at most
2^-64 of the keys. With words of w bits and t passes that is 2^-(w t) (J. Black et al., UMAC, CRYPTO 1999, theorem 4.3
and the Toeplitz construction of section 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Bound:
    """The worst pair of messages.

    Parameters
    ----------
    worst
        Largest share of keys under which two different messages collide.
    claimed
        2^-(w t).
    n_message_pairs
        Pairs of messages tried.
    """

    word_bits: int
    n_pairs: int
    n_passes: int
    worst: float
    claimed: float
    n_message_pairs: int


def features(
    messages: npt.NDArray[np.int64], keys: npt.NDArray[np.int64], word_bits: int, n_passes: int
) -> npt.NDArray[np.int64]:
    """Return the features of messages under keys, passes side by side; int64 (keys, messages).

    Parameters
    ----------
    messages
        (messages, 2, pairs): first and second words of the pairs.
    keys
        (keys, 2, pairs + passes - 1).
    """
    mask, n_pairs = (1 << word_bits) - 1, messages.shape[2]
    joined = np.zeros((len(keys), len(messages)), np.int64)
    for shift in range(n_passes):
        words = (messages[np.newaxis] + keys[:, np.newaxis, :, shift : shift + n_pairs]) & mask
        sums = (words[:, :, 0] * words[:, :, 1]).sum(axis=2) & ((1 << 2 * word_bits) - 1)
        joined = joined << 2 * word_bits | sums
    return joined


def worst_collision(word_bits: int, n_pairs: int, n_passes: int, *, n_messages: int | None = None) -> Bound:
    """Go through all keys, and all messages or a sample of them (then with small differences too)."""
    messages = _all_words(word_bits, 2 * n_pairs).reshape(-1, 2, n_pairs)
    if n_messages is not None:
        rng = np.random.default_rng(1)
        messages = messages[rng.choice(len(messages), n_messages, replace=False)]
    keys = _all_words(word_bits, 2 * (n_pairs + n_passes - 1)).reshape(-1, 2, n_pairs + n_passes - 1)
    counts = np.zeros((len(messages), len(messages)), np.int64)
    for start in range(0, len(keys), 256):
        values = features(messages, keys[start : start + 256], word_bits, n_passes)
        for row in values:
            counts += row[:, np.newaxis] == row
    np.fill_diagonal(counts, 0)
    n_message_pairs = len(messages) * (len(messages) - 1) // 2
    claimed = 2.0 ** (-word_bits * n_passes)
    return Bound(word_bits, n_pairs, n_passes, float(counts.max()) / len(keys), claimed, n_message_pairs)


def _all_words(word_bits: int, n_words: int) -> npt.NDArray[np.int64]:
    return np.array(list(product(range(1 << word_bits), repeat=n_words)), np.int64)
