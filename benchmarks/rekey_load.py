"""A tree of objects to re-key, over and over."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

from iomt_crypt import encrypt_file
from iomt_crypt.archive import rekey_worker
from iomt_crypt.archive.key import KeySource
from iomt_crypt.archive.operation import Item
from iomt_crypt.archive.rekey import RekeyOperation
from iomt_crypt.dicom import Policy
from iomt_crypt.seal import HpkeIdentity, write_identity
from tests import synthetic

_FEW = 100
_MOST_SECONDS = 600
_SIDE = 1024


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
        taken = _in_processes(self._operation(new), self._spans(workers), "new file" if grow else "in place")
        self.holders = new
        return taken

    def _operation(self, new: list[HpkeIdentity]) -> RekeyOperation:
        old = self.folder.parent / "old.key"
        old.unlink(missing_ok=True)
        write_identity(old, self.holders[0])
        return RekeyOperation(KeySource((str(old),)), KeySource(tuple(str(identity.recipient) for identity in new)))

    def floor(self, program: Path, *, processes: int = 1) -> float:
        """Seconds of the system calls of a re-wrap in place, by the compiled rekey_floor.c."""
        names = ["".join(f"{item.relative}\n" for item in span) for span in self._spans(processes)]
        with ThreadPoolExecutor(processes) as pool:
            return max(pool.map(partial(_floor, [str(program), str(self.folder)]), names))

    def _spans(self, count: int) -> list[list[Item]]:
        share = -(-len(self.items) // count)
        return [self.items[start : start + share] for start in range(0, len(self.items), share)]


def _floor(command: list[str], names: str) -> float:
    return float(subprocess.run(command, input=names, capture_output=True, text=True, check=True).stdout)


def _usual(image: synthetic.Elements) -> synthetic.Elements:
    """About as many elements as a CT has."""
    return image | {0x00181000 + 16 * n: ("LO", f"element {n}".encode()) for n in range(40)}


def _in_processes(operation: RekeyOperation, spans: list[list[Item]], how: str) -> float:
    """Begun together when all are ready, as the work on an archive takes longer than to start a process."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Barrier(len(spans) + 1), context.Barrier(len(spans) + 1)
    processes = [context.Process(target=_work, args=(operation, span, how, ready, done)) for span in spans]
    for process in processes:
        process.start()
    ready.wait(_MOST_SECONDS)
    began = time.perf_counter()
    done.wait(_MOST_SECONDS)
    taken = time.perf_counter() - began
    for process in processes:
        process.join()
    assert all(process.exitcode == 0 for process in processes)
    return taken


def _work(operation: RekeyOperation, items: list[Item], how: str, ready: Barrier, done: Barrier) -> None:
    rekey_worker._MANY = 1  # an archive has more objects than a benchmark
    trial = replace(operation, dry_run=True).open()
    trial.run(items[:_FEW])  # all that it needs is loaded then
    trial.close()
    worker, size = operation.open(), operation.pace().most
    ready.wait()
    hows = set()
    for start in range(0, len(items), size):
        hows |= {outcome.detail.get("how") for outcome in worker.run(items[start : start + size])}
    done.wait()
    worker.close()
    assert hows == {how}
