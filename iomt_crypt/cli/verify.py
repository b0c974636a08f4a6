"""``iomt-crypt verify``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from iomt_crypt.cli.console import print_json
from iomt_crypt.cli.option import (
    JournalFile,
    Json,
    MoveAet,
    MoveHost,
    MovePort,
    PassphraseFile,
    Record,
    ReportFile,
    SchedulerAddress,
    TlsCa,
    TlsCert,
    TlsKey,
    Workers,
    asker,
    record_copies,
)
from iomt_crypt.cli.tree import Run, Words, tree_sources
from iomt_crypt.cli.verify_archive import ArchiveOptions, verify_archive
from iomt_crypt.foreign_text import one_line

if TYPE_CHECKING:
    from iomt_crypt.archive.expectation import Expectation
    from iomt_crypt.archive.operation import Outcome
    from iomt_crypt.archive.verification import Verification


def verify(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="SRC...", help="Files, folders, DICOMDIRs, or s3:// etc.")
    ] = None,
    identity: Annotated[
        list[str] | None, typer.Option("-i", "--identity", metavar="FILE", help="Identity file. Several may be given.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    record: Record = None,
    journal: JournalFile = None,
    workers: Workers = 1,
    scheduler: SchedulerAddress = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    report: ReportFile = None,
    classifier: Annotated[
        bool, typer.Option(help="Ask the trained network about the pixels too, where it is installed.")
    ] = True,
    expect: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The truth about each object (CSV path,truth or JSON): count agreement, exit by it."
        ),
    ] = None,
    archive: Annotated[
        str | None, typer.Option(metavar="AET@HOST:PORT", help="Look at what this archive has, by C-FIND and C-GET.")
    ] = None,
    study: Annotated[
        list[str] | None, typer.Option(metavar="UID", help="With --archive: all of this study. Repeatable.")
    ] = None,
    retired: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="With --archive: an identity that should open nothing any more. Repeatable."),
    ] = None,
    aet: Annotated[str, typer.Option(help="With --archive: own AE title.")] = "IOMTCRYPT",
    move_port: MovePort = None,
    move_aet: MoveAet = None,
    move_host: MoveHost = "",
    as_json: Json = False,
) -> None:
    """Check files, folders or stores: structure, look of the pixels and, with an identity, record, header and frames.

    Writes nothing. A plain object is a failure here: verify answers whether everything is encrypted and sound.
    So is one that says it is encrypted and looks plain, and one that looks encrypted and has no record.

    With --archive, SRC names what should be there: a node's TOML file or journal, or encrypted files. Each object is
    fetched, looked at in memory, and nothing of it is kept.
    """
    from iomt_crypt.archive.key import KeySource
    from iomt_crypt.archive.verification import Verification

    ask = asker(passphrase_file)
    if archive is not None:
        options = ArchiveOptions(archive, study or [], aet, retired or [], move_port, move_aet, move_host)
        copies = record_copies(record)
        verify_archive(options, sources or [], identity or [], copies, ask=ask, classifier=classifier, as_json=as_json)
        return
    if not sources or study or retired:
        raise typer.BadParameter("name what to verify; --study and --retired go with --archive", param_hint="SRC")
    if journal is not None and expect is not None:
        raise typer.BadParameter("what an earlier run has seen cannot be compared", param_hint="--expect")
    run = Run.of(workers, scheduler, (tls_ca, tls_cert, tls_key), journal, report, as_json=as_json)
    keys = KeySource.identities_of(identity, ask) if identity else None
    operation = Verification(keys, classifier, record_copies(record))
    _verify_tree(run, tree_sources(sources), operation, expect, as_json=as_json)


def _verify_tree(
    run: Run, sources: Sequence[str], operation: Verification, expect: Path | None, *, as_json: bool
) -> None:
    from iomt_crypt.archive.expectation import Expectation

    words = Words("verifying", "verified")
    if expect is None:
        run.over(sources, operation, words, show=_show_verdict)
        return
    expectation = Expectation.read(expect)
    try:
        run.over(sources, operation, words, show=_show_verdict, heard=expectation.add)
    except typer.Exit as end:
        # What failed may be what was expected: the comparison decides.
        if end.exit_code != 1:
            raise
    _show_matrix(expectation, as_json=as_json)
    raise typer.Exit(1 if expectation.n_disagreements else 0)


def _show_matrix(expectation: Expectation, *, as_json: bool) -> None:
    matrix = expectation.matrix()
    if as_json:
        print_json({"matrix": matrix, "disagreements": expectation.n_disagreements})
        return
    verdicts = list(next(iter(matrix.values()), {}))
    table = Table("truth \\ verdict", *verdicts, box=None, pad_edge=False)
    for truth, row in matrix.items():
        table.add_row(truth, *(str(row[verdict]) for verdict in verdicts))
    Console(highlight=False, markup=False).print(table)
    typer.echo(f"disagreements: {expectation.n_disagreements}", err=True)


def _show_verdict(outcome: Outcome) -> None:
    from iomt_crypt.archive.verification import VERDICTS

    changed = outcome.detail["changed"]
    more = f"; header changed: {', '.join(changed)}" if changed else ""
    more += f"; {remark}" if (remark := outcome.detail["remark"]) else ""
    verdict = outcome.detail["verdict"]
    more += "; record lost: opened with a copy" if outcome.detail.get("from_copy") else ""
    typer.echo(one_line(f"{outcome.location}: {verdict}: {VERDICTS[verdict]}{more}"))
