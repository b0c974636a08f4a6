"""Images to train on and images to measure with, split by source: no scanner, patient or phantom is on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from demo.phantom import brain, chest, scintigraphy, ultrasound

#: Beginnings of the names of real images that are never trained on. Related collections are on one side: the CT image
#: of dcmqi is from the patient of the one of cornerstone.
HELD_OUT = (
    "cornerstone/",
    "dcmqi/",
    "fo-dicom/",
    "go-dicom-grail/",
    "lidc-idri-ct/",
    "nifi-dicom/",
    "orthanc-tests/Karsten",
    "test_files/examples_overlay",
    "test_files/examples_palette",
)
#: Of each of these groups (beginning of the name, bits) one image is measured with: the middle one.
MEASURED = (
    ("go-dicom-grail/", 8),
    ("orthanc-tests/Karsten", 8),
    ("test_files/examples_palette", 8),
    ("lidc-idri-ct/", 12),
    ("test_files/examples_overlay", 12),
    ("radiograph phantom", 12),
    ("cornerstone/", 16),
    ("fo-dicom/", 16),
    ("nifi-dicom/", 16),
    ("zero", 8),
    ("zero", 16),
)
#: At most so many training images of one source.
PER_SOURCE = 6
_SIDE = 128


@dataclass(frozen=True)
class Picture:
    """One plane.

    Parameters
    ----------
    name
        Collection and file.
    samples
        uint8 or uint16 (rows, columns): the cells as stored.
    bits
        Bits stored.
    """

    name: str
    samples: npt.NDArray[Any]
    bits: int


def training_pictures() -> list[Picture]:
    """Real images of the training sources, then synthetic ones."""
    found: dict[str, list[Picture]] = {}
    for picture in _real():
        if not picture.name.startswith(HELD_OUT):
            found.setdefault(picture.name.split("/")[0], []).append(picture)
    spread = [_spread(pictures, PER_SOURCE) for pictures in found.values()]
    return [picture for pictures in spread for picture in pictures] + synthetic_pictures()


def held_out_pictures() -> list[Picture]:
    """Real and synthetic images of sources that are not trained on."""
    found: dict[str, list[Picture]] = {}
    for picture in _real():
        if picture.name.startswith(HELD_OUT):
            found.setdefault(picture.name.split("/")[0], []).append(picture)
    spread = [_spread(pictures, PER_SOURCE) for pictures in found.values()]
    return [picture for pictures in spread for picture in pictures] + _held_out_phantoms()


def measured_pictures() -> list[Picture]:
    """The images of the ablation: 128 x 128 from the middle of one held-out image for each of `MEASURED`.

    Groups that have no image here are left out.
    """
    held_out = held_out_pictures()
    measured = []
    for beginning, bits in MEASURED:
        group = [p for p in held_out if p.name.startswith(beginning) and (p.bits == bits)]
        if group:
            measured.append(_middle(group[len(group) // 2]))
    return measured


@cache
def synthetic_pictures() -> list[Picture]:
    """Phantoms of three modalities, noise, gradients and constants; the same on every run."""
    rng = np.random.default_rng(7)
    diagonal = np.add.outer(np.arange(_SIDE), np.arange(_SIDE))
    return [
        Picture("brain phantom", brain.brain_sections(22, 1)[0], 12),
        Picture("scintigraphy phantom", scintigraphy.projections(44, 2)[0], 16),
        Picture("ultrasound phantom", np.ascontiguousarray(ultrasound.loop(33, 1)[0][..., 0]), 8),
        Picture("noise", rng.integers(256, size=(_SIDE, _SIDE)).astype(np.uint8), 8),
        Picture("noise", rng.integers(1 << 12, size=(_SIDE, _SIDE)).astype(np.uint16), 12),
        Picture("noise", rng.integers(1 << 16, size=(_SIDE, _SIDE)).astype(np.uint16), 16),
        Picture("gradient", diagonal.astype(np.uint8), 8),
        Picture("gradient", (16 * diagonal).astype(np.uint16), 12),
        Picture("gradient", (257 * diagonal).astype(np.uint16), 16),
        Picture("constant", np.full((_SIDE, _SIDE), 128, np.uint8), 8),
        Picture("constant", np.full((_SIDE, _SIDE), 1000, np.uint16), 12),
    ]


@cache
def _held_out_phantoms() -> list[Picture]:
    return [
        Picture("radiograph phantom", chest.radiograph(55), 12),
        Picture("zero", np.zeros((_SIDE, _SIDE), np.uint8), 8),
        Picture("zero", np.zeros((_SIDE, _SIDE), np.uint16), 16),
    ]


@cache
def _real() -> list[Picture]:
    """The real images that the tests know (`tests/images.py`, which must be on the path)."""
    from images import real_images

    return [
        Picture(image.name.removeprefix("shared/"), image.samples, _class_of(image.bits_stored))
        for image in real_images()
    ]


def _class_of(bits_stored: int) -> int:
    """8, 12 or 16."""
    return next(bits for bits in (8, 12, 16) if bits_stored <= bits)


def _spread(pictures: list[Picture], limit: int) -> list[Picture]:
    """At most `limit` of the pictures, evenly over the list."""
    step = max(1, -(-len(pictures) // limit))
    return pictures[::step]


def _middle(picture: Picture) -> Picture:
    row, column = ((side - _SIDE) // 2 for side in picture.samples.shape)
    samples = picture.samples[row : row + _SIDE, column : column + _SIDE]
    return Picture(picture.name, np.ascontiguousarray(samples), picture.bits)
