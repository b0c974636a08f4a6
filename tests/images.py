"""Real images as the cipher sees them: raw cells of uncompressed frames, and phantoms where there are too few."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import corpus
import numpy as np
import numpy.typing as npt

from iomt_crypt.dicom import Policy, Source, read_file
from iomt_crypt.dicom.pixel import PLANAR, Raster, plan_pixels

BITS_STORED = 0x00280101
MINIMUM_SIDE = 64
#: Stored bits of which `images_for_statistics` has some at least.
DEPTHS = (8, 12, 16)


@dataclass(frozen=True)
class RealImage:
    """One plane of one frame.

    ``samples`` is (rows, columns) of uint8 or uint16, C-contiguous and read-only: the cells as they are stored, signed
    ones as the same bits. ``bits_stored`` is the header's. ``name`` ends with the frame and, of a colour image, the
    plane, both from 0.
    """

    name: str
    samples: npt.NDArray[Any]
    bits_stored: int


@cache
def real_images() -> list[RealImage]:
    """Planes of native frames of the real files that are encrypted, each content once, in a fixed order.

    Of multi-frame objects the first and the middle frame. Planes smaller than 64 x 64 are left out.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")  # the files are odd on purpose
        return _distinct(image for case in corpus.ENCRYPTED for image in _images_of(case))


@cache
def images_for_statistics(minimum: int = 100) -> list[RealImage]:
    """`real_images`, then phantoms until there are ``minimum`` images, some each of 8, 12 and 16 bits."""
    images = real_images()
    missing = max(0, minimum - len(images))
    depths = [bits for bits in DEPTHS if not any(image.bits_stored == bits for image in images)]
    count = max(missing, len(depths))
    order = depths + [bits for bits in DEPTHS if bits not in depths]
    return _distinct([*images, *(_phantom(number, order[number % len(order)]) for number in range(count))])


def special_images() -> list[RealImage]:
    """What is furthest from a photograph: all cells 0, all cells full, a checkerboard; in both word sizes."""
    board = np.indices((256, 256)).sum(axis=0) & 1
    return [
        RealImage(f"{name}-{bits}", _frozen((cells * ((1 << bits) - 1)).astype(f"u{bits // 8}")), bits)
        for bits in (8, 16)
        for name, cells in (("zero", board * 0), ("full", board * 0 + 1), ("checkerboard", board))
    ]


def _images_of(case: corpus.Case) -> Iterator[RealImage]:
    with case.path.open("rb") as stream:
        source = read_file(stream)
        plan = plan_pixels(source, Policy(site_key=bytes(32)))
        if source.pixel is None or plan is None or plan.form != "native" or plan.raster.bits not in (8, 16):
            return
        n_frames, frame_bytes = plan.raster.n_frames, plan.raster.frame_bits // 8
        for number in sorted({0, n_frames // 2}):
            source.stream.seek(source.pixel.offset + number * frame_bytes)
            planes = _planes(source, plan.raster, source.stream.read(frame_bytes))
            for index, plane in enumerate(planes):
                if min(plane.shape) >= MINIMUM_SIDE:
                    name = f"{case.name}#{number}" + (f".{index}" if len(planes) > 1 else "")
                    yield RealImage(name, _frozen(plane), source.number(BITS_STORED) or plan.raster.bits)


def _planes(source: Source, raster: Raster, value: bytes) -> list[npt.NDArray[Any]]:
    """The planes of one frame, in the machine's byte order."""
    kind = np.dtype(f"{source.encoding.byteorder}u{raster.bits // 8}")
    cells = np.frombuffer(value, kind).astype(kind.newbyteorder("="))
    if raster.samples == 1:
        return [cells.reshape(raster.rows, raster.columns)]
    if source.number(PLANAR) == 1:
        return list(cells.reshape(raster.samples, raster.rows, raster.columns))
    return list(np.moveaxis(cells.reshape(raster.rows, raster.columns, raster.samples), -1, 0))


def _phantom(number: int, bits: int) -> RealImage:
    """Ellipses with soft edges on a shaded background, with the noise of a detector; another one for each number."""
    rng = np.random.default_rng([1969, number])
    rows, columns = (int(side) for side in rng.integers(96, 385, 2))
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    shade = 0.02 + 0.05 * (x + 1)
    for _ in range(int(rng.integers(4, 12))):
        centre_x, centre_y, height, width = rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6), *rng.uniform(0.1, 0.7, 2)
        distance = ((x - centre_x) / width) ** 2 + ((y - centre_y) / height) ** 2
        shade = shade + rng.uniform(-0.1, 0.3) * np.clip(20 * (1 - distance), 0, 1)
    noisy = np.clip(shade + rng.normal(0, 0.01, shade.shape), 0, 1)
    kind = np.uint8 if bits == 8 else np.uint16
    return RealImage(f"phantom/{number:03}-{bits}", _frozen((noisy * ((1 << bits) - 1)).astype(kind)), bits)


def _frozen(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    frozen = np.array(samples, order="C")
    frozen.flags.writeable = False
    return frozen


def _distinct(images: Iterator[RealImage] | list[RealImage]) -> list[RealImage]:
    found: dict[tuple[str, tuple[int, ...], bytes], RealImage] = {}
    for image in images:
        found.setdefault((image.samples.dtype.str, image.samples.shape, image.samples.tobytes()), image)
    return list(found.values())
