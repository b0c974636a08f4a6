"""The classifier's report: pictures and figures in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from iomt_crypt.checks.card import Card
from iomt_crypt.checks.training import picture
from iomt_crypt.checks.training.evaluation import Evaluation
from iomt_crypt.checks.training.place import require_writable
from iomt_crypt.checks.training.table import KEYS, MINIMUM_WORDS, full, grouped, judged
from iomt_crypt.durable import appearing_file, appearing_folder
from iomt_crypt.errors import StorageError

FIGURES = "classifier.json"
_HINT = "nothing is overwritten; choose another folder with -o, or remove it"


def write_report(evaluation: Evaluation, card: Card, folder: Path) -> dict[str, Any]:
    """Write `FIGURES` and the pictures into ``folder``, which is made, for their owner alone; give the figures back.

    Raises
    ------
    StorageError
        The folder exists, or cannot be written.
    """
    refuse_existing(folder)
    trials = judged(evaluation.trials)
    seen = [t for t in trials if t.truth != "invisible"]
    figures = {"weights": card.sha256, "threshold": card.threshold, **full(evaluation)}
    pictures = {
        "confusion.png": picture.draw_matrices({"all frames": seen}, "classifier"),
        "confusion-way.png": picture.draw_way_matrix(trials),
        "ways.png": picture.draw_ways(trials),
        "roc.png": picture.draw_roc(trials, card.threshold),
        "calibration.png": picture.draw_calibration(trials),
        "wrong.png": picture.draw_wrong([w for w in evaluation.wrong if w.trial.n_words >= MINIMUM_WORDS]),
    }
    for name, key in KEYS.items():
        pictures[f"confusion-{name}.png"] = picture.draw_matrices(grouped(seen, key), f"classifier, by {name}")
    _write(folder, {FIGURES: json.dumps(figures, indent=1, sort_keys=True).encode(), **pictures})
    return figures


def refuse_existing(folder: Path) -> None:
    """Raise StorageError if there is something at ``folder``, or nothing can be made there."""
    require_writable(folder)
    if folder.exists():
        raise StorageError(f"{folder}: exists already", hint=_HINT)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    with appearing_folder(folder, mode=0o700, hint=_HINT) as draft:
        for name, data in files.items():
            with appearing_file(draft / name, mode=0o600) as file:  # plain images are among them
                file.write(data)
