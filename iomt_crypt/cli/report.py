"""``iomt-crypt report``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from iomt_crypt.cli.console import Input, Outputs, collect, progress, run_inputs
from iomt_crypt.cli.option import Json, Output, one_of
from iomt_crypt.errors import ConfigurationError, UnsupportedError

_INDEX = "index.html"
#: The extra "report", by the names of its modules.
_NEEDED = ("scipy", "skimage", "matplotlib", "jinja2", "reportlab")


def report(
    sources: Annotated[
        list[Path] | None, typer.Argument(metavar="SRC...", help="DICOM, PNG or JPEG files, or folders of them.")
    ] = None,
    *,
    output: Output,
    suite: Annotated[
        str, typer.Option(help="Suite of the sections on tags and stored objects: hybrid-1 or chaos-cnn-1.")
    ] = "hybrid-1",
    frame: Annotated[int, typer.Option(min=1, metavar="N", help="Frame of a multi-frame object, from 1.")] = 1,
    trials: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="Encryptions with one bit of input or key changed.")
    ] = 50,
    alpha: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Level of significance of each single figure.")
    ] = 0.05,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the keys, places and choices of the measurements; the same in every run.")
    ] = 1,
    classifier: Annotated[
        bool,
        typer.Option(
            "--classifier", help="Measure how well the guard's classifier does, on SRC and on what is built in."
        ),
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --classifier: of 'iomt-crypt train', not the package's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how the image cipher hides images, and write a report on each into DIR: HTML, PDF and JSON.

    THE REPORTS SHOW THE PLAIN IMAGE and the name of its file: keep them as you would keep the image itself. They are
    readable by their owner alone, and hold nothing else of a DICOM header than geometry, SOP class and transfer syntax.
    Keys are made for the measurements only. What the figures mean, and what they do not prove: docs/REPORT.md.

    With --classifier, SRC are folders of images, if any; each folder in one of them is a source. DIR gets confusion
    matrices, ROC, calibration, and pictures of the images that were called wrong: docs/CLASSIFIER.md.
    """
    if classifier:
        from iomt_crypt.cli.train import report_classifier

        return report_classifier(sources or [], output, weights=weights, seed=seed, as_json=as_json)
    if not sources:
        raise typer.BadParameter("name files or folders to measure", param_hint="SRC...")
    if weights is not None:
        raise typer.BadParameter("goes with --classifier", param_hint="--weights")
    one_of("--suite", suite, ("hybrid-1", "chaos-cnn-1"))
    package = _package()
    settings = package.Settings(suite=suite, frame=frame, n_trials=trials, alpha=alpha, seed=seed)
    run = _Run(package, settings, output, collect(sources))
    try:
        run_inputs(run.inputs, run.work, label="measuring", as_json=as_json, verb="reported")
    finally:
        run.write_index()


class _Run:
    """The reports of this run, and their index where there may be several."""

    def __init__(self, package: ModuleType, settings: Any, output: Path, inputs: list[Input]) -> None:
        self.inputs = inputs
        self._package, self._settings, self._folder = package, settings, output
        self._outputs = Outputs(output)
        self._entries: list[Any] = []
        self._several = len(inputs) > 1
        if self._several:
            package.check_absent(output / _INDEX)

    def work(self, item: Input) -> dict[str, Any]:
        """Report on one input; objects without an image are skipped when they were found in a folder."""
        target = self._outputs.target(item)
        self._package.check_absent(target)
        try:
            made = self._package.make_report(item.path, self._settings, track=self._track)
        except UnsupportedError as error:
            if item.named:
                raise
            return {"state": "skipped", "error": str(error)}
        up = "../" * len(item.relative.parts)
        self._package.write_report(made, target, index=up + _INDEX if self._several else "")
        self._outputs.made(item)
        # The index needs no pictures, and of many reports they are too much for the memory.
        self._entries.append(self._package.Entry(replace(made, sections=()), item.relative.as_posix()))
        return {"state": "done", "output": str(target), **made.to_dict()}

    def write_index(self) -> None:
        """Write the page of all reports, if there are any."""
        if self._several and self._entries:
            self._package.write_index(self._entries, self._folder)

    def _track(self, stages: Sequence[Any]) -> Iterable[Any]:
        # With several inputs there is a bar over them already.
        return stages if self._several else progress(stages, len(stages), "measuring")


def _package() -> ModuleType:
    """The package that measures, with the libraries it needs."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"reports need packages that are not installed: {', '.join(missing)}",
            hint="pip install 'iomt-crypt[report]'",
        )
    # Takes seconds.
    return import_module("iomt_crypt.analysis.report")
