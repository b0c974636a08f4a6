"""An ESTIMATE of what an NVIDIA H200 does with the torch backend, not a measurement: ``python -m benchmarks.estimate``.

Counts the operations and bytes of every stage by running it on tensors of the CPU, and the instructions of the Triton
kernels in their machine code; measures here what the host does for each frame; divides by the figures of data sheets.
Writes a section of docs/PERFORMANCE.md. Where there is a device, ``python -m benchmarks.gpu`` measures.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from triton.tools.disasm import get_sass

from benchmarks.scaling import KEY, cpu_name, write_section
from iomt_crypt.cipher import kernel, torch_backend, torch_stage, torch_triton
from iomt_crypt.cipher.schedule import Geometry, make_schedule, move_seeds, round_seeds
from tests.cipher.test_cipher_triton import COMBINE, STEPS, translate

#: Data sheets: memory of the H200, 4.8 TB/s; PCIe 5.0 x16, 64 GB/s in one direction; 132 multiprocessors with four
#: times 32 lanes at 1.98 GHz.
MEMORY_BYTES_PER_SECOND = 4.8e12
PCIE_BYTES_PER_SECOND = 64e9
INSTRUCTIONS_PER_SECOND = 132 * 128 * 1.98e9
#: Assumed: one operation called from Python, and the rate at which all cores of the host copy.
CALL_SECONDS = 5e-6
HOST_COPY_BYTES_PER_SECOND = 50e9
#: Side of the frames, number in one chunk.
FRAMES = ((512, 512), (512, 4096), (2048, 256))
#: Operations around the kernels of a round: copies of features and seeds, weights, empty tensors.
ROUND_CALLS = 12


@dataclass
class Cost:
    """Operations that launch something, and bytes that these read and write."""

    operations: int = 0
    n_bytes: int = 0


class Counter(TorchDispatchMode):
    """Counts by stage. A tensor that is read or written counts with its own elements, however often they repeat."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = "other"
        self.costs: dict[str, Cost] = defaultdict(Cost)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        inputs = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
        outputs = [value for value in tree_flatten(result)[0] if isinstance(value, torch.Tensor)]
        memory = {tensor.untyped_storage().data_ptr() for tensor in inputs}
        in_place = function._schema.is_mutable
        is_view = not in_place and bool(outputs) and all(o.untyped_storage().data_ptr() in memory for o in outputs)
        if outputs and not is_view and "empty" not in str(function):
            cost = self.costs[self.stage]
            cost.operations += 1
            cost.n_bytes += sum(map(own_bytes, inputs)) + sum(map(own_bytes, outputs))
            if "copy_" in str(function) or ".out" in str(function):  # the target is not read
                cost.n_bytes -= sum(map(own_bytes, outputs))
        return result


def own_bytes(tensor: torch.Tensor) -> int:
    """Bytes of the elements that lie apart; an expanded dimension repeats the same."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or size == 0)
    return int(np.prod([1, *sizes])) * tensor.element_size()


def count(side: int, n_frames: int = 2) -> dict[str, Cost]:
    """Cost of every stage for a frame of `side` x `side` samples of 16 bits; operations are those of a whole chunk."""
    frames = torch.zeros((n_frames, side, side), dtype=torch.uint16)
    counter = Counter()
    originals = {name: getattr(torch_stage, name) for name in ("pool", "couple", "logistic", "move")}

    def staged(name: str) -> Any:
        def run(*arguments: Any) -> Any:
            counter.stage = name
            try:
                return originals[name](*arguments)
            finally:
                counter.stage = "other"

        return run

    try:
        for name in originals:
            setattr(torch_stage, name, staged(name))
        with counter:
            torch_backend.encrypt_tensor(frames, KEY, tweaks=[b""] * n_frames)
    finally:
        for name, original in originals.items():
            setattr(torch_stage, name, original)
    return {name: Cost(cost.operations, cost.n_bytes // n_frames) for name, cost in counter.costs.items()}


def host_seconds(side: int) -> float:
    """Measured here: the schedule, the hashes and the orders of one frame, one after the other in one thread."""
    geometry = Geometry.of(side * side, side, 16)
    features = bytes(16 * -(-2 * geometry.n_left // 2048))
    left = geometry.n_parts(geometry.n_left)
    best = float("inf")
    end = time.perf_counter() + 1
    while (start := time.perf_counter()) < end:
        schedule = make_schedule(KEY, b"", geometry)
        for key in schedule.round_keys:
            round_seeds(key, geometry.n_left, features)
        kernel.run_order(left, left, move_seeds(schedule.move_key))
        best = min(best, time.perf_counter() - start)
    return best


def triton_bytes(side: int) -> int:
    """Bytes that Triton's kernels read and write for one frame: sums over their arguments."""
    half = side * side
    steps = half + 2 * 512
    one_round = half + 2 * steps + half + 2 * half + 2 * steps  # pool; words, veils; source; target; words, veils
    return 4 * one_round


def instructions_per_byte() -> float:
    """Machine instructions of one lane of a warp for each byte of image, from Triton's translation for Hopper."""
    constants = {"decrypting": False, "block": 1024, "word_bits": 16}
    combine = get_sass(translate(torch_triton._combine, COMBINE, constants, 16)["cubin"])
    steps = get_sass(translate(torch_triton._steps, STEPS, {"lanes": 128}, 16)["cubin"])
    # everything of a thread that changes 8 words of 2 bytes; the loop of a thread that makes 8 bytes of stream
    loop = steps.split("LBB0:", 1)[1].split("LBB0;", 1)[0]
    # every byte is in the target of two rounds
    return 2 * (len(combine.splitlines()) / 16 + len(loop.splitlines()) / 8)


def estimate(side: int, n_frames: int) -> list[list[str]]:
    """Two rows: GB/s if one resource alone limited, and with the times added up, without and with Triton."""
    costs = count(side)
    eager = ("pool", "couple", "logistic", "other")
    n_bytes = 2 * side * side * n_frames
    host = n_bytes / (host_seconds(side) * n_frames)
    moving = 4 * 2 * side * side  # read and written once in each of two copies
    name = f"{side}² x {n_frames} ({n_bytes / 1e9:.2g} GB)"
    plain = sum(costs[stage].n_bytes for stage in eager) + moving, sum(cost.operations for cost in costs.values())
    fused = triton_bytes(side) + moving, 4 * ROUND_CALLS + costs["move"].operations
    rows = []
    for kind, (frame_bytes, operations), arithmetic in (
        ("PyTorch alone", plain, None),
        ("Triton", fused, INSTRUCTIONS_PER_SECOND / instructions_per_byte()),
    ):
        parts = {
            "memory": n_bytes / (frame_bytes * n_frames / MEMORY_BYTES_PER_SECOND),
            "arithmetic": arithmetic,
            "calls": n_bytes / (operations * CALL_SECONDS),
            "host": host,
            "PCIe": PCIE_BYTES_PER_SECOND / 2,
            "copies": HOST_COPY_BYTES_PER_SECOND / 2,
        }
        cells = ["" if rate is None else f"{rate / 1e9:.1f}" for rate in parts.values()]
        inside = [rate for resource, rate in parts.items() if rate and resource not in ("PCIe", "copies")]
        tensors, arrays = added(inside), added([rate for rate in parts.values() if rate])
        rows.append([name, kind, *cells, f"**{tensors / 1e9:.1f}**", f"**{arrays / 1e9:.1f}**"])
    return rows


def added(rates: list[float]) -> float:
    """The rate of parts that run one after the other."""
    return 1 / sum(1 / rate for rate in rates)


def stage_rows(side: int) -> list[str]:
    """Operations and bytes of each stage of a whole encryption."""
    n_bytes = 2 * side * side
    costs = count(side)
    rows = [
        f"| {name} | {costs[name].operations} | {costs[name].n_bytes / n_bytes:.0f} |"
        for name in ("pool", "couple", "logistic", "move", "other")
    ]
    total = sum(cost.n_bytes for cost in costs.values()) / n_bytes
    operations = sum(cost.operations for cost in costs.values())
    fused = triton_bytes(side) / n_bytes
    return [*rows, f"| all | {operations} | {total:.0f} |", f"| the same rounds in Triton | 12 | {fused:.0f} |"]


def main() -> None:
    """Count, measure the host, write."""
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "0")  # there is nothing to fuse; Triton warns if it is not said
    torch.set_num_threads(1)
    heading = (
        "frames in a chunk",
        "kernels",
        "device memory",
        "device arithmetic",
        f"{CALL_SECONDS * 1e6:.0f} µs a call",
    )
    heading += ("hashes, schedules, orders on the host", "PCIe, in and out", "copies on the host")
    heading += ("all, tensors on the device", "all, arrays of the host")
    lines = [
        "**Estimated, not measured: no GPU was at hand.**",
        "",
        "| stage, 512² frames of 16 bits | operations in a chunk | bytes of device memory for each byte of image |",
        "|---|---|---|",
        *stage_rows(512),
        "",
        f"| {' | '.join(heading)} |",
        "|" + "---|" * len(heading),
        *(f"| {' | '.join(row)} |" for shape in FRAMES for row in estimate(*shape)),
        "",
        f"GB/s, each column as if nothing else limited. Host: one thread of {cpu_name()}, measured.",
    ]
    text = "\n".join(lines)
    print(text)
    write_section("gpu", text)


if __name__ == "__main__":
    main()
