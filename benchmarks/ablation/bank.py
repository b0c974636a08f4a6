"""The trained banks: how they are started, and their file, so that measuring needs no training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.ablation.picture import Picture
from benchmarks.ablation.study import Banks
from benchmarks.ablation.training import Bank, Point, Sampler, Settings, train

FILE = Path(__file__).with_name("bank.json")
WORD_SIZES = (8, 16)
#: Where training starts, by word size. Small: the largest image moves the network by a few turns only, so that
#: gradients lead somewhere. Uniform: where weights from the key are.
STARTS = {
    "small": {8: Settings(largest_tap=0.02, tap_rate=3e-3), 16: Settings(largest_tap=5e-4)},
    "uniform": {w: Settings(largest_tap=0.5, largest_mix=16.0, tap_rate=5e-4) for w in WORD_SIZES},
}


def train_all(
    training: list[Picture], held_out: list[Picture], *, tell: Callable[[str], None] = lambda line: None
) -> dict[str, dict[int, Bank]]:
    """Train a bank from each start for each word size."""
    banks: dict[str, dict[int, Bank]] = {}
    for start, by_size in STARTS.items():
        banks[start] = {}
        for word_bits, settings in by_size.items():
            samplers = [Sampler(pictures, word_bits) for pictures in (training, held_out)]

            def progress(point: Point, name: str = f"{start} start, {word_bits} bits") -> None:
                tell(f"{name}: step {point.step}, loss {point.training:.4f}, held out {point.held_out:.4f}")

            banks[start][word_bits] = train(samplers[0], samplers[1], word_bits, settings, tell=progress)
    return banks


def write(banks: dict[str, dict[int, Bank]], file: Path = FILE) -> None:
    """Write banks as JSON."""
    document = {
        start: {
            str(word_bits): {
                "filters": bank.filters.tolist(),
                "relaxed": [[float(f"{value:.7g}") for value in row] for row in bank.relaxed.tolist()],
                "curve": [[point.step, round(point.training, 6), round(point.held_out, 6)] for point in bank.curve],
            }
            for word_bits, bank in by_size.items()
        }
        for start, by_size in banks.items()
    }
    # One filter to a line.
    text = json.dumps(document, separators=(",", ":")).replace("],[", "],\n[").replace("[[", "[\n[")
    file.write_text(text + "\n")


def read(file: Path = FILE) -> dict[str, dict[int, Bank]]:
    """Read what `write` wrote."""
    document = json.loads(file.read_text())
    return {
        start: {
            int(word_bits): Bank(
                int(word_bits),
                np.array(entry["relaxed"], np.float64),
                np.array(entry["filters"], np.int64),
                [Point(*row) for row in entry["curve"]],
            )
            for word_bits, entry in by_size.items()
        }
        for start, by_size in document.items()
    }


def for_study(banks: dict[str, dict[int, Bank]]) -> Banks:
    """Return the filters as the variants take them."""
    small, uniform = (
        {word_bits: bank.filters for word_bits, bank in banks[start].items()} for start in ("small", "uniform")
    )
    return Banks(small, uniform)
