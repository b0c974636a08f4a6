"""A journal and a spool on a small disk, full to the last byte: ``full_disk.py CONFIG``."""

from __future__ import annotations

import sys
from pathlib import Path

from iomt_crypt.errors import DiskFullError
from iomt_crypt.node import forwarder as forwarder_module
from iomt_crypt.node.config import load
from iomt_crypt.node.entry import NewEntry, State
from iomt_crypt.node.forwarder import Forwarder
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.spool import Spool


class Destination:
    """Refuses for want of room until it is told that there is some."""

    peer = "ARCHIVE@nowhere"
    is_open = True
    code = 0xA700

    def open(self, contexts) -> None: ...

    def release(self) -> None: ...

    def store(self, path: Path, *_: object, **__: object) -> tuple[int, str]:
        return self.code, "x" * 64


config = load(Path(sys.argv[1]))
spool = Spool(config.spool.folder)
spool.create()
journal = Journal(spool.journal_path)
journal.create()
journal.close()
journal = Journal(spool.journal_path)
for number in range(20):
    name = f"{number:020d}-{number:08x}.dcm"
    spool.path(name).write_bytes(b"noise")
    journal.add(NewEntry(name, "1.2", f"2.25.{number}", 5, 1000.0))
try:
    with (spool.folder / "others").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))
except OSError:
    assert spool.free_bytes() == 0
destination = Destination()
forwarder_module._client = lambda config: destination


def run(turns: int) -> None:
    left = iter(range(turns))
    forwarder = Forwarder(config, spool=spool, journal=journal)
    forwarder.run(stop=lambda: next(left, None) is None, wait=lambda seconds: forwarder.__setattr__("_retry_at", 0.0))


run(3000)
assert not spool.ballast.is_there, "retries came to need it"
try:
    spool.require_room(1)
except DiskFullError:
    pass
else:
    raise AssertionError("what the journal got, no sender may take")
# A restart, and then the archive has room.
journal.close()
journal = Journal(spool.journal_path)
journal.create()
destination.code = 0
run(300)
states = {entry.state for entry in journal.entries()}
assert states == {State.DELIVERED}, states
assert not spool.names()
(spool.folder / "others").unlink()
spool.restore_ballast()
assert spool.ballast.is_there
print("delivered")
