"""Where the node's log goes: standard error, without ever waiting for whoever reads it.

A pipe that nobody reads takes 64 KiB, and then the next line blocks its writer: a node that cannot be stopped. Lines
go through a bounded queue to a thread that writes them. When the queue is full, lines are lost, and counted.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
import traceback
import warnings
from types import TracebackType
from typing import NoReturn

_MAX_LINES = 10_000
_FLUSH_S = 1.0
_STDERR = 2

_log = logging.getLogger(__name__)


class LogOutput(logging.Handler):
    """Writes records to a file descriptor from a thread of its own."""

    def __init__(self, descriptor: int = _STDERR, *, max_lines: int = _MAX_LINES) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes] = queue.Queue(max_lines)
        self._n_lost = 0
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record; never waits."""
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            if self._n_lost:
                note = f"{self._n_lost} log lines were lost: nobody read them in time\n".encode()
                self._lines.put_nowait(note)
                self._n_lost = 0
            self._lines.put_nowait(line)
        except queue.Full:
            self._n_lost += 1
        except Exception:  # noqa: BLE001 - as every handler of the library
            self.handleError(record)

    def flush(self) -> None:
        """Wait until all is written, for a second at most."""
        deadline = time.monotonic() + _FLUSH_S
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.002)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:  # a terminal that is gone
                pass
            finally:
                self._lines.task_done()


def configure_logging(level: str) -> None:
    """Log to stderr from ``level`` on, in UTC.

    Nothing of pydicom: it quotes the values it complains about, in its log and in its warnings.
    """
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")
    logging.Formatter.converter = time.gmtime
    output = LogOutput()
    output.setFormatter(logging.Formatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[output], force=True)


def log_unexpected(error: BaseException) -> None:
    """Log what nobody foresaw: its type and its place. Its message may quote a value of an object."""
    _log_place(type(error), error.__traceback__)


def _log_place(kind: type[BaseException], place: TracebackType | None) -> None:
    frames = "".join(traceback.format_tb(place))
    _log.error("unexpected %s; its message is not logged, it may hold patient data\n%s", kind.__name__, frames)


def leave(code: int) -> NoReturn:
    """End this process now, whatever its threads do: one may hang in the kernel, one may be waiting for it."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(code)


def end_when_thread_fails(*names: str) -> None:
    """Have the process end when something unexpected ends one of its own threads; others are logged."""

    def failed(what: threading.ExceptHookArgs) -> None:
        _log_place(what.exc_type, what.exc_traceback)
        if what.thread is not None and what.thread.name in names:
            leave(1)

    threading.excepthook = failed
