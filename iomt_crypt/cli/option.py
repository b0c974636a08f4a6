"""Options that several commands have."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from iomt_crypt.errors import KeyMaterialError

if TYPE_CHECKING:
    from iomt_crypt.archive.record_copy import RecordCopies
    from iomt_crypt.node.move_listener import MoveTarget

Sources = Annotated[list[Path], typer.Argument(metavar="SRC...", help="Files or folders.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")]
Identities = Annotated[
    list[str],
    typer.Option("-i", "--identity", metavar="FILE|URI", help="Identity file, or a text that names one. Repeatable."),
]
Recipients = Annotated[
    list[str],
    typer.Option("-r", "--recipient", metavar="RECIPIENT", help="Recipient text, or a file of them. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document a line on stdout.")]
Headers = Annotated[
    Literal["merged", "original", "strict"],
    typer.Option(
        help="merged: carry patient and study corrections of the archive over; original: ignore all changes; "
        "strict: refuse any change."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")]
Resume = Annotated[bool, typer.Option("--resume", help="Take results that exist as done: they are whole.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="Read the passphrase from its first line (mode 0600)."),
]
#: of commands over trees
TreeSources = Annotated[list[str], typer.Argument(metavar="SRC...", help="Files, folders, DICOMDIRs, or s3:// etc.")]
TreeOutput = Annotated[
    str, typer.Option("-o", "--output", metavar="DIR", help="Folder, or s3:// etc., for the results.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Look at everything, write nothing.")]
Workers = Annotated[int, typer.Option("--workers", min=1, metavar="N", help="Processes on this machine.")]
SchedulerAddress = Annotated[
    str | None, typer.Option("--scheduler", metavar="ADDRESS", help="Dask cluster: tls://HOST:PORT, tcp://HOST:PORT.")
]
TlsCa = Annotated[
    Path | None, typer.Option("--tls-ca", metavar="FILE", help="Authority of the cluster's certificates.")
]
TlsCert = Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate to show the cluster.")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Key of that certificate.")]
JournalFile = Annotated[
    Path | None,
    typer.Option("--journal", metavar="FILE", help="Remember what is done; the same command goes on with it."),
]
ReportFile = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write totals, failures and what was skipped, as JSON.")
]
Record = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH", help="A record, or a folder of them, of 'node record export': opens objects that lost theirs."
    ),
]
#: of commands that retrieve from an archive
MovePort = Annotated[
    int | None,
    typer.Option(min=1, max=65535, metavar="PORT", help="Listen here for C-MOVE, where there is no C-GET."),
]
MoveAet = Annotated[
    str | None,
    typer.Option(metavar="TITLE", help="AE title that the archive knows --move-port by. Default: the own AE title."),
]
MoveHost = Annotated[
    str,
    typer.Option(metavar="ADDRESS", help="Address to listen on. Default: the one that the archive is reached from."),
]


def move_target(port: int | None, ae_title: str, host: str) -> MoveTarget | None:
    """Where a C-MOVE is to send to; None when no port was given. Raises the usage error for a bad title."""
    from iomt_crypt.node.move_listener import MoveTarget
    from iomt_crypt.node.peer import is_ae_title

    if not is_ae_title(ae_title):
        raise typer.BadParameter("an AE title has 1 to 16 printable characters (PS3.5 6.2)", param_hint="--move-aet")
    return None if port is None else MoveTarget(ae_title.strip(), port, host)


def record_copies(path: Path | None) -> RecordCopies | None:
    """The copies at ``path``, which must be there."""
    from iomt_crypt.archive.record_copy import RecordCopies

    if path is None:
        return None
    copies = RecordCopies(str(path.absolute()))
    copies.require()
    return copies


def one_of(option: str, value: str, allowed: Iterable[str]) -> None:
    """Raise the usage error (exit code 2) unless ``value`` is allowed."""
    if value not in allowed:
        raise typer.BadParameter(f"{value!r} is not one of: {', '.join(allowed)}", param_hint=option)


def passphrase_source(path: Path | None, *, confirm: bool = False, what: str = "passphrase") -> bytes:
    """The passphrase from a 0600 file or, on a terminal, from the user; never from an argument.

    ``what`` it is for: ``"passphrase"``, a file, or ``"PIN of token ..."``.
    """
    if path is not None:
        from iomt_crypt.seal.secret import read_secret_line

        return read_secret_line(path)
    if not sys.stdin.isatty():
        raise KeyMaterialError("a passphrase is needed and there is no terminal", hint="--passphrase-file FILE")
    label = what if "PIN" in what or what == "passphrase" else f"passphrase ({what})"
    return str(typer.prompt(label, hide_input=True, confirmation_prompt=confirm, err=True)).encode()


def asker(path: Path | None, *, confirm: bool = False) -> Callable[[str], bytes]:
    """What `load_identities` and `load_recipients` ask with.

    ``confirm`` asks twice for a new passphrase, where a slip of the finger would lock everybody out.
    """
    return lambda what: passphrase_source(path, confirm=confirm and what.endswith("passphrase"), what=what)
