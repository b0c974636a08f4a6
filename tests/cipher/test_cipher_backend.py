"""How the compiled backend behaves: threads, memory, compilation, import."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

from iomt_crypt import cipher
from iomt_crypt.cipher import jit, kernel, keystream, numba_backend

KEY = bytes(range(32))


def test_importing_the_package_does_not_import_numba():
    program = "import sys, iomt_crypt.cipher; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_threads_do_not_disturb_each_other():
    rng = np.random.default_rng(7)
    shapes = [(80, 80), (1, 5), (301, 77), (512, 100), (3, 3), (64, 64)] * 8
    frames = [rng.integers(0, 256, shape).astype(rng.choice([np.uint8, np.uint16])) for shape in shapes]
    expected = [cipher.encrypt(frame, KEY) for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        encrypted = list(pool.map(lambda frame: cipher.encrypt(frame, KEY), frames))
        decrypted = list(pool.map(lambda frame: cipher.decrypt(frame, KEY), encrypted))
    assert all(map(np.array_equal, encrypted, expected))
    assert all(map(np.array_equal, decrypted, frames))


def test_nothing_of_an_earlier_frame_comes_into_the_next():
    large = np.full((200, 200), 0xABCD, np.uint16)
    small = np.zeros((9, 7), np.uint16)
    first = cipher.encrypt(small, KEY)
    cipher.encrypt(large, KEY)
    assert np.array_equal(cipher.encrypt(small, KEY), first)


def test_work_memory_is_kept():
    frame = np.zeros((64, 64), np.uint16)
    cipher.encrypt_into(frame, frame, KEY)
    address = numba_backend._work_memory(1).ctypes.data
    cipher.decrypt_into(frame, frame, KEY)
    assert numba_backend._work_memory(1).ctypes.data == address
    assert address % 64 == 0


def test_nothing_is_compiled_after_warm_up():
    cipher.warm_up()
    kernels = [kernel.pool_frames, kernel.run_rounds, kernel.move_frames]
    before = [len(function.signatures) for function in kernels]
    read_only = np.frombuffer(bytes(range(100)), np.uint8)
    odd_address = np.frombuffer(bytearray(201), np.uint8)[1:].view(np.uint16)
    assert not odd_address.flags.aligned
    for frame in (read_only, odd_address, np.zeros((3, 4, 5), np.uint16), np.zeros((1, 1), np.uint8)):
        target = np.empty_like(frame)
        cipher.encrypt_into(frame, target, KEY)
        cipher.decrypt_into(target, target, KEY)
        assert np.array_equal(target, frame)
    expected = cipher.encrypt(np.zeros(100, np.uint16), KEY)
    cipher.encrypt_into(odd_address, odd_address, KEY, row_length=0)
    assert np.array_equal(odd_address, expected)
    assert [len(function.signatures) for function in kernels] == before
    assert before == [2, 2, 2]


def test_a_kernel_that_cannot_be_cached_is_compiled_all_the_same():
    namespace = {}
    exec("def double(x):\n    return 2 * x", namespace)  # no file: numba finds no place for its cache
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(namespace["double"], cache=True)
    assert jit.kernel(namespace["double"])(21) == 42
    jit.KERNELS.pop()


@pytest.mark.parametrize(("n_failures", "works"), [(0, True), (3, True), (len(jit.KERNELS), True), (99, False)])
def test_a_full_disk_under_the_kernel_cache_stops_nobody(monkeypatch, n_failures, works):
    failures = iter(range(n_failures))
    transform = numba_backend._transform

    def on_a_full_disk(*arguments, **options):
        if next(failures, None) is not None:
            raise OSError(28, "No space left on device")
        transform(*arguments, **options)

    monkeypatch.setattr(numba_backend, "_transform", on_a_full_disk)
    monkeypatch.setattr(numba_backend, "_PREPARED", set())
    if works:
        numba_backend._prepare(16)
        assert 16 in numba_backend._PREPARED
    else:
        with pytest.raises(OSError, match="No space"):
            numba_backend._prepare(16)


def test_every_kernel_is_counted():
    kernels = {value for part in (kernel, keystream) for value in vars(part).values() if hasattr(value, "signatures")}
    assert kernels == set(jit.KERNELS)
    assert len(kernels) > 10
