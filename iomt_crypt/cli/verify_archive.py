"""``iomt-crypt verify --archive``: what an archive really has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from iomt_crypt.cli.console import collect, print_error, print_json, progress
from iomt_crypt.errors import IomtCryptError, NetworkError

if TYPE_CHECKING:
    from iomt_crypt.archive.record_copy import RecordCopies
    from iomt_crypt.node.archive_audit import ArchiveAudit, Finding


@dataclass
class _Wanted:
    """Studies to look at: all of each, or the objects that are known to be in them."""

    studies: dict[str, set[str]] = field(default_factory=dict)
    whole: bool = False
    records_of: Callable[[str], Sequence[bytes]] = lambda uid: ()
    unknown: list[Finding] = field(default_factory=list)

    @property
    def n_known(self) -> int:
        return sum(map(len, self.studies.values()))

    def add(self, study_instance_uid: str, sop_instance_uid: str) -> None:
        """Look for this object; without a study the archive cannot be asked for it."""
        if study_instance_uid:
            self.studies.setdefault(study_instance_uid, set()).add(sop_instance_uid)
        else:
            self.unknown.append(_without_study(sop_instance_uid))


@dataclass(frozen=True)
class ArchiveOptions:
    """Options of `verify` that are about an archive."""

    archive: str
    studies: Sequence[str]
    aet: str
    retired: Sequence[str]
    move_port: int | None
    move_aet: str | None
    move_host: str


def verify_archive(
    options: ArchiveOptions,
    sources: Sequence[str],
    identity: Sequence[str],
    copies: RecordCopies | None,
    *,
    ask: Callable[[str], bytes],
    classifier: bool,
    as_json: bool,
) -> None:
    """Look at what is in the archive; exits 1 unless all of it is sound."""
    from iomt_crypt.cli.option import move_target
    from iomt_crypt.node.archive_audit import ArchiveAudit
    from iomt_crypt.node.peer import Peer
    from iomt_crypt.node.transport import configure_pynetdicom
    from iomt_crypt.seal import Keyring, load_identities

    if bool(options.studies) == bool(sources):
        raise typer.BadParameter("with --archive, give either --study, or SRC: a node's TOML file or journal, or files")
    if options.retired and not identity:
        raise typer.BadParameter("goes with --identity", param_hint="--retired")
    wanted = _known(sources) if sources else _Wanted({uid: set() for uid in options.studies}, whole=True)
    if copies is not None:
        wanted.records_of = copies.of
    configure_pynetdicom()
    audit = ArchiveAudit(
        Peer.parse(options.archive),
        calling_ae_title=options.aet,
        keyring=Keyring(load_identities(list(identity), ask=ask)) if identity else None,
        retired=Keyring(load_identities(list(options.retired), ask=ask)) if options.retired else None,
        classifier=classifier,
        records_of=wanted.records_of,
        target=move_target(options.move_port, options.move_aet or options.aet, options.move_host),
    )
    counts: Counter[str] = Counter()
    n_unsound = 0
    for finding in progress(_findings(audit, wanted), wanted.n_known, "verifying"):
        counts[finding.verdict] += 1
        n_unsound += not finding.is_sound
        _report(finding, as_json=as_json)
    if not as_json:
        totals = ", ".join(f"{n} {verdict.replace('-', ' ')}" for verdict, n in counts.items())
        typer.echo(f"verified: {totals or 'nothing'}", err=True)
    if n_unsound or not counts:
        raise typer.Exit(1)


def _findings(audit: ArchiveAudit, wanted: _Wanted) -> Iterator[Finding]:
    from iomt_crypt.node.archive_audit import cannot_ask

    yield from wanted.unknown
    for study, known in wanted.studies.items():
        try:
            yield from audit.study(study, None if wanted.whole else known)
        except NetworkError as error:
            yield cannot_ask(study, error)


def _report(finding: Finding, *, as_json: bool) -> None:
    from iomt_crypt.node.archive_audit import VERDICTS

    meaning = VERDICTS[finding.verdict]
    name = finding.verdict.replace("-", " ")
    if as_json:
        print_json(
            {
                "sop_instance_uid": finding.sop_instance_uid,
                "verdict": finding.verdict,
                "changed": list(finding.changed),
                "error": None if finding.is_sound else finding.reason or meaning,
                "hint": finding.hint or None,
            }
        )
    if finding.is_sound:
        if not as_json:
            more = f"; header changed: {', '.join(finding.changed)}" if finding.changed else ""
            typer.echo(f"{finding.sop_instance_uid}: {finding.verdict}: {meaning}{more}")
        return
    reason = finding.reason if finding.reason.startswith(name) else f"{name}: {finding.reason or meaning}"
    print_error(f"{finding.sop_instance_uid}: {reason}", finding.hint)


def _known(sources: Sequence[str]) -> _Wanted:
    """What a node's journal says was delivered, or what encrypted files say they are."""
    from iomt_crypt.node.record_shelf import RecordShelf, is_journal

    first = Path(sources[0])
    if len(sources) > 1 or not (first.suffix == ".toml" or is_journal(first)):
        return _of_files([Path(source) for source in sources])
    shelf = RecordShelf.open(first)
    wanted = _Wanted(records_of=shelf.records)
    for known in shelf.delivered():
        wanted.add(known.study_instance_uid, known.sop_instance_uid)
    return wanted


def _of_files(paths: list[Path]) -> _Wanted:
    from iomt_crypt.dicom import inspect_file

    places: dict[str, Path] = {}
    wanted = _Wanted(records_of=lambda uid: _records_in(places.get(uid)))
    for item in collect(paths):
        try:
            found = inspect_file(item.path)
        except IomtCryptError as error:
            print_error(f"{item.path}: {error}", error.hint)
            continue
        if found.encryption is None:
            continue
        places[found.sop_instance_uid] = item.path
        wanted.add(found.study_instance_uid, found.sop_instance_uid)
    return wanted


def _records_in(path: Path | None) -> list[bytes]:
    from iomt_crypt.dicom import read_file
    from iomt_crypt.dicom.block import find_record

    if path is None:
        return []
    with path.open("rb") as stream:
        found = find_record(read_file(stream).header)
    return [found[1]] if found else []


def _without_study(uid: str) -> Finding:
    from iomt_crypt.foreign_text import shown_uid
    from iomt_crypt.node.archive_audit import Finding

    reason = "it has no Study Instance UID, so the archive cannot be asked for it"
    return Finding(shown_uid(uid), "unlisted", reason)
