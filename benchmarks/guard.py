"""What the guard costs: CPU time of an object, memory over many of them, and the node with and without it.

    python -m benchmarks.guard                  CPU time, by part, and of the read-back
    python -m benchmarks.guard --objects 10000  resident memory over so many objects
    python -m benchmarks.guard --node           throughput of a whole node, checks off and on

On an idle machine; the objects are CT images of 0.5 MB from ``tests/node/node_harness.py``.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "node"))

from node_harness import Archive, Node, dataset, write_object

from iomt_crypt.checks import Guard, GuardPolicy, measure, read_cells
from iomt_crypt.checks.layout import check_layout
from iomt_crypt.checks.readback import read_back
from iomt_crypt.dicom import Policy, protect, read_network
from iomt_crypt.dicom.pixel import plan_pixels
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.sender import Sender
from iomt_crypt.node.transport import configure_pynetdicom
from iomt_crypt.seal import Epoch, HpkeIdentity

_SIDE = 512
_SYNTAX = "1.2.840.10008.1.2.1"
_EPOCH = Epoch.create([HpkeIdentity.generate().recipient])
_POLICY = Policy(site_key=bytes(32))


def encrypted(received: bytes) -> bytes:
    """The encrypted form of a data set."""
    sink = io.BytesIO()
    protect(read_network(received, transfer_syntax_uid=_SYNTAX), sink, epoch=_EPOCH, policy=_POLICY)
    return sink.getvalue()


def cpu_ms(job: Callable[[], object], repeats: int = 100) -> tuple[float, float]:
    """CPU time of the whole process for one call: the smallest, and the median."""
    for _ in range(5):
        job()
    times = []
    for _ in range(repeats):
        start = time.process_time_ns()
        job()
        times.append((time.process_time_ns() - start) / 1e6)
    return min(times), statistics.median(times)


def cost() -> None:
    received = dataset(1, size=_SIDE)
    data = encrypted(received)
    digest, frame = hashlib.sha256(data).digest(), read_cells(io.BytesIO(data)).frames[0]
    jobs: dict[str, Callable[[], object]] = {
        "SHA-256 of the file": lambda: hashlib.sha256(data).digest(),
        "read_cells": lambda: read_cells(io.BytesIO(data)),
        "measure": lambda: measure(frame),
    }
    for classifier in (False, True):
        guard = Guard(GuardPolicy(classifier=classifier))
        name = "guard, all of it" + ("" if classifier else ", without the classifier")
        jobs[name] = lambda guard=guard: guard.check(io.BytesIO(data), sha256=digest)  # type: ignore[misc]
    with tempfile.TemporaryFile() as draft:
        jobs["encrypt (for comparison)"] = lambda: encrypted(received)
        layout = plan_pixels(read_network(received, transfer_syntax_uid=_SYNTAX), _POLICY).raster.layout()  # type: ignore[union-attr]
        jobs["trial of the layout, once in an epoch"] = lambda: check_layout("hybrid-1", layout)
        jobs["read-back of the receiver"] = lambda: read_back(
            draft, io.BytesIO(received), origin="network", epoch=_EPOCH
        )  # type: ignore[arg-type]
        source = read_network(received, transfer_syntax_uid=_SYNTAX)
        protect(source, draft, epoch=_EPOCH, policy=_POLICY)  # type: ignore[arg-type]
        print("| what | CPU ms, smallest | median |\n|---|---|---|")
        for name, job in jobs.items():
            smallest, median = cpu_ms(job)
            print(f"| {name} | {smallest:.2f} | {median:.2f} |")


def memory(n_objects: int) -> None:
    guard, n_held = Guard(GuardPolicy()), 0
    objects = [encrypted(dataset(number, size=_SIDE)) for number in range(16)]
    for number in range(n_objects + 1):
        n_held += not guard.check(io.BytesIO(objects[number % 16])).passed
        if number in (100, 1000) or number % max(1, n_objects // 4) == 0:
            threads = len(list(Path("/proc/self/task").iterdir()))
            print(f"{number} objects: {resident_mb():.1f} MB resident, {threads} threads, {n_held} held", flush=True)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def node(n_objects: int) -> None:
    configure_pynetdicom()
    for policy in ('policy = "off"', 'policy = "block"\nclassifier = false', 'policy = "block"'):
        with tempfile.TemporaryDirectory() as folder:
            seconds = _through_a_node(Path(folder), policy, n_objects)
        print(f"{policy.replace(chr(10), ', ')}: {n_objects / seconds:.1f} objects/s", flush=True)


def _through_a_node(folder: Path, checks: str, n_objects: int) -> float:
    archive = Archive()
    config = folder / "node.toml"
    (folder / "recipients.txt").write_text(f"{HpkeIdentity.generate().recipient}\n")
    config.write_text(
        f'[node]\nhost = "127.0.0.1"\nport = 0\n[spool]\nfolder = "spool"\nreserve_bytes = 0\n'
        f'[keys]\nrecipients = ["recipients.txt"]\nsite_key = "site.key"\n[checks]\n{checks}\n'
        f'[destination]\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {archive.port}\n'
    )
    paths = [write_object(folder, number, size=_SIDE) for number in range(n_objects + 1)]
    running = Node(config)
    sender = Sender(paths, Peer("IOMTCRYPT", "127.0.0.1", running.port), calling_ae_title="MODALITY")
    sender.send(paths[0])
    archive.wait(lambda: len(archive.stored) == 1, timeout=120)
    start = time.monotonic()
    for path in paths[1:]:
        sender.send(path)
    archive.wait(lambda: len(archive.stored) == len(paths), timeout=600)
    seconds = time.monotonic() - start
    sender.close()
    running.stop()
    archive.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=0, metavar="N")
    parser.add_argument("--node", action="store_true")
    chosen = parser.parse_args()
    if chosen.objects:
        memory(chosen.objects)
    elif chosen.node:
        node(200)
    else:
        cost()


if __name__ == "__main__":
    main()
