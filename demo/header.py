"""What every sample object says about its patient, study, series and equipment (PS3.3 C.7)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

IMPLEMENTATION_VERSION = "IOMT_PHANTOM_1"
_DATE, _TIME = "20260105", "093000"


def uid(*names: object) -> UID:
    """The UID of a named thing: 2.25.<128 bits of SHA-256>, the same on every run (PS3.5 B.2)."""
    digest = hashlib.sha256("/".join(["iomt-crypt phantom", *map(str, names)]).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


@dataclass(frozen=True)
class Series:
    """A series of a phantom's study."""

    patient: str
    modality: str
    number: int
    description: str
    body_part: str
    sop_class: UID
    transfer_syntax: UID

    @property
    def study_uid(self) -> UID:
        """One study for each patient."""
        return uid("study", self.patient)

    @property
    def series_uid(self) -> UID:
        """Named by study and number."""
        return uid("series", self.patient, self.number)

    @property
    def frame_of_reference_uid(self) -> UID:
        """One for the whole study."""
        return uid("frame of reference", self.patient)

    def sop_instance_uid(self, instance: int) -> UID:
        """Named by series and number."""
        return uid("instance", self.patient, self.number, instance)


def start(series: Series, instance: int) -> Dataset:
    """A data set with the patient, study, series, equipment and SOP common modules filled in."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = series.sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = series.sop_instance_uid(instance)
    ds.file_meta.TransferSyntaxUID = series.transfer_syntax
    ds.file_meta.ImplementationClassUID = uid("implementation")
    ds.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = series.sop_class, series.sop_instance_uid(instance)
    ds.PatientName = f"PHANTOM^{series.patient}"
    ds.PatientID = f"PHANTOM-{series.patient}"
    ds.PatientBirthDate, ds.PatientSex = "19700101", "O"
    ds.PatientComments = "Synthetic data, no person"
    ds.StudyInstanceUID, ds.StudyID = series.study_uid, "1"
    ds.StudyDate, ds.StudyTime = _DATE, _TIME
    ds.AccessionNumber = f"DEMO{series.patient}"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = f"Phantom {series.patient}"
    ds.SeriesInstanceUID, ds.SeriesNumber = series.series_uid, series.number
    ds.Modality, ds.SeriesDescription, ds.BodyPartExamined = series.modality, series.description, series.body_part
    ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = _DATE
    ds.SeriesTime, ds.AcquisitionTime = _TIME, _TIME
    ds.ContentTime = f"0930{instance:02d}"
    ds.Manufacturer, ds.ManufacturerModelName = "iomt-crypt demo", "Phantom generator"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", IMPLEMENTATION_VERSION
    ds.InstanceNumber = instance
    return ds


def pixels(ds: Dataset, array: NDArray[np.uint8] | NDArray[np.uint16], bits_stored: int, photometric: str) -> None:
    """Set the image pixel module from (rows, columns), (frames, rows, columns) or (frames, rows, columns, 3), in place.

    Multi-frame arrays set *Number of Frames*; values go out in little-endian order, colour by pixel (PS3.5 8.2).
    """
    colour = array.shape[-1] == 3
    rows, columns = array.shape[-3:-1] if colour else array.shape[-2:]
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = photometric
    if colour:
        ds.PlanarConfiguration = 0
    if array.ndim - colour == 3:
        ds.NumberOfFrames = array.shape[0]
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated = array.dtype.itemsize * 8
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits_stored, bits_stored - 1, 0
    ds.PixelData = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"


def place(ds: Dataset, series: Series, z_mm: float, size: int, spacing_mm: float, thickness_mm: float) -> None:
    """Set the image plane of an axial section centred on the patient's axis, in place; ``z_mm`` towards the head."""
    corner = -(size - 1) / 2 * spacing_mm
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = series.frame_of_reference_uid, ""
    ds.PatientPosition = "HFS"
    ds.ImagePositionPatient = [f"{corner:.3f}", f"{corner:.3f}", f"{z_mm:.3f}"]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [spacing_mm, spacing_mm]
    ds.SliceThickness, ds.SliceLocation = thickness_mm, f"{z_mm:.3f}"


def code(value: str, scheme: str, meaning: str) -> Sequence:
    """A code sequence of one item (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])
