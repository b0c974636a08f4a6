"""``iomt-crypt`` in the process of the tests: a new process takes the better part of a second to import everything.

What is about processes - signals, terminals, pipes, what is imported when - starts one.
"""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from iomt_crypt.cli import main


def invoke(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run one command; the result is that of a process whose output was captured as text."""
    words = ["iomt-crypt", *map(str, arguments)]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    of_pydicom = logging.getLogger("pydicom")
    level = of_pydicom.level
    try:
        with patch.object(sys, "argv", words), redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            code = _exit_code()
    finally:
        of_pydicom.setLevel(level)
    texts = (stream.buffer.getvalue().decode() for stream in (out, err))
    return subprocess.CompletedProcess(words, code, *texts)


def _exit_code() -> int:
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
