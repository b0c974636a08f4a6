"""What the classifier costs, and how it does when each source is left out in turn: ``python -m benchmarks.classifier``.

    python -m benchmarks.classifier cost
    python -m benchmarks.classifier frames --data ../shared/dicom --data sample_dicom
    python -m benchmarks.classifier sources --data ../shared/dicom --steps 800 -o benchmarks/results/classifier.json

``frames`` asks about every native frame of the held-out sources, not a selection of each as the report does: plain, and
properly encrypted 20 times. ``sources`` trains once for each source on all others whose licence allows it, without the
patients that are in the one left out, and evaluates on that one. An hour and more on two cores; results are written
after each source.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from iomt_crypt.checks.classifier import Classifier
from iomt_crypt.checks.statistic import MINIMUM_WORDS, measure
from iomt_crypt.checks.training import fit
from iomt_crypt.checks.training.corpus import PYDICOM, Plain, make_synthetic, read_folders
from iomt_crypt.checks.training.course import gather
from iomt_crypt.checks.training.defect import hybrid
from iomt_crypt.checks.training.evaluation import Rate, evaluate
from iomt_crypt.checks.training.recipe import Recipe, read_recipe
from iomt_crypt.checks.training.synthetic import SYNTHETIC
from iomt_crypt.checks.training.table import judged, summary

SHAPES = ((128, 128), (256, 256), (512, 512), (1024, 1024), (2048, 2048))
ROUNDS = 300
_N_GOOD = 20
_COLUMNS = ("plain", "plain_fused", "good", "good_fused")


def cost() -> None:
    """CPU time of one warmed thread for one 16-bit frame."""
    classifier = Classifier.load()
    for shape in SHAPES:
        frame = np.random.default_rng(0).integers(0, 65536, shape, np.uint16)
        taken = []
        for _ in range(ROUNDS):
            before = time.thread_time()
            classifier.probabilities([frame])
            taken.append(1e3 * (time.thread_time() - before))
        print(f"{shape[0]:5} x {shape[1]:<5} median {median(taken):.2f} ms, least {min(taken):.2f} ms")


def frames(folders: Sequence[Path], recipe: Recipe) -> None:
    """Every native frame of 64 words or more: how many plain and properly encrypted ones are called so, by source."""
    everything = replace(recipe, objects_of_a_source=100_000, frames_of_an_object=200)
    classifier, rng = Classifier.load(), np.random.default_rng(1)
    right: dict[str, Counter[str]] = defaultdict(Counter)
    for plain in gather(folders, everything, 1).evaluation:
        if plain.form != "native":
            continue
        for frame in plain.frames:
            if frame.size < MINIMUM_WORDS:
                continue
            found = right["synthetic" if plain.source == "synthetic" else plain.source]
            good = [hybrid([frame], rng)[0] for _ in range(_N_GOOD)]
            called = classifier.probabilities([frame, *good]) >= classifier.threshold
            loud = [bool(measure(one).alarms) for one in (frame, *good)]
            found.update(n_plain=1, plain=int(not called[0]), plain_fused=int(loud[0] or not called[0]))
            found.update(n_good=_N_GOOD, good=int(called[1:].sum()))
            found["good_fused"] += sum(bool(c) and not alarm for c, alarm in zip(called[1:], loud[1:], strict=True))
    right["all"] = sum(right.values(), Counter())
    print("| source | plain called plain | with statistics | encrypted called encrypted | with statistics |")
    print("|---|---|---|---|---|")
    for source, found in right.items():
        cells = [_rate(found[what], found["n_" + what.split("_")[0]]) for what in _COLUMNS]
        print(f"| {source} | {' | '.join(cells)} |")


def _rate(n_right: int, n_trials: int) -> str:
    rate = Rate(n_right, n_trials)
    low, high = rate.interval()
    return f"{n_right:,} of {n_trials:,} ({100 * low:.2f} to {100 * high:.2f} %)"


def sources(folders: Sequence[Path], recipe: Recipe, output: Path) -> None:
    """Leave one source out at a time."""
    plains = list(read_folders([*folders, PYDICOM], recipe))
    found = {}
    for source in sorted({plain.source for plain in plains}):
        left_out = [plain for plain in plains if plain.source == source]
        known = frozenset[bytes]().union(*(plain.groups for plain in left_out))
        others = [p for p in plains if p.source != source and not p.groups & known and _allowed(p, recipe)]
        synthetic = make_synthetic(recipe, np.random.default_rng(1), SYNTHETIC)
        found[source] = _one([*others, *synthetic], left_out, recipe)
        print(source, json.dumps(found[source]))
        output.write_text(json.dumps(found, indent=1) + "\n")


def _allowed(plain: Plain, recipe: Recipe) -> bool:
    return not plain.licence or plain.licence in recipe.licences


def _one(training: Sequence[Plain], left_out: Sequence[Plain], recipe: Recipe) -> dict[str, object]:
    with TemporaryDirectory() as folder:
        fit.write(fit.train(training, recipe, 1, _track, {}), Path(folder))
        classifier = Classifier.load(Path(folder))
    made = evaluate(classifier, left_out, np.random.default_rng(3), _track, n_good=recipe.evaluations, n_bad=1)
    return {"frames": len(judged(made.trials)), **summary(made)}


def _track(items: Sequence[object], label: str) -> Sequence[object]:
    del label
    return items


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "frames", "sources"))
    parser.add_argument("--data", action="append", type=Path, default=[])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/classifier.json"))
    arguments = parser.parse_args()
    if arguments.what == "cost":
        cost()
    elif arguments.what == "frames":
        frames(arguments.data, read_recipe())
    else:
        recipe = replace(read_recipe(), steps=arguments.steps, noise_pieces=8192, evaluations=2)
        sources(arguments.data, recipe, arguments.output)


if __name__ == "__main__":
    main()
