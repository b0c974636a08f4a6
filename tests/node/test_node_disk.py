"""A full disk: the sender is told, nothing accepted is lost, and the node goes on when there is room."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from node_harness import dataset, opened, uid, write_object

from iomt_crypt.errors import NetworkError
from iomt_crypt.node.ballast import BALLAST_BYTES
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.sender import Sender
from iomt_crypt.node.transport import configure_pynetdicom

configure_pynetdicom()

_MIB = 1 << 20
# 512 x 512, 16 bits: half a MiB each
_SIDE = 512


def _with_tmpfs(folder, size_bytes: int) -> tuple[str, ...]:
    """A command prefix that gives what follows a tmpfs on ``folder``, in a mount namespace of its own.

    Root needs no user namespace; anybody else gets one where the kernel allows it.
    """
    namespaces = "-m" if os.geteuid() == 0 else "-Urm"
    script = f'mount -t tmpfs -o size={size_bytes} tmpfs "{folder}" && exec "$@"'
    return ("unshare", namespaces, "sh", "-c", script, "sh")


@pytest.mark.parametrize("reserve_bytes", [4 * _MIB, 0], ids=["reserve", "truly full"])
def test_full_disk(tmp_path, archive, make_config, run_node, identity, reserve_bytes):
    spool = tmp_path / "spool"
    spool.mkdir()
    prefix = _with_tmpfs(spool, 16 * _MIB + BALLAST_BYTES)
    subprocess.run([*prefix, sys.executable, "-c", ""], check=True, timeout=60)
    open_again = threading.Event()
    # The archive has no room either, so the spool fills up.
    archive.answer = lambda n, event: 0 if open_again.is_set() else 0xA700
    config = make_config(archive.port, spool={"reserve_bytes": reserve_bytes})
    node = run_node(config, prefix=prefix)
    paths = [write_object(tmp_path, number, size=_SIDE) for number in range(36)]
    sender = Sender(paths, Peer("IOMTCRYPT", "127.0.0.1", node.port), calling_ae_title="MODALITY")
    accepted, refused, reasons = [], [], set()
    for number, path in enumerate(paths):
        try:
            sender.send(path)
            accepted.append(number)
        except NetworkError as error:
            reasons.add(str(error).partition(" answered ")[2])
            refused.append(number)
    assert reasons == {"0xA700 (refused: out of resources): no room in the spool"}
    assert len(accepted) >= 15
    assert len(refused) >= 3
    assert refused[0] > accepted[10], "the first ones had room"
    assert not archive.stored
    open_again.set()
    archive.wait(lambda: len({stored.sop_instance_uid for stored in archive.stored}) == len(accepted))
    # There is room again: what was refused is taken now.
    for number in refused:
        sender.send(paths[number])
    sender.close()
    archive.wait(lambda: len({stored.sop_instance_uid for stored in archive.stored}) == len(paths))
    found = dict(opened(stored, identity) for stored in archive.stored)
    assert found == {uid(number): dataset(number, size=_SIDE) for number in range(36)}
    assert node.stop() == 0


def test_full_to_the_last_byte_and_deliveries_go_on(tmp_path, make_config):
    """The journal has room that was set aside; senders do not get it."""
    (tmp_path / "spool").mkdir()
    config = make_config(1)
    prefix = _with_tmpfs(tmp_path / "spool", 12 * _MIB)
    script = Path(__file__).with_name("full_disk.py")
    command = [*prefix, sys.executable, str(script), str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "delivered\n", done.stderr[-3000:]


_START = """
import os, sys
from pathlib import Path
from iomt_crypt.errors import DiskFullError
from iomt_crypt.node.config import load
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.spool import Spool
from iomt_crypt.node.supervisor import Supervisor

config = load(Path(sys.argv[1]))
spool = Spool(config.spool.folder)
spool.create()
journal = Journal(spool.journal_path)
journal.create()
journal.close()
with (spool.folder / "others").open("wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(1 << 12))
    except OSError:
        pass
try:
    Journal(spool.journal_path).create()
except DiskFullError:
    Supervisor(config)._create_journal()
    print("started", spool.ballast.is_there)
"""


def test_a_node_that_was_stopped_cleanly_starts_on_a_full_disk(tmp_path, make_config):
    """SQLite makes its files beside the journal anew then, and calls it an I/O error that there is no room."""
    (tmp_path / "spool").mkdir()
    command = [*_with_tmpfs(tmp_path / "spool", 12 * _MIB), sys.executable, "-c", _START, str(make_config(1))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "started False\n", done.stderr[-3000:]
