"""The torch backend on a CUDA device: ``python -m benchmarks.gpu`` proves it bit for bit, then measures it.

Needs a CUDA device and a build of PyTorch that finds it, and says so elsewhere. Compares with the numba backend, prints
tables, and writes benchmarks/results/gpu.json. ``python -m benchmarks.estimate`` says what to expect without a device.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np
import torch

from iomt_crypt import cipher
from iomt_crypt.cipher import torch_backend, torch_stage

try:
    from iomt_crypt.cipher import torch_triton
except ModuleNotFoundError:
    STAGES = {"PyTorch alone": torch_stage}
else:
    STAGES = {"Triton": torch_triton, "PyTorch alone": torch_stage}

RESULTS = Path(__file__).with_name("results") / "gpu.json"
KEY = bytes(range(32))
DEVICE = "cuda"
#: Shapes of single frames for the proof: edges of the halves, of the lanes, of the pooled blocks, of the runs.
SHAPES = [(n,) for n in (1, 2, 3, 5, 9, 255, 257, 1023, 1024, 1025, 2046, 4097, 8191)]
SHAPES += [(1, 9), (7, 1), (5, 5, 3), (33, 31), (80, 80), (301, 77), (512, 512), (1024, 768), (1, 100_003)]
#: (bits, side, frames)
BATCHES = [(16, 128, 4096), (16, 512, 64), (16, 512, 512), (16, 512, 4096), (16, 2048, 32), (16, 2048, 256)]
BATCHES += [(8, 512, 512), (8, 512, 4096), (8, 2048, 256)]
ROUNDS = 5


@contextmanager
def using(stages: ModuleType) -> Iterator[None]:
    """Let the backend use these kernels."""
    before = torch_backend._stages
    torch_backend._stages = lambda words: stages
    try:
        yield
    finally:
        torch_backend._stages = before


def prove() -> int:
    """Compare every shape and word size with numba, alone and in a batch, from arrays and from tensors.

    Returns
    -------
    int
        Number of frames compared.

    Raises
    ------
    SystemExit
        A bit differs.
    """
    rng = np.random.default_rng(2026)
    count = 0
    for shape in SHAPES:
        for dtype in (np.uint8, np.uint16):
            n_frames = int(rng.integers(1, 8))
            frames = rng.integers(0, 1 << 16, (n_frames, *shape)).astype(dtype)
            tweaks = [rng.bytes(number) for number in range(n_frames)]
            row_length = int(rng.integers(-1, 600))
            options: dict[str, Any] = {"tweaks": tweaks, "row_length": row_length}
            expected = np.empty_like(frames)
            cipher.encrypt_frames_into(frames, expected, KEY, **options, backend="numba")
            made = np.empty_like(frames)
            cipher.encrypt_frames_into(frames, made, KEY, **options, backend="torch")
            on_device = torch.from_numpy(frames).to(DEVICE)
            sealed = torch_backend.encrypt_tensor(on_device, KEY, **options)
            opened = torch_backend.decrypt_tensor(sealed, KEY, **options)
            back = np.empty_like(frames)
            cipher.decrypt_frames_into(made, back, KEY, **options, backend="torch")
            agree = {
                "encrypt, arrays": np.array_equal(made, expected),
                "encrypt, tensors": np.array_equal(sealed.cpu().numpy(), expected),
                "decrypt, arrays": np.array_equal(back, frames),
                "decrypt, tensors": np.array_equal(opened.cpu().numpy(), frames),
            }
            wrong = [name for name, equal in agree.items() if not equal]
            if wrong:
                sys.exit(f"NOT bit-identical: {', '.join(wrong)}; shape {shape}, {np.dtype(dtype)}, row {row_length}")
            count += n_frames
    return count


def seconds(job: Callable[[], object]) -> float:
    """Median of some runs, each until the device is done."""
    times = []
    for _ in range(ROUNDS + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        job()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return median(times[1:])


def measure_batches() -> list[dict[str, Any]]:
    """GB/s from tensors to tensors on the device, from arrays to arrays, and of numba on all CPUs."""
    rows = []
    for bits, side, n_frames in BATCHES:
        dtype = np.uint16 if bits == 16 else np.uint8
        frames = np.random.default_rng(1).integers(0, 1 << min(bits, 12), (n_frames, side, side)).astype(dtype)
        target, tweaks = np.empty_like(frames), [number.to_bytes(8, "little") for number in range(n_frames)]
        rates = {}
        on_device = torch.from_numpy(frames).to(DEVICE)
        for name, stages in STAGES.items():
            with using(stages):
                taken = seconds(lambda: torch_backend.encrypt_tensor(on_device, KEY, tweaks=tweaks))  # noqa: B023
                rates[f"tensors, {name}"] = frames.nbytes / taken / 1e9
        for name, backend in (("arrays", "torch"), ("numba, all CPUs", "numba")):
            options = {"tweaks": tweaks, "backend": backend}
            taken = seconds(lambda: cipher.encrypt_frames_into(frames, target, KEY, **options))  # noqa: B023
            rates[name] = frames.nbytes / taken / 1e9
        rows.append({"bits": bits, "side": side, "frames": n_frames, "gigabytes_per_second": rates})
        figures = ", ".join(f"{name} {rate:.2f}" for name, rate in rates.items())
        print(f"{bits:2} bit {side:4} x {side:4} x {n_frames:4}: {figures} GB/s", flush=True)
    return rows


def measure_stages(n_frames: int = 1024, side: int = 512) -> dict[str, float]:
    """Milliseconds of what the device does in one round, and of the repositioning of a half."""
    half = side * side // 2

    def noise(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.randint(-(1 << 15), 1 << 15, shape, dtype=dtype, device=DEVICE)

    source, target = noise((n_frames, 2 * half), torch.int16).split(half, dim=1)
    kernels, mixes = noise((n_frames, 2, 10), torch.int16), noise((n_frames, 2, 2), torch.int16)
    keys, seeds = noise((n_frames, 2, 257), torch.int32), noise((n_frames, 3, 128), torch.int32)
    order = noise((n_frames, 512), torch.int64).argsort(dim=1)
    taken = {}
    with torch.inference_mode():
        for name, stages in STAGES.items():
            taken[f"pool, {name}"] = seconds(lambda: stages.pool(source, keys))  # noqa: B023
            arguments = (source, target, side, kernels, mixes, seeds)
            taken[f"round, {name}"] = seconds(lambda: stages.run_round(*arguments, decrypting=False))  # noqa: B023
        taken["repositioning"] = seconds(lambda: torch_stage.move(source, half // 512, order))
    milliseconds = {name: 1e3 * value for name, value in taken.items()}
    print(f"ms for {n_frames} frames of {side} x {side}, 16 bit:")
    print(", ".join(f"{name} {value:.2f}" for name, value in milliseconds.items()))
    return milliseconds


def main() -> None:
    """Refuse, or prove and measure."""
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        sys.exit(
            f"benchmarks.gpu needs a CUDA device, and PyTorch {torch.__version__} ({built}) finds none.\n"
            "hint: `python -m benchmarks.estimate` estimates what a device would do."
        )
    cipher.warm_up()
    name = torch.cuda.get_device_name()
    print(f"{name}, PyTorch {torch.__version__}")
    count = 0
    for kernels, stages in STAGES.items():
        with using(stages):
            count += prove()
        print(f"bit-identical, {kernels}: {len(SHAPES)} shapes, both word sizes, both directions", flush=True)
    results = {"device": name, "frames_compared": count, "stages_ms": measure_stages(), "batches": measure_batches()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
