"""What the classifier costs, and how it does when each source is left out in turn: ``python -m benchmarks.classifier``.

    python -m benchmarks.classifier cost
    python -m benchmarks.classifier frames --data ../shared/dicom --data sample_dicom
    python -m benchmarks.classifier sources --data ../shared/dicom --data sample_dicom -o sources.json

``frames`` asks about every native frame of the held-out sources, not a selection of each as the report does: plain, and
properly encrypted 20 times. ``sources`` does so for every source there is, the kinds of synthetic images among them: it
trains once for each, by the recipe of the package, on all others whose licence allows it, without the patients that are
in the one left out. About a minute for each on one core; what is in the output already is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from iomt_crypt.checks.classifier import Classifier
from iomt_crypt.checks.statistic import MINIMUM_WORDS, measure
from iomt_crypt.checks.training import fit
from iomt_crypt.checks.training.corpus import PYDICOM, SYNTHETIC_SOURCE, Plain, make_synthetic, read_folders
from iomt_crypt.checks.training.course import gather
from iomt_crypt.checks.training.defect import hybrid
from iomt_crypt.checks.training.evaluation import Rate
from iomt_crypt.checks.training.recipe import Recipe, read_recipe
from iomt_crypt.checks.training.synthetic import SYNTHETIC

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
    classifier, rng = Classifier.load(), np.random.default_rng(1)
    by_source: dict[str, list[Plain]] = defaultdict(list)
    for plain in gather(folders, _everything(recipe), 1).evaluation:
        by_source[plain.source].append(plain)
    _print({source: _asked(classifier, plains, rng) for source, plains in by_source.items()})


def _everything(recipe: Recipe) -> Recipe:
    return replace(recipe, objects_of_a_source=100_000, frames_of_an_object=200)


def _asked(classifier: Classifier, plains: Sequence[Plain], rng: np.random.Generator) -> Counter[str]:
    """How many native frames of 64 words or more are called what they are: plain, and encrypted 20 times."""
    found: Counter[str] = Counter()
    for frame in (f for plain in plains if plain.form == "native" for f in plain.frames if f.size >= MINIMUM_WORDS):
        good = [hybrid([frame], rng)[0] for _ in range(_N_GOOD)]
        called = classifier.probabilities([frame, *good]) >= classifier.threshold
        loud = [bool(measure(one).alarms) for one in (frame, *good)]
        found.update(n_plain=1, plain=int(not called[0]), plain_fused=int(loud[0] or not called[0]))
        found.update(n_good=_N_GOOD, good=int(called[1:].sum()))
        found["good_fused"] += sum(bool(c) and not alarm for c, alarm in zip(called[1:], loud[1:], strict=True))
    return found


def _print(found: Mapping[str, Counter[str]]) -> None:
    print("| source | plain called plain | with statistics | encrypted called encrypted | with statistics |")
    print("|---|---|---|---|---|")
    for source, counts in {**found, "all": sum(found.values(), Counter())}.items():
        if counts["n_plain"]:
            cells = [_rate(counts[what], counts["n_" + what.split("_")[0]]) for what in _COLUMNS]
            print(f"| {source} | {' | '.join(cells)} |")


def _rate(n_right: int, n_trials: int) -> str:
    rate = Rate(n_right, n_trials)
    low, high = rate.interval()
    return f"{n_right:,} of {n_trials:,} ({100 * low:.2f} to {100 * high:.2f} %)"


def sources(folders: Sequence[Path], recipe: Recipe, output: Path) -> None:
    """Leave one source out at a time."""
    output.parent.mkdir(parents=True, exist_ok=True)
    found = {k: Counter(v) for k, v in json.loads(output.read_text()).items()} if output.exists() else {}
    known, everything = (
        [_named(plain) for plain in read_folders([*folders, PYDICOM], settings)]
        for settings in (recipe, _everything(recipe))
    )
    known += map(_named, make_synthetic(recipe, np.random.default_rng(1), SYNTHETIC))
    many = replace(recipe, synthetic_frames=2 * recipe.synthetic_frames)
    everything += map(_named, make_synthetic(many, np.random.default_rng(2), SYNTHETIC))
    for source in sorted({plain.source for plain in everything} - found.keys()):
        left_out = [plain for plain in everything if plain.source == source]
        patients = frozenset[bytes]().union(*(plain.groups for plain in left_out))
        others = [p for p in known if p.source != source and not p.groups & patients and _allowed(p, recipe)]
        with TemporaryDirectory() as folder:
            fit.write(fit.train(others, recipe, 1, _track, {}), Path(folder))
            found[source] = _asked(Classifier.load(Path(folder)), left_out, np.random.default_rng(3))
        output.write_text(json.dumps(found, indent=1) + "\n")
        print(source, dict(found[source]), flush=True)
    _print(dict(sorted(found.items())))


def _named(plain: Plain) -> Plain:
    """Each kind of synthetic images is a source of its own."""
    return replace(plain, source=f"synthetic {plain.kind}") if plain.source == SYNTHETIC_SOURCE else plain


def _allowed(plain: Plain, recipe: Recipe) -> bool:
    return not plain.licence or plain.licence in recipe.licences


def _track(items: Sequence[object], label: str) -> Sequence[object]:
    del label
    return items


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "frames", "sources"))
    parser.add_argument("--data", action="append", type=Path, default=[])
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/sources.json"))
    arguments = parser.parse_args()
    if arguments.what == "cost":
        cost()
    elif arguments.what == "frames":
        frames(arguments.data, read_recipe())
    else:
        sources(arguments.data, read_recipe(), arguments.output)


if __name__ == "__main__":
    main()
