"""Each way to encrypt badly does what its name says, and changes nothing that it was given."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from iomt_crypt.checks.training import defect
from iomt_crypt.checks.training.stream import encapsulate
from iomt_crypt.checks.training.synthetic import SYNTHETIC

ALL = {**defect.GOOD, **defect.BAD, **defect.INVISIBLE}


def frames(dtype: type = np.uint16, n: int = 4, shape: tuple[int, int] = (48, 40)) -> list[np.ndarray]:
    """A bright square on a dark ground with little noise."""
    rng = np.random.default_rng(5)
    found = []
    for i in range(n):
        frame = rng.integers(0, 4, shape).astype(dtype)
        frame[8 : 30 + i, 8:24] += 100
        found.append(frame)
    return found


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(48, 40), (1, 1), (3, 70), (33, 17)])
def test_shapes_types_and_arguments_stay(name, dtype, shape):
    given = frames(dtype, 3, (48, 40)) if shape == (48, 40) else [np.ones(shape, dtype)] * 3
    before = [frame.copy() for frame in given]
    made = ALL[name](given, rng())
    assert len(made) == 3
    for frame, old, now in zip(made, before, given, strict=True):
        assert np.array_equal(old, now)
        if name != "compressed":
            assert frame.shape == old.shape
            assert frame.dtype == old.dtype
        else:
            assert frame.dtype == np.uint8
            assert frame.ndim == 2


@pytest.mark.parametrize("name", ALL)
def test_pure(name):
    one, two = ALL[name](frames(), rng()), ALL[name](frames(), rng())
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("name", defect.GOOD)
def test_good_ones_are_noise_and_differ(name):
    same = [np.zeros((64, 64), np.uint16)] * 2
    one, two = defect.GOOD[name](same, rng())
    assert not np.array_equal(one, two)
    for frame in (one, two):
        assert len(np.unique(frame)) > 3800  # 4096 draws out of 65536 give about 3969
        assert abs(frame.mean() - 32767.5) < 6 * 18918 / 64


def test_permuted_keeps_values_and_no_place():
    for old, new in zip(frames(), defect.permuted(frames(), rng()), strict=True):
        assert np.array_equal(np.sort(old, axis=None), np.sort(new, axis=None))
        assert np.mean(old == new) < 0.7


def test_short_key_repeats():
    black = [np.zeros((32, 32), np.uint8)]
    for seed in range(20):
        data = defect.short_key(black, np.random.default_rng(seed))[0].reshape(-1)
        assert any(np.array_equal(data[: data.size - n], data[n:]) for n in range(1, 33))


def test_row_key_is_the_same_for_every_row():
    old = frames()[0]
    new = defect.row_key([old], rng())[0]
    assert np.array_equal(new[1:] ^ new[:-1], old[1:] ^ old[:-1])


@pytest.mark.parametrize(("name", "low"), [("low bits", True), ("high bits", False)])
@pytest.mark.parametrize("bits", [8, 16])
def test_only_part_of_the_word_is_encrypted(name, low, bits):
    dtype = np.uint8 if bits == 8 else np.uint16
    for seed in range(10):
        old = frames(dtype)
        new = defect.BAD[name](old, np.random.default_rng(seed))
        for a, b in zip(old, new, strict=True):
            changed = int(np.bitwise_or.reduce(a ^ b, axis=None))
            half = (1 << bits // 2) - 1
            assert changed & (~half if low else half) & ((1 << bits) - 1) == 0
            assert bits // 4 <= changed.bit_count() <= bits // 2


def test_every_second_frame_stays():
    old = frames(n=6)
    kept = [np.array_equal(a, b) for a, b in zip(old, defect.some_frames(old, rng()), strict=True)]
    assert kept in ([True, False] * 3, [False, True] * 3)
    assert np.array_equal(defect.some_frames(old[:1], rng())[0], old[0])


def test_a_stripe_stays():
    for seed in range(20):
        old = frames(np.uint16, 1, (64, 64))[0]
        new = defect.stripe([old], np.random.default_rng(seed))[0]
        rows, columns = np.all(old == new, axis=1), np.all(old == new, axis=0)
        assert max(rows.sum(), columns.sum()) in range(4, 17)
        assert min(rows.sum(), columns.sum()) == 0


def test_equal_blocks_stay_equal():
    old = np.zeros((8, 64), np.uint8)
    old[4:] = 9
    new = defect.block_by_block([old], rng())[0].reshape(-1, 16)
    assert len(np.unique(new, axis=0)) == 2
    assert defect.has_equal_blocks(old)
    assert not defect.has_equal_blocks(np.arange(256, dtype=np.uint8).reshape(16, 16))


def test_a_code_book_maps_equal_words_alike():
    old = frames()[0]
    new = defect.code_book([old], rng())[0]
    pairs = set(zip(old.reshape(-1).tolist(), new.reshape(-1).tolist(), strict=True))
    assert len(pairs) == len(np.unique(old)) == len(np.unique(new))


def test_compressed_streams_are_what_they_say():
    seen = set()
    for seed in range(24):
        old = frames(np.uint8, 1)[0]
        data = defect.compressed([old], np.random.default_rng(seed))[0].tobytes()
        if data[:3] == b"\xff\xd8\xff" or data[:4] == b"\xff\x4f\xff\x51":
            seen.add(data[:2])
            assert np.asarray(Image.open(io.BytesIO(data))).shape == old.shape
        elif data[1:4] == bytes(3):
            seen.add(b"RLE")
        else:
            seen.add(b"deflate")
            assert zlib.decompress(data, -15) == old.tobytes()
    assert seen == {b"\xff\xd8", b"\xff\x4f", b"RLE", b"deflate"}


def test_a_carried_stream_begins_the_raster():
    new = defect.carried(frames(), rng())[0].astype("<u2").tobytes()
    head = encapsulate(b"")[:12]
    assert new[:12] == head
    length = int.from_bytes(new[12:16], "little")
    assert 0 < length < len(new)
    assert len(set(new[16 + length :])) > 200


def test_constant():
    made = defect.constant(frames(), rng())
    assert len({int(v) for frame in made for v in np.unique(frame)}) == 1


def test_one_tweak_for_all_frames_shows_in_two_of_them():
    old = frames()
    new = defect.twice_one_tweak(old, rng())
    assert np.array_equal(new[0] ^ new[1], old[0] ^ old[1])
    odd = [np.zeros((4, 4), np.uint8), np.zeros((8, 8), np.uint8)]
    short, long = defect.twice_one_tweak(odd, rng())
    assert short.tobytes() == long.tobytes()[:16]


def test_one_long_key_is_the_same_for_all_objects():
    one, two = (defect.long_key(frames(n=1), np.random.default_rng(seed))[0] for seed in (1, 2))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_synthetic_images_are_cells(kind):
    one, two = (SYNTHETIC[kind](np.random.default_rng(3)) for _ in range(2))
    assert one.dtype in (np.uint8, np.uint16)
    assert one.ndim == 2
    assert one.size >= 64
    assert np.array_equal(one, two)
    assert len(np.unique(one)) > 1
