"""The torch backend, proven bit for bit on tensors of the CPU; ``python -m benchmarks.gpu`` does the same on CUDA.

tests/vectors/ holds it against the vectors and the second implementation.
"""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from iomt_crypt import cipher
from iomt_crypt.cipher import reference, torch_backend, torch_stage
from iomt_crypt.cipher.schedule import Geometry, make_schedule

KEY = bytes(range(32))
SIGNED = {np.uint8: np.int8, np.uint16: np.int16}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Test processes share the cores already."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@st.composite
def frames(draw):
    n_samples = draw(st.one_of(st.integers(0, 40), st.integers(0, 5000)))
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    highest = draw(st.sampled_from([1, 1 << 8, 1 << 12, 1 << 16]))
    return rng.integers(0, highest, n_samples).astype(dtype), rng.bytes(32), draw(st.binary(max_size=20))


@settings(max_examples=300)
@given(frames(), st.integers(-1, 2600))
@example((np.zeros(1, np.uint16), KEY, b""), 0)
@example((np.zeros(2, np.uint8), KEY, b""), 0)
@example((np.zeros(1024, np.uint16), KEY, b""), 32)  # the last size with runs of one word
@example((np.zeros(1025, np.uint16), KEY, b""), 32)
@example((np.zeros(2046, np.uint8), KEY, b""), 1022)  # taps around the ends more than once
def test_torch_agrees_with_numba_and_the_reference(frame, row_length):
    samples, key, tweak = frame
    outputs = []
    for backend in ("torch", "numba", "reference"):
        output = np.empty_like(samples)
        cipher.encrypt_into(samples, output, key, tweak=tweak, row_length=row_length, backend=backend)
        outputs.append(output)
    assert np.array_equal(outputs[0], outputs[1])
    assert np.array_equal(outputs[0], outputs[2])
    cipher.decrypt_into(output, output, key, tweak=tweak, row_length=row_length, backend="torch")
    assert np.array_equal(output, samples)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("n_samples", [3, 9, 1100, 5000])
def test_stages_are_those_of_the_reference(n_samples, dtype):
    rng = np.random.default_rng([n_samples, np.dtype(dtype).itemsize])
    geometry = Geometry.of(n_samples, 7, 8 * np.dtype(dtype).itemsize)
    schedules = [make_schedule(rng.bytes(32), b"", geometry) for _ in range(3)]
    source = rng.integers(0, 1 << 16, (3, geometry.n_left)).astype(dtype)
    n_target = n_samples - geometry.n_left
    words = torch.from_numpy(source.view(SIGNED[dtype]))

    def stack(name, as_type):
        return torch.from_numpy(np.stack([getattr(schedule, name) for schedule in schedules]).astype(as_type))

    kernels, mixes = stack("kernels", SIGNED[dtype]), stack("mixes", SIGNED[dtype])
    coupled = torch_stage.couple(words, n_target, geometry.row_length, kernels[:, 2], mixes[:, 2])
    features = torch_stage.pool(words, stack("pool_keys", np.int32))
    seeds = rng.integers(0, 1 << 32, (3, 3, 128)).astype(np.uint32)
    streams = torch_stage.logistic(torch.from_numpy(seeds.view(np.int32)), 5 * n_samples)
    for frame, schedule in enumerate(schedules):
        expected = reference.convolve(source[frame], n_target, 2, geometry, schedule)
        assert np.array_equal(coupled[frame].numpy().view(dtype), expected)
        assert features[frame].numpy().tobytes() == reference.pool(source[frame], schedule.pool_keys)
        stream = streams[frame].numpy().tobytes()[: 5 * n_samples]
        assert stream == reference.logistic(seeds[frame], 5 * n_samples)


def batch_of(shape, dtype=np.uint16, n_frames=5):
    rng = np.random.default_rng([n_frames, *shape])
    return rng.integers(0, 1 << 16, (n_frames, *shape)).astype(dtype), [b"%d" % frame for frame in range(n_frames)]


@pytest.mark.parametrize(("budget_frames", "sizes"), [(0, [1] * 5), (1, [1] * 5), (2, [2, 2, 1]), (9, [5])])
def test_a_batch_is_done_in_chunks(monkeypatch, budget_frames, sizes):
    frames, tweaks = batch_of((30, 41))
    expected = cipher.encrypt_frames(frames, KEY, tweaks=tweaks, backend="numba")
    seen = []

    class Chunk(torch_backend._Chunk):
        def run(self):
            seen.append(len(self._words))
            super().run()

    monkeypatch.setattr(torch_backend, "_Chunk", Chunk)
    one = torch_backend._WORK_FACTOR * frames[0].nbytes + torch_backend._WORK_BYTES
    monkeypatch.setattr(torch_backend, "CPU_BUDGET_BYTES", budget_frames * one)
    assert np.array_equal(cipher.encrypt_frames(frames, KEY, tweaks=tweaks, backend="torch"), expected)
    assert seen == sizes
    tensor = torch_backend.encrypt_tensor(torch.from_numpy(frames), KEY, tweaks=tweaks)
    assert np.array_equal(tensor.numpy(), expected)
    assert seen == 2 * sizes


@pytest.mark.parametrize("shape", [(70, 80), (3, 3000), (1,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tensors_stay_within_the_budget(monkeypatch, shape, dtype):
    """What is alive at one time, counted at every operation, against the estimate that sizes the chunks."""
    frames, tweaks = batch_of(shape, dtype, 3)
    held = {}
    peak = 0

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal peak
            result = function(*args, **(kwargs or {}))
            for tensor in tree_flatten(result)[0]:
                if isinstance(tensor, torch.Tensor):
                    held[tensor.untyped_storage().data_ptr()] = weak(tensor)
            alive = {key: size() for key, size in held.items()}
            peak = max(peak, sum(alive.values()))
            return result

    def weak(tensor):
        storage = torch.multiprocessing.reductions.StorageWeakRef(tensor.untyped_storage())
        n_bytes = tensor.untyped_storage().nbytes()
        return lambda: 0 if storage.expired() else n_bytes

    with Count():
        torch_backend.encrypt_tensor(torch.from_numpy(frames), KEY, tweaks=tweaks)
    estimate = len(frames) * (torch_backend._WORK_FACTOR * frames[0].nbytes + torch_backend._WORK_BYTES)
    assert frames.nbytes < peak <= estimate


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tensors(dtype):
    frames, tweaks = batch_of((20, 31), dtype)
    expected = cipher.encrypt_frames(frames, KEY, tweaks=tweaks)
    tensor = torch.from_numpy(frames.copy())
    encrypted = torch_backend.encrypt_tensor(tensor, KEY, tweaks=tweaks)
    assert np.array_equal(tensor.numpy(), frames)
    assert encrypted.dtype == tensor.dtype
    assert encrypted.device == tensor.device
    assert np.array_equal(encrypted.numpy(), expected)
    assert np.array_equal(torch_backend.decrypt_tensor(encrypted, KEY, tweaks=tweaks).numpy(), frames)
    turned = torch.from_numpy(np.ascontiguousarray(frames.transpose(2, 1, 0))).permute(2, 1, 0)
    assert np.array_equal(torch_backend.encrypt_tensor(turned, KEY, tweaks=tweaks).numpy(), expected)
    encrypted[0] = 0  # the caller's, as any tensor
    encrypted.clone().requires_grad_(requires_grad=False)
    other = torch_backend.encrypt_tensor(tensor, KEY, tweaks=tweaks, row_length=5)
    output = np.empty_like(frames)
    cipher.encrypt_frames_into(frames, output, KEY, tweaks=tweaks, row_length=5)
    assert np.array_equal(other.numpy(), output)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0)])
def test_tensors_of_nothing(shape):
    tensor = torch.zeros(shape, dtype=torch.uint16)
    encrypted = torch_backend.encrypt_tensor(tensor, KEY, tweaks=[b""] * shape[0])
    assert encrypted.shape == shape
    assert encrypted.dtype == torch.uint16


@pytest.mark.parametrize(
    ("tensor", "options", "error", "message"),
    [
        (np.zeros((2, 3), np.uint8), {}, TypeError, "^frames must be a tensor, got ndarray$"),
        (torch.zeros(2, 3), {}, TypeError, "^frames must be torch.uint8 or torch.uint16, got torch.float32$"),
        (torch.zeros(2, 3, dtype=torch.int16), {}, TypeError, "got torch.int16$"),
        (torch.zeros((), dtype=torch.uint8), {}, ValueError, "^frames must have an axis of frames"),
        (torch.zeros(2, 3, dtype=torch.uint8), {"tweaks": []}, ValueError, r"^tweaks must be as many as frames \(2\)"),
        (torch.zeros(2, 3, dtype=torch.uint8), {"key": b"k"}, ValueError, "^key must be 32 bytes, got 1$"),
    ],
)
def test_mistakes_with_tensors(tensor, options, error, message):
    with pytest.raises(error, match=message):
        torch_backend.decrypt_tensor(tensor, **{"key": KEY, "tweaks": [b"", b""], **options})


def test_features_are_hashed_by_threads(monkeypatch):
    frames, tweaks = batch_of((64, 64))
    expected = cipher.encrypt_frames(frames, KEY, tweaks=tweaks, backend="numba")
    pools = []

    class Pool(torch_backend.ThreadPoolExecutor):
        def __init__(self, n_threads):
            pools.append(n_threads)
            super().__init__(n_threads)

    monkeypatch.setattr(torch_backend, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(torch_backend, "available_cpus", lambda: 3)
    cipher.encrypt_frames(frames, KEY, tweaks=tweaks, backend="torch")
    assert pools == []
    monkeypatch.setattr(torch_backend, "_THREADED_FEATURES", 1)
    assert np.array_equal(cipher.encrypt_frames(frames, KEY, tweaks=tweaks, backend="torch"), expected)
    assert pools == [3] * 4


def test_large_batches_are_copied_by_threads(monkeypatch):
    monkeypatch.setattr(torch_backend, "available_cpus", lambda: 3)
    source, target = np.arange(70).reshape(7, 10), np.zeros((7, 10), int)
    torch_backend._copy(source, target)
    assert np.array_equal(target, source)
    monkeypatch.setattr(torch_backend, "_THREADED_COPY", 100)
    target[:] = 0
    torch_backend._copy(source, target)
    assert np.array_equal(target, source)
    frames, tweaks = batch_of((64, 64))
    expected = cipher.encrypt_frames(frames, KEY, tweaks=tweaks, backend="numba")
    assert np.array_equal(cipher.encrypt_frames(frames, KEY, tweaks=tweaks, backend="torch"), expected)


def test_no_operation_uses_floating_point():
    operations = set()

    class Look(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            operations.add(str(function))
            for value in tree_flatten((args, kwargs, result))[0]:
                assert not isinstance(value, torch.Tensor) or not value.dtype.is_floating_point, function
                assert not isinstance(value, float), function
            return result

    frames, tweaks = batch_of((33, 35))
    with Look():
        encrypted = torch_backend.encrypt_tensor(torch.from_numpy(frames), KEY, tweaks=tweaks)
        torch_backend.decrypt_tensor(encrypted, KEY, tweaks=tweaks)
    assert {"aten.addcmul_.default", "aten.mul.out", "aten.index_select.default"} <= operations


def test_stages_make_their_tensors_on_the_device_of_their_input():
    """On the device "meta", which holds no data and mixes with no other."""

    def on_meta(shape, dtype):
        return torch.empty(shape, dtype=dtype, device="meta")

    words = on_meta((3, 1000), torch.int16)
    kernels, mixes = on_meta((3, 2, 10), torch.int16), on_meta((3, 2, 2), torch.int16)
    assert torch_stage.couple(words, 1001, 30, kernels, mixes).shape == (3, 1001)
    assert torch_stage.pool(words, on_meta((3, 2, 257), torch.int32)).shape == (3, 1, 2)
    assert torch_stage.logistic(on_meta((3, 3, 128), torch.int32), 1500).shape == (3, 1536)
    torch_stage.move(words, 2, on_meta((3, 500), torch.int64))
    assert words.device.type == "meta"


def test_the_threads_of_the_caller_stay():
    before = torch.get_num_threads()
    cipher.encrypt(np.zeros((9, 9), np.uint8), KEY, backend="torch")
    assert torch.get_num_threads() == before
    assert torch.is_inference_mode_enabled() is False
