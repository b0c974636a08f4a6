"""What the classifier costs, and how it does when each source is left out in turn: ``python -m benchmarks.classifier``.

    python -m benchmarks.classifier cost
    python -m benchmarks.classifier sources --data ../shared/dicom --steps 800 -o benchmarks/results/classifier.json

``sources`` trains once for each source on all others whose licence allows it, without the patients that are in the one
left out, and evaluates on that one. An hour and more on two cores; results are written after each source.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from iomt_crypt.checks.classifier import Classifier
from iomt_crypt.checks.training import fit
from iomt_crypt.checks.training.corpus import PYDICOM, Plain, make_synthetic, read_folders
from iomt_crypt.checks.training.evaluation import evaluate
from iomt_crypt.checks.training.recipe import Recipe, read_recipe
from iomt_crypt.checks.training.synthetic import SYNTHETIC
from iomt_crypt.checks.training.table import judged, summary

SHAPES = ((128, 128), (256, 256), (512, 512), (1024, 1024), (2048, 2048))
ROUNDS = 300


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
    parser.add_argument("what", choices=("cost", "sources"))
    parser.add_argument("--data", action="append", type=Path, default=[])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/classifier.json"))
    arguments = parser.parse_args()
    if arguments.what == "cost":
        cost()
    else:
        recipe = replace(read_recipe(), steps=arguments.steps, noise_pieces=8192, evaluations=2)
        sources(arguments.data, recipe, arguments.output)


if __name__ == "__main__":
    main()
