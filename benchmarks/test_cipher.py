"""Speed of the cipher beside AES-256-GCM, on one core, in CPU time of this process, on buffers that are reused.

``pytest benchmarks/test_cipher.py -s`` prints the tables and writes benchmarks/results/cipher-ratio.json.
"""

import json
import os
import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from iomt_crypt import cipher

KEY = bytes(range(32))
RESULTS = Path(__file__).with_name("results") / "cipher-ratio.json"

#: Throughput of the cipher over that of AES-256-GCM: what must hold for 16 bit, 512 x 512.
MINIMUM_RATIO = 0.15


def make_frame(shape, dtype):
    """A frame like a CT: noise in the low 12 (or 8) bits."""
    return np.random.default_rng(1).integers(0, 1 << min(12, 8 * np.dtype(dtype).itemsize), shape).astype(dtype)


def cipher_job(function, shape, dtype):
    frame = make_frame(shape, dtype)
    output = np.empty_like(frame)
    return frame.nbytes, lambda: function(frame, output, KEY, tweak=b"frame 0")


def aes_job(n_bytes):
    suite, nonce = AESGCM(KEY), bytes(12)
    data, output = os.urandom(n_bytes), bytearray(n_bytes + 16)
    return n_bytes, lambda: suite.encrypt_into(nonce, data, None, output)


def cpu_seconds(job, repeats):
    start = time.process_time()
    for _ in range(repeats):
        job()
    return (time.process_time() - start) / repeats


def alternating_medians(jobs, *, rounds=31, repeats=10):
    """Median CPU seconds of each job; they take turns, so that a slow moment of the machine meets all of them."""
    cipher.warm_up()
    for job in jobs:
        cpu_seconds(job, 3)
    times = [[cpu_seconds(job, repeats) for job in jobs] for _ in range(rounds)]
    return [median(column) for column in zip(*times, strict=True)]


def measure_ratio():
    """Throughput of 512 x 512 frames in GB/s and relative to AES-256-GCM on 512 KiB."""
    jobs = {
        "AES-256-GCM 512 KiB": aes_job(512 * 1024),
        "encrypt 16 bit": cipher_job(cipher.encrypt_into, (512, 512), np.uint16),
        "decrypt 16 bit": cipher_job(cipher.decrypt_into, (512, 512), np.uint16),
        "encrypt 8 bit": cipher_job(cipher.encrypt_into, (512, 512), np.uint8),
        "decrypt 8 bit": cipher_job(cipher.decrypt_into, (512, 512), np.uint8),
    }
    seconds = alternating_medians([job for _, job in jobs.values()])
    rates = {name: n_bytes / s / 1e9 for (name, (n_bytes, _)), s in zip(jobs.items(), seconds, strict=True)}
    aes = rates["AES-256-GCM 512 KiB"]
    return {name: {"gigabytes_per_second": rate, "of_aes_gcm": rate / aes} for name, rate in rates.items()}


def test_ratio_to_aes_gcm():
    figures = measure_ratio()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
    for name, figure in figures.items():
        print(f"{name:20} {figure['gigabytes_per_second']:6.3f} GB/s  {figure['of_aes_gcm']:6.3f} of AES-256-GCM")
    assert figures["encrypt 16 bit"]["of_aes_gcm"] >= MINIMUM_RATIO


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(80, 80), (512, 512), (2048, 2048)])
@pytest.mark.parametrize("function", [cipher.encrypt_into, cipher.decrypt_into])
def test_frame(benchmark, function, shape, dtype):
    cipher.warm_up()
    _, job = cipher_job(function, shape, dtype)
    benchmark.pedantic(job, rounds=15, iterations=5, warmup_rounds=2)


@pytest.mark.benchmark(timer=time.process_time)
def test_aes_gcm(benchmark):
    _, job = aes_job(512 * 1024)
    benchmark.pedantic(job, rounds=15, iterations=20, warmup_rounds=2)
