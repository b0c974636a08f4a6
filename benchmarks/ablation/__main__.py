"""``python -m benchmarks.ablation [train] [measure] [report]``: without arguments all three, in this order.

tests/ must be on the path (PYTHONPATH=tests), because the real images are found there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.ablation import application, bank, cost, document, figure, record, study
from benchmarks.ablation.picture import held_out_pictures, measured_pictures, training_pictures
from benchmarks.ablation.training import Sampler

DOCS = Path(__file__).resolve().parents[2] / "docs"
STEPS = ["train", "measure", "report"]
N_KEYS = 20
N_ATTACKED = 3


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation", description="trained or key-derived weights?"
    )
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; default: all")
    steps = parser.parse_args().steps or STEPS
    unknown = sorted(set(steps) - set(STEPS))
    if unknown:
        parser.error(f"steps must be of {', '.join(STEPS)}, got {', '.join(unknown)}")
    start = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - start:7.1f} s  {line}", flush=True)

    if "train" in steps:
        bank.write(bank.train_all(training_pictures(), held_out_pictures(), tell=tell))
    if "measure" in steps:
        variants = study.every(bank.for_study(bank.read()))
        targets = [p.samples for p in held_out_pictures() if p.bits == 8 and p.name != "zero"]
        found = study.run(variants, measured_pictures(), targets, n_keys=N_KEYS, n_attacked=N_ATTACKED, tell=tell)
        record.write(found)
    if "report" in steps:
        report()
        tell("docs/ABLATION.md")


def report() -> None:
    """Write the document and its figures."""
    banks, results = bank.read(), record.read()
    training, held_out, measured = training_pictures(), held_out_pictures(), measured_pictures()
    rows = {w: application.rows(banks, w, training, held_out, measured) for w in bank.WORD_SIZES}
    samplers = {w: [Sampler(pictures, w) for pictures in (training, held_out)] for w in bank.WORD_SIZES}
    floors = {w: (application.floor(pair[0], w), application.floor(pair[1], w)) for w, pair in samplers.items()}
    same_stages = study.weights(bank.for_study(banks), alone=False)
    seconds = dict(zip((v.name for v in same_stages), cost.relative_seconds(same_stages), strict=True))
    found = document.Study(results, banks, rows, floors, measured, len(training), seconds)
    (DOCS / "images").mkdir(exist_ok=True)
    figure.write_all(DOCS / "images", banks)
    (DOCS / "ABLATION.md").write_text(document.write(found))


if __name__ == "__main__":
    main()
