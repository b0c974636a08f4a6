"""``iomt-crypt keygen``."""

from __future__ import annotations

import re
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from iomt_crypt.cli.console import print_json
from iomt_crypt.cli.option import Json, PassphraseFile, passphrase_source
from iomt_crypt.errors import KeyMaterialError

if TYPE_CHECKING:
    from iomt_crypt.seal.keyfile import KeyPair

_DEFAULT = Path("iomt-crypt.key")


def keygen(
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help=f"New identity file. Default: {_DEFAULT}, with --split none."
        ),
    ] = None,
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Protect the identity with a passphrase.")] = False,
    passphrase_file: PassphraseFile = None,
    kind: Annotated[
        Literal["hpke", "x25519"],
        typer.Option(help="hpke: ML-KEM-768 and X25519, resists quantum computers; x25519: short texts."),
    ] = "hpke",
    split: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Make N shares, of which any K make the identity (needs --shares)."),
    ] = None,
    shares: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the shares, one file each.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key pair: the identity goes to a 0600 file, the recipient text to stdout.

    The identity decrypts: keep it safe, and keep a copy. The recipient encrypts: give it to everybody. With --split the
    identity goes to shares of 35 words each, and to a file only if -o names one.
    """
    from iomt_crypt.seal.share import GENERATED, split_new_identity

    threshold, n_shares = _split(split, shares)
    if shares is not None and output is None and (passphrase or passphrase_file):
        raise typer.BadParameter("it protects an identity file: name one with -o", param_hint="--passphrase")
    secret = passphrase_source(passphrase_file, confirm=True) if passphrase or passphrase_file else None
    with ExitStack() as undo:
        identity: KeyPair
        pages: list[Path] = []
        if shares is None:
            identity, output = GENERATED[kind].generate(), output or _DEFAULT
            save_identity(output, identity, secret)
        else:
            identity, words = split_new_identity(kind, threshold, n_shares)
            _make_folder(shares, undo)
            if output is not None:
                save_identity(output, identity, secret)
                undo.callback(_remove, [output])
            pages = _write_shares(shares, identity, words, kind=kind, threshold=threshold)
            undo.callback(_remove, pages)
        _print_recipient(identity, output, pages, threshold, as_json=as_json)
        undo.pop_all()  # somebody may encrypt to it from now on
    if not as_json:
        _tell(identity, output, pages, threshold)


def save_identity(path: Path, identity: KeyPair, passphrase: bytes | None) -> None:
    """Write a new identity file. Raises KeyMaterialError when it exists or cannot be written."""
    from iomt_crypt.seal import write_identity

    try:
        write_identity(path, identity, passphrase=passphrase)
    except FileExistsError:
        raise KeyMaterialError(
            f"{path}: exists already", hint="a key file is never overwritten; choose another name with -o"
        ) from None
    except OSError as error:
        raise KeyMaterialError(f"{path}: cannot be written ({error.strerror})") from error


def _split(split: str | None, shares: Path | None) -> tuple[int, int]:
    if (split is None) != (shares is None):
        raise typer.BadParameter("--split K/N and --shares DIR belong together", param_hint="--split")
    found = re.fullmatch(r"(\d{1,2})/(\d{1,2})", split or "0/0")
    if not found:
        raise typer.BadParameter("K/N expected, as 3/5", param_hint="--split")
    return int(found[1]), int(found[2])


def _make_folder(folder: Path, undo: ExitStack) -> None:
    """Make the folder for shares, where it is missing; an identity file may go there too."""
    try:
        folder.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        return
    except OSError as error:
        raise _no_shares(folder, error) from error
    undo.callback(_remove_folder, folder)


def _write_shares(folder: Path, identity: KeyPair, words: list[str], *, kind: str, threshold: int) -> list[Path]:
    from iomt_crypt.seal.share import write_shares

    try:
        return write_shares(folder, identity, words, kind=kind, threshold=threshold)
    except OSError as error:
        raise _no_shares(folder, error) from error


def _no_shares(folder: Path, error: OSError) -> KeyMaterialError:
    return KeyMaterialError(f"{folder}: the shares cannot be written there ({error.strerror})")


def _remove_folder(folder: Path) -> None:
    with suppress(OSError):  # somebody else uses it
        folder.rmdir()


def _remove(made: list[Path]) -> None:
    """Of an identity that nobody can have encrypted to: its recipient was never told."""
    for path in made:
        path.unlink(missing_ok=True)


def _print_recipient(identity: KeyPair, path: Path | None, pages: list[Path], threshold: int, *, as_json: bool) -> None:
    from iomt_crypt.seal import fingerprint_text

    if not as_json:
        typer.echo(str(identity.recipient))
        return
    shown = {"identity": str(path) if path else None, "fingerprint": fingerprint_text(identity.fingerprint)}
    listed = {"shares": [str(page) for page in pages], "threshold": threshold} if pages else {}
    print_json({**shown, "recipient": str(identity.recipient), **listed})


def _tell(identity: KeyPair, path: Path | None, pages: list[Path], threshold: int) -> None:
    from iomt_crypt.seal import fingerprint_text

    fingerprint = fingerprint_text(identity.fingerprint)
    for page in pages:
        typer.echo(f"share written to {page}", err=True)
    if pages:
        typer.echo(f"any {threshold} of the {len(pages)} make identity {fingerprint}: iomt-crypt key combine", err=True)
    if path:
        typer.echo(f"identity {fingerprint} written to {path}; without it nothing can be decrypted", err=True)
