"""Re-keying beside ``cp -r`` of the same tree, in the same run, on the same disk.

``pytest benchmarks/test_rekey.py -s`` prints the table and writes benchmarks/results/rekey.json. IOMT_BENCH_REKEY is
the number of 0.5 MB objects (20,000 unless it is set, which take 60 GB with their copies), IOMT_BENCH_FOLDER where they
are made. Runs take turns, each begins when nothing waits to be written (sync), and the median counts. "Cold" runs begin
with nothing of the files in memory, as with an archive that was written at some other time. What the system calls of a
re-wrap take by themselves is measured with rekey_floor.c: no program can be faster that makes them. It needs ``cc``.

Copies stay until the end: ext4 looks for inodes that were not deleted a minute ago, and a virtual disk has to find room
for blocks that were given back, which makes ``cp`` several times slower where files have just been removed. Of cold
ones there is one, for the room that it takes. ``cp`` alone leaves what it can in memory; "durable" is with ``sync``, as
a re-wrap is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from benchmarks.rekey_load import Load

FLOOR = Path(__file__).with_name("rekey_floor.c")
RESULTS = Path(__file__).with_name("results") / "rekey.json"
N_OBJECTS = int(os.environ.get("IOMT_BENCH_REKEY", "20000"))
N_SIZED = 150
ROUNDS = 3
#: What must hold.
IN_PLACE_TIMES_CP, NEW_FILE_OF_CP, SIZES_APART, TWO_WORKERS = 10.0, 1.5, 1.2, 1.7


@pytest.fixture
def folder(tmp_path):
    chosen = os.environ.get("IOMT_BENCH_FOLDER")
    return Path(chosen) if chosen else tmp_path


@dataclass(frozen=True)
class Figures:
    """Objects per second, medians."""

    cp: float
    cp_durable: float
    in_place: float
    two_workers: float
    cold_cp: float
    cold_cp_durable: float
    cold_in_place: float
    cold_two_workers: float
    floor: float
    floor_two: float
    cold_floor: float
    new_file: float
    small: float
    large: float


def measure(folder: Path) -> dict[str, list[float]]:
    """Objects per second in each round, by the names of `Figures`."""
    load, copies = Load.of(folder / "objects", N_OBJECTS, frame_bytes=1 << 19), folder / "copies"
    copies.mkdir()
    # The same number of both: few, as 50 MB each takes room, and enough not to measure the waits for the disk alone.
    small = Load.of(folder / "small", N_SIZED, frame_bytes=1 << 19)
    large = Load.of(folder / "large", N_SIZED, frame_bytes=50 << 20)
    rates: dict[str, list[float]] = {name: [] for name in Figures.__dataclass_fields__}
    program = folder / "floor"
    subprocess.run(["cc", "-O2", "-o", program, FLOOR, "-lpthread"], check=True)
    load.rekey()
    load.rekey(workers=2)
    for number in range(ROUNDS):
        for cold in ("", "cold_"):
            begin_with = _forget if cold else _remember
            if not (cold and number):
                begin_with(load.folder)
                taken, durable = _copy(load.folder, copies / f"{cold}{number}")
                rates[cold + "cp"].append(N_OBJECTS / taken)
                rates[cold + "cp_durable"].append(N_OBJECTS / durable)
            begin_with(load.folder)
            rates[cold + "in_place"].append(N_OBJECTS / load.rekey())
            begin_with(load.folder)
            rates[cold + "two_workers"].append(N_OBJECTS / load.rekey(workers=2))
            begin_with(load.folder)
            rates[cold + "floor"].append(N_OBJECTS / load.floor(program))
        _remember(load.folder)
        rates["floor_two"].append(N_OBJECTS / load.floor(program, processes=2))
        for name, few in (("small", small), ("large", large)):
            _remember(few.folder)
            rates[name].append(median(N_SIZED / few.rekey() for _ in range(3)))
    for _ in range(ROUNDS):
        _remember(load.folder)
        rates["new_file"].append(N_OBJECTS / load.rekey(grow=True))
    shutil.rmtree(copies)
    return rates


def _copy(folder: Path, copy: Path) -> tuple[float, float]:
    """Seconds of ``cp``, and until what it wrote is on the disk."""
    began = time.perf_counter()
    subprocess.run(["cp", "-r", folder, copy], check=True)
    taken = time.perf_counter() - began
    os.sync()
    return taken, time.perf_counter() - began


def _remember(folder: Path) -> None:
    """Have the records in memory, whatever was copied meanwhile, and nothing wait to be written."""
    for path in folder.rglob("*.dcm"):
        with path.open("rb") as file:
            file.read(1 << 14)
    os.sync()


def _forget(folder: Path) -> None:
    """Have nothing of the files below in memory; of the names too, where we may."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        for path in folder.rglob("*.dcm"):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_beside_cp(folder):
    rates = measure(folder)
    found = Figures(**{name: median(each) for name, each in rates.items()})
    table = {
        "re-wrapped in place, of cp -r": (found.in_place / found.cp, f">= {IN_PLACE_TIMES_CP}"),
        "the same, two workers": (found.two_workers / found.cp, ""),
        "the same, cold": (found.cold_in_place / found.cold_cp, ""),
        "the same, cold, two workers": (found.cold_two_workers / found.cold_cp, ""),
        "in place, of durable copies": (found.in_place / found.cp_durable, ""),
        "in place, of durable copies, cold": (found.cold_in_place / found.cold_cp_durable, ""),
        "its system calls alone, in C": (found.floor / found.cp, ""),
        "its system calls alone, in C, cold": (found.cold_floor / found.cold_cp, ""),
        "as new files, time of cp -r": (found.cp / found.new_file, f"<= {NEW_FILE_OF_CP}"),
        "as new files, time of durable copies": (found.cp_durable / found.new_file, ""),
        "0.5 MB over 50 MB, in place": (found.small / found.large, f"<= {SIZES_APART}"),
        "two workers over one": (found.two_workers / found.in_place, f">= {TWO_WORKERS}"),
        "two processes over one, system calls alone": (found.floor_two / found.floor, ""),
        "two workers over one, cold": (found.cold_two_workers / found.cold_in_place, f">= {TWO_WORKERS}"),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    rounded = {name: [round(rate) for rate in each] for name, each in rates.items()}
    RESULTS.write_text(json.dumps({"objects": N_OBJECTS, "objects_per_second": rounded}, indent=1) + "\n")
    print(f"\n{N_OBJECTS} objects of 0.5 MB; objects/s in each round:")
    for name, each in rounded.items():
        print(f"{name:43} {each}")
    for name, (ratio, asked) in table.items():
        print(f"{name:43} {ratio:6.2f}   asked: {asked}")
    assert found.in_place >= IN_PLACE_TIMES_CP * found.cp
    assert found.cold_in_place >= IN_PLACE_TIMES_CP * found.cold_cp
    assert found.cp <= NEW_FILE_OF_CP * found.new_file
    assert found.small <= SIZES_APART * found.large
    assert found.two_workers >= TWO_WORKERS * found.in_place
    assert found.cold_two_workers >= TWO_WORKERS * found.cold_in_place
