"""``iomt-crypt fetch``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from iomt_crypt.cli.console import print_error, print_json, progress, stderr
from iomt_crypt.cli.option import Headers, Identities, Json, Output, PassphraseFile, asker
from iomt_crypt.foreign_text import one_line

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
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Bring studies back from an archive, decrypted: one file for each object, named by its original UID.

    Objects in the archive that are not encrypted are saved as they are and reported as plain.
    """
    from iomt_crypt.node.fetcher import Fetcher
    from iomt_crypt.node.peer import Peer
    from iomt_crypt.node.transport import configure_pynetdicom
    from iomt_crypt.seal import Keyring, load_identities

    keyring = Keyring(load_identities(identity, ask=asker(passphrase_file)))
    configure_pynetdicom()
    fetcher = Fetcher(
        Peer.parse(source),
        calling_ae_title=aet,
        keyring=keyring,
        output=output,
        headers=headers,
    )
    found = {uid: fetcher.find(uid, series=series or []) for uid in dict.fromkeys(study)}
    coming = (fetched for instances in found.values() if instances for fetched in fetcher.fetch(instances))
    n_failed = _report_all(progress(coming, sum(map(len, found.values())), "fetching"), as_json)
    empty = [uid for uid, instances in found.items() if not instances]
    for uid in empty:
        what = "none of these series" if series else "nothing"
        hint = "series UIDs are those in the archive, not the original ones" if series else ""
        print_error(f"study {uid}: the archive has {what} of it", hint)
    if n_failed or empty:
        raise typer.Exit(1)


def _report_all(results: Iterable[Fetched], as_json: bool) -> int:
    """Report each result and their sum; return how many failed."""
    counts = {"decrypted": 0, "plain": 0, "failed": 0}
    for fetched in results:
        counts[fetched.state] += 1
        _report(fetched, as_json)
    if not as_json:
        typer.echo(f"fetched: {', '.join(f'{n} {state}' for state, n in counts.items() if n) or 'nothing'}", err=True)
    return counts["failed"]


def _report(fetched: Fetched, as_json: bool) -> None:
    error = fetched.error
    if error is not None:
        print_error(f"{fetched.sop_instance_uid}: {error}", error.hint)
    elif not as_json:
        notes = {"changed": ", ".join(fetched.changed), "remark": fetched.remark}
        for what, text in notes.items():
            if text:
                stderr.print(one_line(f"{what}: {fetched.path}: {text}"), soft_wrap=True, markup=False)
    if as_json:
        print_json(
            {
                "sop_instance_uid": fetched.sop_instance_uid,
                "state": fetched.state,
                "output": str(fetched.path) if fetched.path else None,
                "changed": list(fetched.changed),
                "remark": fetched.remark,
                "error": str(error) if error else None,
                "hint": error.hint if error else None,
            }
        )
