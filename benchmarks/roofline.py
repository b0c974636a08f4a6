"""What bounds the numba backend on this CPU: ``python -m benchmarks.roofline``.

Counts the instructions of the inner loops in the machine code that numba makes here, measures what a cycle is worth and
how long each stage takes, and writes two tables of docs/PERFORMANCE.md. The counts need x86 with AVX2.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from benchmarks.scaling import KEY, cpu_name, write_section
from iomt_crypt import cipher
from iomt_crypt.cipher import kernel, keystream, numba_backend
from iomt_crypt.cipher.schedule import Geometry, make_schedule, move_seeds, round_seeds

#: Vector instructions of 32 bytes in a cycle on AMD Zen 3 (Agner Fog's tables; uops.info): multiplications, all that
#: compute, loads. A load that is not aligned is measured here.
MULTIPLY, COMPUTE, LOAD = 2, 4, 2
#: How long each measurement is repeated; the shortest repetition counts.
SECONDS = 1.0
SIDE = 512


@numba.njit
def _chain(count: int) -> Any:
    """Six operations of one cycle each that wait for each other."""
    x = np.uint64(88172645463325252)
    for _ in range(count):
        x ^= x << np.uint64(13)
        x ^= x >> np.uint64(7)
        x ^= x << np.uint64(17)
    return x


@numba.njit
def _load(words: Any, count: int) -> Any:
    """Read 16 KiB of uint64, which lie in the first-level cache, `count` times."""
    total = np.uint64(0)
    for _ in range(count):
        part = np.uint64(0)
        for i in range(2048):
            part ^= words[i]
        total += part
    return total


@numba.njit
def _convolve(count, up, mid, down, weights, mix, out):
    for _ in range(count):
        kernel._convolve(up, mid, down, out.size, weights, mix, out)


@numba.njit
def _lanes(count, lanes, words, veils):
    for _ in range(count):
        keystream.logistic_steps(lanes, words, veils)


@numba.njit
def _pool(count, words, keys, features):
    for _ in range(count):
        keystream.pool_block(words, np.uint64(0), keys, features, 0)


@dataclass(frozen=True)
class Mix:
    """Instructions of the innermost loop with the most multiplications, for each 32 bytes of a register."""

    multiply: int
    compute: int
    load: int
    store: int


@dataclass(frozen=True)
class Loop:
    """An inner loop: instructions for one vector of its output, and cycles, bound and measured."""

    name: str
    mix: Mix
    misaligned: int
    vectors: float
    cycles: float

    def bounds(self, misaligned_cycles: float) -> dict[str, float]:
        """Cycles that each resource alone would take."""
        mix = self.mix
        aligned = mix.load - self.misaligned
        return {
            "multiply": mix.multiply / MULTIPLY,
            "compute": (mix.multiply + mix.compute) / COMPUTE,
            "load": aligned / LOAD + self.misaligned * misaligned_cycles,
        }


def seconds(job: Callable[[], object]) -> float:
    """Shortest of many runs: what the machine can do when nobody disturbs it."""
    job()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:
        job()
        best = min(best, time.perf_counter() - start)
    return best


def count_instructions(function: Any, *arguments: Any) -> Mix:
    """Compile a kernel by itself for `arguments` and count in its busiest loop."""
    compiled = numba.njit(function.py_func, nogil=True, boundscheck=False)
    compiled(*arguments)
    text = next(iter(compiled.inspect_asm().values()))
    blocks = [block for block in re.split(r"^\.LBB\S+:", text, flags=re.MULTILINE) if "ymm" in block]
    loop = max(blocks, key=lambda block: len(re.findall(r"vpmul\w+ .*ymm|vpmul\w+\t.*ymm", block)))
    found = {"multiply": 0, "compute": 0, "load": 0, "store": 0}
    for line in loop.splitlines():
        operation, _, operands = line.strip().partition("\t")
        if "ymm" not in operands:
            continue
        if operation.startswith("vmov"):
            found["store" if operands.endswith(")") else "load"] += 1
            continue
        found["load"] += "(" in operands
        found["multiply" if operation.startswith("vpmul") else "compute"] += 1
    return Mix(**found)


def shifted() -> list[Any]:
    """The same memory from an address that is a multiple of 64, and 8 bytes later."""
    words = aligned(16384 + 64, np.uint64)
    return [words[:2048], words[1:2049]]


def aligned(n_bytes: int, dtype: Any) -> Any:
    raw = np.zeros(n_bytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + n_bytes].view(dtype)


def measure_loops(hertz: float) -> list[Loop]:
    """The three loops that the time goes into."""
    rng = np.random.default_rng(1)
    weights, mix = rng.integers(0, 1 << 16, (2, 10)).astype(np.uint16), np.ones((2, 2), np.uint16)
    loops = []
    for bits, dtype in ((16, np.uint16), (8, np.uint8)):
        words, out = aligned(8192, dtype), aligned(4096, np.uint16)[: 2048 * 8 // bits]
        rows = words[1:], words[513:], words[1025:]
        found = count_instructions(kernel._convolve, *rows, out.size, weights, mix, out)
        taken = seconds(lambda rows=rows, out=out: _convolve(100, *rows, weights, mix, out)) / 100
        # both filters, 16 samples
        loops.append(Loop(f"network, {bits} bit, one filter", found, 9, 2 * out.size / 16, taken * hertz))
    stream, features = aligned(2048, np.uint64), np.zeros(2, np.uint64)
    lanes, veils = keystream.start_lanes(rng.integers(0, 1 << 32, (3, 128)).astype(np.uint32))
    found = count_instructions(keystream.logistic_steps, lanes, stream, veils)
    taken = seconds(lambda: _lanes(100, lanes, stream, veils)) / 100
    steps = keystream.BLOCK_STEPS
    loops.append(Loop(f"lanes, {steps} steps of four pairs", found, 0, stream.size / 4 / steps, taken * hertz))
    keys = keystream.split_keys(rng.integers(0, 1 << 32, (2, 257)).astype(np.uint32))
    found = count_instructions(keystream.pool_block, stream, np.uint64(0), keys, features, 0)
    taken = seconds(lambda: _pool(100, stream, keys, features)) / 100
    # rows of keys are 129 words long, so three of four are not aligned, and those of the next place never are
    found = scaled(found, found.multiply // 4)
    loops.append(Loop("pooling, eight pairs, two passes", found, 4, 32, taken * hertz))
    return loops


def scaled(mix: Mix, times: int) -> Mix:
    """What is left of a loop that the compiler has unrolled."""
    return Mix(mix.multiply // times, mix.compute // times, mix.load // times, mix.store // times)


def loop_table(hertz: float, misaligned_cycles: float, loops: list[Loop]) -> str:
    lines = [
        f"{cpu_name()}, {hertz / 1e9:.2f} GHz by a chain of dependent operations; a misaligned load of 32 bytes takes "
        f"{misaligned_cycles:.2f} cycles, an aligned one {1 / LOAD}.",
        "",
        "| loop | multiply | other | load | store | bound by multiplier | by all that computes | by loads | measured |",
        "|" + "---|" * 9,
    ]
    for loop in loops:
        mix, bounds = loop.mix, loop.bounds(misaligned_cycles)
        cells = [loop.name, mix.multiply, mix.compute, f"{mix.load} ({loop.misaligned} misaligned)", mix.store]
        cells += [f"{bounds[name]:.1f}" for name in ("multiply", "compute", "load")]
        lines.append(f"| {' | '.join(map(str, [*cells, f'{loop.cycles / loop.vectors:.1f}']))} |")
    return "\n".join(lines)


def summary(hertz: float, misaligned_cycles: float, loops: list[Loop]) -> str:
    """The three loops of 16-bit frames together, in GB/s: every byte is twice in a target and twice in a source."""
    network, _, lanes, pooling = loops
    # vectors of a loop for 32 bytes of image
    weights = ((network, 4.0), (lanes, 2 * 32 / 128), (pooling, 2 * 32 / 64))
    bounds = [(loop.bounds(misaligned_cycles), loop.cycles / loop.vectors, weight) for loop, weight in weights]
    cycles = {
        "by the multiplier alone": sum(bound["multiply"] * weight for bound, _, weight in bounds),
        "by the slowest resource of each": sum(max(bound.values()) * weight for bound, _, weight in bounds),
        "reached": sum(taken * weight for _, taken, weight in bounds),
    }
    figures = ", ".join(f"{name} {32 / value * hertz / 1e9:.1f} GB/s" for name, value in cycles.items())
    return f"The loops of 16-bit frames together: {figures}. The rest of a frame comes on top of that."


def frame_table(loops: list[Loop], hertz: float) -> str:
    """Where the time of one 512 x 512 frame of 16 bits goes."""
    frame = np.random.default_rng(1).integers(0, 1 << 12, (SIDE, SIDE)).astype(np.uint16)
    output = np.empty_like(frame)
    geometry = Geometry.of(frame.size, SIDE, 16)
    schedule = make_schedule(KEY, b"", geometry)
    work, target = frame.reshape(1, -1).copy(), output.reshape(1, -1)
    rounds = numba_backend._Group(geometry, [schedule], decrypting=False)
    features = rounds._features(0)
    seeds = round_seeds(schedule.round_keys[0], geometry.n_left, features.tobytes())[np.newaxis]
    sizes = geometry.n_left, geometry.run_length

    def one_round() -> None:
        arguments = (geometry.n_left, 0, geometry.row_length, rounds._weights, rounds._mixes, seeds)
        kernel.run_rounds(work, *arguments, False, rounds._pool_keys, features[:, :0])

    def hashes() -> None:
        make_schedule(KEY, b"", geometry)
        for key in schedule.round_keys:
            round_seeds(key, geometry.n_left, features.tobytes())
        move_seeds(schedule.move_key)

    blocks = 2 * frame.nbytes / 2048
    total = seconds(lambda: cipher.encrypt_into(frame, output, KEY))
    rows = {
        "network": blocks * loops[0].cycles / hertz,
        "lanes": blocks * loops[2].cycles / hertz,
        "combination, and what a round does once": 0.0,
        "pooling": 4 * seconds(lambda: kernel.pool_frames(work, geometry.n_left, False, rounds._pool_keys, features)),
        "SHAKE-256, key schedule included (holds the GIL)": seconds(hashes),
        "repositioning": seconds(lambda: kernel.move_frames(work, target, *sizes, seeds, False)),
        "copy to the work memory": seconds(lambda: np.copyto(work, target)),
    }
    all_rounds = 4 * seconds(one_round)
    rows["combination, and what a round does once"] = all_rounds - rows["network"] - rows["lanes"]
    rows["the rest: calls from Python, and data that one stage alone keeps in its cache"] = total - sum(rows.values())
    lines = ["| stage | µs | share |", "|---|---|---|"]
    lines += [f"| {name} | {value * 1e6:.0f} | {value / total:.0%} |" for name, value in rows.items()]
    lines.append(f"| all: {frame.nbytes / total / 1e9:.2f} GB/s | {total * 1e6:.0f} | |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write."""
    cipher.warm_up()
    hertz = 6e6 / seconds(lambda: _chain(1_000_000))
    cycles = [seconds(lambda words=words: _load(words, 200)) / 200 / 512 * hertz for words in shifted()]
    print("loads of 32 bytes, aligned and not:", cycles)
    loops = measure_loops(hertz)
    for name, text in (
        ("loops", loop_table(hertz, cycles[1], loops) + "\n\n" + summary(hertz, cycles[1], loops)),
        ("frame", frame_table(loops, hertz)),
    ):
        print(text, end="\n\n")
        write_section(name, text)


if __name__ == "__main__":
    main()
