"""All attacks that need nothing but an encryption oracle and a few images, run one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from iomt_crypt.analysis.attack.cycle import repeating_stream
from iomt_crypt.analysis.attack.key_stream import chosen_plaintext, known_plaintext
from iomt_crypt.analysis.attack.linear import codebook, superposition
from iomt_crypt.analysis.attack.locality import equal_samples
from iomt_crypt.analysis.attack.material import FULL, Effort
from iomt_crypt.analysis.attack.permutation import chosen_permutation, known_permutation
from iomt_crypt.analysis.attack.result import AttackResult, Image, Oracle
from iomt_crypt.analysis.attack.two_rounds import two_rounds

Attack = Callable[[Oracle, Sequence[Image], Effort], AttackResult]

#: By short name, in the order of the report.
ATTACKS: Final[Mapping[str, Attack]] = {
    "known_plaintext": known_plaintext,
    "chosen_plaintext": chosen_plaintext,
    "known_permutation": known_permutation,
    "chosen_permutation": chosen_permutation,
    "codebook": codebook,
    "equal_samples": equal_samples,
    "repeating_stream": repeating_stream,
    "superposition": superposition,
    "two_rounds": two_rounds,
}


def run_all(
    oracle: Oracle, images: Sequence[Image], *, effort: Effort = FULL, attacks: Sequence[str] | None = None
) -> list[AttackResult]:
    """Run attacks against one cipher under one key.

    Parameters
    ----------
    oracle
        Encrypts a uint8 image of any shape under a key that stays the same; the attacks ask it for known and chosen
        images and for the target. Let it repeat the tweak to give the attacker the most, or take a fresh one for every
        call as the gateway does.
    images
        uint8 (rows, columns), each `effort.side` or more. Windows of the last one are the targets, of the others the
        known images; with fewer than `effort.n_known` + 1 of them, turned and mirrored ones are known as well.
    effort
        Sizes; `material.FULL` or `material.QUICK`.
    attacks
        Names of `ATTACKS`; None: all.

    Raises
    ------
    ValueError
        An attack does not exist, or the images are too few or too small.
    """
    chosen = list(ATTACKS) if attacks is None else list(attacks)
    missing = [name for name in chosen if name not in ATTACKS]
    if missing:
        raise ValueError(f"attacks must be of {', '.join(ATTACKS)}, got {', '.join(missing)}")
    return [ATTACKS[name](oracle, images, effort) for name in chosen]
