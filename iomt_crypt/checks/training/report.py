"""The classifier's report: pictures and figures in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from iomt_crypt.checks.card import Card
from iomt_crypt.checks.training import picture
from iomt_crypt.checks.training.evaluation import Evaluation
from iomt_crypt.checks.training.table import KEYS, full, grouped, judged
from iomt_crypt.errors import StorageError

FIGURES = "classifier.json"


def write_report(evaluation: Evaluation, card: Card, folder: Path) -> dict[str, Any]:
    """Write `FIGURES` and the pictures into ``folder``; give the figures back.

    Raises
    ------
    StorageError
        The folder holds such a report, or cannot be written.
    """
    trials = judged(evaluation.trials)
    seen = [t for t in trials if t.truth != "invisible"]
    figures = {"weights": card.sha256, "threshold": card.threshold, **full(evaluation)}
    pictures = {
        "confusion.png": picture.draw_matrices({"all frames": seen}, "classifier"),
        "ways.png": picture.draw_ways(trials),
        "roc.png": picture.draw_roc(trials, card.threshold),
        "calibration.png": picture.draw_calibration(trials),
        "wrong.png": picture.draw_wrong(evaluation.wrong),
    }
    for name, key in KEYS.items():
        pictures[f"confusion-{name}.png"] = picture.draw_matrices(grouped(seen, key), f"classifier, by {name}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FIGURES).open("x") as file:
            json.dump(figures, file, indent=1, sort_keys=True)
        for name, data in pictures.items():
            (folder / name).write_bytes(data)
    except FileExistsError:
        raise StorageError(f"{folder / FIGURES}: exists", hint="name another folder") from None
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror})") from None
    return figures
