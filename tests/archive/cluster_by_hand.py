"""A Dask cluster of processes that the test starts and kills."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


class ByHand:
    """A Dask cluster as an administrator starts it: processes of their own."""

    def __init__(self, *options: str, scheme: str = "tcp") -> None:
        dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
        self.processes: list[subprocess.Popen[str]] = []
        self._options, self._scheme = options, scheme
        self._folder: Path | None = None
        command = [*dask, "--host", f"{scheme}://127.0.0.1", "--port", "0", "--no-dashboard", *options]
        scheduler = self._start(command)
        assert scheduler.stderr is not None
        for line in scheduler.stderr:
            found = re.search(rf"Scheduler at:\s*({scheme}://127.0.0.1:\d+)", line)
            if found:
                self.address = found[1]
                break
        else:
            pytest.fail("the scheduler said no address")
        self._drain(scheduler)

    def add_worker(self) -> subprocess.Popen[str]:
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1", *self._options]
        return self._start([sys.executable, "-m", "distributed.cli.dask_worker", self.address, *options], quiet=True)

    def _start(self, command: list[str], *, quiet: bool = False) -> subprocess.Popen[str]:
        error = subprocess.DEVNULL if quiet else subprocess.PIPE
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=error, text=True)
        self.processes.append(process)
        return process

    def _drain(self, process: subprocess.Popen[str]) -> None:
        import threading

        threading.Thread(target=lambda: process.stderr and process.stderr.read(), daemon=True).start()

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()
            if process.stderr:
                process.stderr.close()
