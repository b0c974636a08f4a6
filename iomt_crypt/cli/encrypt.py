"""``iomt-crypt encrypt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iomt_crypt.cli.option import (
    DryRun,
    JournalFile,
    Json,
    Overwrite,
    Recipients,
    ReportFile,
    Resume,
    SchedulerAddress,
    TlsCa,
    TlsCert,
    TlsKey,
    TreeOutput,
    TreeSources,
    Workers,
    asker,
    one_of,
)
from iomt_crypt.cli.tree import Run, Words, tree_results, tree_sources


def encrypt(
    sources: TreeSources,
    recipient: Recipients,
    output: TreeOutput,
    suite: Annotated[str, typer.Option(help="hybrid-1, or chaos-cnn-1 (research: no standard cipher).")] = "hybrid-1",
    uids: Annotated[str, typer.Option(help="derive: new SOP Instance and Series UIDs; keep: all stay.")] = "derive",
    site_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Key of the derived UIDs; made if missing. Default: the user's own."),
    ] = None,
    max_expansion: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Refuse what grows to more than N times its size and 128 MiB. Default: 100."
        ),
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    dry_run: DryRun = False,
    journal: JournalFile = None,
    workers: Workers = 1,
    scheduler: SchedulerAddress = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    report: ReportFile = None,
    as_json: Json = False,
) -> None:
    """Encrypt files, folders or stores of DICOM objects into DIR.

    The results are valid DICOM objects whose pixels are noise. Folders keep their structure. A failed input leaves no
    output.
    """
    from iomt_crypt.archive.encryption import Encryption
    from iomt_crypt.archive.key import KeySource, SiteKey
    from iomt_crypt.seal import SUITES, Epoch
    from iomt_crypt.seal.keyfile import user_site_key_path

    one_of("--suite", suite, SUITES)
    one_of("--uids", uids, ("derive", "keep"))
    run = Run.of(workers, scheduler, (tls_ca, tls_cert, tls_key), journal, report, as_json=as_json, dry_run=dry_run)
    recipients = KeySource.recipients_of(recipient, asker(None, confirm=True))
    Epoch.create(recipients.recipients())  # who cannot be encrypted to is told before work begins
    places = tree_sources(sources)
    operation = Encryption(
        recipients,
        tree_results(output, places, overwrite=overwrite, resume=resume, encrypts=True),
        suite=suite,
        uids=uids,  # type: ignore[arg-type]
        site_key=SiteKey.at(site_key or user_site_key_path()) if uids == "derive" else None,
        dry_run=dry_run,
        max_expansion=max_expansion,
    )
    run.over(places, operation, Words("encrypting", "would encrypt" if dry_run else "encrypted"), output=output)
