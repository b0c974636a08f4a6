"""``iomt-crypt node record``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iomt_crypt.cli.console import print_error, print_json
from iomt_crypt.cli.option import Json
from iomt_crypt.errors import StorageError

if TYPE_CHECKING:
    from iomt_crypt.node.record_shelf import RecordShelf

app = typer.Typer(no_args_is_help=True, help="Copies of sealed records, which the node's journal keeps.")


@app.callback()
def group() -> None:
    """Keep ``export`` a command of its own."""


@app.command()
def export(
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="The node's TOML file, or its journal.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="PATH", help="A file for one record, or a folder.")],
    uid: Annotated[
        list[str] | None, typer.Option("--uid", metavar="UID", help="SOP Instance UID in the archive. Repeatable.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="The records of all objects.")] = False,
    as_json: Json = False,
) -> None:
    """Write copies of records: for objects whose own an archive has lost. Nothing in them is secret without the key.

    'iomt-crypt decrypt --record PATH' opens with them. An object that was received twice has a record for each.
    """
    from iomt_crypt.node.record_shelf import RecordShelf

    if bool(uid) == every:
        raise typer.BadParameter("give either --uid or --all")
    shelf = RecordShelf.open(config)
    n_written, n_failed = 0, 0
    as_file = not every and len(uid or []) == 1 and not output.is_dir() and not str(output).endswith(os.sep)
    for each in uid or shelf.uids():
        try:
            paths = _write(shelf, each, output, as_file=as_file)
        except StorageError as error:
            print_error(str(error), error.hint)
            n_failed += 1
            continue
        n_written += len(paths)
        if as_json:
            print_json({"sop_instance_uid": each, "output": [str(path) for path in paths]})
    typer.echo(f"exported: {n_written}" + (f", {n_failed} failed" if n_failed else ""), err=True)
    raise typer.Exit(1 if n_failed else 0)


def _write(shelf: RecordShelf, uid: str, output: Path, *, as_file: bool) -> list[Path]:
    from iomt_crypt.archive.record_copy import record_name
    from iomt_crypt.dicom.output import output_file
    from iomt_crypt.foreign_text import is_uid, shown_uid

    records = shelf.records(uid) if is_uid(uid) else []
    if not records:
        raise StorageError(
            f"{shown_uid(uid)}: the journal has no record of it",
            hint="the UID is the one in the archive; 'iomt-crypt node queue' shows it beside the original one",
        )
    if as_file and len(records) > 1:
        raise StorageError(f"{uid}: the journal has {len(records)} records of it", hint="name a folder for them")
    paths = [output if as_file else output / record_name(uid, n) for n in range(1, len(records) + 1)]
    for path, record in zip(paths, records, strict=True):
        with output_file(path) as sink:
            os.fchmod(sink.fileno(), 0o600)
            sink.write(record)
    return paths
