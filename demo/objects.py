"""The sample objects: each phantom as the DICOM object that its modality would send."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    NuclearMedicineImageStorage,
    RLELossless,
    UltrasoundMultiFrameImageStorage,
)

from demo.header import Series, code, pixels, place, start
from demo.phantom import brain, chest, scintigraphy, ultrasound
from demo.segmentation import segmentation

# File name and data set.
Sample = tuple[str, Dataset]

N_CT_SLICES = 12
N_MR_SLICES = 3
N_US_FRAMES = 20
N_RLE_FRAMES = 6
N_NM_VIEWS = 24

_CT = Series("CT", "CT", 1, "Chest 5.0 phantom", "CHEST", CTImageStorage, ExplicitVRLittleEndian)
_MR = Series("MR", "MR", 1, "T1 axial phantom", "BRAIN", MRImageStorage, ImplicitVRLittleEndian)
_US = Series("US", "US", 1, "Four chambers", "HEART", UltrasoundMultiFrameImageStorage, ExplicitVRLittleEndian)
_US_RLE = Series("US", "US", 2, "Four chambers RLE", "HEART", UltrasoundMultiFrameImageStorage, ExplicitVRLittleEndian)
_NM = Series("NM", "NM", 1, "Bone tomography", "WHOLEBODY", NuclearMedicineImageStorage, ExplicitVRLittleEndian)
_CR = Series("CR", "CR", 1, "Chest PA", "CHEST", ComputedRadiographyImageStorage, ExplicitVRLittleEndian)


def ct_and_segmentation() -> Iterator[Sample]:
    """A CT series (12 in 16 bit, unsigned) and a one-bit segmentation of its lungs."""
    slices, lungs = chest.ct_series(11, N_CT_SLICES)
    images = []
    for index, array in enumerate(slices):
        ds = start(_CT, index + 1)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        place(ds, _CT, -chest.ct_level(index), chest.CT_SIZE, chest.CT_SPACING_MM, 5.0)
        ds.KVP, ds.AcquisitionNumber = 120, 1
        ds.ConvolutionKernel, ds.ExposureTime, ds.XRayTubeCurrent = "B40", 500, 220
        pixels(ds, array, 12, "MONOCHROME2")
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = chest.RESCALE_INTERCEPT, 1, "HU"
        ds.WindowCenter, ds.WindowWidth = [40, -500], [400, 1500]
        ds.WindowCenterWidthExplanation = ["SOFT TISSUE", "LUNG"]
        images.append(ds)
        yield f"ct/ct-{index + 1:02d}.dcm", ds
    yield "seg/seg-lungs.dcm", segmentation(images, np.stack(lungs))


def mr_series() -> Iterator[Sample]:
    """T1-weighted head sections (12 in 16 bit), in implicit VR."""
    for index, array in enumerate(brain.brain_sections(22, N_MR_SLICES)):
        ds = start(_MR, index + 1)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
        place(ds, _MR, 18.0 * index, brain.MR_SIZE, brain.MR_SPACING_MM, 4.0)
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SE", "NONE", "", "2D"
        ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength, ds.MagneticFieldStrength = 500, 12, 1, 1.5
        ds.FlipAngle = 90
        pixels(ds, array, 12, "MONOCHROME2")
        ds.WindowCenter, ds.WindowWidth = 1150, 2200
        yield f"mr/mr-{index + 1}.dcm", ds


def ultrasound_loops() -> Iterator[Sample]:
    """A colour loop as it is, and the first frames of it once more as RLE Lossless (PS3.5 G)."""
    frames = ultrasound.loop(33, N_US_FRAMES)
    yield "us/us-loop.dcm", _ultrasound(_US, frames)
    short = _ultrasound(_US_RLE, frames[:N_RLE_FRAMES])
    short.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    yield "us/us-loop-rle.dcm", short


def _ultrasound(series: Series, frames: NDArray[np.uint8]) -> Dataset:
    ds = start(series, 1)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "", "0011"]
    ds.PatientOrientation = ""
    pixels(ds, frames, 8, "RGB")
    ds.FrameTime, ds.FrameIncrementPointer = 45, Tag(0x0018, 0x1063)
    ds.HeartRate, ds.CineRate = 66, 22
    ds.UltrasoundColorDataPresent = 1
    ds.LossyImageCompression, ds.BurnedInAnnotation = "00", "NO"
    return ds


def nuclear_medicine() -> Iterator[Sample]:
    """A tomographic acquisition: 24 views of 16 bit counts."""
    views = scintigraphy.projections(44, N_NM_VIEWS)
    ds = start(_NM, 1)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]
    ds.PatientOrientation = ["L", "F"]
    pixels(ds, views, 16, "MONOCHROME2")
    ds.PixelSpacing = [scintigraphy.NM_SPACING_MM] * 2
    ds.CountsAccumulated = int(views.sum())
    ds.LossyImageCompression = "00"
    ds.FrameIncrementPointer = [Tag(0x0054, low) for low in (0x0010, 0x0020, 0x0050, 0x0090)]
    ds.EnergyWindowVector = ds.DetectorVector = ds.RotationVector = [1] * N_NM_VIEWS
    ds.AngularViewVector = list(range(1, N_NM_VIEWS + 1))
    ds.NumberOfEnergyWindows = ds.NumberOfDetectors = ds.NumberOfRotations = 1
    _nuclear_acquisition(ds)
    ds.WindowCenter, ds.WindowWidth = 840, 1680
    yield "nm/nm-tomo.dcm", ds


def _nuclear_acquisition(ds: Dataset) -> None:
    """Energy window, tracer, detector and rotation (PS3.3 C.8.4), in place."""
    band, window = Dataset(), Dataset()
    band.EnergyWindowLowerLimit, band.EnergyWindowUpperLimit = 126, 154
    window.EnergyWindowName, window.EnergyWindowRangeSequence = "Tc-99m", Sequence([band])
    ds.EnergyWindowInformationSequence = Sequence([window])
    tracer = Dataset()
    tracer.RadionuclideCodeSequence = code("C-163A8", "SRT", "^99m^Technetium")
    ds.RadiopharmaceuticalInformationSequence = Sequence([tracer])
    detector = Dataset()
    detector.CollimatorType, detector.FieldOfViewShape = "PARA", "RECTANGLE"
    detector.ImageOrientationPatient, detector.ImagePositionPatient = [1, 0, 0, 0, 0, -1], [-248, -250, 248]
    ds.DetectorInformationSequence = Sequence([detector])
    ds.PatientOrientationCodeSequence = code("F-10450", "SRT", "recumbent")
    ds.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = code("F-10340", "SRT", "supine")
    ds.PatientGantryRelationshipCodeSequence = code("F-10470", "SRT", "headfirst")
    turn = Dataset()
    turn.StartAngle, turn.AngularStep, turn.RotationDirection, turn.ScanArc = 180, 360 / N_NM_VIEWS, "CW", 360
    turn.ActualFrameDuration, turn.RadialPosition, turn.NumberOfFramesInRotation = 20000, [250], N_NM_VIEWS
    ds.RotationInformationSequence = Sequence([turn])


def radiograph() -> Iterator[Sample]:
    """A chest radiograph, MONOCHROME1, with the icon that a console puts into it (PS3.3 C.7.6.1.1.6)."""
    film = chest.radiograph(55)
    ds = start(_CR, 1)
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.ViewPosition, ds.PatientOrientation = "PA", ["L", "F"]
    ds.ImagerPixelSpacing = [chest.CR_SPACING_MM] * 2
    ds.KVP, ds.PlateType, ds.BurnedInAnnotation = 120, "synthetic", "NO"
    low, high = np.percentile(film, [1.0, 99.0])
    pixels(ds, film, 12, "MONOCHROME1")
    ds.WindowCenter, ds.WindowWidth = round(float(low + high) / 2), round(float(high - low))
    icon = Dataset()
    small = film.reshape(64, 16, 64, 16).mean(axis=(1, 3))
    pixels(icon, np.clip((small - low) / (high - low) * 255, 0, 255).astype(np.uint8), 8, "MONOCHROME1")
    ds.IconImageSequence = Sequence([icon])
    yield "cr/cr-chest.dcm", ds
