"""The sample studies: complete, valid, the same on every run."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from pydicom import dcmread

from demo import samples


@pytest.fixture(scope="session")
def sample_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    files = samples.ensure(tmp_path_factory.mktemp("sample_dicom"))
    assert len(files) == 20
    return files


def digests(files: list[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_kind_of_object_is_there(sample_files: list[Path]) -> None:
    headers = [dcmread(path, stop_before_pixels=True) for path in sample_files]
    assert Counter(ds.Modality for ds in headers) == {"CT": 12, "MR": 3, "US": 2, "NM": 1, "CR": 1, "SEG": 1}
    assert len({ds.SOPInstanceUID for ds in headers}) == len(headers)
    assert all(ds.SOPInstanceUID.startswith("2.25.") and len(ds.SOPInstanceUID) <= 64 for ds in headers)
    assert all(str(ds.PatientName).startswith("PHANTOM^") for ds in headers)
    assert {ds.BitsAllocated for ds in headers} == {1, 8, 16}
    assert len({ds.file_meta.TransferSyntaxUID for ds in headers}) == 3


def test_pixel_data_has_the_declared_length_and_decodes(sample_files: list[Path]) -> None:
    for path in sample_files:
        ds = dcmread(path)
        values = ds.pixel_array
        frames = int(ds.get("NumberOfFrames", 1))
        assert values.size == frames * ds.Rows * ds.Columns * ds.SamplesPerPixel
        if not ds.file_meta.TransferSyntaxUID.is_encapsulated:
            bits = values.size * ds.BitsAllocated
            assert len(ds.PixelData) == (bits + 7) // 8 + ((bits + 7) // 8) % 2
        assert values.min() < values.max()


def test_compressed_loop_shows_the_frames_of_the_plain_one(sample_files: list[Path]) -> None:
    loops = {path.stem: dcmread(path).pixel_array for path in sample_files if path.parent.name == "us"}
    short = loops["us-loop-rle"]
    assert (short == loops["us-loop"][: len(short)]).all()


def test_a_complete_folder_is_left_alone_and_a_damaged_one_is_rebuilt(sample_files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "sample_dicom"
    shutil.copytree(sample_files[0].parent.parent, folder)
    before = digests(sorted(folder.rglob("*.dcm")))
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*.dcm")}
    assert {path: path.stat().st_mtime_ns for path in samples.ensure(folder)} == stamps

    (folder / "mr" / "mr-2.dcm").unlink()
    assert digests(samples.ensure(folder)) == before


def test_another_version_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(samples, "_GROUPS", (samples.objects.mr_series, samples.objects.nuclear_medicine))
    assert len(samples.ensure(tmp_path)) == 4
    monkeypatch.setattr(samples, "_GROUPS", (samples.objects.nuclear_medicine,))
    monkeypatch.setattr(samples, "VERSION", samples.VERSION + 1)
    assert [path.name for path in samples.ensure(tmp_path)] == ["nm-tomo.dcm"]
    assert [path.name for path in tmp_path.rglob("*.dcm")] == ["nm-tomo.dcm"]


@pytest.mark.parametrize("name", ["../victim.dcm", "/victim.dcm"])
def test_a_record_cannot_name_files_outside(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_GROUPS", (samples.objects.nuclear_medicine,))
    victim = tmp_path / "victim.dcm"
    victim.write_bytes(b"not ours")
    folder = tmp_path / "folder"
    folder.mkdir()
    named = str(victim) if name.startswith("/") else name
    (folder / ".generator.json").write_text(f'{{"version": 0, "files": {{"{named}": 8}}}}')
    samples.ensure(folder)
    assert victim.read_bytes() == b"not ours"


@pytest.mark.peer
def test_dciodvfy_finds_no_error(sample_files: list[Path]) -> None:
    for path in sample_files:
        run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        lines = (run.stdout + run.stderr).splitlines()
        assert lines, path.name
        assert [line for line in lines if line.startswith("Error")] == [], path.name
