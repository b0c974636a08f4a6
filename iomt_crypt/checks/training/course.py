"""From folders of images to weights and their card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iomt_crypt.checks.card import CARD, WEIGHTS, Card
from iomt_crypt.checks.classifier import Classifier
from iomt_crypt.checks.training.corpus import PYDICOM, Plain, Split, make_synthetic, read_folders, split
from iomt_crypt.checks.training.evaluation import Evaluation, Track, evaluate
from iomt_crypt.checks.training.fit import train, write
from iomt_crypt.checks.training.place import require_writable
from iomt_crypt.checks.training.recipe import Recipe
from iomt_crypt.checks.training.synthetic import SYNTHETIC
from iomt_crypt.checks.training.table import summary
from iomt_crypt.errors import StorageError


def run(folders: Sequence[Path], recipe: Recipe, seed: int, output: Path, *, command: str, track: Track) -> Card:
    """Gather images, train, write weights and card, evaluate on what was held out, and write that into the card.

    Raises
    ------
    StorageError
        The output exists or cannot be written; that is found before the work.
    InputError
        There is no image to train on.
    ConfigurationError
        The recipe comes to no finite numbers; nothing is written.
    """
    require_writable(output)
    if (output / WEIGHTS).exists() or (output / CARD).exists():
        raise StorageError(f"{output}: there is a classifier in it", hint="name another folder")
    images = gather(folders, recipe, seed)
    about = {"command": command, "training": _described(images.training), "held_out": _described(images.evaluation)}
    trained = train(images.training, recipe, seed, track, about)
    write(trained, output)
    classifier = Classifier.load(output, n_threads=recipe.n_threads)
    rng = np.random.default_rng(seed + 2)
    made = evaluate(classifier, images.evaluation, rng, track, n_good=recipe.evaluations, n_bad=1)
    trained.card.about["evaluation"] = summary(made)
    trained.card.write(output / CARD)
    return trained.card


def gather(folders: Sequence[Path], recipe: Recipe, seed: int) -> Split:
    """Images to train on and to evaluate on: of the folders, of pydicom, and synthetic ones."""
    real = split(list(read_folders([*folders, PYDICOM], recipe)), recipe)
    known = [kind for kind in SYNTHETIC if kind not in recipe.held_out_synthetic]
    training = make_synthetic(recipe, np.random.default_rng(seed), known)
    evaluation = make_synthetic(recipe, np.random.default_rng(seed + 1), SYNTHETIC)
    return Split((*real.training, *training), (*real.evaluation, *evaluation))


def examine(
    classifier: Classifier, folders: Sequence[Path], recipe: Recipe, seed: int, track: Track, *, n_bad: int = 2
) -> Evaluation:
    """Evaluate on all images of the folders, of pydicom and synthetic ones that this classifier was not trained on."""
    trained_on = {entry["source"] for entry in classifier.card.about.get("training", [])}
    images = gather(folders, recipe, seed)
    known = frozenset[bytes]().union(*(plain.groups for plain in images.training if plain.source in trained_on))
    strange = [p for p in images.training if p.source not in trained_on and not p.groups & known]
    rng = np.random.default_rng(seed)
    plains = [*images.evaluation, *strange]
    return evaluate(classifier, plains, rng, track, n_good=recipe.evaluations, n_bad=n_bad)


def _described(plains: Sequence[Plain]) -> list[dict[str, Any]]:
    """Sources with kinds, licences and how many objects and frames of each."""
    objects: Counter[tuple[str, str, str]] = Counter()
    frames: Counter[tuple[str, str, str]] = Counter()
    for plain in plains:
        key = plain.source, plain.kind, plain.licence
        objects[key] += 1
        frames[key] += len(plain.frames)
    return [
        {"source": key[0], "kind": key[1], "licence": key[2], "objects": n, "frames": frames[key]}
        for key, n in sorted(objects.items())
    ]
