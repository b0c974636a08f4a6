"""Options that several commands have."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from iomt_crypt.errors import KeyMaterialError

Sources = Annotated[list[Path], typer.Argument(metavar="SRC...", help="Files or folders.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")]
Identities = Annotated[
    list[str], typer.Option("-i", "--identity", metavar="FILE", help="Identity file. Several may be given.")
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
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Read the passphrase from its first line.")
]


def one_of(option: str, value: str, allowed: Iterable[str]) -> None:
    """Raise the usage error (exit code 2) unless ``value`` is allowed."""
    if value not in allowed:
        raise typer.BadParameter(f"{value!r} is not one of: {', '.join(allowed)}", param_hint=option)


def passphrase_source(path: Path | None, *, confirm: bool = False) -> bytes:
    """The passphrase from a file or, on a terminal, from the user; never from an argument."""
    if path is not None:
        try:
            return path.read_bytes().splitlines()[0]
        except (OSError, IndexError) as error:
            raise KeyMaterialError(f"{path}: no passphrase in it ({type(error).__name__})") from error
    if not sys.stdin.isatty():
        raise KeyMaterialError("a passphrase is needed and there is no terminal", hint="--passphrase-file FILE")
    return str(typer.prompt("passphrase", hide_input=True, confirmation_prompt=confirm, err=True)).encode()
