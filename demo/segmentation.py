"""A one-bit segmentation of an image series (PS3.3 A.51), as an annotation tool sends it."""

from __future__ import annotations

from collections.abc import Sequence as Items

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from demo.header import Series, code, start, uid

_SEG = Series("CT", "SEG", 2, "Lungs", "CHEST", SegmentationStorage, ExplicitVRLittleEndian)


def segmentation(images: Items[Dataset], masks: NDArray[np.bool_]) -> Dataset:
    """The segmentation of ``images`` by ``masks`` (images, rows, columns).

    Frames are packed bit by bit, first pixel in the least significant bit, no padding in between (PS3.5 8.1.1).
    """
    first = images[0]
    ds = start(_SEG, 1)
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "LUNGS", "Lungs of the phantom", "PHANTOM^GENERATOR"
    ds.SegmentationType = "BINARY"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = first.FrameOfReferenceUID, ""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.NumberOfFrames, ds.Rows, ds.Columns = masks.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 1, 1, 0, 0
    ds.LossyImageCompression, ds.BurnedInAnnotation = "00", "NO"
    ds.SegmentSequence = Sequence([_segment()])
    ds.ReferencedSeriesSequence = Sequence([_referenced_series(images)])
    _dimensions(ds)
    ds.SharedFunctionalGroupsSequence = Sequence([_shared(first)])
    ds.PerFrameFunctionalGroupsSequence = Sequence([_frame(image, index) for index, image in enumerate(images, 1)])
    packed = np.packbits(masks.ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    ds["PixelData"].VR = "OB"
    return ds


def _segment() -> Dataset:
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "Lung"
    segment.SegmentAlgorithmType, segment.SegmentAlgorithmName = "AUTOMATIC", "phantom generator"
    segment.SegmentedPropertyCategoryCodeSequence = code("T-D0050", "SRT", "Tissue")
    segment.SegmentedPropertyTypeCodeSequence = code("T-28000", "SRT", "Lung")
    return segment


def _reference(image: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return reference


def _referenced_series(images: Items[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ReferencedInstanceSequence = Sequence([_reference(image) for image in images])
    return series


def _dimensions(ds: Dataset) -> None:
    organization = Dataset()
    organization.DimensionOrganizationUID = uid("dimensions", "SEG")
    ds.DimensionOrganizationSequence = Sequence([organization])
    items = []
    for pointer, group in (((0x0062, 0x000B), (0x0062, 0x000A)), ((0x0020, 0x0032), (0x0020, 0x9113))):
        item = Dataset()
        item.DimensionOrganizationUID = organization.DimensionOrganizationUID
        item.DimensionIndexPointer, item.FunctionalGroupPointer = Tag(*pointer), Tag(*group)
        items.append(item)
    ds.DimensionIndexSequence = Sequence(items)


def _shared(image: Dataset) -> Dataset:
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.SliceThickness, measures.PixelSpacing = image.SliceThickness, image.PixelSpacing
    orientation.ImageOrientationPatient = image.ImageOrientationPatient
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    return shared


def _frame(image: Dataset, index: int) -> Dataset:
    content, position, identification = Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [1, index]
    position.ImagePositionPatient = image.ImagePositionPatient
    identification.ReferencedSegmentNumber = 1
    source = _reference(image)
    source.PurposeOfReferenceCodeSequence = code("121322", "DCM", "Source image for image processing operation")
    derivation = Dataset()
    derivation.SourceImageSequence = Sequence([source])
    derivation.DerivationCodeSequence = code("113076", "DCM", "Segmentation")
    frame = Dataset()
    frame.FrameContentSequence = Sequence([content])
    frame.PlanePositionSequence = Sequence([position])
    frame.SegmentIdentificationSequence = Sequence([identification])
    frame.DerivationImageSequence = Sequence([derivation])
    return frame
