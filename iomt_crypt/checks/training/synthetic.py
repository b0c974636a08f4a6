"""Images made from numbers: the plain ones that are hardest to tell from noise, and some that are easy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from iomt_crypt.checks.cell import Frame

Floats = npt.NDArray[np.floating[Any]]
Generator = np.random.Generator


def air(rng: Generator) -> Frame:
    """CT far from the patient: Gaussian noise of 5 to 60 units around one level; uint16, 12 bits."""
    shape = _shape(rng)
    return _cells(rng.normal(rng.uniform(0, 200), rng.uniform(5, 60), shape), 4095, np.uint16)


def background(rng: Generator) -> Frame:
    """MR outside the patient: Rician noise, uint16, 12 bits."""
    shape, deviation = _shape(rng), rng.uniform(3, 300)
    return _cells(np.hypot(rng.normal(0, deviation, shape), rng.normal(0, deviation, shape)), 4095, np.uint16)


def speckle(rng: Generator) -> Frame:
    """Ultrasound: logarithm of Rayleigh noise that is smeared sideways, brighter in places; uint8."""
    shape = _shape(rng)
    amplitude = np.abs(_smooth(rng.normal(size=shape), rng.uniform(0.3, 2)) + 1j * rng.normal(0, 0.3, shape))
    scene = 1 + _smooth(rng.normal(size=shape), 20)
    decibel = 20 * np.log10(amplitude * np.abs(scene) + 1e-3)
    return _cells((decibel + rng.uniform(30, 60)) * rng.uniform(2, 5), 255, np.uint8)


def detector(rng: Generator) -> Frame:
    """Flat field of an X-ray detector: quantum noise, gain of columns, dead cells; uint16, 12 to 16 bits."""
    shape, bits = _shape(rng), int(rng.integers(12, 17))
    level = rng.uniform(0.1, 0.8) * (1 << bits)
    quanta = rng.poisson(rng.uniform(20, 2000), shape).astype(float)
    found = quanta / quanta.mean() * level * rng.normal(1, 0.02, shape[1])
    found[rng.random(shape) < 1e-3] = 0
    return _cells(found, (1 << bits) - 1, np.uint16)


def dithered(rng: Generator) -> Frame:
    """A soft picture in 2 to 8 shades by noise dither; uint8 or uint16, shades over the whole range."""
    picture, shades = _unit(_smooth(rng.normal(size=_shape(rng)), rng.uniform(5, 30))), int(rng.integers(2, 9))
    dtype = _dtype(rng)
    steps = np.floor(picture * (shades - 1) + rng.random(picture.shape))
    return _cells(steps / (shades - 1) * np.iinfo(dtype).max, np.iinfo(dtype).max, dtype)


def label_map(rng: Generator) -> Frame:
    """Regions of 2 to 30 whole numbers; uint8 or uint16."""
    picture = _unit(_smooth(rng.normal(size=_shape(rng)), rng.uniform(3, 20)))
    return _cells(np.floor(picture * rng.integers(2, 31)), 255, _dtype(rng))


def one_bit(rng: Generator) -> Frame:
    """A mask, 8 cells in a byte (PS3.5 8.1.1); uint8."""
    rows, columns = _shape(rng)
    mask = _smooth(rng.normal(size=(rows, columns // 8 * 8)), rng.uniform(1, 20)) > 0
    return np.packbits(mask, axis=1, bitorder="little")


def random_mask(rng: Generator) -> Frame:
    """A mask of single cells, a tenth to two fifths of them set, 8 in a byte; uint8."""
    rows, columns = _shape(rng)
    return np.packbits(rng.random((rows, columns // 8 * 8)) < rng.uniform(0.1, 0.4), axis=1, bitorder="little")


def wide_noise(rng: Generator) -> Frame:
    """Gaussian noise that fills the whole range of the cell; uint8 or uint16."""
    dtype = _dtype(rng)
    top = float(np.iinfo(dtype).max)
    return _cells(rng.normal(rng.uniform(0.3, 0.7) * top, rng.uniform(0.1, 0.25) * top, _shape(rng)), top, dtype)


def wide_picture(rng: Generator) -> Frame:
    """A soft picture over all 16 bits, the low byte of which is noise; uint16."""
    picture = _unit(_smooth(rng.normal(size=_shape(rng)), rng.uniform(2, 40)))
    return _cells(picture * 65535 + rng.normal(0, rng.uniform(0, 400), picture.shape), 65535, np.uint16)


def anatomy(rng: Generator) -> Frame:
    """Ellipses in ellipses over black, with noise; uint16, 12 bits, or uint8."""
    rows, columns = _shape(rng)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    found = np.zeros((rows, columns))
    for _ in range(int(rng.integers(4, 15))):
        (cy, cx), (ry, rx) = rng.uniform(-0.5, 0.5, 2), rng.uniform(0.05, 0.8, 2)
        found[((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1] += rng.uniform(-0.3, 0.5)
    dtype = _dtype(rng)
    top = 255 if dtype is np.uint8 else 4095
    return _cells((found + rng.normal(0, rng.uniform(0, 0.1), found.shape)) * top, top, dtype)


def colour(rng: Generator) -> Frame:
    """A photograph: 1/f noise in three channels that are alike, by pixel; uint8 (rows, 3 * columns)."""
    rows, columns = _shape(rng)
    falling = 1 / np.maximum(np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None]), 1 / rows)
    phase = rng.uniform(0, 2 * np.pi, (rows, columns // 2 + 1))
    grey = _unit(np.fft.irfft2(falling * np.exp(1j * phase), (rows, columns)))
    planes = [grey * rng.uniform(0.5, 1) + rng.normal(0, 0.02, grey.shape) for _ in range(3)]
    return _cells(np.stack(planes, -1).reshape(rows, -1) * 255, 255, np.uint8)


SYNTHETIC: dict[str, Callable[[Generator], Frame]] = {
    "air": air,
    "background": background,
    "speckle": speckle,
    "detector": detector,
    "dithered": dithered,
    "label map": label_map,
    "one bit": one_bit,
    "random mask": random_mask,
    "wide noise": wide_noise,
    "wide picture": wide_picture,
    "anatomy": anatomy,
    "colour": colour,
}


def _shape(rng: Generator) -> tuple[int, int]:
    sizes = (64, 80, 100, 128, 192, 256, 320, 512)
    return int(rng.choice(sizes)), int(rng.choice(sizes))


def _dtype(rng: Generator) -> type[np.uint8] | type[np.uint16]:
    return np.uint8 if rng.integers(2) else np.uint16


def _cells(values: Floats, top: float, dtype: type[np.uint8] | type[np.uint16]) -> Frame:
    return np.clip(np.rint(values), 0, top).astype(dtype)


def _unit(values: Floats) -> Floats:
    low, high = values.min(), values.max()
    return np.asarray((values - low) / max(high - low, 1e-12))


def _smooth(values: Floats, width: float) -> Floats:
    """Gaussian filter of ``width`` cells by Fourier transform, the edges meet; deviation 1."""
    y, x = np.fft.fftfreq(values.shape[0])[:, None], np.fft.rfftfreq(values.shape[1])[None]
    low = np.exp(-2 * (np.pi * width) ** 2 * (y * y + x * x))
    found = np.fft.irfft2(np.fft.rfft2(values) * low, values.shape)
    return np.asarray(found / max(found.std(), 1e-12))
