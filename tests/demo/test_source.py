"""Finding what to send: objects, copies, and what is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SecondaryCaptureImageStorage

from demo import source
from demo.header import Series, pixels, start


def write(path: Path, number: int, syntax: str = ExplicitVRLittleEndian, value: int = 1) -> Dataset:
    ds = start(Series("S", "OT", 1, "test", "CHEST", SecondaryCaptureImageStorage, syntax), number)
    ds.ConversionType = "SYN"
    pixels(ds, np.full((2, 4, 6), value, np.uint8), 8, "MONOCHROME2")
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return ds


def test_objects_are_found_and_everything_else_is_named(tmp_path: Path) -> None:
    write(tmp_path / "b" / "second.dcm", 2)
    first = write(tmp_path / "a" / "first", 1)
    shutil.copy(tmp_path / "a" / "first", tmp_path / "b" / "copy")
    write(tmp_path / "b" / "other", 2, value=9)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").touch()
    (tmp_path / ".hidden").write_text("not looked at")
    write(tmp_path / ".cache" / "thumbnail.dcm", 3)

    found = source.collect([tmp_path])

    assert [one.path.name for one in found.objects] == ["first", "other"]
    assert found.objects[0].sop_instance_uid == first.SOPInstanceUID
    assert found.objects[0].study_instance_uid == first.StudyInstanceUID
    assert (found.objects[0].modality, found.objects[0].shape) == ("OT", "6x4x2")
    assert sorted(path.name for path, _ in found.skipped) == ["empty", "notes.txt"]
    # Files come in the order of their paths; the first with a UID counts.
    assert {path.name: reason for path, reason in found.repeated} == {
        "copy": "a copy of first",
        "second.dcm": "other content under the UID of other",
    }


def test_a_place_named_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "one.dcm", 1)
    found = source.collect([tmp_path, tmp_path / "one.dcm"])
    assert len(found.objects) == 1
    assert found.repeated == []


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_dataset_bytes_are_what_follows_the_file_meta(syntax: str, tmp_path: Path) -> None:
    path = tmp_path / "object.dcm"
    write(path, 1, syntax)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, syntax == ImplicitVRLittleEndian
    ds = dcmread(path)
    write_dataset(buffer, ds)
    assert source.dataset_bytes(path) == buffer.getvalue()
    assert path.read_bytes().endswith(buffer.getvalue())


def test_dataset_bytes_without_preamble_and_meta(tmp_path: Path) -> None:
    path, bare = tmp_path / "object.dcm", tmp_path / "bare"
    write(path, 1)
    data = source.dataset_bytes(path)
    bare.write_bytes(data)
    assert source.dataset_bytes(bare) == data
