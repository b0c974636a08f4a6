"""``iomt-crypt inspect``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iomt_crypt.cli.console import Input, run_inputs
from iomt_crypt.cli.option import Json
from iomt_crypt.foreign_text import one_line, printable

if TYPE_CHECKING:
    from iomt_crypt.dicom import Inspection

_MAX_SHOWN = 4096  # characters of a value; the longest path that Linux takes


def inspect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="DICOM files.")],
    as_json: Json = False,
) -> None:
    """Show what an object says about itself. No key is needed, and nothing shown is authenticated."""
    from iomt_crypt.dicom import inspect_file

    def work(item: Input) -> dict[str, Any]:
        found = inspect_file(item.path)
        if as_json:
            return {"state": "done", **asdict(found)}
        _show(item.path, found)
        return {"state": "done"}

    inputs = [Input(path, Path(path.name), named=True) for path in files]
    run_inputs(inputs, work, label="inspecting", as_json=as_json, verb="inspected")


def _show(path: Path, found: Inspection) -> None:
    typer.echo(one_line(f"{path}"))
    rows = [
        ("SOP class", found.sop_class_uid),
        ("SOP instance", found.sop_instance_uid),
        ("series", found.series_instance_uid),
        ("study", found.study_instance_uid),
        ("transfer syntax", found.transfer_syntax_uid),
        ("pixel value", f"{found.pixel_bytes} bytes"),
    ]
    sealed = found.encryption
    if sealed is None:
        rows.append(("encrypted", "no"))
    else:
        research = "  RESEARCH: no standard cipher" if sealed.suite.startswith("chaos") else ""
        rows += [
            ("encrypted", f"yes, {sealed.suite}, by iomt-crypt {sealed.software}{research}"),
            ("form", f"{sealed.form}, {sealed.n_units} unit(s) of {sealed.unit_bytes} bytes"),
            ("epoch", sealed.epoch_id),
        ]
        rows += [("recipient", f"{r.fingerprint}  {r.kind}") for r in sealed.recipients]
    for name, value in rows:
        typer.echo(f"  {name:<16} {printable(value, limit=_MAX_SHOWN)}")
    for warning in found.warnings:
        typer.echo(f"  warning: {warning}")
