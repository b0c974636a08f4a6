"""``iomt-crypt verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from iomt_crypt.cli.option import (
    JournalFile,
    Json,
    PassphraseFile,
    ReportFile,
    SchedulerAddress,
    TlsCa,
    TlsCert,
    TlsKey,
    TreeSources,
    Workers,
    asker,
)
from iomt_crypt.cli.tree import Run, Words, tree_sources

if TYPE_CHECKING:
    from iomt_crypt.archive.operation import Outcome

_VERDICTS = {
    "authentic": "authentic: record, header and all frames",
    "consistent": "consistent: encrypted and undamaged as far as can be seen without an identity",
}


def verify(
    sources: TreeSources,
    identity: Annotated[
        list[str] | None, typer.Option("-i", "--identity", metavar="FILE", help="Identity file. Several may be given.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    journal: JournalFile = None,
    workers: Workers = 1,
    scheduler: SchedulerAddress = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    report: ReportFile = None,
    as_json: Json = False,
) -> None:
    """Check files, folders or stores: structure and, with an identity, record, header and every frame.

    Writes nothing. A plain object is a failure here: verify answers whether everything is encrypted and sound.
    """
    from iomt_crypt.archive.key import KeySource
    from iomt_crypt.archive.verification import Verification

    run = Run.of(workers, scheduler, (tls_ca, tls_cert, tls_key), journal, report, as_json=as_json)
    keys = KeySource.identities_of(identity, asker(passphrase_file)) if identity else None
    run.over(tree_sources(sources), Verification(keys), Words("verifying", "verified"), show=_show_verdict)


def _show_verdict(outcome: Outcome) -> None:
    changed = outcome.detail["changed"]
    more = f"; header changed: {', '.join(changed)}" if changed else ""
    typer.echo(f"{outcome.location}: {_VERDICTS[outcome.detail['verdict']]}{more}")
