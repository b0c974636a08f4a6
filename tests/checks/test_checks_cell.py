"""Cells: the words that the image cipher sees, of objects of all forms."""

from __future__ import annotations

import io

import corpus
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from iomt_crypt import encrypt_file
from iomt_crypt.checks import read_cells
from iomt_crypt.checks.cell import sample_indices
from iomt_crypt.dicom import Policy, read_file
from iomt_crypt.dicom.pixel import plan_pixels, units
from iomt_crypt.errors import InputError, MalformedError, NotDicomError


def encrypted(name, tmp_path, epoch, policy):
    path = tmp_path / "encrypted.dcm"
    encrypt_file(get_testdata_file(name), path, recipients=epoch, policy=policy)
    return path


@pytest.mark.parametrize(
    ("name", "n_frames", "shape", "dtype"),
    [
        ("CT_small.dcm", 1, (128, 128), np.uint16),
        ("examples_rgb_color.dcm", 1, (240, 960), np.uint8),
        ("rtdose.dcm", 15, (10, 20), np.uint16),
        ("liver_1frame.dcm", 1, (512, 64), np.uint8),
    ],
)
def test_native_words_are_those_of_the_cipher(tmp_path, epoch, policy, name, n_frames, shape, dtype):
    path = get_testdata_file(name)
    cells = read_cells(path)
    assert (cells.n_total, len(cells.frames)) == (n_frames, n_frames)
    assert all(frame.shape == shape and frame.dtype == dtype for frame in cells.frames)
    with open(path, "rb") as stream:  # noqa: PTH123 - a text
        source = read_file(stream)
        plan = plan_pixels(source, Policy())
        buffer = memoryview(bytearray(plan.raster.layout().frame_bytes))
        for frame, unit in zip(cells.frames, units(source, plan, [buffer] * n_frames), strict=True):
            assert frame.tobytes() == bytes(unit)
    assert (cells.has_record, cells.compressed) == (False, False)
    sealed = read_cells(encrypted(name, tmp_path, epoch, policy))
    assert sealed.has_record
    assert [frame.shape for frame in sealed.frames] == [frame.shape for frame in cells.frames]
    assert sealed.word_bits == cells.word_bits
    assert not any(np.array_equal(a, b) for a, b in zip(cells.frames, sealed.frames, strict=True))


def test_big_endian_words():
    little, big = (read_cells(get_testdata_file(f"{name}.dcm")) for name in ("CT_small", "ExplVR_BigEnd"))
    assert little.frames[0].dtype == np.uint16
    dataset = dcmread(get_testdata_file("ExplVR_BigEnd.dcm"))
    if big.word_bits == 16:
        assert np.array_equal(big.frames[0], np.frombuffer(dataset.PixelData, ">u2").reshape(big.frames[0].shape))
    else:
        assert big.frames[0].tobytes() == dataset.PixelData[: big.frames[0].nbytes]
    assert big.frames[0].dtype.isnative


def test_compressed_frames_are_their_bytes():
    cells = read_cells(get_testdata_file("rtdose_rle.dcm"), n_frames=3)
    assert cells.compressed
    assert (cells.n_total, cells.indices[0], cells.indices[-1]) == (15, 0, 14)
    assert all(frame.shape[0] == 1 and frame.dtype == np.uint8 for frame in cells.frames)
    # Four segments of bytes, the first of them behind the header of 64 bytes (PS3.5 G.5).
    assert all(frame[0, :8].tobytes() == b"\x04\0\0\0\x40\0\0\0" for frame in cells.frames)


def test_object_without_pixels():
    cells = read_cells(get_testdata_file("rtplan.dcm"))
    assert (cells.frames, cells.n_total, cells.word_bits) == ((), 0, 0)
    assert cells.sop_class_uid == "1.2.840.10008.5.1.4.1.1.481.5"


def test_streams_stay_open_and_paths_are_equal():
    path = get_testdata_file("CT_small.dcm")
    with open(path, "rb") as stream:  # noqa: PTH123 - a text
        again = [read_cells(stream), read_cells(stream)]
        assert not stream.closed
    for cells in again:
        assert np.array_equal(cells.frames[0], read_cells(path).frames[0])
    assert not again[0].frames[0].flags.writeable


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(NotDicomError):
        read_cells(io.BytesIO(b"no object" * 50))
    with pytest.raises(InputError, match="no such file"):
        read_cells(tmp_path / "none.dcm")
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    dataset.Rows = 4096
    dataset.save_as(tmp_path / "short.dcm")
    with pytest.raises(MalformedError, match="the pixel value has"):
        read_cells(tmp_path / "short.dcm")


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom: the files are odd on purpose
def test_every_object_that_is_encrypted_can_be_looked_at(tmp_path, epoch, policy):
    n_judged = 0
    for case in corpus.ENCRYPTED[::3]:
        path = tmp_path / "encrypted.dcm"
        encrypt_file(case.path, path, recipients=epoch, policy=policy, overwrite=True)
        cells = read_cells(path, n_frames=4)
        assert cells.has_record
        n_judged += sum(frame.size >= 64 for frame in cells.frames)
    assert n_judged > 10


class TestSampling:
    def test_all(self):
        assert sample_indices(5, None) == sample_indices(5, 5) == sample_indices(5, 99) == (0, 1, 2, 3, 4)
        assert sample_indices(0, 3) == ()

    @pytest.mark.parametrize("n_total", [2, 3, 17, 100, 101, 1000, 4097])
    @pytest.mark.parametrize("n_frames", [1, 2, 3, 8, 16])
    def test_first_last_and_one_of_each_part(self, n_total, n_frames):
        chosen = sample_indices(n_total, n_frames)
        assert len(chosen) == len(set(chosen)) == min(n_total, n_frames)
        assert list(chosen) == sorted(chosen)
        assert chosen[0] == 0
        assert n_frames == 1 or chosen[-1] == n_total - 1
        if n_total > n_frames > 2:
            gaps = np.diff(chosen)
            assert gaps.max() <= 2 * -(-(n_total - 2) // (n_frames - 2))
        assert chosen == sample_indices(n_total, n_frames)

    @pytest.mark.parametrize("period", [2, 3, 4, 5])
    def test_no_regular_pattern_escapes(self, period):
        """Frames that are plain at a regular distance: one of them is among those looked at."""
        for n_total in range(80, 400, 7):
            for phase in range(period):
                assert any(index % period == phase for index in sample_indices(n_total, 32)), (n_total, phase)

    def test_none_is_no_number(self):
        with pytest.raises(ValueError, match="1 or more, got 0"):
            sample_indices(5, 0)
