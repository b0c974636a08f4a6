"""Template matching, sections 2.7 and 2.8 of SP 800-22."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from iomt_crypt.analysis.randomness.kernel import count_patterns
from iomt_crypt.analysis.randomness.result import Bits, Result, check_bits, chi_square_result
from iomt_crypt.analysis.randomness.special import igamc

_LENGTH: Final = 9
#: Expected matches of a template in a block below which chi-square would not be one.
_EXPECTED_MINIMUM: Final = 5

#: Probabilities of 0, 1, 2, 3, 4, and 5 or more matches of nine ones in a block of 1032 bits: the corrected values of
#: K. Hamano, T. Kaneko (IEICE Trans. Fundamentals E90-A(9), 2007), which Rev. 1a's program uses; here by the same
#: counting to more digits (the tests repeat it). Appendix B was computed with the approximation before.
_OVERLAPPING: Final = (0.3640910532, 0.1856589001, 0.1393811305, 0.1005711440, 0.0704323263, 0.1398654459)
_OVERLAPPING_BLOCK: Final = 1032


@cache
def aperiodic_templates(length: int) -> tuple[int, ...]:
    """Return the templates that cannot overlap themselves, as numbers with the first bit on top: 148 of length 9.

    A template is aperiodic if no proper shift of it agrees with itself.
    """

    def periodic(template: int) -> bool:
        return any(template >> shift == template & ((1 << (length - shift)) - 1) for shift in range(1, length))

    return tuple(template for template in range(1 << length) if not periodic(template))


def non_overlapping_template(
    bits: Bits,
    *,
    length: int = _LENGTH,
    templates: tuple[int, ...] | None = None,
    n_blocks: int = 8,
    n_minimum: int = 8 * (_EXPECTED_MINIMUM * 2**_LENGTH + _LENGTH - 1),
) -> list[Result]:
    """Non-overlapping template matching test, section 2.7: one row for each template, the statistic is chi-square.

    Parameters
    ----------
    bits
        uint8 (n,), 0 or 1.
    length
        Bits of a template, m.
    templates
        Aperiodic templates as numbers. None: all of them, 148 rows for length 9. As they cannot overlap themselves, all
        matches count and the sequence is searched once for all templates.
    n_blocks
        Parts in which matches are counted, N.
    n_minimum
        The publication names none; here the n at which 5 matches are expected in each block.
    """
    bits = check_bits(bits, "non-overlapping template", max(n_minimum, n_blocks * length))
    chosen = aperiodic_templates(length) if templates is None else templates
    block_size = bits.size // n_blocks
    n_starts = block_size - length + 1
    counts = np.stack(
        [
            count_patterns(block, length, n_starts)[list(chosen)]
            for block in bits[: n_blocks * block_size].reshape(n_blocks, block_size)
        ]
    )
    mean = n_starts / 2**length
    variance = block_size * (2**-length - (2 * length - 1) * 2.0 ** (-2 * length))
    chi_squares = ((counts - mean) ** 2 / variance).sum(axis=0)
    return [
        Result(
            "non-overlapping template",
            f"template {template:0{length}b}",
            float(chi_square),
            igamc(n_blocks / 2, chi_square / 2),
            bits.size,
        )
        for template, chi_square in zip(chosen, chi_squares, strict=True)
    ]


def overlapping_template(
    bits: Bits, *, probabilities: tuple[float, ...] = _OVERLAPPING, n_minimum: int = 1_000_000
) -> list[Result]:
    """Overlapping template matching test, section 2.8, of nine ones in blocks of 1032 bits; chi-square of 6 classes.

    Other `probabilities` of the classes are for repeating results that were computed with them.
    """
    bits = check_bits(bits, "overlapping template", max(n_minimum, _OVERLAPPING_BLOCK))
    n_blocks = bits.size // _OVERLAPPING_BLOCK
    blocks = bits[: n_blocks * _OVERLAPPING_BLOCK].reshape(n_blocks, _OVERLAPPING_BLOCK)
    matches = overlapping_matches(blocks, _LENGTH)
    counts = np.bincount(np.minimum(matches, len(probabilities) - 1), minlength=len(probabilities))
    return [chi_square_result("overlapping template", "", counts, np.array(probabilities), bits.size)]


def overlapping_matches(blocks: Bits, length: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """How often `length` ones stand next to each other in each row, overlaps included."""
    before = np.zeros((blocks.shape[0], 1), np.int64)
    totals = np.concatenate([before, np.cumsum(blocks, axis=1, dtype=np.int64)], axis=1)
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = (totals[:, length:] - totals[:, :-length] == length).sum(axis=1)
    return found
