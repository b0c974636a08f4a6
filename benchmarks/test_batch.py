"""Batches of frames, wall clock: ``pytest benchmarks/test_batch.py --benchmark-only``; scaling.py makes the table.

Run with ``-s`` it prints how much a second thread gives, frame by frame in turns with one.
"""

import time
from statistics import median

import numpy as np
import pytest

from benchmarks.test_cipher import KEY, make_frame
from iomt_crypt import cipher
from iomt_crypt.cipher.numba_backend import available_cpus

#: (bits, side, frames)
BATCHES = [(16, 128, 500), (16, 512, 64), (8, 512, 64), (16, 2048, 8)]


def make_job(bits, side, n_frames, **options):
    dtype = np.uint16 if bits == 16 else np.uint8
    source = np.stack([make_frame((side, side), dtype)] * n_frames)
    target, tweaks = np.empty_like(source), [b"%d" % number for number in range(n_frames)]
    return lambda: cipher.encrypt_frames_into(source, target, KEY, tweaks=tweaks, **options)


@pytest.mark.parametrize("workers", sorted({1, available_cpus()}))
@pytest.mark.parametrize(("bits", "side", "n_frames"), BATCHES)
def test_numba(benchmark, bits, side, n_frames, workers):
    job = make_job(bits, side, n_frames, backend="numba", workers=workers)
    benchmark.pedantic(job, rounds=5, iterations=1, warmup_rounds=1)


def test_torch_on_the_cpu(benchmark):
    job = make_job(16, 128, 20, backend="torch")
    benchmark.pedantic(job, rounds=3, iterations=1, warmup_rounds=1)


def test_gain_of_threads():
    """Nothing is asserted but that both give a figure: the machine may be shared."""
    workers = available_cpus()
    for bits, side, n_frames in BATCHES:
        jobs = [make_job(bits, side, n_frames, backend="numba", workers=count) for count in (1, workers)]
        for job in jobs:
            job()
        times = [[seconds(job) for job in jobs] for _ in range(9)]
        one, all_threads = (median(column) for column in zip(*times, strict=True))
        print(f"{bits:2} bit {side:4} x {side:4} x {n_frames:3}: {workers} threads {one / all_threads:.2f} times one")
        assert min(one, all_threads) > 0


def seconds(job):
    start = time.perf_counter()
    job()
    return time.perf_counter() - start
