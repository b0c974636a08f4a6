"""``iomt-crypt key``: what key files hold, whether they work, and shares."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iomt_crypt.cli.console import print_error, print_json
from iomt_crypt.cli.keygen import save_identity
from iomt_crypt.cli.option import Json, PassphraseFile, asker, passphrase_source
from iomt_crypt.errors import IomtCryptError, KeyMaterialError
from iomt_crypt.foreign_text import one_line

if TYPE_CHECKING:
    from iomt_crypt.seal.inventory import KeyInfo
    from iomt_crypt.seal.trial import KeyCheck

app = typer.Typer(no_args_is_help=True, help="Key files: what they hold, whether they work, shares.")


@app.command()
def info(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Identity, recipient, share or site key files; key texts.")
    ],
    as_json: Json = False,
) -> None:
    """Show what key files hold: kinds, fingerprints, dates. No secret is shown and none is asked for.

    What is said of locked identities and of shares comes from the comments in the file; nothing vouches for it.
    """
    from iomt_crypt.seal.inventory import describe
    from iomt_crypt.seal.secret import shown

    failed = False
    for path in files:
        try:
            found = describe(path)
        except KeyMaterialError as error:
            failed = True
            _failure(shown(path), error, as_json=as_json)
            continue
        for key in found:
            failed |= bool(key.problem)
            print_json(asdict(key)) if as_json else _show(key)
    if failed:
        raise typer.Exit(1)


@app.command()
def check(
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Key files, or texts that name a key.")],
    recipients_only: Annotated[
        bool, typer.Option("--recipients", help="Only wrap: texts that name a key elsewhere are recipients.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Try keys: file modes, texts, and a test key that is wrapped for recipients and unwrapped by identities.

    Certificates that soon expire are named. Exit code 1 if any key does not work.
    """
    from iomt_crypt.seal.secret import shown
    from iomt_crypt.seal.trial import check as try_keys

    ask = asker(passphrase_file)
    failed = False
    for value in keys:
        try:
            for result in try_keys(value, ask=ask, recipients_only=recipients_only):
                failed |= result.error is not None
                _verdict(result, as_json=as_json)
        except KeyMaterialError as error:
            failed = True
            _failure(shown(value), error, as_json=as_json)
    if failed:
        raise typer.Exit(1)


@app.command("export-recipient")
def export_recipient(
    identity: Annotated[str, typer.Argument(metavar="FILE|URI", help="Identity file, or a text that names one.")],
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Print the recipient texts that belong to an identity: for whoever encrypts to it."""
    from iomt_crypt.seal import fingerprint_text, load_identities
    from iomt_crypt.seal.recipient import Paired

    for found in load_identities([identity], ask=asker(passphrase_file)):
        recipient = found.recipient if isinstance(found, Paired) else None
        if recipient is None:
            raise KeyMaterialError(
                f"identity {fingerprint_text(found.fingerprint)} has no recipient text of its own",
                hint="a PEM private key needs its certificate beside it; a text that names a key is its own recipient",
            )
        text = str(recipient).strip()
        if as_json:
            print_json({"fingerprint": fingerprint_text(found.fingerprint), "recipient": text})
        else:
            typer.echo(text)


@app.command()
def combine(
    shares: Annotated[list[Path], typer.Argument(metavar="SHARE...", help="Share files: as many as it takes.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="New identity file.")],
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Protect the identity with a passphrase.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Make an identity again from its shares: files with 35 words each, comments and numbers left out."""
    from iomt_crypt.seal import fingerprint_text
    from iomt_crypt.seal.share import combine as make
    from iomt_crypt.seal.share import read_share

    identity = make([read_share(path) for path in shares])
    secret = passphrase_source(passphrase_file, confirm=True) if passphrase or passphrase_file else None
    save_identity(output, identity, secret)
    fingerprint = fingerprint_text(identity.fingerprint)
    if as_json:
        print_json({"identity": str(output), "fingerprint": fingerprint, "recipient": str(identity.recipient)})
        return
    typer.echo(str(identity.recipient))
    typer.echo(f"identity {fingerprint} written to {output}", err=True)


def _show(key: KeyInfo) -> None:
    recipient = key.recipient.splitlines()
    rows = [
        ("kind", key.kind),
        ("fingerprint", key.fingerprint),
        ("created", key.created),
        ("expires", key.expires),
        ("locked", "yes, under a passphrase" if key.locked else ""),
        ("recipient", f"{recipient[0][:40]}{'...' if len(key.recipient) > 40 else ''}" if recipient else ""),
        ("problem", key.problem),
    ]
    typer.echo(one_line(f"{key.location}: {key.role}"))
    for name, value in rows:
        if value:
            typer.echo(one_line(f"  {name:<12} {value}"))


def _verdict(result: KeyCheck, *, as_json: bool) -> None:
    if as_json:
        shown: dict[str, Any] = {"key": result.location, "role": result.role, "fingerprint": result.fingerprint}
        error = result.error
        state = {"state": "failed", "error": str(error), "hint": error.hint} if error else {"state": "done"}
        print_json({**shown, **state, "notes": list(result.notes)})
        return
    if result.error is not None:
        _failure(result.location, result.error, as_json=False)
        return
    notes = f" ({'; '.join(result.notes)})" if result.notes else ""
    typer.echo(f"{result.location}: {result.role} {result.fingerprint}".rstrip() + f" works{notes}")


def _failure(location: str, error: IomtCryptError, *, as_json: bool) -> None:
    if as_json:
        print_json({"key": location, "state": "failed", "error": str(error), "hint": error.hint})
        return
    message = str(error)
    print_error(message if message.startswith(location) else f"{location}: {message}", error.hint)
