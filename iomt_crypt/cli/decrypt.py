"""``iomt-crypt decrypt``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iomt_crypt.cli.console import print_note
from iomt_crypt.cli.option import (
    DryRun,
    Headers,
    Identities,
    JournalFile,
    Json,
    Overwrite,
    PassphraseFile,
    Record,
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
    record_copies,
)
from iomt_crypt.cli.tree import Run, Words, tree_results, tree_sources

if TYPE_CHECKING:
    from iomt_crypt.archive.operation import Outcome


def decrypt(
    sources: TreeSources,
    identity: Identities,
    output: TreeOutput,
    headers: Headers = "merged",
    passphrase_file: PassphraseFile = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    dry_run: DryRun = False,
    record: Record = None,
    journal: JournalFile = None,
    workers: Workers = 1,
    scheduler: SchedulerAddress = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    report: ReportFile = None,
    as_json: Json = False,
) -> None:
    """Decrypt files, folders or stores into DIR: byte for byte what was encrypted.

    Nothing is written unless all of an object is authentic.
    """
    from iomt_crypt.archive.decryption import Decryption
    from iomt_crypt.archive.key import KeySource

    run = Run.of(workers, scheduler, (tls_ca, tls_cert, tls_key), journal, report, as_json=as_json, dry_run=dry_run)
    places = tree_sources(sources)
    operation = Decryption(
        KeySource.identities_of(identity, asker(passphrase_file)),
        tree_results(output, places, overwrite=overwrite, resume=resume, encrypts=False),
        headers=headers,
        dry_run=dry_run,
        records=record_copies(record),
    )
    words = Words("decrypting", "would decrypt" if dry_run else "decrypted")
    run.over(places, operation, words, output=output, show=_show_changes)


def _show_changes(outcome: Outcome) -> None:
    if changed := outcome.detail.get("changed"):
        what = "corrections applied" if outcome.detail.get("corrections_applied") else "not applied"
        print_note(f"changed: {outcome.location}: {', '.join(changed)} ({what})")
    if remark := outcome.detail.get("remark"):
        print_note(f"remark: {outcome.location}: {remark}")
    if outcome.detail.get("from_copy"):
        print_note(f"record lost: {outcome.location}: opened with a copy")
