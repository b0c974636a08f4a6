"""Archives and tools that edit or convert encrypted objects: the pixels still open, and corrections come back."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from corpus import ENCRYPTED, find, some
from pydicom import dcmread

from iomt_crypt.dicom import protect, read_file, restore
from iomt_crypt.errors import HeaderDriftError, UnsupportedError

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore::UserWarning:pydicom")]
CASES = ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "SC_rgb_small_odd.dcm", "liver_1frame.dcm"]


@pytest.fixture
def sealed(epoch, policy, tmp_path):
    def make(case) -> Path:
        path = tmp_path / "sealed.dcm"
        with path.open("wb+") as sink:
            protect(read_file(io.BytesIO(case.read())), sink, epoch=epoch, policy=policy)
        return path

    return make


@pytest.fixture
def opened(keyring):
    def make(path: Path, headers: str):
        sink = io.BytesIO()
        done = restore(io.BytesIO(path.read_bytes()), sink, keyring=keyring, headers=headers)
        return sink.getvalue(), done

    return make


def run(*command: str | Path) -> None:
    done = subprocess.run([str(c) for c in command], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", CASES)
def test_dcmodify(name, sealed, opened, peer):
    case = find(f"test_files/{name}")
    path = sealed(case)
    run(
        peer("dcmodify"),
        "-nb",
        "-i",
        "PatientName=Roe^Jane",
        "-i",
        "PatientID=ID-2",
        "-i",
        "StudyDescription=corrected",
        path,
    )
    merged, done = opened(path, "merged")
    ds, plain = dcmread(io.BytesIO(merged)), dcmread(case.path)
    plain.PatientName, plain.PatientID, plain.StudyDescription = "Roe^Jane", "ID-2", "corrected"
    assert ds == plain
    assert done.applied
    assert len(done.changed) == 3
    assert opened(path, "original")[0] == case.read()
    with pytest.raises(HeaderDriftError, match="PatientName") as caught:
        opened(path, "strict")
    assert "Roe" not in str(caught.value)


def test_gdcmanon_replaces(sealed, opened, peer, tmp_path):
    """gdcmanon in dumb mode: replace one element."""
    case = find("test_files/CT_small.dcm")
    path = sealed(case)
    run(peer("gdcmanon"), "--dumb", "--replace", "0010,0010=Roe^Jane", "-i", path, "-o", tmp_path / "changed.dcm")
    merged, done = opened(tmp_path / "changed.dcm", "merged")
    assert dcmread(io.BytesIO(merged)).PatientName == "Roe^Jane"
    assert dcmread(io.BytesIO(merged)).PixelData == dcmread(case.path).PixelData
    assert "PatientName (0010,0010)" in done.changed
    assert opened(tmp_path / "changed.dcm", "original")[0] == case.read()


CONVERSIONS = {
    "implicit": ["+ti"],
    "big endian": ["+tb"],
    "deflated": ["+td"],
    "undefined lengths": ["+te", "-e"],
    "group lengths": ["+te", "+g"],
    "padded": ["+te", "+p", "512", "64"],
    "no file meta": ["+te", "-F"],
}


@pytest.mark.parametrize("options", CONVERSIONS.values(), ids=CONVERSIONS.keys())
def test_dcmconv(options, sealed, opened, peer, tmp_path):
    program = peer("dcmconv")
    for case in some(ENCRYPTED, 13, 100_000):
        path = sealed(case)
        run(program, *options, path, tmp_path / "converted.dcm")
        # Data Set Trailing Padding is one more element, all else is the same header in other words
        headers = "merged" if "+p" in options else "strict"
        assert opened(tmp_path / "converted.dcm", headers)[0] == case.read(), case.name


def test_gdcmconv(sealed, opened, peer, tmp_path):
    program = peer("gdcmconv")
    for name in CASES:
        case = find(f"test_files/{name}")
        for options in (["--raw"], ["--explicit"], ["--implicit"]):
            run(program, *options, "-i", sealed(case), "-o", tmp_path / "converted.dcm")
            assert opened(tmp_path / "converted.dcm", "original")[0] == case.read(), (name, options)


def test_an_archive_that_compresses(sealed, opened, peer, tmp_path):
    """Told from damage; after decompression all is well."""
    case = find("test_files/CT_small.dcm")
    run(peer("dcmcjpls"), sealed(case), tmp_path / "compressed.dcm")
    with pytest.raises(UnsupportedError, match="the archive compressed") as caught:
        opened(tmp_path / "compressed.dcm", "original")
    assert "gdcmconv --raw" in caught.value.hint
    run(peer("gdcmconv"), "--raw", "-i", tmp_path / "compressed.dcm", "-o", tmp_path / "again.dcm")
    assert opened(tmp_path / "again.dcm", "original")[0] == case.read()


def test_the_restored_file_is_what_dcmtk_knew(sealed, opened, peer, tmp_path):
    program = peer("dcmdump")
    case = find("test_files/reportsi.dcm")
    back, _ = opened(sealed(case), "strict")
    (tmp_path / "back.dcm").write_bytes(back)
    shutil.copy(case.path, tmp_path / "original.dcm")
    dumps = [
        subprocess.run([program, tmp_path / n], capture_output=True, check=True).stdout
        for n in ("back.dcm", "original.dcm")
    ]
    assert dumps[0] == dumps[1]
