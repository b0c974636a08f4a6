"""Tiles show the bytes that lie in the object, and the picture is drawn for every kind of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEG2000Lossless

from demo import picture
from demo.tile import tile

FLOATS = {4: (0x7FE00008, "OF"), 8: (0x7FE00009, "OD")}


def image(words: np.ndarray, syntax: str = ExplicitVRLittleEndian, **header: object) -> Dataset:
    """A bare image from (frames, rows, columns[, samples])."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.NumberOfFrames, ds.Rows, ds.Columns = words.shape[:3]
    ds.SamplesPerPixel = words.shape[3] if words.ndim == 4 else 1
    ds.PhotometricInterpretation = "RGB" if words.ndim == 4 else "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = words.dtype.itemsize * 8
    ds.PixelRepresentation = int(words.dtype.kind == "i")
    if words.dtype.kind == "f":
        ds.add(DataElement(*FLOATS[words.dtype.itemsize], words.tobytes()))
    else:
        ds.PixelData = words.tobytes()
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    return ds


RNG = np.random.default_rng(5)


@pytest.mark.parametrize("kind", ["<u1", "<i1", "<u2", "<i2", "<u4", "<f4", "<f8"])
def test_middle_frame_is_read_as_stored(kind: str) -> None:
    if kind[1] == "f":
        words = RNG.normal(size=(3, 5, 7)).astype(kind)
    else:
        limits = np.iinfo(kind)
        words = RNG.integers(limits.min, limits.max, (3, 5, 7), np.dtype(kind), endpoint=True)
    shown = tile(image(words))
    assert shown is not None
    assert np.array_equal(shown.words, words[1])
    assert shown.picture.shape == (5, 7)
    assert shown.low <= shown.words.min()
    assert shown.words.max() <= shown.high


def test_big_endian_words() -> None:
    words = RNG.integers(0, 65536, (1, 4, 4), np.uint16).astype(">u2")
    shown = tile(image(words, ExplicitVRBigEndian))
    assert shown is not None
    assert np.array_equal(shown.words, words[0])


def test_single_bits_across_bytes() -> None:
    bits = RNG.integers(0, 2, (3, 5, 7), np.uint8)
    ds = image(bits)
    ds.BitsAllocated = ds.BitsStored = 1
    ds.PixelData = np.packbits(bits.ravel(), bitorder="little").tobytes()
    shown = tile(ds)
    assert shown is not None
    assert np.array_equal(shown.words, bits[1])
    assert (shown.low, shown.high) == (0, 1)


def test_colour_by_plane_and_by_pixel() -> None:
    colour = RNG.integers(0, 256, (1, 6, 4, 3), np.uint8)
    by_pixel = tile(image(colour))
    planes = image(colour, PlanarConfiguration=1)
    planes.PixelData = colour.transpose(0, 3, 1, 2).tobytes()
    by_plane = tile(planes)
    assert by_pixel is not None
    assert by_plane is not None
    assert np.array_equal(by_pixel.picture, colour[0])
    assert np.array_equal(by_plane.picture, colour[0])


def test_window_and_inversion() -> None:
    words = np.arange(100, dtype=np.uint16).reshape(1, 10, 10)
    shown = tile(image(words, WindowCenter=-950, WindowWidth=40, RescaleIntercept=-1000, RescaleSlope=1))
    assert shown is not None
    assert shown.picture.ravel()[30] == 0
    assert shown.picture.ravel()[70] == 255
    inverted = tile(image(words, PhotometricInterpretation="MONOCHROME1"))
    assert inverted is not None
    assert inverted.picture[0, 0] == 255


def test_noise_is_thinned_without_averaging() -> None:
    words = RNG.integers(0, 65536, (1, 1000, 1000), np.uint16)
    shown = tile(image(words), noise=True)
    assert shown is not None
    assert max(shown.picture.shape) <= 384
    assert shown.picture.std() > 70  # uniform noise has 73.6; averaged by threes it would have 25


def test_no_picture_of_what_cannot_be_decoded_or_is_none() -> None:
    stream = image(np.zeros((1, 4, 4), np.uint8), JPEG2000Lossless)
    assert tile(stream) is None
    report = Dataset()
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    assert tile(report) is None


def test_entropy() -> None:
    assert picture.entropy(np.zeros((8, 8), np.uint16)) == 0
    assert picture.entropy(np.arange(256, dtype=np.uint8)) == 8


def test_the_picture_has_a_line_for_each_object_with_pixels(tmp_path: Path) -> None:
    grey = image(RNG.integers(0, 65536, (2, 40, 50), np.uint16), WindowCenter=100, WindowWidth=300)
    colour = image(RNG.integers(0, 256, (2, 40, 50, 3), np.uint8))
    real = image(RNG.normal(size=(1, 20, 20)).astype("<f4"))
    flat = image(np.zeros((1, 8, 8), np.uint16))
    compressed = image(np.zeros((1, 4, 4), np.uint8), JPEG2000Lossless)
    rows = [
        picture.Row("A", plain, noise, plain)
        for plain, noise in ((grey, grey), (colour, colour), (real, real), (flat, grey), (compressed, grey))
    ]
    path = tmp_path / "picture.png"
    assert picture.draw(rows, path) == 5
    with Image.open(path) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width > 1500
    assert picture.draw(rows * 3, tmp_path / "long.png") == picture.MAX_ROWS


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    assert picture.draw([], tmp_path / "picture.png") == 0
    assert not (tmp_path / "picture.png").exists()
