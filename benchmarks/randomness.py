"""Randomness of the key stream and of cipher images: SP 800-22, structural tests, ent and dieharder.

``make randomness`` (an hour on two cores, 3 GiB of memory) runs all stages and writes docs/RANDOMNESS.md from them;
``python -m benchmarks.randomness structure`` runs one stage again. What was measured lies as JSON in
benchmarks/results/randomness/. A row that falls outside its range is tested again on ten times as much fresh data, as
section 4.2 of the publication demands, and the document shows both.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.progress import Progress

from benchmarks.bitstream import report
from benchmarks.bitstream.source import SOURCES, aes_stream, key_of, long_stream
from iomt_crypt.analysis.randomness import (
    LaneStream,
    Result,
    applicable,
    bits_of,
    examine_lanes,
    interpret_all,
    run_all,
    run_dieharder,
    run_ent,
)

RESULTS: Final = Path(__file__).with_name("results") / "randomness"
N_SEQUENCES: Final = 100
#: Sequences of the second experiment, for the tests with rows outside the range.
N_AGAIN: Final = 1000
#: 2^20 steps are 512 MiB.
STRUCTURE_STEPS: Final = 1 << 20
STRUCTURE_KEYS: Final = {"key stream": 16, "AES-256-CTR": 16, "lanes without veil": 1}
ENT_PIECES: Final = 64
OURS: Final = ("one key", "one pair", "16-bit images")
LONG: Final = (*OURS, "AES-256-CTR")
#: dieharder's numbers of tests, and their lengths of tuples or lags; 128 words are one step of all lanes. Left out: 5,
#: 6, 7 and 14 (which it calls suspect or not to be used) and 17 (minutes).
_PLAIN: Final = (0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 15, 16, 100, 101, 102, 204, 205, 206, 207, 208, 209)
DIEHARDER: Final[tuple[tuple[int, int | None], ...]] = (
    *((test, None) for test in _PLAIN),
    *((200, length) for length in (1, 2, 4, 8)),
    *((201, dimension) for dimension in (2, 5)),
    *((202, length) for length in (2, 5)),
    *((203, lag) for lag in (0, 31, 127, 128)),
)


def main() -> None:
    """Run the stages named on the command line, or all, and write the document."""
    stages: dict[str, Callable[[], Any]] = {
        "sp800-22": sp800_22,
        "structure": structure,
        "ent": ent,
        "dieharder": dieharder,
    }
    chosen = sys.argv[1:] or list(stages)
    if unknown := set(chosen) - set(stages) - {"document"}:
        sys.exit(f"stages are {', '.join(stages)} and document, got {', '.join(unknown)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        if name in stages:
            (RESULTS / f"{name}.json").write_text(json.dumps(stages[name](), indent=1))
    files = {name: RESULTS / f"{name}.json" for name in stages}
    found = {name: json.loads(path.read_text()) for name, path in files.items() if path.exists()}
    report.write(found)
    print(f"{report.DOCUMENT.name} written")


def in_parallel(
    title: str, function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], kept: Path | None = None
) -> dict[Any, Any]:
    """Run tasks on all cores with a progress bar; results by task.

    With ``kept``, results (of JSON) go to that file one by one, and what is there already is not run again.
    """
    tasks = list(tasks)
    found = _read_kept(kept) if kept is not None else {}
    left = [task for task in tasks if task not in found]
    with Progress() as progress, ProcessPoolExecutor(os.cpu_count()) as pool:
        bar = progress.add_task(title, total=len(tasks), completed=len(tasks) - len(left))
        for future in as_completed(futures := {pool.submit(function, *task): task for task in left}):
            task, result = futures[future], future.result()
            found[task] = result
            if kept is not None:
                with kept.open("a") as file:
                    file.write(json.dumps([task, result]) + "\n")
            progress.advance(bar)
    return {task: found[task] for task in tasks}


def _read_kept(path: Path) -> dict[Any, Any]:
    if not path.exists():
        return {}
    with path.open() as file:
        return {tuple(task): result for task, result in map(json.loads, file)}


def sp800_22() -> dict[str, Any]:
    """First experiment on every source, second experiment on the rows outside the range."""
    found = {}
    for name, source in SOURCES.items():
        first = experiment(name, 1, N_SEQUENCES, None)
        outside = [row["row"] for row in first if not row["passed"]]
        again = []
        if outside and source.kind != "poor":
            tests = tuple(dict.fromkeys(row.split(",")[0] for row in outside))
            again = [row for row in experiment(name, 2, N_AGAIN, tests) if row["row"] in outside]
        found[name] = {"title": source.title, "kind": source.kind, "first": first, "second": again}
        print(f"{name}: {len(first)} rows, {len(outside)} outside, then {sum(not r['passed'] for r in again)}")
    return found


def experiment(name: str, number: int, n_sequences: int, tests: tuple[str, ...] | None) -> list[dict[str, Any]]:
    """Test many sequences of a source."""
    results = in_parallel(f"{name}, {number}", one_sequence, ((name, number, k, tests) for k in range(n_sequences)))
    return [row.to_dict() for row in interpret_all(results.values())]


def one_sequence(name: str, number: int, index: int, tests: tuple[str, ...] | None) -> list[Result]:
    """Test one sequence of a source; without `tests` all that are applicable."""
    made = SOURCES[name].make(number, index)
    bits = bits_of(made) if isinstance(made, bytes) else made
    if tests is None:
        return run_all(bits)
    return run_all(bits, tests=[test for test in tests if test in applicable(bits).tests])


def structure() -> dict[str, Any]:
    """Structural tests on long streams: ours, a control that must pass, and lanes without veil, which must not."""
    tasks = [(name, index) for name, n_keys in STRUCTURE_KEYS.items() for index in range(n_keys)]
    kept = RESULTS / "structure.jsonl"
    found = in_parallel("structure", one_structure, tasks, kept)
    kept.unlink()
    return {
        "bytes": STRUCTURE_STEPS * 512,
        "streams": {name: [rows for (of, _), rows in found.items() if of == name] for name in STRUCTURE_KEYS},
    }


def one_structure(name: str, index: int) -> list[dict[str, Any]]:
    """Run the structural tests on one long stream."""
    words = np.empty((STRUCTURE_STEPS, 128), np.uint32)
    if name == "AES-256-CTR":
        stream = aes_stream(3, index)
        for start in range(0, STRUCTURE_STEPS, 8192):
            words[start : start + 8192] = np.frombuffer(next(stream), np.uint32).reshape(8192, 128)
    else:
        LaneStream.of(key_of(name, 1, index), veiled=name == "key stream").fill(words)
    return [row.to_dict() for row in examine_lanes(words)]


def ent() -> dict[str, Any]:
    """Run ent on the first pieces of each long stream and of the poor control."""
    return {
        name: run_ent(_megabytes(long_stream(name, 1), ENT_PIECES if name != "float map" else 4)).to_dict()
        for name in (*LONG, "float map")
    }


def _megabytes(stream: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Give the first `size` MiB of a stream."""
    left = size << 20
    for piece in stream:
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return


def dieharder() -> dict[str, Any]:
    """Run the chosen tests of dieharder on each long stream; those that it calls weak once more on fresh data."""
    tasks = [(name, test, length, 1) for name in OURS for test, length in DIEHARDER]
    kept = RESULTS / "dieharder.jsonl"
    first = in_parallel("dieharder", one_dieharder, tasks, kept)
    weak = [task for task, rows in first.items() if any(row["assessment"] != "PASSED" for row in rows)]
    second = in_parallel("dieharder, again", one_dieharder, ((*task[:3], 2) for task in weak), kept)
    kept.unlink()
    return {
        name: {
            "first": [row for task, rows in first.items() if task[0] == name for row in rows],
            "second": [row for task, rows in second.items() if task[0] == name for row in rows],
        }
        for name in OURS
    }


def one_dieharder(name: str, test: int, length: int | None, experiment: int) -> list[dict[str, Any]]:
    """Run one test of dieharder on a stretch of its own of a long stream."""
    number = 1_000_000 * experiment + 1000 * test + (length or 0)
    rows = run_dieharder(long_stream(name, number), test, ntuple=length, timeout_s=3600)
    return [row.to_dict() for row in rows]


if __name__ == "__main__":
    main()
