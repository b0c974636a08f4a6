"""Linear algebra for attacks: which combination of known cipher images is the target, over GF(2), Z/256 and the reals.

If encryption is affine, and a cipher image is a combination of known cipher images, then its plain image is the same
combination of the known plain images. The matrix of the cipher is never needed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.attack.result import Image

_Bytes = npt.NDArray[np.uint8]


def solve_gf2(inputs: Image, outputs: Image, target: Image) -> Image:
    """Apply to `target` the GF(2)-linear map of bits that takes every row of `inputs` to that row of `outputs`.

    Parameters
    ----------
    inputs, outputs
        uint8 (rows, bytes of input), (rows, bytes of output).
    target
        uint8 (bytes of input).

    Returns
    -------
    ndarray
        uint8 (bytes of output). What is not in the span of `inputs` is left out, as if it were mapped to 0.
    """
    n_bits, n_bytes = 8 * inputs.shape[1], inputs.shape[1] + outputs.shape[1]
    rows = np.zeros((len(inputs) + 1, -(-n_bytes // 8) * 8), np.uint8)
    rows[:-1, :n_bytes] = np.concatenate([inputs, outputs], axis=1)
    rows[-1, : inputs.shape[1]] = target
    words = rows.view(np.uint64)
    rank = 0
    for column in range(n_bits):
        bits = (rows[rank:, column // 8] >> (column % 8)) & 1
        candidates = np.flatnonzero(bits[:-1])  # the target, in the last row, is reduced and never reduces
        if candidates.size == 0:
            continue
        pivot = words[rank + candidates[0]].copy()
        bits[candidates[0]] = bits[0]
        words[rank + candidates[0]] = words[rank]
        words[rank] = pivot
        bits[0] = 0
        words[rank + np.flatnonzero(bits)] ^= pivot
        rank += 1
    return rows[-1, inputs.shape[1] : n_bytes].copy()


def solve_mod256(inputs: Image, outputs: Image, target: Image) -> Image:
    """Apply to `target` the map, linear modulo 256, that takes every row of `inputs` to that row of `outputs`.

    Parameters and returned array are those of `solve_gf2`, with bytes as numbers.
    """
    n_columns = inputs.shape[1]
    rows: _Bytes = np.zeros((len(inputs) + 1, n_columns + outputs.shape[1]), np.uint8)
    rows[:-1, :n_columns], rows[:-1, n_columns:] = inputs, outputs
    rows[-1, :n_columns] = target
    rank = 0
    for column in range(n_columns):
        # Odd numbers are the ones with an inverse modulo 256.
        candidates = np.flatnonzero(rows[rank:-1, column] & 1)
        if candidates.size == 0:
            continue
        rows[[rank, rank + candidates[0]]] = rows[[rank + candidates[0], rank]]
        inverse = np.uint8(pow(int(rows[rank, column]), -1, 256))
        pivot = rows[rank] * inverse
        below = rows[rank + 1 :]
        below -= below[:, column, np.newaxis] * pivot
        rank += 1
    # The target minus its combination is 0 on the left; on the right stands minus the combination of the outputs.
    return (0 - rows[-1, n_columns:]).astype(np.uint8)


def solve_real(inputs: Image, outputs: Image, target: Image) -> Image:
    """Apply to `target` the least-squares fit of `outputs` by `inputs` over the reals, rounded and clipped to bytes."""
    centred = inputs.astype(np.float64) - inputs.mean(axis=0)
    # A ridge of one grey value squared: a column without variance, as the one that makes maps affine, does no harm.
    normal = centred.T @ centred + np.eye(inputs.shape[1])
    weights = np.linalg.solve(normal, centred.T @ (outputs - outputs.mean(axis=0)))
    fitted = (target.astype(np.float64) - inputs.mean(axis=0)) @ weights + outputs.mean(axis=0)
    clipped: Image = np.clip(np.rint(fitted), 0, 255).astype(np.uint8)
    return clipped
