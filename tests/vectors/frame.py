"""Cases of cipher.json and stage.json, from the reference backend; what is random is SHAKE-256 of the case's name."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256, shake_256
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from iomt_crypt import cipher
from iomt_crypt.cipher import reference
from iomt_crypt.cipher.constant import Samples
from iomt_crypt.cipher.schedule import Geometry, Schedule, make_schedule, move_seeds, round_seeds

Case = dict[str, Any]

#: All backends of the package by name.
BACKENDS = tuple(name for name in get_args(cipher.Backend) if name != "auto")
WORD_BITS = (8, 16)
#: Frames of more bytes are given by a rule and their SHA-256.
LONG_BYTES = 1024
SIZES = (0, 1, 2, 3, 4, 5, 7, 15, 16, 17, 63, 64, 65, 127, 128, 129, 777, 1531, 3001)
#: Around 1024 parts of one and of two words.
PART_SIZES = (1023, 1024, 1025, 2047, 2048, 2049)
#: Around one lane step and one pooled block in each half, in bytes.
HALF_BYTES = (512, 2048)
TWEAK_BYTES = (0, 1, 8, 62, 63, 64, 300)  # 63 ends a block of SHAKE-256
LARGE = 512


@dataclass(frozen=True)
class Recipe:
    """What makes one case; key and tweak come from the name unless they are given."""

    name: str
    w: int
    n: int
    row_length: int = 0
    tweak_bytes: int = 8
    rule: str = "shake"
    key: bytes | None = None

    def noise(self, use: str, size: int) -> bytes:
        return shake_256(self.label(use).encode("ascii")).digest(size)

    def label(self, use: str) -> str:
        return f"iomt-crypt vector {self.name} {use}"

    @property
    def key_bytes(self) -> bytes:
        return self.noise("key", 32) if self.key is None else self.key

    @property
    def tweak(self) -> bytes:
        return self.noise("tweak", self.tweak_bytes)

    @property
    def plain(self) -> Samples:
        """uint8 or uint16 (n,), little-endian on every machine."""
        dtype = np.dtype(f"<u{self.w // 8}")
        size = self.n * dtype.itemsize
        if self.rule == "ramp":
            return (np.arange(self.n) % 2**self.w).astype(dtype)
        data = {"zero": bytes(size), "max": b"\xff" * size}.get(self.rule) or self.noise("plain", size)
        return np.frombuffer(data, dtype)

    @property
    def geometry(self) -> Geometry:
        return Geometry.of(self.n, self.row_length, self.w)

    @property
    def schedule(self) -> Schedule:
        return make_schedule(self.key_bytes, self.tweak, self.geometry)

    def arguments(self) -> Case:
        """The inputs but for the plain words."""
        return {
            "name": self.name,
            "w": self.w,
            "n": self.n,
            "row_length": self.row_length,
            "key": self.key_bytes.hex(),
            "tweak": self.tweak.hex(),
        }


def recipes() -> list[Recipe]:
    """All frames of cipher.json."""
    found: list[Recipe] = []
    for w in WORD_BITS:
        edges = {2 * 8 * half // w + d for half in HALF_BYTES for d in (-2, -1, 0, 1, 2)}
        for n in sorted({*SIZES, *PART_SIZES, *edges}):
            found.append(Recipe(f"size w{w} n{n}", w, n))
        for n in (5, 9, 64, 65, 1300):
            m = n // 2
            for row in sorted({-1, 0, 1, 2, 3, m // 2, m - 2, m - 1, m, m + 1, n, 2**31}):
                found.append(Recipe(f"row w{w} n{n} row {row}", w, n, row))
        for size in TWEAK_BYTES:
            found.append(Recipe(f"tweak w{w} of {size}", w, 40, 5, size))
        for rule in ("zero", "max", "ramp"):
            for n in (1, 2, 33, 64, 300, 1300):
                found.append(Recipe(f"{rule} w{w} n{n}", w, n, 8, 0, rule))
        for name, byte in (("zero", b"\x00"), ("max", b"\xff")):
            found.append(Recipe(f"key w{w} {name}", w, 64, 8, 0, key=32 * byte))
        found.append(Recipe(f"large w{w}", w, LARGE * LARGE, LARGE))
    return found


def cipher_case(recipe: Recipe) -> Case:
    """Inputs and output of one frame."""
    plain = recipe.plain
    native = plain.astype(plain.dtype.newbyteorder("="))
    cipher.encrypt_into(
        native, native, recipe.key_bytes, tweak=recipe.tweak, row_length=recipe.row_length, backend="reference"
    )
    secret = native.astype(plain.dtype).tobytes()
    case = recipe.arguments()
    if plain.nbytes <= LONG_BYTES:
        return {**case, "plain": plain.tobytes().hex(), "cipher": secret.hex()}
    rule = f"shake {recipe.label('plain')}" if recipe.rule == "shake" else recipe.rule
    plain_sha256, cipher_sha256 = sha256(plain.tobytes()).hexdigest(), sha256(secret).hexdigest()
    return {**case, "plain_rule": rule, "plain_sha256": plain_sha256, "cipher_sha256": cipher_sha256}


STAGES = (
    Recipe("stage w16 n1", 16, 1),
    Recipe("stage w8 n2", 8, 2, tweak_bytes=0),
    Recipe("stage w16 n3", 16, 3),
    Recipe("stage w8 n37", 8, 37, 5),
    Recipe("stage w16 n64", 16, 64, 8),
    Recipe("stage w8 n1300, two lane steps, runs of two", 8, 1300, 26),
    Recipe("stage w16 n2100, two pooled blocks, runs of three", 16, 2100, 42, rule="ramp"),
)


def stage_case(recipe: Recipe) -> Case:
    """Every value on the way of one frame, from the stages of the reference backend."""
    geometry, schedule = recipe.geometry, recipe.schedule
    plain = recipe.plain
    vector = plain.astype(plain.dtype.newbyteorder("="))
    left, right = vector[: geometry.n_left], vector[geometry.n_left :]
    case = {**recipe.arguments(), "plain": plain.tobytes().hex(), "schedule": _schedule_case(recipe), "rounds": []}
    for r in range(4):
        if r == 2:
            case["move"] = _move(vector, geometry, schedule)
        source, target = (left, right) if r % 2 == 0 else (right, left)
        case["rounds"].append({**_round(source, target, r, geometry, schedule), "L": _hex(left), "R": _hex(right)})
    expected = np.empty_like(vector)
    reference.encrypt_words(plain.astype(vector.dtype), expected, geometry, schedule)
    if not np.array_equal(vector, expected):
        raise AssertionError(f"{recipe.name}: the stages do not make up the cipher")
    return case


def _schedule_case(recipe: Recipe) -> Case:
    """Weights as the rounds use them, hence modulo 2^w."""
    schedule = recipe.schedule
    dtype = np.uint8 if recipe.w == 8 else np.uint16
    kernels, mixes = schedule.kernels.astype(dtype), schedule.mixes.astype(dtype)
    return {
        "row_length": recipe.geometry.row_length,
        "round_keys": [key.hex() for key in schedule.round_keys],
        "move_key": schedule.move_key.hex(),
        "A": _hex(schedule.pool_keys[0]),
        "B": _hex(schedule.pool_keys[1]),
        "weight": kernels[..., :9].tolist(),
        "bias": kernels[..., 9].tolist(),
        "V+": mixes[..., 0].tolist(),
        "V-": mixes[..., 1].tolist(),
    }


def _round(source: Samples, target: Samples, r: int, geometry: Geometry, schedule: Schedule) -> Case:
    """Values of one round, which changes `target`."""
    features = reference.pool(source, schedule.pool_keys)
    seeds = round_seeds(schedule.round_keys[r], source.size, features)
    stream = reference.round_stream(source, target, r, schedule)
    added = reference.convolve(source, target.size, r, geometry, schedule)
    target += added
    target ^= stream
    return {"features": features.hex(), "seeds": _hex(seeds), "stream": _hex(stream), "cnn": _hex(added)}


def _move(vector: Samples, geometry: Geometry, schedule: Schedule) -> Case:
    """Values of the repositioning, which changes `vector`."""
    run, m = geometry.run_length, geometry.n_left
    positions = reference.move_order(geometry, schedule)
    vector[:] = vector[positions]
    return {
        "seeds": _hex(move_seeds(schedule.move_key)),
        "run": run,
        "order_L": _order(positions[:m], run),
        "order_R": _order(positions[m:] - m, run),
        "L": _hex(vector[:m]),
        "R": _hex(vector[m:]),
    }


def _order(positions: npt.NDArray[np.int64], run: int) -> list[int]:
    """Of words to runs."""
    parts = len(positions) // run
    return [int(position) // run for position in positions[: parts * run : run]]


def _hex(words: npt.NDArray[Any]) -> str:
    return words.astype(words.dtype.newbyteorder("<")).tobytes().hex()
