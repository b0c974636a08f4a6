"""An equivalent key of "permute, then combine with a key stream": from known images, and from chosen ones.

If the key stream depends on the key alone, the difference of two cipher images is the permuted difference of the plain
ones: the stream is gone, and the permutation is read from differences as if it were alone. The stream is what then
remains. Chosen images do it directly: an image of zeros shows the stream, index images show the permutation.
The usual break of chaotic image ciphers; C. Li, D. Lin, B. Feng, J. Lu, F. Hao: Cryptanalysis of a Chaotic Image
Encryption Algorithm Based on Information Entropy. IEEE Access 6, 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np

from iomt_crypt.analysis.attack.material import LAWS, Effort, Law, windows
from iomt_crypt.analysis.attack.permutation import Order, index_images, match, most_frequent, put_back, read_order
from iomt_crypt.analysis.attack.result import AttackResult, Image, Oracle, judge


def known_plaintext(oracle: Oracle, images: Sequence[Image], effort: Effort) -> AttackResult:
    """Decrypt the target with stream and permutation that known images gave away."""
    start = perf_counter()
    *known, target = windows(images, effort.side, effort.n_known + 1)
    ciphers = [oracle(image) for image in known]
    law, order = max(
        ((law, _match_differences(known, ciphers, law)) for law in LAWS), key=lambda found: _placed(found[1])
    )
    stream = law.remove(ciphers[0].reshape(-1), known[0].reshape(-1)[order])
    stream = stream.reshape(target.shape)
    found, known_samples = put_back(law.remove(oracle(target), stream), order, most_frequent(known))
    return judge(
        "equivalent key, known images", "known plaintext", _describe(order, law), found, target,
        n_images=len(known), seconds=perf_counter() - start, claimed=known_samples,
    )  # fmt: skip


def chosen_plaintext(oracle: Oracle, images: Sequence[Image], effort: Effort) -> AttackResult:
    """Decrypt the target with the stream that zeros give away and the permutation that numbers give away."""
    start = perf_counter()
    (target,) = windows(images, effort.side, 1)
    stream = oracle(np.zeros_like(target))
    digits = [oracle(image) for image in index_images(target.shape)]
    candidates = ((law, read_order([law.remove(digit, stream) for digit in digits])) for law in LAWS)
    law, order = max(candidates, key=lambda found: _placed(found[1]))
    found, known_samples = put_back(law.remove(oracle(target), stream), order, 0)
    return judge(
        "equivalent key, chosen images", "chosen plaintext", _describe(order, law), found, target,
        n_images=1 + len(digits), seconds=perf_counter() - start, claimed=known_samples,
    )  # fmt: skip


def _match_differences(known: Sequence[Image], ciphers: Sequence[Image], law: Law) -> Order:
    plain = np.stack([law.remove(image, known[0]) for image in known[1:]])
    return match(plain, np.stack([law.remove(image, ciphers[0]) for image in ciphers[1:]]))


def _placed(order: Order) -> int:
    return int(np.count_nonzero(order >= 0))


def _describe(order: Order, law: Law) -> str:
    return f"stream ({law.name}) and places of {_placed(order) / order.size:.1%} of the samples"
