"""A tree of objects to re-key, over and over."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from iomt_crypt.archive import rekey_worker
from iomt_crypt.archive.operation import Item
from iomt_crypt.archive.rekey_worker import RekeyWorker
from iomt_crypt.dicom import Policy, encrypt_file
from iomt_crypt.seal import HpkeIdentity
from tests import synthetic

_BATCH = 4000  # what `RekeyOperation.pace` comes to at the most
_SIDE = 1024
rekey_worker._MANY = 1  # an archive has more objects than a benchmark


@dataclass
class Load:
    """``items`` in ``folder``, that ``holders`` can open; each re-keying gives them two other recipients."""

    folder: Path
    items: list[Item]
    holders: list[HpkeIdentity] = field(repr=False)

    @classmethod
    def of(cls, folder: Path, count: int, *, frame_bytes: int) -> Load:
        """``count`` objects; every hundredth is encrypted by itself, the others are its copies."""
        holder, items = HpkeIdentity.generate(), []
        plain, path = folder.parent / "plain.dcm", folder
        data = b""
        for number in range(count):
            path = folder / f"{number // 100:03}" / f"{number:05}.dcm"
            if number % 100 == 0:
                path.parent.mkdir(parents=True)
                image = synthetic.image(os.urandom(frame_bytes), rows=frame_bytes // _SIDE, columns=_SIDE)
                plain.write_bytes(synthetic.file(_usual(image)))
                encrypt_file(plain, path, recipients=[holder.recipient], policy=Policy(site_key=bytes(32)))
                data = path.read_bytes()
            else:
                path.write_bytes(data)
            items.append(Item(str(path), str(path.relative_to(folder)), False, str(folder)))
        plain.unlink()
        return cls(folder, items, [holder])

    def rekey(self, *, workers: int = 1, grow: bool = False) -> float:
        """Re-key all of it; with ``grow``, to more recipients than the record has room for. Seconds of the work."""
        new = [HpkeIdentity.generate() for _ in range(2)]
        if grow:
            new += [HpkeIdentity.generate() for _ in range(len(self.holders) + 4)]
        share = -(-len(self.items) // workers)
        spans = [self.items[start : start + share] for start in range(0, len(self.items), share)]
        if workers == 1:
            worker = RekeyWorker(self.holders, [i.recipient for i in new], noted=False)
            began = time.perf_counter()
            _work(worker, spans[0], "new file" if grow else "in place")
            taken = time.perf_counter() - began
        else:
            taken = _in_processes(self.holders, new, spans)
        self.holders = new
        return taken

    def floor(self, program: Path) -> float:
        """Seconds of the system calls of a re-wrap in place, by the compiled rekey_floor.c."""
        paths = "".join(f"{item.relative}\n" for item in self.items)
        done = subprocess.run([program, self.folder], input=paths, capture_output=True, text=True, check=True)
        return float(done.stdout)


def _usual(image: synthetic.Elements) -> synthetic.Elements:
    """About as many elements as a CT has."""
    return image | {0x00181000 + 16 * n: ("LO", f"element {n}".encode()) for n in range(40)}


def _work(worker: RekeyWorker, items: list[Item], how: str) -> None:
    for start in range(0, len(items), _BATCH):
        outcomes = worker.run(items[start : start + _BATCH])
        assert {outcome.detail.get("how") for outcome in outcomes} == {how}, outcomes[0]
    worker.close()


def _in_processes(holders: list[HpkeIdentity], new: list[HpkeIdentity], spans: list[list[Item]]) -> float:
    """Begun together when all are ready, as the work on an archive takes longer than to start a process."""
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(len(spans) + 1)

    def one(span: list[Item]) -> None:
        worker = RekeyWorker(holders, [i.recipient for i in new], noted=False)
        ready.wait()
        _work(worker, span, "in place")

    processes = [context.Process(target=one, args=(span,)) for span in spans]
    for process in processes:
        process.start()
    os.sync()
    ready.wait()
    began = time.perf_counter()
    for process in processes:
        process.join()
    assert all(process.exitcode == 0 for process in processes)
    return time.perf_counter() - began
