"""``rekey --workers N`` as a user calls it: ``python -m benchmarks.rekey_workers [OBJECTS [ROUNDS]]``.

8,000 objects of 0.5 MB and 2 rounds unless told otherwise. One process and a cluster of two take turns on the same
tree. What it takes to start Python and the cluster is measured on a small tree, and taken off. IOMT_BENCH_FOLDER is
where the objects are made.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.rekey_load import Load
from iomt_crypt.seal import HpkeIdentity, write_identity

_COMMAND = "from iomt_crypt.cli.app import main; main()"
_FEW = 100


def rekey(load: Load, folder: Path, workers: int) -> float:
    """Seconds of the whole command."""
    new = [HpkeIdentity.generate() for _ in range(2)]
    key, recipients, report = folder / "old.key", folder / "new.txt", folder / "report.json"
    for path in (key, report):
        path.unlink(missing_ok=True)
    write_identity(key, load.holders[0])
    recipients.write_text("".join(f"{identity.recipient}\n" for identity in new))
    options = ["-i", key, "-r", recipients, "--workers", workers, "--report", report]
    command = [sys.executable, "-c", _COMMAND, "rekey", *map(str, options), str(load.folder)]
    os.sync()
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    taken = time.perf_counter() - began
    load.holders = new
    assert f'"done": {len(load.items)}' in report.read_text(), report.read_text()[:500]
    return taken


def main() -> None:
    n_objects = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    n_rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    rates: dict[int, list[float]] = {1: [], 2: []}
    whole: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory(dir=os.environ.get("IOMT_BENCH_FOLDER")) as name:
        folder = Path(name)
        few = Load.of(folder / "few", _FEW, frame_bytes=1 << 19)
        many = Load.of(folder / "many", n_objects, frame_bytes=1 << 19)
        for _ in range(n_rounds):
            for workers in rates:
                start, all_of_it = rekey(few, folder, workers), rekey(many, folder, workers)
                whole[workers].append(n_objects / all_of_it)
                rates[workers].append((n_objects - _FEW) / (all_of_it - start))
                print(
                    f"{workers} worker(s): {whole[workers][-1]:.0f}/s, started {rates[workers][-1]:.0f}/s", flush=True
                )
    for what, found in (("in all", whole), ("once started", rates)):
        print(f"two workers over one, {what}: {median(found[2]) / median(found[1]):.2f}")


if __name__ == "__main__":
    main()
