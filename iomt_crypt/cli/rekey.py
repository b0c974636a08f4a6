"""``iomt-crypt rekey``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iomt_crypt.cli.console import print_failure, print_json, print_note
from iomt_crypt.cli.option import (
    DryRun,
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
from iomt_crypt.errors import InputError, KeyMaterialError, StorageError, UnsupportedError

if TYPE_CHECKING:
    from iomt_crypt.archive.key import KeySource


def rekey(
    sources: TreeSources,
    identity: Annotated[
        list[str] | None,
        typer.Option("-i", "--identity", metavar="FILE|URI", help="Identity that opens the objects now. Repeatable."),
    ] = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option(
            "-r", "--recipient", metavar="RECIPIENT", help="Who is to open them, and no one else. Repeatable."
        ),
    ] = None,
    rotate: Annotated[bool, typer.Option("--rotate", help="New data keys: the pixels are encrypted anew.")] = False,
    keep_readable: Annotated[
        bool, typer.Option("--keep-readable", help="Refuse when none of the identities given could open the result.")
    ] = False,
    recover: Annotated[
        bool, typer.Option("--recover", help="Only complete what a run that was cut off left half done.")
    ] = False,
    dry_run: DryRun = False,
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
    """Give encrypted objects other recipients, in place: those named with -r, and no one else.

    The pixels stay as they are, unless --rotate is given. Objects that are not ours are left alone. A run that was cut
    off is gone on with by the same command. Who could open an object before and kept a copy of it can still open that.
    """
    if recover:
        others = {"--dry-run": dry_run, "--rotate": rotate, "--journal": journal, "--report": report}
        _refuse([name for name, given in others.items() if given])
        places = tree_sources(sources)
        _check_there(places)
        raise typer.Exit(0 if _recover(places, as_json=as_json) else 1)
    if not identity or not recipient:
        missing = "--identity" if not identity else "--recipient"
        raise typer.BadParameter("at least one is needed", param_hint=missing)
    from iomt_crypt.archive.key import KeySource
    from iomt_crypt.archive.rekey import RekeyOperation

    run = Run.of(workers, scheduler, (tls_ca, tls_cert, tls_key), journal, report, as_json=as_json, dry_run=dry_run)
    identities = KeySource.identities_of(identity, asker(passphrase_file))
    recipients = KeySource.recipients_of(recipient, asker(None, confirm=True))
    _check_readable(identities, recipients, keep_readable=keep_readable)
    places = tree_sources(sources)
    if not dry_run:
        _recover(places, as_json=as_json)
    operation = RekeyOperation(identities, recipients, rotate=rotate, dry_run=dry_run)
    words = Words("re-keying", "would re-key" if dry_run else "re-keyed")
    with _own_journal(run, places, wanted=rotate and not dry_run) as run:
        run.over(places, operation, words)


def _check_readable(identities: KeySource, recipients: KeySource, *, keep_readable: bool) -> None:
    """Every recipient is wrapped to once before work begins; a result that nobody here could open is pointed out."""
    from iomt_crypt.archive.rekey import readable_after

    if readable_after(identities.identities(), recipients.recipients()):
        return
    what = "none of the identities given will open the result"
    hint = "give an identity of the new recipients with -i as well: it is tried before anything is changed"
    if keep_readable:
        raise KeyMaterialError(what, hint=hint)
    print_note(f"warning: {what}; make sure that the new recipients have their keys\nhint: {hint}")


def _recover(sources: Sequence[str], *, as_json: bool) -> bool:
    """Complete what was left half done; False when something of it is left."""
    from iomt_crypt.archive.rekey import recover_trees

    clean = True
    for found in recover_trees(sources, left=True):
        if as_json:
            print_json({"source": found.location, "state": found.state, "reason": found.reason})
        if found.state in ("left", "in use"):
            clean = False
            hint = "wait for it to end" if found.state == "in use" else "the redo file is kept: it may hold its record"
            print_failure(found.location, f"not recovered: {found.reason}", hint)
        elif found.state == "completed" and not as_json:
            print_note(f"recovered: {found.location}: a change that was half written is complete")
    return clean


def _refuse(options: Sequence[str]) -> None:
    for name in options:
        raise typer.BadParameter("goes with no --recover, which completes what was begun", param_hint=name)


def _check_there(sources: Sequence[str]) -> None:
    """Raise InputError where nothing could be recovered."""
    for source in sources:
        if "://" in source:
            raise UnsupportedError(f"{source}: nothing is changed in place in stores", hint="name a folder or a file")
        if not os.path.lexists(source):
            raise InputError(f"{source}: no such file or folder")


@contextmanager
def _own_journal(run: Run, sources: Sequence[str], *, wanted: bool) -> Iterator[Run]:
    """``run`` with a journal in the first tree, where it has none, for as long as it is not at its end.

    Whether an object was rotated cannot be seen from the object when its recipients stay the same. A run that was cut
    off is gone on with. One that came to its end is over, whatever failed: a rotation that is ordered later must not
    be taken for it.
    """
    paths = [Path(source) for source in sources if "://" not in source]
    # Others are refused. A name that is too long is no error here.
    local = [path for path in paths if os.path.exists(path) and not path.is_symlink()]  # noqa: PTH110
    if not wanted or run.journal is not None or not local:
        yield run
        return
    folder = (local[0] if local[0].is_dir() else local[0].parent) / ".iomt-crypt"
    if folder.is_symlink():
        raise StorageError(f"{folder}: a link, where the state of a run is kept", hint="remove it")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be made ({error.strerror})", hint="--journal FILE elsewhere") from error
    journal = folder / "rotate.journal"
    if journal.exists():
        begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(journal.stat().st_mtime))
        print_note(f"goes on with a rotation that was cut off, last heard of {begun}; to begin anew, remove {journal}")
    try:
        yield replace(run, journal=journal)
    except typer.Exit as ended:
        if ended.exit_code == 1:
            _remove(journal)
            print_note("hint: the same command rotates all again; name those that failed to rotate these alone")
        raise
    _remove(journal)


def _remove(journal: Path) -> None:
    for end in ("", "-wal", "-shm"):
        journal.with_name(journal.name + end).unlink(missing_ok=True)
    with suppress(OSError):
        journal.parent.rmdir()
