"""``iomt-crypt keygen``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iomt_crypt.cli.console import print_json
from iomt_crypt.cli.option import Json, PassphraseFile, passphrase_source
from iomt_crypt.errors import KeyMaterialError


def keygen(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="New identity file.")] = Path(
        "iomt-crypt.key"
    ),
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Protect the identity with a passphrase.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Make a key pair: the identity goes to a 0600 file, the recipient text to stdout.

    The identity decrypts: keep it safe, and keep a copy. The recipient encrypts: give it to everybody.
    """
    from iomt_crypt.seal import HpkeIdentity, fingerprint_text, write_identity

    identity = HpkeIdentity.generate()
    secret = passphrase_source(passphrase_file, confirm=True) if passphrase or passphrase_file else None
    try:
        write_identity(output, identity, passphrase=secret)
    except FileExistsError:
        raise KeyMaterialError(
            f"{output}: exists already", hint="a key file is never overwritten; choose another name with -o"
        ) from None
    except OSError as error:
        raise KeyMaterialError(f"{output}: cannot be written ({error.strerror})") from error
    fingerprint = fingerprint_text(identity.fingerprint)
    if as_json:
        print_json({"identity": str(output), "fingerprint": fingerprint, "recipient": str(identity.recipient)})
        return
    typer.echo(str(identity.recipient))
    typer.echo(f"identity {fingerprint} written to {output}; without it nothing can be decrypted", err=True)
