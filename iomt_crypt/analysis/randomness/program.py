"""Runs a foreign battery on a stream of bytes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence

from iomt_crypt.errors import ConfigurationError


def run_program(name: str, options: Sequence[str], stream: Iterable[bytes], *, timeout_s: float) -> str:
    """Run a program on a stream and return its standard output.

    Parameters
    ----------
    name
        The program, looked up on the PATH.
    options
        Its arguments.
    stream
        What it reads from standard input, in pieces; taken only as far as the program reads.
    timeout_s
        How long it may go on after it has stopped reading, in seconds.

    Raises
    ------
    ConfigurationError
        The program is not installed, fails, or does not end in time.
    """
    path = shutil.which(name)
    if path is None:
        raise ConfigurationError(f"the program {name} is not installed", hint=f"on Debian: apt-get install {name}")
    command = [path, *options]
    with subprocess.Popen(  # noqa: S603 - arguments without a shell
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            _feed(process, stream)
            output, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise ConfigurationError(f"{name} {' '.join(options)}: no end within {timeout_s:g} s") from None
        finally:
            if process.poll() is None:
                process.kill()
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines() or ["no message"]
        raise ConfigurationError(f"{name} {' '.join(options)}: exit status {process.returncode}: {lines[-1]}")
    return output.decode("ascii", errors="replace")


def _feed(process: subprocess.Popen[bytes], stream: Iterable[bytes]) -> None:
    """Write to the program until the stream ends or it has had enough."""
    try:
        for piece in stream:
            if process.stdin is not None:
                process.stdin.write(piece)
    except BrokenPipeError:
        return
