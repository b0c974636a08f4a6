"""Birthday spacings, collisions and gaps of words (Knuth, TAOCP 3.3.2; L'Ecuyer and Simard 2001)."""

from __future__ import annotations

from math import expm1, log1p
from typing import Final

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.randomness.kernel import compiled
from iomt_crypt.analysis.randomness.lane import Words
from iomt_crypt.analysis.randomness.result import Result, chi_square_result
from iomt_crypt.analysis.randomness.special import poisson_p_value
from iomt_crypt.cipher.constant import LANES

_U64 = npt.NDArray[np.uint64]

#: Birthdays in a year of 2^64 days: lambda = m^3 / (4 * 2^64) is 1 for 2^22.
_LONG_YEAR: Final = 1 << 22
#: Birthdays in a year of 2^32 days: lambda is 4.
_SHORT_YEAR: Final = 1 << 12
_SHORT_GROUPS: Final = 1 << 12
#: Words that fall into 2^24 cells: 8 collisions.
_BALLS: Final = 1 << 14
_CELL_BITS: Final = 24
_BALL_GROUPS: Final = 1 << 10
_GAP_CLASSES: Final = 64
_GAP_WIDTH: Final = 16


def spacings(words: Words, variant: str) -> list[Result]:
    """Test birthday spacings of the words of lanes and of pairs of lanes.

    Parameters
    ----------
    words
        uint32 (n_steps, 128), C-contiguous; a long year needs n_steps of 2^16 or more.
    variant
        Name of the rows, where more than one stream is tested.

    Returns
    -------
    list of Result
        Words of one lane after another in years of 2^32 days; the two words of a coupled pair, as one of 64 bits, in
        years of 2^64 days. The statistic is the number of equal spacings.
    """
    n_bits = 32 * words.size
    columns = words[: _SHORT_YEAR * (words.shape[0] // _SHORT_YEAR)]
    groups = columns.reshape(-1, _SHORT_YEAR, LANES).transpose(0, 2, 1).reshape(-1, _SHORT_YEAR)[:_SHORT_GROUPS]
    found = sum(int(_equal_spacings(group)) for group in groups.astype(np.uint64))
    expected = len(groups) * _SHORT_YEAR**3 / 2.0**34
    rows = [Result("birthday spacings", f"{variant}lane, 32 bits", found, poisson_p_value(found, expected), n_bits)]
    pairs = words.reshape(-1).view(np.uint64)
    years = pairs[: pairs.size // _LONG_YEAR * _LONG_YEAR].reshape(-1, _LONG_YEAR)
    if len(years):
        found = sum(int(_equal_spacings(year)) for year in years)
        expected = len(years) * _LONG_YEAR**3 / 2.0**66
        rows.append(
            Result("birthday spacings", f"{variant}pair, 64 bits", found, poisson_p_value(found, expected), n_bits)
        )
    return rows


def _equal_spacings(birthdays: _U64) -> int:
    spaces = np.diff(np.sort(birthdays))
    spaces.sort()
    return int(np.count_nonzero(spaces[1:] == spaces[:-1]))


def collisions(words: Words, variant: str) -> list[Result]:
    """Test how many words of a lane share their top or low 24 bits with an earlier one; the statistic is the number.

    2^14 words of a lane fall into 2^24 cells. Arguments are those of `spacings`.
    """
    columns = words[: _BALLS * (words.shape[0] // _BALLS)]
    groups = columns.reshape(-1, _BALLS, LANES).transpose(0, 2, 1).reshape(-1, _BALLS)[:_BALL_GROUPS]
    cells = 1 << _CELL_BITS
    expected = len(groups) * (_BALLS + cells * expm1(_BALLS * log1p(-1 / cells)))
    rows = []
    for name, shift in (("top", 32 - _CELL_BITS), ("low", 0)):
        balls = np.sort((groups >> np.uint32(shift)) & np.uint32(cells - 1), axis=1)
        found = int(np.count_nonzero(balls[:, 1:] == balls[:, :-1]))
        p_value = poisson_p_value(found, expected)
        rows.append(Result("collisions", f"{variant}lane, {name} 24 bits", found, p_value, 32 * groups.size))
    return rows


def gaps(words: Words, variant: str) -> list[Result]:
    """Test the gaps between the words of a lane whose top, or low, byte is zero; chi-square of 64 classes."""
    rows = []
    for name, shift in (("top", 24), ("low", 0)):
        counts = _gap_counts(words, shift)
        beyond = (255 / 256) ** (_GAP_WIDTH * np.arange(_GAP_CLASSES))
        probabilities = np.append(beyond[:-1] - beyond[1:], beyond[-1])
        rows.append(chi_square_result("gaps", f"{variant}lane, {name} byte", counts, probabilities, 32 * words.size))
    return rows


@compiled
def _gap_counts(words: Words, shift: int) -> npt.NDArray[np.int64]:
    """Count the words between one whose byte is zero and the next, in classes of 16."""
    counts = np.zeros(_GAP_CLASSES, np.int64)
    last = np.full(words.shape[1], -1, np.int64)
    for step in range(words.shape[0]):
        for lane in range(words.shape[1]):
            if (words[step, lane] >> np.uint32(shift)) & np.uint32(255):
                continue
            if last[lane] >= 0:
                counts[min((step - last[lane] - 1) // _GAP_WIDTH, _GAP_CLASSES - 1)] += 1
            last[lane] = step
    return counts
