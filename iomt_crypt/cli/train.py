"""``iomt-crypt train``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from iomt_crypt.cli.console import print_json, print_note, progress
from iomt_crypt.cli.option import Json, Output


def train(
    output: Output,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Folder of DICOM images; each folder in it is a source. Repeatable. Besides, there always are the "
            "images that pydicom brings along, for evaluation, and synthetic ones.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, data and recipe give the same weights.")] = 1,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Another recipe than that of the package (JSON).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train the network that tells properly encrypted images from all others, and evaluate it.

    Writes the weights and their card into DIR; 'iomt-crypt report --classifier --weights DIR' shows how good they are.
    Sources that the recipe holds out, and patients that are in them, are for evaluation alone. Nothing of an image
    goes into the weights but what makes it unlike noise. The recipe and what the figures mean: docs/CLASSIFIER.md.
    """
    from iomt_crypt.checks.training import course
    from iomt_crypt.checks.training.recipe import RECIPE, read_recipe

    settings = read_recipe(recipe or RECIPE)
    arguments = [a for folder in data or [] for a in ("--data", str(folder))]
    command = shlex.join(["iomt-crypt", "train", *arguments, "-o", "DIR", "--seed", str(seed)])
    card = course.run(data or [], settings, seed, output, command=command, track=track)
    if as_json:
        print_json({"output": str(output), "sha256": card.sha256, "threshold": card.threshold, **card.about})
        return
    for name, rate in card.about["evaluation"].items():
        print_note(f"{name}: {rate['right']} of {rate['trials']} right")
    typer.echo(f"trained: {output}", err=True)


def report_classifier(folders: list[Path], output: Path, *, weights: Path | None, seed: int, as_json: bool) -> None:
    """Evaluate a classifier on images that it was not trained on, and write pictures and figures."""
    from iomt_crypt.checks.classifier import Classifier
    from iomt_crypt.checks.training import course
    from iomt_crypt.checks.training.recipe import read_recipe
    from iomt_crypt.checks.training.report import refuse_existing, write_report

    refuse_existing(output)
    classifier = Classifier.load(weights)
    made = course.examine(classifier, folders, read_recipe(), seed, track)
    figures = write_report(made, classifier.card, output)
    if as_json:
        print_json({"output": str(output), **figures})
        return
    for name, rate in figures["summary"].items():
        print_note(f"{name}: {rate['right']} of {rate['trials']} right")
    typer.echo(f"reported: {output}", err=True)


def track(items: Sequence[Any], label: str) -> Iterable[Any]:
    """A progress bar on a terminal."""
    return progress(items, len(items), label) if sys.stderr.isatty() else items
