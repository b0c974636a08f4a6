"""Batches: every backend gives what it gives frame by frame, on any number of threads, in bounded memory."""

import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iomt_crypt import cipher
from iomt_crypt.cipher import batch, frame, numba_backend, torch_backend
from iomt_crypt.errors import ConfigurationError

KEY = bytes(range(32))
BACKENDS = ["numba", "torch", "reference"]
SHAPES = [(), (0,), (1,), (2,), (3,), (5,), (1, 9), (7, 1), (4, 6), (5, 5, 3), (0, 4), (33, 31), (64, 64), (700,)]


def make_frames(shape, dtype, n_frames=4):
    rng = np.random.default_rng([n_frames, *shape])
    return rng.integers(0, 1 << 16, (n_frames, *shape)).astype(dtype), [b"", b"frame 1", bytes(70), b"frame 3"][
        :n_frames
    ]


def one_by_one(function, frames, tweaks):
    return np.stack([function(np.asarray(each), KEY, tweak=tweak) for each, tweak in zip(frames, tweaks, strict=True)])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_is_its_frames(backend, shape, dtype):
    frames, tweaks = make_frames(shape, dtype)
    before = frames.copy()
    encrypted = cipher.encrypt_frames(frames, KEY, tweaks=tweaks, backend=backend)
    assert np.array_equal(frames, before)
    assert np.array_equal(encrypted, one_by_one(cipher.encrypt, frames, tweaks))
    assert encrypted.dtype == dtype
    decrypted = cipher.decrypt_frames(encrypted, KEY, tweaks=tweaks, backend=backend)
    assert np.array_equal(decrypted, before)


@settings(max_examples=40)
@given(st.data())
def test_backends_agree_on_batches(data):
    shape = data.draw(st.one_of(st.tuples(st.integers(0, 3000)), st.tuples(st.integers(1, 60), st.integers(1, 60))))
    tweaks = data.draw(st.lists(st.binary(max_size=20), max_size=5))
    row_length = data.draw(st.integers(-1, 1500))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    frames = rng.integers(0, 1 << 16, (len(tweaks), *shape)).astype(data.draw(st.sampled_from([np.uint8, np.uint16])))
    outputs = []
    for backend in BACKENDS:
        output = np.empty_like(frames)
        options = {"tweaks": tweaks, "row_length": row_length, "backend": backend}
        cipher.encrypt_frames_into(frames, output, KEY, **options)
        outputs.append(output)
        back = output.copy()
        cipher.decrypt_frames_into(back, back, KEY, **options)
        assert np.array_equal(back, frames)
    assert np.array_equal(outputs[0], outputs[1])
    assert np.array_equal(outputs[0], outputs[2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_memory_layout_is_read(backend):
    frames, tweaks = make_frames((30, 40), np.uint16)
    expected = cipher.encrypt_frames(frames, KEY, tweaks=tweaks)
    rows_last = np.ascontiguousarray(frames.transpose(0, 2, 1)).transpose(0, 2, 1)
    frames_last = np.ascontiguousarray(frames.transpose(1, 2, 0)).transpose(2, 0, 1)
    every_second = np.repeat(frames, 2, axis=0)[::2]
    read_only = frames.copy()
    read_only.flags.writeable = False
    for layout in (rows_last, frames_last, every_second, read_only):
        assert np.array_equal(cipher.encrypt_frames(layout, KEY, tweaks=tweaks, backend=backend), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_memory_that_exists(backend):
    frames, tweaks = make_frames((30, 40), np.uint16)
    expected = cipher.encrypt_frames(frames, KEY, tweaks=tweaks)
    odd_address = np.frombuffer(bytearray(frames.nbytes + 1), np.uint8)[1:].view(np.uint16)
    cipher.encrypt_frames_into(frames, odd_address, KEY, tweaks=tweaks, backend=backend)
    assert np.array_equal(odd_address.reshape(frames.shape), expected)
    cipher.encrypt_frames_into(frames, frames, KEY, tweaks=tweaks, backend=backend)
    assert np.array_equal(frames, expected)


@pytest.mark.parametrize("workers", [1, 2, 3, 50])
def test_any_number_of_workers(workers):
    frames, tweaks = make_frames((40, 50), np.uint8, 4)
    frames, tweaks = np.tile(frames, (5, 1, 1)), [b"%d" % number for number in range(20)]
    expected = one_by_one(cipher.encrypt, frames, tweaks)
    before = set(threading.enumerate())
    assert np.array_equal(cipher.encrypt_frames(frames, KEY, tweaks=tweaks, workers=workers), expected)
    assert set(threading.enumerate()) <= before


def test_frames_run_side_by_side(monkeypatch):
    meeting = threading.Barrier(3, timeout=60)

    monkeypatch.setattr(numba_backend, "transform", lambda *arguments, **options: meeting.wait())
    cipher.encrypt_frames(np.zeros((12, 4), np.uint8), KEY, tweaks=[b""] * 12, backend="numba", workers=3)
    assert not meeting.broken


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_ends_the_batch(monkeypatch, workers):
    begun = []

    def fail(sources, targets, geometry, schedules, *, decrypting):
        assert decrypting
        begun.append(threading.get_ident())
        raise MemoryError("no more")

    monkeypatch.setattr(numba_backend, "transform", fail)
    monkeypatch.setattr(numba_backend, "group_size", lambda frame_bytes: 1)
    before = set(threading.enumerate())
    with pytest.raises(MemoryError, match=r"^no more$"):
        cipher.decrypt_frames(np.zeros((50, 4), np.uint8), KEY, tweaks=[b""] * 50, backend="numba", workers=workers)
    assert len(begun) == len(set(begun)) <= workers
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    ("n_frames", "frame_bytes", "workers", "n_threads", "sizes"),
    [
        (8, 10, None, 1, [8]),  # not worth a second thread
        (24, 1 << 20, None, 6, [2] * 12),
        (5, 1 << 20, None, 5, [1] * 5),
        (50, 1 << 19, None, 6, [5] * 10),
        (8, 10, 1, 1, [8]),
        (8, 10, 3, 3, [2] * 4),
        (7, 10, 70, 7, [1] * 7),
        (20, 1 << 20, 1, 1, [4] * 5),
        (2, 1 << 23, 2, 2, [1, 1]),
    ],
)
def test_groups_and_threads(monkeypatch, n_frames, frame_bytes, workers, n_threads, sizes):
    """With six CPUs, and groups of 4 MiB at most."""
    seen, pools = [], []

    class Pool(batch.ThreadPoolExecutor):
        def __init__(self, n_others):
            pools.append(n_others)
            super().__init__(n_others)

    monkeypatch.setattr(batch, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(numba_backend, "available_cpus", lambda: 6)
    monkeypatch.setattr(numba_backend, "transform", lambda sources, *rest, **options: seen.append(len(sources)))
    frames = np.broadcast_to(np.uint8(0), (n_frames, frame_bytes))
    job = batch.make_job(frames.shape, 8, KEY, [b""] * n_frames, None, decrypting=False)
    batch._run_threads(job, frames, frames, workers)
    assert seen == sizes
    assert pools == ([n_threads - 1] if n_threads > 1 else [])


def test_cpus_of_this_process():
    assert 1 <= numba_backend.available_cpus() <= 4096


def test_memory_does_not_grow_with_the_batch():
    frames = np.zeros((60, 256, 512), np.uint16)
    tweaks = [b"%d" % number for number in range(60)]
    cipher.warm_up()
    tracemalloc.start()
    try:
        cipher.encrypt_frames_into(frames, frames, KEY, tweaks=tweaks, workers=3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # a group of 4 MiB for each thread, and a little for schedules and features
    assert peak < 3.5 * numba_backend._GROUP_BYTES < frames.nbytes


def test_groups_of_any_size_give_the_same(monkeypatch):
    frames, tweaks = make_frames((31, 30), np.uint16)
    expected = one_by_one(cipher.encrypt, frames, tweaks)
    for frames_of_a_group in (1, 2, 3, 9):
        monkeypatch.setattr(numba_backend, "_GROUP_BYTES", frames_of_a_group * frames[0].nbytes)
        made = cipher.encrypt_frames(frames, KEY, tweaks=tweaks, workers=1)
        assert np.array_equal(made, expected)
        assert np.array_equal(cipher.decrypt_frames(made, KEY, tweaks=tweaks, workers=1), frames)


FRAMES = np.zeros((3, 4, 5), np.uint16)


@pytest.mark.parametrize("function", [cipher.encrypt_frames, cipher.decrypt_frames])
@pytest.mark.parametrize(
    ("frames", "options", "error", "message"),
    [
        (FRAMES, {"tweaks": [b""] * 2}, ValueError, r"^tweaks must be as many as frames \(3\), got 2$"),
        (FRAMES, {"tweaks": [b"", "1", b""]}, TypeError, "^tweak must be bytes, got str$"),
        (FRAMES, {"tweaks": b"abc"}, TypeError, "^tweaks must be a sequence of bytes, got bytes$"),
        (FRAMES, {"key": bytes(31)}, ValueError, "^key must be 32 bytes, got 31$"),
        (FRAMES, {"workers": 0}, ValueError, "^workers must be 1 or more, got 0$"),
        (FRAMES, {"workers": 1.5}, TypeError, "float"),
        (
            FRAMES,
            {"backend": "gpu"},
            ValueError,
            "^backend must be 'auto', 'reference', 'numba' or 'torch', got 'gpu'$",
        ),
        (FRAMES.tolist(), {}, TypeError, "^frames must be a numpy array, got list$"),
        (np.zeros((), np.uint8), {"tweaks": []}, ValueError, "^frames must have an axis of frames"),
        (FRAMES.astype(np.int16), {}, TypeError, "^frames must be uint8 or native uint16, got <i2$"),
    ],
)
def test_mistakes_of_a_call(function, frames, options, error, message):
    with pytest.raises(error, match=message):
        function(frames, **{"key": KEY, "tweaks": [b""] * 3, **options})


@pytest.mark.parametrize("function", [cipher.encrypt_frames_into, cipher.decrypt_frames_into])
@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (np.zeros((3, 4, 6), np.uint16), ValueError, "size and dtype of source .60 x uint16., got 72 x uint16$"),
        (np.zeros((3, 5, 4), np.uint16).transpose(0, 2, 1), ValueError, "^source and target must be C-contiguous$"),
        (bytearray(120), TypeError, "^target must be a numpy array, got bytearray$"),
    ],
)
def test_mistakes_of_memory(function, target, error, message):
    with pytest.raises(error, match=message):
        function(FRAMES, target, KEY, tweaks=[b""] * 3)


def test_a_key_is_not_shown():
    job = batch.make_job((1, 4), 8, KEY, [b"t"], None, decrypting=False)
    assert "x00" not in repr(job)
    assert "tweaks=(b't',)" in repr(job)


def test_small_work_never_imports_torch():
    program = (
        "import sys, numpy as np; from iomt_crypt import cipher; f = np.zeros((2, 64, 64), np.uint16); k = bytes(32);"
        "cipher.encrypt(f[0], k); cipher.encrypt_frames(f, k, tweaks=[b'', b'1']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("n_bytes", "loaded", "has_cuda", "chosen"),
    [
        (batch.CUDA_BYTES - 1, True, True, "numba"),
        (batch.CUDA_BYTES, True, True, "torch"),
        (batch.CUDA_BYTES, True, False, "numba"),
        (batch.CUDA_IMPORT_BYTES - 1, False, True, "numba"),
        (batch.CUDA_IMPORT_BYTES, False, True, "torch"),
        (batch.CUDA_IMPORT_BYTES, False, False, "numba"),
    ],
)
def test_what_auto_means(monkeypatch, n_bytes, loaded, has_cuda, chosen):
    monkeypatch.setattr(torch_backend, "has_cuda", lambda: has_cuda)
    if not loaded:
        monkeypatch.delitem(sys.modules, "torch")
    assert batch.choose("auto", n_bytes) == chosen
    assert batch.choose("reference", n_bytes) == "reference"
    assert batch.choose("numba", n_bytes) == "numba"


def test_auto_needs_triton(monkeypatch):
    monkeypatch.setattr(torch_backend, "has_cuda", lambda: True)
    monkeypatch.setattr(torch_backend, "find_spec", lambda name: None)
    assert batch.choose("auto", batch.CUDA_IMPORT_BYTES) == "numba"


def test_auto_hands_large_batches_over(monkeypatch):
    seen = []
    monkeypatch.setattr(torch_backend, "has_cuda", lambda: True)
    monkeypatch.setattr(batch, "CUDA_BYTES", 1000)
    monkeypatch.setattr(torch_backend, "run", lambda job, source, target: seen.append((job, source, target)))
    frames = np.zeros((5, 10, 10), np.uint16)
    cipher.encrypt_frames(frames[:4], KEY, tweaks=[b""] * 4)
    assert seen == []
    output = cipher.decrypt_frames(frames, KEY, tweaks=[b""] * 5)
    ((job, source, target),) = seen
    assert job.decrypting
    assert job.geometry.row_length == 10
    assert source is frames
    assert target.shape == (5, 100)
    assert np.shares_memory(target, output)


def test_without_torch(monkeypatch):
    # what an import statement meets where PyTorch is not installed
    monkeypatch.setitem(sys.modules, "iomt_crypt.cipher.torch_backend", None)
    monkeypatch.delattr(cipher, "torch_backend")
    assert batch.choose("auto", batch.CUDA_IMPORT_BYTES) == "numba"
    with pytest.raises(ConfigurationError, match=r"^backend 'torch' needs PyTorch") as caught:
        cipher.encrypt(FRAMES, KEY, backend="torch")
    assert caught.value.hint == "pip install 'iomt-crypt[torch]'"
    with pytest.raises(ConfigurationError, match=r"^backend 'torch' needs PyTorch"):
        cipher.encrypt_frames(FRAMES, KEY, tweaks=[b""] * 3, backend="torch")
    assert frame.load("numba")[0] is numba_backend.encrypt_words
