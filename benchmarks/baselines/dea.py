"""A key from data envelopment analysis, and a small CNN that turns chaos into a key stream.

The idea, as schemes of this kind state it: the blocks of the plain image are decision making units, linear programs
give each its efficiency, and the efficiencies with the user's key are the key of a chaos and CNN cipher. So every image
has a key of its own. No complete public description was found to rebuild; what follows is the idea with every gap
filled in the plainest way:

- Efficiency is that of Charnes, Cooper and Rhodes (Measuring the efficiency of decision making units, European Journal
  of Operational Research 2, 1978), one linear program for each of 8 x 8 blocks. Inputs are mean and standard deviation,
  outputs are entropy and range of a block, each plus one, as the model wants positive numbers.
- The efficiencies belong to the plain image, which the receiver does not have yet. Sent apart they cost 32 bytes with
  every image, as a digest. Here they cost nothing: a digest of the efficiencies of all but the first 32 samples hides
  those samples, and these, hidden, are the key of the rest. That costs an attack instead, see `recover`.
- A linear program in floating point inside a key: another version of the solver, or another machine, may round a score
  to the other side and then decrypts noise. Scores are rounded to 24 bits against it, which is no guarantee.
- There is no nonce, as in most schemes of the literature: equal images give equal cipher images.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import shake_256

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import block_diag

from benchmarks.baselines.scheme import Image

BLOCKS_PER_AXIS = 8
HEAD_SAMPLES = 32
_SCORE_SCALE = 1 << 24
_FILTERS = 2
_TAPS = 9
_WARM_UP_STEPS = 64
_LOGISTIC_RATE = 3.9999

Table = npt.NDArray[np.float64]


class Dea:
    """Efficiencies of the image's blocks as its key; see `benchmarks.baselines.scheme.Scheme`."""

    name = "DEA + CNN"
    source = "a key from data envelopment analysis (CCR model, 1978); no full description found, so most is ours"
    lossless = True
    uses_nonce = False

    def encrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Return the cipher image of 2 samples or more; the nonce is ignored."""
        output = image.copy()
        head, body = _split(output)
        head ^= _mask(image, key, head.size)
        body ^= key_stream(image.shape, key, head)[head.size :]
        return output

    def decrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Undo `encrypt`."""
        output = image.copy()
        head, body = _split(output)
        body ^= key_stream(image.shape, key, head)[head.size :]
        head ^= _mask(output, key, head.size)
        return output


def efficiencies(inputs: Table, outputs: Table, *, orientation: str = "input") -> npt.NDArray[np.float64]:
    """Solve the CCR model in its envelopment form for every unit.

    Parameters
    ----------
    inputs, outputs
        float64 (units, inputs) and (units, outputs), above zero. Units of measurement don't matter.
    orientation
        "input": the share of its inputs with which the best units give the same outputs, in (0, 1].
        "output": how often its outputs the best units give from the same inputs, 1 or more, the reciprocal.

    Returns
    -------
    ndarray
        float64 (units,).

    Raises
    ------
    ValueError
        A value is not above zero, the numbers of units differ, or the orientation is another.
    """
    if len(inputs) != len(outputs) or orientation not in ("input", "output"):
        raise ValueError(
            f"inputs and outputs must have a row for each unit and orientation be 'input' or 'output', "
            f"got {len(inputs)} and {len(outputs)} rows, {orientation!r}"
        )
    if not ((inputs > 0).all() and (outputs > 0).all()):
        raise ValueError("inputs and outputs must be above 0")
    # Equal units have one efficiency, and an even background has many of them.
    units, which = np.unique(
        np.hstack([inputs / inputs.max(axis=0), outputs / outputs.max(axis=0)]), axis=0, return_inverse=True
    )
    spent, made = np.split(units.T, [inputs.shape[1]])
    return _scores(spent, made, shrink=orientation == "input")[which]


def _scores(spent: Table, made: Table, *, shrink: bool) -> npt.NDArray[np.float64]:
    """A program for each unit over its score and a weight for every unit; all in one call, which is nine times as fast.

    spent weights <= score * spent_o and made weights >= made_o, the score smallest; or, with the inputs of the unit as
    they are, made weights >= score * made_o, the score largest.
    """
    n_units = spent.shape[1]
    programs, bounds = [], []
    for unit in range(n_units):
        own_spent, own_made = spent[:, [unit]], made[:, [unit]]
        scored = np.vstack([-own_spent, 0 * own_made] if shrink else [0 * own_spent, own_made])
        programs.append(np.hstack([scored, np.vstack([spent, -made])]))
        bounds.append(np.vstack([0 * own_spent, -own_made] if shrink else [own_spent, 0 * own_made]))
    goal = np.zeros((n_units, n_units + 1))
    goal[:, 0] = 1 if shrink else -1
    # The programs share nothing, so the least sum is the sum of the least.
    solved = linprog(
        goal.reshape(-1),
        A_ub=block_diag(programs, format="csc"),
        b_ub=np.concatenate(bounds)[:, 0],
        bounds=(0, None),
        method="highs",
    )
    found: npt.NDArray[np.float64] = solved.x.reshape(n_units, n_units + 1)[:, 0]
    return found


def block_statistics(image: Image) -> tuple[Table, Table]:
    """Return inputs (mean, standard deviation) and outputs (entropy in bits, range) of the blocks, each plus one.

    All four depend on a block's histogram only: samples that change places within a block change nothing.
    """
    blocks = [
        block.reshape(-1)
        for band in np.array_split(image, min(BLOCKS_PER_AXIS, image.shape[0]))
        for block in np.array_split(band, min(BLOCKS_PER_AXIS, image.shape[1]), axis=1)
    ]
    inputs = [(block.mean(), block.std()) for block in blocks]
    outputs = [(_entropy(block), int(block.max()) - int(block.min())) for block in blocks]
    return np.array(inputs, float) + 1, np.array(outputs, float) + 1


def key_stream(shape: tuple[int, ...], key: bytes, digest: Image) -> Image:
    """The logistic map in float64, a row an orbit, through two 3x3 filters with ReLU, modulo 256; flat."""
    rows, columns = shape
    seeds = shake_256(b"dea-cnn/stream" + key + digest.tobytes()).digest(8 * rows + _FILTERS * (_TAPS + 2))
    state = (np.frombuffer(seeds, "<u8", rows) >> np.uint64(11)).astype(np.float64) / 2**53
    chaos = np.empty((columns, rows), np.uint8)
    for step in range(-_WARM_UP_STEPS, columns):
        state = _LOGISTIC_RATE * state * (1 - state)
        if step >= 0:
            chaos[step] = (state * 2**40).astype(np.int64) & 0xFF  # far below the bits whose distribution is uneven
    plane = np.ascontiguousarray(chaos.T)
    weights = np.frombuffer(seeds, np.uint8, offset=8 * rows).reshape(_FILTERS, _TAPS + 2)
    stream = plane.copy()
    for filter_weights in weights:
        stream += filter_weights[_TAPS] * _rectified_convolution(plane, filter_weights)
    return stream.reshape(-1)


def recover(encrypt: Callable[[Image], Image], cipher_image: Image) -> Image:
    """Decrypt a cipher image with three chosen plain images and no key.

    The key of the body is the hidden head, which is public and, for a body whose mask is known, ours to choose.

    Parameters
    ----------
    encrypt
        The cipher under the key that is attacked.
    cipher_image
        What it made of the image that is wanted.
    """
    chosen = np.zeros_like(cipher_image)
    head, _ = _split(chosen)
    known_mask = _split(encrypt(chosen))[0]
    head[:] = _split(cipher_image)[0] ^ known_mask  # this head, hidden, is the one of the cipher image
    plain = cipher_image ^ encrypt(chosen)
    plain_head, _ = _split(plain)
    plain_head[:] = 0
    plain_head[:] = _split(cipher_image)[0] ^ _split(encrypt(plain))[0]
    return plain


def _split(image: Image) -> tuple[Image, Image]:
    """Views of the first 32 samples, or half of a tiny image, and of the rest."""
    flat = image.reshape(-1)
    n_head = min(HEAD_SAMPLES, flat.size // 2)
    return flat[:n_head], flat[n_head:]


def _mask(image: Image, key: bytes, n_head: int) -> Image:
    """A digest of the efficiencies of all but the head."""
    bodies = image.copy()
    bodies.reshape(-1)[:n_head] = 0
    scores = np.rint(efficiencies(*block_statistics(bodies)) * _SCORE_SCALE).astype("<u4")
    return np.frombuffer(shake_256(b"dea-cnn/scores" + key + scores.tobytes()).digest(n_head), np.uint8)


def _rectified_convolution(plane: Image, weights: Image) -> Image:
    """max(0, hidden) of a cyclic 3x3 convolution modulo 256, taken as signed.

    The centre has no weight: what is added to a sample does not depend on it, so even samples stay even.
    """
    hidden = np.full(plane.shape, weights[_TAPS + 1])
    for tap in range(_TAPS):
        if tap != _TAPS // 2:
            hidden += weights[tap] * np.roll(plane, (1 - tap // 3, 1 - tap % 3), (0, 1))
    return np.where(hidden < 128, hidden, np.uint8(0))


def _entropy(block: Image) -> float:
    counts = np.bincount(block, minlength=256)
    share = counts[counts > 0] / block.size
    return float(-(share * np.log2(share)).sum())
