"""``iomt-crypt`` as processes of their own that need not import everything anew.

One server for each process of the tests: an interpreter with what a hospital's server has (`node_interpreter`), in
which everything is imported and nothing was done. Each request forks it; the fork has a session, an environment and
descriptors of its own, and runs ``iomt_crypt.cli.main``. `Fork` asks for one from a test, and the words of `command`
do so where a command line is needed. What imports cost a user is not what these tests are about; tests of start-up,
packaging and READMEs start real programs.

A request is a connection: descriptors 0 to 2 with the length of what follows, then JSON; the answer is the line
``pid N``, and ``end STATUS`` (as of `os.waitpid`) when it has ended.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

_MODULES = (
    "iomt_crypt.checks.guard",
    "iomt_crypt.cli.app",
    "iomt_crypt.cli.verify_archive",
    "iomt_crypt.node.check",
    "iomt_crypt.node.retrieval",
    "iomt_crypt.node.supervisor",
)
_READY_S = 300  # MONAI and PyTorch on a busy machine


class Fork:
    """``iomt-crypt ARGUMENTS...`` with the part of `subprocess.Popen` that the tests use; standard error is a pipe."""

    def __init__(self, *arguments: object) -> None:
        self.args = ["iomt-crypt", *map(str, arguments)]
        self.returncode: int | None = None
        read_fd, write_fd = os.pipe()
        self.stderr = open(read_fd, "rb")  # noqa: PTH123, SIM115 - it lives as long as the process
        try:
            self._connection, self.pid = ask(_server(), self.args, (0, 1, write_fd))
        finally:
            os.close(write_fd)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            return self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = read_end(self._connection)
            except TimeoutError:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0) from None
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def command() -> tuple[str, ...]:
    """What stands for the words ``iomt-crypt`` in a command line."""
    return sys.executable, "-I", "-S", __file__, _server()


@cache
def _server() -> str:
    """Start the server of this process; return the path of its socket. It ends with this process."""
    from tests.clean_environment import node_interpreter

    folder = tempfile.mkdtemp(prefix="iomt-crypt-forks-")
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SABOTAGE")}
    process = subprocess.Popen(
        [node_interpreter(), __file__, "serve", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=clean,
        start_new_session=True,
    )
    _KEPT.append(process)
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], _READY_S)[0], "the server of forks is not ready"
    path = process.stdout.readline().decode().strip()
    assert path, "the server of forks does not start"
    return path


_KEPT: list[subprocess.Popen[bytes]] = []


def ask(path: str, argv: list[str], descriptors: tuple[int, int, int]) -> tuple[socket.socket, int]:
    """Have a process started; return the connection on which its end is said, and its number."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    request = json.dumps({"argv": argv, "env": dict(os.environ), "cwd": os.getcwd()}).encode()  # noqa: PTH109
    socket.send_fds(connection, [len(request).to_bytes(4, "big")], descriptors)
    connection.sendall(request)
    return connection, int(_line(connection).split()[1])


def read_end(connection: socket.socket) -> int:
    """Wait until the process has ended; its exit code as of `subprocess`."""
    words = _line(connection).split()
    return os.waitstatus_to_exitcode(int(words[1])) if words else -signal.SIGKILL


def _line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (byte := connection.recv(1)):
        line += byte
    return line


def _serve(folder: Path) -> None:
    """The server: nothing but this loop runs in it, in one thread."""
    for name in _MODULES:
        importlib.import_module(name)
    # It finds the memory of the title by the environment that the process began with.
    importlib.import_module("setproctitle").getproctitle()
    gc.freeze()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen(64)
    print(folder / "socket", flush=True)
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([0, listener, wake_read], [], [])
        if 0 in ready:
            break  # the tests are gone
        if wake_read in ready:
            os.read(wake_read, 4096)
            _reap(running)
        if listener in ready:
            connection = listener.accept()[0]
            size, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
            request = json.loads(_exactly(connection, int.from_bytes(size, "big")))
            pid = os.fork()
            if not pid:
                ends = [listener, connection, *running.values()]
                _become(request, descriptors, [wake_read, wake_write, *(end.detach() for end in ends)])
            for descriptor in descriptors:
                os.close(descriptor)
            running[pid] = connection
            connection.sendall(b"pid %d\n" % pid)
    (folder / "socket").unlink()
    folder.rmdir()


def _reap(running: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            with running.pop(found[0]) as connection, suppress(BrokenPipeError):
                connection.sendall(b"end %d\n" % found[1])


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    return data


def _become(request: dict[str, Any], descriptors: list[int], closing: list[int]) -> NoReturn:
    """Be the process that was asked for."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    for descriptor in (*descriptors, *closing):
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    for folder in filter(None, os.environ.get("PYTHONPATH", "").split(":")):
        # What Python does at its start.
        sys.path.insert(0, folder)
        if (Path(folder) / "sitecustomize.py").exists():
            sys.modules.pop("sitecustomize", None)
            importlib.import_module("sitecustomize")
    importlib.import_module("iomt_crypt.cli").main()
    sys.exit(0)


def _stand_for(path: str, arguments: list[str]) -> NoReturn:
    """Be a command in place of a fork: what comes to it goes there, and it ends like it."""
    connection, pid = ask(path, ["iomt-crypt", *arguments], (0, 1, 2))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: os.kill(pid, received))
    code = read_end(connection)
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(Path(sys.argv[2]))
    else:
        _stand_for(sys.argv[1], sys.argv[2:])
