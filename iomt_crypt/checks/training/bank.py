"""Pieces to train on: of plain and badly encrypted images, and noise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from iomt_crypt.checks.patch import SIDES, Words, cut
from iomt_crypt.checks.training.corpus import Plain
from iomt_crypt.checks.training.defect import BAD, Defect, identity
from iomt_crypt.checks.training.evaluation import Track
from iomt_crypt.checks.training.recipe import Recipe
from iomt_crypt.errors import InputError

# In these a part of the frame is encrypted well. Pieces that are partly noise come from `_diluted` instead.
_PARTLY_GOOD = ("some frames", "stripe", "carried")
_KINDS: dict[str, Defect] = {"plain": identity, **{k: v for k, v in BAD.items() if k not in _PARTLY_GOOD}}
_FRAMES = 2
#: Shares of the pieces that are changed, and the largest share of noise in them.
_BAND, _SCATTER, _CRYPT, _MOST_NOISE = 0.15, 0.15, 0.15, 0.75


class Bank:
    """Pieces of plain and badly encrypted images by side and kind.

    Parameters
    ----------
    plains
        What to train on.

    Raises
    ------
    InputError
        None of them is large enough for a whole piece.
    """

    def __init__(self, plains: Sequence[Plain], recipe: Recipe, rng: np.random.Generator, track: Track) -> None:
        self._rng = rng
        found: dict[tuple[int, str, str], list[Words]] = defaultdict(list)
        for plain in track(plains, "encrypting badly"):
            kinds = _KINDS if plain.form == "native" else {"compressed": identity}
            for kind, defect in kinds.items():
                for frame in defect(plain.frames[:_FRAMES], rng):
                    patches = cut(frame)
                    found[patches.side, kind, f"{plain.source}/{plain.kind}"].append(patches.words)
        self._pieces: dict[int, list[Words]] = {side: [] for side in SIDES}
        for (side, _, _), words in sorted(found.items()):
            pieces = np.concatenate(words)
            chosen = rng.permutation(len(pieces))[: recipe.pieces_of_a_kind]
            self._pieces[side].append(pieces[chosen])
        if not self._pieces[max(SIDES)]:
            raise InputError(
                f"no image of {max(SIDES)} x {max(SIDES)} words to train on",
                hint="--data: sources that the recipe does not hold out, of licences that it names",
            )

    @property
    def n_pieces(self) -> int:
        """All that are kept."""
        return sum(len(pieces) for groups in self._pieces.values() for pieces in groups)

    def bad(self, n: int, side: int) -> Words:
        """n pieces that are not properly encrypted: each source and kind as likely as any other; (n, side, side)."""
        groups = [group for s in SIDES if s >= side for group in self._pieces[s]]
        return np.stack([self._bad(groups, side) for _ in range(n)])

    def good(self, n: int, side: int) -> Words:
        """n pieces of noise (AES-256-CTR); (n, side, side)."""
        return noise(n, side, self._rng)

    def _bad(self, groups: list[Words], side: int) -> Words:
        rng = self._rng
        group = groups[int(rng.integers(len(groups)))]
        piece: Words = group[int(rng.integers(len(group)))]
        y, x = (int(v) for v in rng.integers(piece.shape[0] - side + 1, size=2))
        piece = piece[y : y + side, x : x + side]
        chance = rng.random()
        if chance < _BAND + _SCATTER:
            piece = self._diluted(piece, band=chance < _BAND)
        elif chance < _BAND + _SCATTER + _CRYPT:
            piece = np.bitwise_xor(piece, rng.integers(0, 1 << 16, dtype=np.uint16))
        return piece

    def _diluted(self, piece: Words, *, band: bool) -> Words:
        """Partly noise: some of the rows or columns, or words here and there."""
        rng, side = self._rng, piece.shape[0]
        share = rng.uniform(0, _MOST_NOISE)
        mask = rng.random(piece.shape) < share
        if band:
            mask = np.broadcast_to(np.arange(side) < share * side, piece.shape)
            mask = mask if rng.integers(2) else mask.T
        return np.where(mask, noise(1, side, rng)[0], piece)


def noise(n: int, side: int, rng: np.random.Generator) -> Words:
    """Noise as of AES-256 in counter mode, uint16 (n, side, side)."""
    stream = Cipher(algorithms.AES(rng.bytes(32)), modes.CTR(bytes(16))).encryptor().update(bytes(2 * n * side * side))
    return np.frombuffer(stream, "<u2").astype(np.uint16, copy=False).reshape(n, side, side)
