"""What a statistical test returns, and how bits are taken from bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.randomness.special import igamc

#: A sequence of bits: uint8, one dimension, every element 0 or 1.
Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Result:
    """One P-value.

    Parameters
    ----------
    test
        Name of the test, one of `iomt_crypt.analysis.randomness.TESTS`.
    variant
        Which of the test's P-values: "forward", "template 000000001", "state +1" ...; empty if there is only one.
    statistic
        The value that the P-value was computed from; which one, the test's docstring says.
    p_value
        Probability, under the hypothesis of randomness, of a statistic as extreme as this one, 0 to 1.
    n_bits
        Length of the sequence.
    """

    test: str
    variant: str
    statistic: float
    p_value: float
    n_bits: int

    @property
    def row(self) -> str:
        """Name of the row in a table: test and variant."""
        return f"{self.test}, {self.variant}" if self.variant else self.test

    def passed(self, *, alpha: float = 0.01) -> bool:
        """Whether the P-value is not below the level of significance (SP 800-22, section 1.1.5)."""
        return self.p_value >= alpha

    def to_dict(self) -> dict[str, Any]:
        """Return plain types only, for JSON."""
        return asdict(self)


def bits_of(data: bytes | npt.NDArray[Any]) -> Bits:
    """Return the bits of bytes in order, the most significant bit of each byte first.

    Parameters
    ----------
    data
        Bytes, or an array of samples; an array is taken as its bytes with little-endian words in C order, as the
        cipher and DICOM's little-endian transfer syntaxes order them.

    Returns
    -------
    ndarray
        uint8, 8 elements for each byte, each 0 or 1.
    """
    if isinstance(data, np.ndarray):
        data = data.astype(data.dtype.newbyteorder("<")).tobytes()
    return np.unpackbits(np.frombuffer(data, np.uint8))


def check_bits(bits: Bits, test: str, n_minimum: int) -> Bits:
    """Return `bits` as a contiguous array if they are a sequence that the test can take.

    Raises
    ------
    TypeError
        `bits` is not a one-dimensional array of uint8.
    ValueError
        An element is neither 0 nor 1, or there are fewer than `n_minimum`.
    """
    if not isinstance(bits, np.ndarray) or bits.dtype != np.uint8 or bits.ndim != 1:
        found = f"{bits.ndim}-D {bits.dtype}" if isinstance(bits, np.ndarray) else type(bits).__name__
        raise TypeError(f"{test}: bits must be a one-dimensional array of uint8, got {found}")
    if bits.size < max(1, n_minimum):
        raise ValueError(f"{test}: needs at least {max(1, n_minimum)} bits, got {bits.size}")
    if int(bits.max()) > 1:
        raise ValueError(f"{test}: bits must be 0 or 1, got {int(bits.max())}")
    return np.ascontiguousarray(bits)


def chi_square_result(
    test: str, variant: str, counts: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64], n_bits: int
) -> Result:
    """Return the chi-square test of counts against the probabilities of their classes (one degree of freedom less)."""
    expected = counts.sum() * probabilities
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    return Result(test, variant, chi_square, igamc((len(counts) - 1) / 2, chi_square / 2), n_bits)
