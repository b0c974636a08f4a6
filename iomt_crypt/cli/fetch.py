"""``iomt-crypt fetch``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iomt_crypt.cli.console import print_error, print_json, print_note, progress
from iomt_crypt.cli.option import (
    Headers,
    Identities,
    Json,
    MoveAet,
    MoveHost,
    MovePort,
    Output,
    PassphraseFile,
    asker,
    move_target,
)

if TYPE_CHECKING:
    from iomt_crypt.node.fetcher import Fetched


def fetch(
    source: Annotated[str, typer.Option("--from", metavar="AET@HOST:PORT", help="The archive.")],
    study: Annotated[list[str], typer.Option(metavar="UID", help="Study Instance UID. Repeatable.")],
    identity: Identities,
    output: Output,
    series: Annotated[
        list[str] | None, typer.Option(metavar="UID", help="Only this series, by its UID in the archive. Repeatable.")
    ] = None,
    aet: Annotated[str, typer.Option(help="Own AE title.")] = "IOMTCRYPT",
    headers: Headers = "merged",
    plain: Annotated[
        bool, typer.Option("--plain", help="Write objects that are not encrypted too, as they are.")
    ] = False,
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A node's journal or its TOML file: its copies open objects that lost their record, "
            "and it names what the archive cannot list.",
        ),
    ] = None,
    move_port: MovePort = None,
    move_aet: MoveAet = None,
    move_host: MoveHost = "",
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Bring studies back from an archive, decrypted: one file for each object, named by its original UID.

    Uses C-GET; where an archive offers C-MOVE only, it is told to send to --move-aet, which listens on --move-port for
    as long as this takes. What is not encrypted, what was not asked for and what does not come is named: exit code 1.
    """
    from iomt_crypt.node.catalog import completed
    from iomt_crypt.node.fetcher import Fetcher
    from iomt_crypt.node.peer import Peer
    from iomt_crypt.node.record_shelf import RecordShelf
    from iomt_crypt.node.transport import configure_pynetdicom
    from iomt_crypt.seal import Keyring, load_identities

    keyring = Keyring(load_identities(identity, ask=asker(passphrase_file)))
    shelf = RecordShelf.open(journal) if journal else None
    configure_pynetdicom()
    fetcher = Fetcher(
        Peer.parse(source),
        calling_ae_title=aet,
        keyring=keyring,
        output=output,
        headers=headers,
        plain=plain,
        records_of=shelf.records if shelf else lambda uid: [],
        target=move_target(move_port, move_aet or aet, move_host),
    )
    found = {uid: fetcher.listing(uid, series=series or []) for uid in dict.fromkeys(study)}
    if shelf is not None:
        found = {uid: completed(listing, shelf.instances(uid)) for uid, listing in found.items()}
    asked = [listing for listing in found.values() if listing.instances or listing.unlisted]
    coming = (fetched for listing in asked for fetched in fetcher.fetch(listing))
    n_failed = _report_all(progress(coming, sum(len(listing.instances) for listing in asked), "fetching"), as_json)
    empty = [uid for uid, listing in found.items() if listing not in asked]
    for uid in empty:
        what = "none of these series" if series else "nothing"
        hint = "series UIDs are those in the archive, not the original ones" if series else ""
        print_error(f"study {uid}: the archive has {what} of it", hint)
    if n_failed or empty:
        raise typer.Exit(1)


def _report_all(results: Iterable[Fetched], as_json: bool) -> int:
    """Report each result and their sum; return how many failed."""
    counts = {"decrypted": 0, "plain": 0, "failed": 0, "refused": 0}
    for fetched in results:
        counts[fetched.state] += 1
        _report(fetched, as_json)
    if not as_json:
        typer.echo(f"fetched: {', '.join(f'{n} {state}' for state, n in counts.items() if n) or 'nothing'}", err=True)
    return counts["failed"] + counts["refused"]


def _report(fetched: Fetched, as_json: bool) -> None:
    error = fetched.error
    if error is not None:
        print_error(f"{fetched.sop_instance_uid}: {error}", error.hint)
    elif not as_json:
        lost = "opened with the journal's copy" if fetched.from_copy else ""
        notes = {"changed": ", ".join(fetched.changed), "remark": fetched.remark, "record lost": lost}
        for what, text in notes.items():
            if text:
                print_note(f"{what}: {fetched.path}: {text}")
    if as_json:
        print_json(
            {
                "sop_instance_uid": fetched.sop_instance_uid,
                "state": fetched.state,
                "output": str(fetched.path) if fetched.path else None,
                "changed": list(fetched.changed),
                "remark": fetched.remark,
                "from_copy": fetched.from_copy,
                "error": str(error) if error else None,
                "hint": error.hint if error else None,
            }
        )
