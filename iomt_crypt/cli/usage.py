"""``iomt-crypt key usage``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from iomt_crypt.cli.console import print_error, print_json, print_note
from iomt_crypt.cli.option import PassphraseFile, ReportFile, TreeSources, Workers, asker
from iomt_crypt.cli.tree import Run, Words, tree_sources

if TYPE_CHECKING:
    from iomt_crypt.archive.operation import Outcome
    from iomt_crypt.archive.usage import Usage


def usage(
    sources: TreeSources,
    identity: Annotated[
        list[str] | None,
        typer.Option("-i", "--identity", metavar="FILE|URI", help="An identity that is to be retired. Repeatable."),
    ] = None,
    fingerprint: Annotated[
        list[str] | None,
        typer.Option("--fingerprint", metavar="FP", help="The same, by its fingerprint (xxxx-xxxx-xxxx-xxxx)."),
    ] = None,
    passphrase_file: PassphraseFile = None,
    workers: Workers = 1,
    report: ReportFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Count objects by epoch and recipient; with -i or --fingerprint: can these identities be retired?

    No object is opened: what is counted is what the objects say. Exit code 1 and a list when there are objects that
    only the named ones can open; exit code 1 also when not everything could be looked at.
    """
    from iomt_crypt.archive.usage import Usage, UsageSurvey
    from iomt_crypt.seal import fingerprint_text, load_identities

    going = {_plain(value) for value in fingerprint or []}
    going |= {fingerprint_text(key.fingerprint) for key in load_identities(identity or [], ask=asker(passphrase_file))}
    found = Usage(frozenset(going))
    n_listed = 0

    def count(outcome: Outcome) -> None:
        nonlocal n_listed
        if found.add(outcome.detail) and not as_json:
            n_listed += 1
            print_error(f"{outcome.location}: opened by no other identity")

    run, words, code = Run(workers=workers, report=report), Words("counting", "counted"), 0
    try:
        run.over(tree_sources(sources), UsageSurvey(), words, show=count, heard=found.hear)
    except typer.Exit as ended:
        code = ended.exit_code
    found.complete = code in (0, 1)
    print_json(_document(found)) if as_json else _show(found)
    raise typer.Exit(code or int(bool(found.retiring) and not found.retirable))


def _plain(text: str) -> str:
    """A fingerprint in the usual form; a usage error when it is none."""
    digits = text.strip().lower().replace("-", "")
    if len(digits) != 16 or not set(digits) <= set("0123456789abcdef"):
        raise typer.BadParameter("16 hexadecimal digits are needed", param_hint="--fingerprint")
    return "-".join(digits[i : i + 4] for i in range(0, 16, 4))


def _document(found: Usage) -> dict[str, object]:
    document: dict[str, object] = {
        "objects": found.n_objects,
        "failed": found.n_failed,
        "links_not_followed": found.n_links,
        "complete": found.complete,
        "epochs": dict(found.epochs),
        "recipients": [
            {"fingerprint": name, "kind": found.kinds[name], "objects": n}
            for name, n in sorted(found.recipients.items())
        ],
    }
    if found.retiring:
        document |= {"retiring": sorted(found.retiring), "only_by_these": found.n_stranded}
        document |= {"can_be_retired": found.retirable}
    return document


def _show(found: Usage) -> None:
    stdout = Console(highlight=False)
    table = Table("recipient", "kind", "objects", box=None)
    for name, n_objects in found.recipients.most_common():
        table.add_row(name, found.kinds[name], str(n_objects))
    stdout.print(table)
    stdout.print(f"objects: {found.n_objects}, epochs: {len(found.epochs)}")
    if found.retiring:
        print_note(_verdict(found))


def _verdict(found: Usage) -> str:
    if found.n_stranded:
        return f"not yet: {found.n_stranded} objects would be lost; 'iomt-crypt rekey' gives them other recipients"
    if not found.complete:
        return "not known: the count was cut off"
    if found.n_failed:
        return f"not known: {found.n_failed} files could not be looked at"
    if found.n_links:
        return f"not known: {found.n_links} links lead out of what was counted; name what they lead to as well"
    if not found.n_objects:
        return "not known: there is no encrypted object"
    return "can be retired: every object has another recipient"
