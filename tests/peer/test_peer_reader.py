"""Encrypted objects of every file of the corpora, read by other people's software."""

from __future__ import annotations

import io
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from corpus import ENCRYPTED, Case, batches
from pydicom import dcmread
from synthetic import DEFLATED

from iomt_crypt.dicom import protect, read_file

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore::UserWarning:pydicom")]
BATCHES = batches(ENCRYPTED, 6)


def run(*command: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(c) for c in command], capture_output=True, timeout=120, check=False)


@pytest.fixture
def sealed(epoch, policy, tmp_path):
    """Encrypt cases into files; the originals beside them, inflated where a peer cannot read deflated ones."""

    def make(cases: Sequence[Case]) -> list[tuple[Case, Path]]:
        made = []
        for number, case in enumerate(cases):
            path = tmp_path / f"{number}.dcm"
            with path.open("wb+") as sink:
                protect(read_file(io.BytesIO(case.read())), sink, epoch=epoch, policy=policy)
            made.append((case, path))
        return made

    return make


def batch_name(cases: Sequence[Case]) -> str:
    return f"{len(cases)} files"


def named(case: Case, copy: Path) -> Path:
    """The original; where only its file meta information says what it is, a copy whose data set says so too."""
    data = case.read()
    source = read_file(io.BytesIO(data))
    if source.text(0x00080016):
        return case.path
    ds = dcmread(io.BytesIO(data), force=True)
    for tag, value in ((0x00080016, source.media[0]), (0x00080018, source.media[1] or "2.25.1")):
        ds.add_new(tag, "UI", value)
    ds.save_as(copy)
    return copy


@pytest.mark.parametrize("cases", BATCHES, ids=batch_name)
def test_dciodvfy_finds_no_new_error(cases, sealed, peer, tmp_path):
    program, inflate = peer("dciodvfy"), peer("dcmconv")

    def errors(path: Path) -> Counter[str]:
        text = re.sub(rb"[ \t]+", b" ", (lambda done: done.stderr + done.stdout)(run(program, path))).decode("latin1")
        lines = [line for line in text.splitlines() if line.startswith("Error")]
        unnamed = (re.sub(r"ReferencedSOPInstanceUID \S+", "ReferencedSOPInstanceUID UID", line) for line in lines)
        return Counter(re.sub(r"<?[0-9.]{20,}>?", "UID", line) for line in unnamed)

    def new_errors(pair: tuple[Case, Path]) -> str:
        case, encrypted = pair
        original = named(case, encrypted.with_suffix(".named"))
        if read_file(io.BytesIO(case.read())).transfer_syntax_uid == DEFLATED:
            original = encrypted.with_suffix(".inflated")
            assert run(inflate, "+te", case.path, original).returncode == 0
        more = errors(encrypted) - errors(original)
        return f"{case.name}: {dict(more)}" if more else ""

    with ThreadPoolExecutor(2) as pool:
        assert [text for text in pool.map(new_errors, sealed(cases)) if text] == []


@pytest.mark.parametrize("cases", BATCHES, ids=batch_name)
def test_dcmtk_and_gdcm_read_them(cases, sealed, peer):
    dcmdump, gdcmdump = peer("dcmdump"), peer("gdcmdump")

    def complaints(pair: tuple[Case, Path]) -> str:
        case, encrypted = pair
        dumped, read = run(dcmdump, encrypted), run(gdcmdump, "-i", encrypted)
        sound = (
            dumped.returncode == 0 and b"IOMT-CRYPT RECORD" in dumped.stdout and b"\nE: " not in b"\n" + dumped.stderr
        )
        sound_too = read.returncode == 0 and b"IOMT-CRYPT RECORD" in read.stdout
        return "" if sound and sound_too else f"{case.name}: {dumped.stderr[:200]!r} {read.stderr[:200]!r}"

    with ThreadPoolExecutor(2) as pool:
        assert [text for text in pool.map(complaints, sealed(cases)) if text] == []


@pytest.mark.parametrize("cases", BATCHES, ids=batch_name)
def test_pydicom_decodes_them(cases, sealed):
    decoded = 0
    for case, encrypted in sealed(cases):
        ds = dcmread(encrypted)
        for element in ds.iterall():
            assert element.value is not None or element.VR, case.name
        if "PixelData" in ds and ds.BitsAllocated <= 32:
            frames = int(ds.get("NumberOfFrames") or 1)
            shape = (
                ((frames,) if frames > 1 else ()) + (ds.Rows, ds.Columns) + ((3,) if ds.SamplesPerPixel == 3 else ())
            )
            assert ds.pixel_array.shape == shape, case.name
            decoded += 1
    assert decoded > 0


def test_gdcm_takes_images_for_images(sealed, peer):
    program = peer("gdcminfo")
    images = [c for c in ENCRYPTED if c.name.startswith("test_files/") and c.path.stat().st_size < 60_000]
    for case, encrypted in sealed(images[:40]):
        if "PixelData" not in dcmread(encrypted):
            continue
        done = run(program, encrypted)
        assert done.returncode == 0, case.name
        assert b"Dimensions" in done.stdout, case.name
