"""The command line: one file for each command. The only part of the package that prints."""

from iomt_crypt.cli.app import main

__all__ = ["main"]
