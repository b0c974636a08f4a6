"""What it costs `encrypt` of a tree that everything is vouched for: with and without, taking turns, in fresh processes.

    python -m benchmarks.vouch [--objects 600] [--rounds 5] [--folder DIR]

The objects are CT images of 0.53 MB. A run is one process: start, keys, kernels, all objects, each synced. Before each,
nothing waits to be written. CPU time is beside the time that passed: on a busy machine it is what can be compared.
"Without" is the raw `iomt_crypt.dicom.protect`, which no command uses. The median counts;
what the vouched run says of itself (``vouch_seconds``) is beside it.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import BinaryIO
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "node"))


def write_tree(folder: Path, n_objects: int) -> int:
    """Make the objects; the size of one."""
    from node_harness import write_object

    folder.mkdir()
    return max(write_object(folder, number, size=512).stat().st_size for number in range(n_objects))


def run(source: Path, target: Path, *, vouched: bool) -> float:
    """Encrypt the tree in this process; seconds that the vouching took."""
    from iomt_crypt.archive.encryption import Encryption
    from iomt_crypt.archive.key import KeySource, SiteKey
    from iomt_crypt.archive.operation import Outcome
    from iomt_crypt.archive.result import Results
    from iomt_crypt.archive.runner import run_tree
    from iomt_crypt.checks import vouch
    from iomt_crypt.dicom import Policy, Source, protect
    from iomt_crypt.seal import Epoch

    def raw(source: Source, sink: BinaryIO, *, original: BinaryIO, epoch: Epoch, policy: Policy) -> vouch.Vouched:
        return vouch.Vouched(protect(source, sink, epoch=epoch, policy=policy), 0.0)

    seconds: list[float] = []

    def heard(outcome: Outcome) -> None:
        assert outcome.state == "done", outcome
        seconds.append(outcome.detail["vouch_seconds"])

    recipients = KeySource.recipients_of([str(source.parent / "key.pub")], lambda _: b"")
    results = Results(str(target), (str(source),))
    site_key = SiteKey.at(source.parent / "site.key")
    operation = Encryption(recipients, results, suite="hybrid-1", uids="derive", site_key=site_key)
    if vouched:
        run_tree([str(source)], operation, report=heard)
    else:
        with patch.object(vouch, "encrypt_source", raw):
            run_tree([str(source)], operation, report=heard)
    return sum(seconds)


def measure(folder: Path, n_objects: int, rounds: int) -> None:
    """Print the table."""
    from iomt_crypt.seal import HpkeIdentity, load_or_create_site_key

    size = write_tree(folder / "in", n_objects)
    (folder / "key.pub").write_text(f"{HpkeIdentity.generate().recipient}\n")
    load_or_create_site_key(folder / "site.key")
    times: dict[str, list[float]] = {"raw": [], "vouched": []}
    cpu: dict[str, list[float]] = {"raw": [], "vouched": []}
    told: list[float] = []
    for number in range(rounds + 1):  # the first round warms the page cache and the compiled kernels
        for name in ("raw", "vouched") if number % 2 else ("vouched", "raw"):
            shutil.rmtree(folder / "out", ignore_errors=True)
            os.sync()
            began, cpu_before = time.perf_counter(), _cpu_s()
            command = [sys.executable, "-m", "benchmarks.vouch", "--one", name, "--folder", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            if number:
                times[name].append(time.perf_counter() - began)
                cpu[name].append(_cpu_s() - cpu_before)
                told += [float(done.stdout)] if name == "vouched" else []
    print(f"{n_objects} CT objects of {size / 1e6:.2f} MB, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name in ("raw", "vouched"):
        passed, used = median(times[name]), median(cpu[name])
        print(f"{name:8}{passed:7.2f} s, {n_objects / passed:6.1f} objects/s, CPU {used:6.2f} s  (median of {rounds})")
    ratios = [one / other for one, other in zip(times["vouched"], times["raw"], strict=True)]
    cpu_ratio = median(cpu["vouched"]) / median(cpu["raw"])
    print(f"vouched is {median(ratios):.3f} of raw, by pairs of runs; CPU {cpu_ratio:.3f}")
    print(f"vouch_seconds of the vouched run: {median(told):.2f}, {1000 * median(told) / n_objects:.2f} ms an object")


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=600, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder otherwise")
    parser.add_argument("--one", choices=("raw", "vouched"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(run(chosen.folder / "in", chosen.folder / "out", vouched=chosen.one == "vouched"))
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        measure(Path(folder), chosen.objects, chosen.rounds)


if __name__ == "__main__":
    main()
