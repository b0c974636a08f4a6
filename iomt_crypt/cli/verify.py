"""``iomt-crypt verify``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from iomt_crypt.cli.console import Input, collect, run_inputs
from iomt_crypt.cli.option import Json, PassphraseFile, Sources, passphrase_source

_VERDICTS = {
    "authentic": "authentic: record, header and all frames",
    "consistent": "consistent: encrypted and undamaged as far as can be seen without an identity",
}


def verify(
    sources: Sources,
    identity: Annotated[
        list[str] | None, typer.Option("-i", "--identity", metavar="FILE", help="Identity file. Several may be given.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Check files or folders: structure and, with an identity, record, header and every frame. Writes nothing.

    A plain object is a failure here: verify answers whether everything is encrypted and sound.
    """
    from iomt_crypt.dicom import verify_file
    from iomt_crypt.seal import Keyring, load_identities

    keys = load_identities(identity or [], ask=lambda _: passphrase_source(passphrase_file))
    keyring = Keyring(keys) if keys else ()

    def work(item: Input) -> dict[str, Any]:
        found = verify_file(item.path, identities=keyring)
        if found.state == "plain":
            return {"state": "failed", "error": "plain: not encrypted", "hint": "", "verdict": "plain"}
        if not as_json:
            changed = f"; header changed: {', '.join(found.changed)}" if found.changed else ""
            typer.echo(f"{item.path}: {_VERDICTS[found.state]}{changed}")
        result = asdict(found)
        return {"verdict": result.pop("state"), "state": "done", **result}

    run_inputs(collect(sources), work, label="verifying", as_json=as_json, verb="verified")
