"""How the cost of the cipher grows: ``python -m benchmarks.scaling``.

Measures frames of 128 x 128 to 4096 x 4096 samples, alone and in batches, beside AES-256-GCM, ChaCha20-Poly1305 and a
plain copy of the same bytes, call for call, on buffers that are reused; all take turns. Writes
benchmarks/results/scaling.json, the table of docs/PERFORMANCE.md and docs/images/throughput.png. Takes minutes.
``--render`` writes table and picture again from the last results.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from iomt_crypt import cipher
from iomt_crypt.cipher.numba_backend import available_cpus

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "scaling.json"
PAGE = ROOT / "docs" / "PERFORMANCE.md"
PICTURE = ROOT / "docs" / "images" / "throughput.png"
KEY = bytes(range(32))

SIDES = (128, 256, 512, 1024, 2048, 4096)
BATCHES = ((128, 10), (128, 100), (128, 500), (512, 8), (512, 64), (512, 250), (2048, 16))
#: Bytes of one batch at most, so that a run takes minutes.
LARGEST = 1 << 27
#: Backends that are not made for speed on a CPU get frames up to this side.
SLOW_SIDE = 256
ROUNDS = 7
#: One measurement repeats the call until it has taken this long.
SECONDS = 0.03

ONE, ALL, TORCH, REFERENCE = "numba, 1 thread", "numba, all CPUs", "torch, 1 thread", "reference"
AES, CHACHA, COPY = "AES-256-GCM", "ChaCha20-Poly1305", "memcpy"
PEERS = (AES, CHACHA, COPY)
HEADER = ("bits", "frame", "frames", "MB", ONE, ALL, "gain", TORCH, REFERENCE, *PEERS, "1 thread / AES-GCM")
#: Colours of Okabe and Ito, which colour-blind readers tell apart.
STYLES = {
    ONE: ("#0072B2", "o"),
    ALL: ("#56B4E9", "s"),
    TORCH: ("#CC79A7", "^"),
    REFERENCE: ("#999999", "v"),
    AES: ("#D55E00", "o"),
    CHACHA: ("#E69F00", "s"),
    COPY: ("#000000", "x"),
}


@dataclass(frozen=True)
class Case:
    """Frames of `side` x `side` samples."""

    word_bits: int
    side: int
    n_frames: int

    @property
    def frame_bytes(self) -> int:
        return self.side * self.side * self.word_bits // 8

    @property
    def n_bytes(self) -> int:
        return self.frame_bytes * self.n_frames


@dataclass(frozen=True)
class Result:
    """Median wall-clock seconds for the whole batch, by name."""

    case: Case
    seconds: dict[str, float]

    def rate(self, name: str) -> float | None:
        """GB/s."""
        seconds = self.seconds.get(name)
        return None if seconds is None else self.case.n_bytes / seconds / 1e9


def cases() -> list[Case]:
    shapes = [(side, 1) for side in SIDES] + list(BATCHES)
    all_cases = [Case(bits, side, n_frames) for bits in (16, 8) for side, n_frames in shapes]
    return [case for case in all_cases if case.n_bytes <= LARGEST]


class Buffers:
    """Memory for the largest batch, made and touched once."""

    def __init__(self) -> None:
        # like a CT: noise in the low 12 bits
        self.source = np.random.default_rng(1).integers(0, 1 << 12, LARGEST // 2, np.uint16)
        self.target = np.zeros(LARGEST, np.uint8)
        self.sealed = bytearray(SIDES[-1] ** 2 * 2 + 16)

    def jobs(self, case: Case) -> dict[str, Callable[[], object]]:
        """What is measured for a case; every job does one call for each frame or one for the batch."""
        dtype = np.uint16 if case.word_bits == 16 else np.uint8
        shape = (case.n_frames, case.side, case.side)
        source = self.source.view(dtype)[: np.prod(shape)].reshape(shape)
        target = self.target[: case.n_bytes].view(dtype).reshape(shape)
        tweaks = [number.to_bytes(8, "little") for number in range(case.n_frames)]

        def ours(backend: str, workers: int | None) -> Callable[[], object]:
            return lambda: cipher.encrypt_frames_into(
                source, target, KEY, tweaks=tweaks, backend=backend, workers=workers
            )

        def aead(suite: AESGCM | ChaCha20Poly1305) -> Callable[[], object]:
            frames = source.view(np.uint8).reshape(case.n_frames, -1)
            sealed = memoryview(self.sealed)[: case.frame_bytes + 16]
            nonces = [number.to_bytes(12, "big") for number in range(case.n_frames)]

            def seal() -> None:
                for nonce, frame in zip(nonces, frames, strict=True):
                    suite.encrypt_into(nonce, frame.data, None, sealed)

            return seal

        jobs = {ONE: ours("numba", 1)}
        if case.n_frames > 1:
            jobs[ALL] = ours("numba", None)
        if case.side <= SLOW_SIDE and case.n_frames == 1:
            jobs |= {TORCH: ours("torch", None), REFERENCE: ours("reference", None)}
        return jobs | {
            AES: aead(AESGCM(KEY)),
            CHACHA: aead(ChaCha20Poly1305(KEY)),
            COPY: lambda: np.copyto(target, source),
        }


def measure(jobs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each job over rounds in which they take turns."""
    repeats = {}
    for name, job in jobs.items():
        job()
        start = time.perf_counter()
        job()
        repeats[name] = max(1, round(SECONDS / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(ROUNDS):
        for name, job in jobs.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                job()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return {name: median(values) for name, values in times.items()}


def run() -> list[Result]:
    """Measure all cases and save them."""
    import torch

    torch.set_num_threads(1)
    cipher.warm_up()
    buffers = Buffers()
    results = []
    for case in cases():
        results.append(Result(case, measure(buffers.jobs(case))))
        print(line(results[-1]), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    facts = {"cpu": cpu_name(), "cpus": available_cpus(), "python": platform.python_version(), "load": os.getloadavg()}
    RESULTS.write_text(json.dumps({**facts, "results": [asdict(result) for result in results]}, indent=1) + "\n")
    return results


def load() -> tuple[dict[str, object], list[Result]]:
    """The last results, and where they were measured."""
    saved = json.loads(RESULTS.read_text())
    return saved, [Result(Case(**one["case"]), one["seconds"]) for one in saved.pop("results")]


def line(result: Result) -> str:
    """One row of the table."""
    case, one, everything = result.case, result.rate(ONE), result.rate(ALL)
    rates = [result.rate(name) for name in (ONE, ALL, TORCH, REFERENCE, AES, CHACHA, COPY)]
    cells = ["" if rate is None else f"{rate:.2f}" if rate >= 0.1 else f"{rate:.4f}" for rate in rates]
    gain = f"{everything / one:.2f}" if one and everything else ""
    ratio = f"{one / result.rate(AES):.2f}" if one else ""
    row = [f"{case.word_bits}", f"{case.side}²", f"{case.n_frames}", f"{case.n_bytes / 1e6:.3g}"]
    return "| " + " | ".join([*row, cells[0], cells[1], gain, *cells[2:], ratio]) + " |"


def table(facts: dict[str, object], results: list[Result]) -> str:
    """The table of docs/PERFORMANCE.md."""
    load = ", ".join(f"{value:.1f}" for value in facts["load"])
    return "\n".join(
        [
            f"{facts['cpu']}, {facts['cpus']} CPUs, Python {facts['python']}; load average at the end {load}.",
            f"GB/s (10^9 bytes of samples), wall clock, median of {ROUNDS} rounds in which all columns take turns.",
            "",
            f"| {' | '.join(HEADER)} |",
            "|" + "---|" * len(HEADER),
            *map(line, results),
        ]
    )


def draw(results: list[Result]) -> None:
    """Write the picture: seconds and GB/s over the size of the batch, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, (cost, rate) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for name, (colour, marker) in STYLES.items():
        for bits, dash in ((16, "-"), (8, ":")):
            chosen = [one for one in results if one.case.word_bits == bits and name in one.seconds]
            if bits == 8 and name in PEERS:  # bytes are bytes to them
                continue
            if name == ALL:
                chosen = [one for one in chosen if one.case.side == 512]
            else:
                chosen = [one for one in chosen if one.case.n_frames == 1]
            sizes = [one.case.n_bytes for one in chosen]
            label = name if name in PEERS else f"{name}, {bits} bit"
            label += " (512² frames)" if name == ALL else ""
            options = {"color": colour, "marker": marker, "linestyle": dash, "markersize": 4, "linewidth": 1.5}
            cost.plot(sizes, [one.seconds[name] for one in chosen], label=label, **options)
            rate.plot(sizes, [one.rate(name) for one in chosen], **options)
    for axes, label in ((cost, "seconds"), (rate, "GB/s")):
        axes.set(xscale="log", yscale="log", xlabel="bytes", ylabel=label)
        axes.grid(visible=True, which="major", color="0.9", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    cost.set_title("Time to encrypt", loc="left", fontsize=10)
    rate.set_title("Throughput", loc="left", fontsize=10)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=130)
    plt.close(figure)


def cpu_name() -> str:
    """What Linux calls the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((text.split(":", 1)[1].strip() for text in lines if text.startswith("model name")), platform.machine())


def write_section(name: str, text: str) -> None:
    """Put `text` between the markers ``<!-- name -->`` and ``<!-- /name -->`` of docs/PERFORMANCE.md."""
    page = PAGE.read_text()
    before, rest = page.split(f"<!-- {name} -->\n", 1)
    after = rest.split(f"<!-- /{name} -->\n", 1)[1]
    PAGE.write_text(f"{before}<!-- {name} -->\n{text}\n<!-- /{name} -->\n{after}")


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--render", action="store_true", help="only write table and picture from the last results")
    if not parser.parse_args().render:
        run()
    facts, results = load()
    write_section("scaling", table(facts, results))
    draw(results)


if __name__ == "__main__":
    main()
