"""Encrypting a tree: a plain loop of encrypt_file, one process, two processes, in the same run.

``pytest benchmarks/test_archive.py -s`` prints the table and writes benchmarks/results/archive.json. 200 CT objects of
0.5 MB (IOMT_BENCH_ARCHIVE sets another number). Runs take turns, each begins when nothing waits to be written (sync),
and the median counts. Starting processes and loading compiled kernels takes seconds, which a small tree never earns
back, so the rate of the last three quarters of the objects is shown beside the whole.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pydicom
import pytest
from pydicom.uid import generate_uid

from demo import samples
from iomt_crypt import encrypt_file
from iomt_crypt.archive.encryption import Encryption
from iomt_crypt.archive.key import KeySource, SiteKey
from iomt_crypt.archive.result import Results
from iomt_crypt.archive.runner import run_tree
from iomt_crypt.dicom import Policy
from iomt_crypt.seal import Epoch, HpkeIdentity

RESULTS = Path(__file__).with_name("results") / "archive.json"
N_OBJECTS = int(os.environ.get("IOMT_BENCH_ARCHIVE", "200"))
ROUNDS = 3


@dataclass
class Timing:
    """When each object was done, from the beginning of a run."""

    whole: list[float] = field(default_factory=list)
    steady: list[float] = field(default_factory=list)

    def measure(self, job: Callable[[Callable[[], None]], None]) -> None:
        os.sync()
        began = time.perf_counter()
        done: list[float] = []
        job(lambda: done.append(time.perf_counter() - began))
        self.whole.append(N_OBJECTS / (time.perf_counter() - began))
        quarter = len(done) // 4
        self.steady.append((len(done) - quarter) / (done[-1] - done[quarter - 1]))


@pytest.fixture
def objects(tmp_path) -> Path:
    ct = pydicom.dcmread(next(p for p in samples.ensure(samples.DEFAULT_FOLDER) if "ct" in p.parts))
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(N_OBJECTS):
        ct.SOPInstanceUID = ct.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ct.save_as(folder / f"{i:05}.dcm")
    return folder


def test_ratios(objects, tmp_path):
    recipient = HpkeIdentity.generate().recipient
    recipients = KeySource.recipients_of([str(recipient)], lambda _: b"")
    site_key = SiteKey.at(tmp_path / "site.key")
    policy = Policy(site_key=site_key.load())
    out, journal = tmp_path / "out", tmp_path / "journal"

    def loop(done: Callable[[], None]) -> None:
        epoch = Epoch.create([recipient])
        for path in sorted(objects.iterdir()):
            encrypt_file(path, out / path.name, recipients=epoch, policy=policy)
            done()

    def tree(done: Callable[[], None], workers: int) -> None:
        results = Results(str(out), (str(objects),))
        operation = Encryption(recipients, results, suite="hybrid-1", uids="derive", site_key=site_key)
        summary = run_tree([str(objects)], operation, workers=workers, journal=journal, report=lambda _: done())
        assert summary.done == N_OBJECTS

    jobs = {"loop": loop, "one": lambda done: tree(done, 1), "two": lambda done: tree(done, 2)}
    loop(lambda: None)  # compiled kernels are loaded
    timings = {name: Timing() for name in jobs}
    for _ in range(ROUNDS):
        for name, job in jobs.items():
            shutil.rmtree(out, ignore_errors=True)
            journal.unlink(missing_ok=True)
            timings[name].measure(job)
    show(timings, next(objects.iterdir()).stat().st_size)


def show(timings: dict[str, Timing], size_bytes: int) -> None:
    labels = {"loop": "a loop of encrypt_file", "one": "run_tree, one process", "two": "run_tree, two processes"}
    base = median(timings["loop"].steady)
    print(
        f"\n{N_OBJECTS} CT objects of {size_bytes / 1e6:.2f} MB, {os.cpu_count()} cores, median of {ROUNDS}; objects/s"
    )
    print(f"{'':28}{'whole':>8}{'steady':>9}  of the loop")
    figures = {}
    for name, timing in timings.items():
        whole, steady = median(timing.whole), median(timing.steady)
        figures[name] = {"whole": whole, "steady": steady}
        print(f"{labels[name]:28}{whole:8.1f}{steady:9.1f}  {steady / base:.2f}")
    document = {"n_objects": N_OBJECTS, "size_bytes": size_bytes, "load": os.getloadavg()[0], "objects_per_s": figures}
    RESULTS.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    assert figures["one"]["steady"] > base / 1.5
