"""The command tree. Commands import what they need when they run, so that ``--help`` answers at once."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Annotated

import typer

from iomt_crypt import __version__
from iomt_crypt.cli import (
    decrypt,
    encrypt,
    fetch,
    inspect,
    key,
    keygen,
    node,
    rekey,
    report,
    send,
    train,
    usage,
    verify,
)
from iomt_crypt.cli.console import print_error
from iomt_crypt.cli.missing import missing_extra
from iomt_crypt.errors import IomtCryptError

app = typer.Typer(
    name="iomt-crypt",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # tracebacks with local variables would show keys and patients
    help="Encrypt DICOM images so that archives hold noise, and get the originals back byte for byte.",
    epilog="exit codes: 0 all inputs done in full, 1 some failed (each named on stderr), 2 usage",
)
app.command("keygen")(keygen.keygen)
app.command("encrypt")(encrypt.encrypt)
app.command("decrypt")(decrypt.decrypt)
app.command("inspect")(inspect.inspect)
app.command("verify")(verify.verify)
app.command("rekey")(rekey.rekey)
app.command("send")(send.send)
app.command("fetch")(fetch.fetch)
app.command("report")(report.report)
app.command("train")(train.train)
key.app.command("usage")(usage.usage)
app.add_typer(key.app, name="key")
app.add_typer(node.app, name="node")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"iomt-crypt {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Options that stand before the command."""


def main() -> None:
    """Entry point of ``iomt-crypt``."""
    # pydicom's warnings quote the values they complain about: patient data has no place in a terminal's log.
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    try:
        app()
    except IomtCryptError as error:
        print_error(str(error), error.hint)
        sys.exit(1)
    except ModuleNotFoundError as error:
        extra = missing_extra(error)
        if extra is None:
            raise
        print_error(f"this command needs the package {error.name}", f"pip install 'iomt-crypt[{extra}]'")
        sys.exit(1)
    except KeyboardInterrupt:
        print_error("interrupted", "what was reported as done is done; 'encrypt' and 'decrypt' go on with --resume")
        sys.exit(130)
