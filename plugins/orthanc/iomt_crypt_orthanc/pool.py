"""Worker processes for Orthanc: kept warm, replaced when they die. Standard library only."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from iomt_crypt_orthanc import channel

#: The first start compiles the kernels where no cache of them is found.
START_S = 180.0
#: Seconds more for each byte: ten megabytes a second, a tenth of what the slowest machine does.
_S_PER_BYTE = 1e-7
_RESTART_S = (0.0, 1.0, 5.0, 15.0, 60.0)
_END_S = 5.0
_NONE_S = 10.0
_MODULE = "iomt_crypt_orthanc.worker"
#: Orthanc's own interpreter may be told of things that are not for another.
_NOT_INHERITED = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV")


class WorkerLost(Exception):  # noqa: N818 - a state of the pool, not an error of the caller
    """No worker did the work: it died or took too long."""


class NoWorker(WorkerLost):
    """There is none, and none came up."""


class _NotTaken(WorkerLost):
    """It was gone before it looked into the request: what was asked is not to blame, and another worker is asked."""


class _Worker:
    def __init__(self, python: str, settings: dict[str, Any]) -> None:
        ours, theirs = socket.socketpair()
        try:
            channel.tune(ours)
            channel.tune(theirs)
            environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
            # A session of its own: what stops Orthanc reaches it as the end of the channel, after the work in hand.
            self._process = subprocess.Popen(  # noqa: S603 - the administrator's own configuration
                [python, "-m", _MODULE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._end = ours
        try:
            self.facts, _ = self.ask(settings, b"", START_S)
        except BaseException:
            self.end(kill=True)
            raise

    def ask(self, head: dict[str, Any], body: bytes, timeout_s: float) -> tuple[dict[str, Any], bytearray]:
        taken = False
        try:
            self._end.settimeout(timeout_s)
            channel.send(self._end, head, body)
            channel.await_taken(self._end)
            taken = True
            return channel.receive(self._end)
        except (OSError, EOFError, ValueError) as error:
            # One that did not take it in all this time hangs; another would too, for all that is known.
            kind = WorkerLost if taken or isinstance(error, TimeoutError) else _NotTaken
            raise kind(f"a worker was lost ({type(error).__name__})") from None

    def end(self, *, kill: bool) -> None:
        self._end.close()
        if kill:
            self._process.kill()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Pool:
    """``n`` workers with the same ``settings``; one request at a time for each. Thread safe.

    ``warn`` is called with a line when a worker was lost or could not be started.

    Raises
    ------
    WorkerLost
        The first worker does not start.
    RuntimeError
        It started and says that it cannot work, with its reason.
    """

    def __init__(
        self, python: str, settings: dict[str, Any], *, n: int, timeout_s: float, warn: Callable[[str], None]
    ) -> None:
        self._python, self._settings, self._warn = python, settings, warn
        self._timeout_s = timeout_s
        # The one that worked last is the warmest.
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._n_running = 0
        try:
            first = _Worker(python, settings)
        except OSError as error:
            raise WorkerLost(f"{python}: {error.strerror}") from None
        if "error" in first.facts:
            first.end(kill=False)
            raise RuntimeError(str(first.facts["error"]))
        self.facts = first.facts
        self._put_new(first)
        for _ in range(n - 1):
            self._replace()

    def ask(self, head: dict[str, Any], body: bytes = b"") -> tuple[dict[str, Any], bytearray]:
        """Have one worker do one thing.

        Raises
        ------
        WorkerLost
            It died or took too long; a new one is being started.
        NoWorker
            None runs, and none came up in some seconds.
        """
        timeout_s = self._timeout_s + len(body) * _S_PER_BYTE
        deadline = time.monotonic() + timeout_s
        while True:
            # Where none is running one may come up; a sender is not kept for long when none does.
            left_s = max(deadline - time.monotonic(), 0.0)
            try:
                worker = self._idle.get(timeout=left_s if self._n_running else min(left_s, _NONE_S))
            except queue.Empty:
                raise NoWorker("no worker is running") from None
            try:
                answer = worker.ask(head, body, timeout_s)
            except _NotTaken:
                self._drop(worker)
                continue
            except BaseException:
                # A late answer must never be taken for the next one's.
                self._drop(worker)
                raise
            self._idle.put(worker)
            return answer

    def close(self) -> None:
        """End all workers; what they have in hand is finished."""
        self._closed.set()
        while True:
            try:
                self._idle.get_nowait().end(kill=False)
            except queue.Empty:
                return

    @property
    def n_running(self) -> int:
        """Workers that are alive as far as is known."""
        return self._n_running

    def _drop(self, worker: _Worker) -> None:
        with self._lock:
            self._n_running -= 1
        worker.end(kill=True)
        self._replace()

    def _put_new(self, worker: _Worker) -> None:
        with self._lock:
            self._n_running += 1
        self._idle.put(worker)

    def _replace(self) -> None:
        threading.Thread(target=self._start, name="iomt-crypt worker start", daemon=True).start()

    def _start(self) -> None:
        attempt = 0
        while not self._closed.wait(_RESTART_S[min(attempt, len(_RESTART_S) - 1)]):
            attempt += 1
            try:
                worker = _Worker(self._python, self._settings)
            except (WorkerLost, OSError) as error:
                self._warn(f"a worker does not start: {error}")
                continue
            if "error" in worker.facts:
                self._warn(f"a worker cannot work: {worker.facts['error']}")
                worker.end(kill=False)
                continue
            self._put_new(worker)
            if self._closed.is_set():
                self.close()
            return
