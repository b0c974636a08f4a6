"""Transcripts of ``iomt-crypt report``: what is said, the exit code, what is on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from skimage.io import imsave
from synthetic import file, image
from typer.testing import CliRunner

from iomt_crypt.cli.app import app, main
from iomt_crypt.errors import IomtCryptError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
runner = CliRunner()


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    made = runner.invoke(app, ["report", *(str(a) for a in arguments)])
    if isinstance(made.exception, IomtCryptError):  # what `main` does with it
        return 1, made.stdout, f"{made.stderr}error: {made.exception}\nhint: {made.exception.hint}\n"
    if made.exception is not None and not isinstance(made.exception, SystemExit):
        raise made.exception
    return made.exit_code, made.stdout, made.stderr


def tree(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) if folder.exists() else []


REPORT = ["report.html", "report.json", "report.pdf"]


@pytest.fixture
def small(tmp_path) -> Path:
    """An object that is reported on quickly: 8 x 8 samples."""
    path = tmp_path / "small.dcm"
    path.write_bytes(file(image()))
    return path


def test_one_file(tmp_path):
    ct = get_testdata_file("CT_small.dcm", download=False)
    code, out, err = run(ct, "-o", tmp_path / "out", "--trials", 2)
    assert (code, out, err) == (0, "", "reported: 1\n")
    assert tree(tmp_path / "out") == [f"CT_small.dcm/{name}" for name in REPORT]
    document = json.loads((tmp_path / "out" / "CT_small.dcm" / "report.json").read_text())
    assert document["verdict"]["passed"] is True
    assert "all reports" not in (tmp_path / "out" / "CT_small.dcm" / "report.html").read_text()


def test_a_folder(tmp_path, small):
    source = tmp_path / "in"
    (source / "b").mkdir(parents=True)
    small.rename(source / "b" / "a.dcm")
    imsave(source / "pixel.png", np.array([[7]], np.uint8), check_contrast=False)
    (source / "notes.txt").write_text("call back on Monday, please, and bring the films" * 4)
    (source / "plan.dcm").write_bytes(Path(get_testdata_file("rtplan.dcm", download=False)).read_bytes())
    (source / "broken.dcm").write_bytes(file(image())[:-10])
    code, out, err = run(source, "-o", tmp_path / "out")
    assert (code, out) == (1, "")
    assert f"error: {source}/broken.dcm: the pixel value at offset" in err
    assert f"skipped: {source}/plan.dcm: no pixels" in err
    assert f"skipped: {source}/notes.txt: not a DICOM file" in err
    assert err.endswith("reported: 2, 2 skipped, 1 failed\n")
    reports = [f"{folder}/{name}" for folder in ("b/a.dcm", "pixel.png") for name in REPORT]
    assert tree(tmp_path / "out") == sorted([*reports, "index.html"])
    page = (tmp_path / "out" / "index.html").read_text()
    for link in reports:
        assert f'href="{link}"' in page
    assert 'href="../../index.html"' in (tmp_path / "out" / "b" / "a.dcm" / "report.html").read_text()


def test_json(tmp_path, small):
    code, out, err = run(
        small, tmp_path / "none.dcm", "-o", tmp_path / "out", "--json", "--seed", 7, "--suite", "chaos-cnn-1"
    )
    done, failed = (json.loads(line) for line in out.splitlines())
    assert code == 1
    assert (done["state"], done["source"], done["output"]) == ("done", str(small), str(tmp_path / "out" / "small.dcm"))
    assert done["settings"] == {"suite": "chaos-cnn-1", "frame": 1, "n_trials": 50, "alpha": 0.05, "seed": 7}
    written = json.loads((tmp_path / "out" / "small.dcm" / "report.json").read_text())
    assert {key: done[key] for key in written} == written
    assert failed["state"] == "failed"
    assert "no such file" in failed["error"]
    assert "reported" not in err
    assert tree(tmp_path / "out") == [*sorted(["index.html"]), *(f"small.dcm/{name}" for name in REPORT)]


def test_frames(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(file(image(bytes(64) + b"\x09" * 64, frames=2)))
    assert run(path, "-o", tmp_path / "out", "--frame", 2)[0] == 0
    assert json.loads((tmp_path / "out" / "a.dcm" / "report.json").read_text())["input"]["frame"] == 2
    code, _, err = run(path, "-o", tmp_path / "other", "--frame", 3)
    assert code == 1
    assert err == f"error: {path}: frame 3 does not exist, the object has 2\nreported: 0, 1 failed\n"
    assert tree(tmp_path / "other") == []


def test_nothing_is_overwritten(tmp_path, small):
    assert run(small, "-o", tmp_path / "out")[0] == 0
    before = {name: (tmp_path / "out" / name).read_bytes() for name in tree(tmp_path / "out")}
    code, _, err = run(small, "-o", tmp_path / "out")
    assert code == 1
    assert f"error: {small}: {tmp_path}/out/small.dcm: exists already" in err
    assert "hint: nothing is overwritten" in err
    assert {name: (tmp_path / "out" / name).read_bytes() for name in tree(tmp_path / "out")} == before


def test_an_old_index_stops_it_before_anything_is_measured(tmp_path, small):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text("mine")
    code, _, err = run(small, small, "-o", tmp_path / "out")
    assert code == 1
    assert "index.html: exists already" in err
    assert tree(tmp_path / "out") == ["index.html"]


def test_two_inputs_of_one_name(tmp_path, small):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "small.dcm").write_bytes(small.read_bytes())
    code, _, err = run(small, tmp_path / "b" / "small.dcm", "-o", tmp_path / "out")
    assert code == 1
    assert "the result of" in err
    assert "reported: 1, 1 failed" in err


@pytest.mark.parametrize(
    "wrong", [("--suite", "rot13"), ("--trials", "0"), ("--alpha", "2"), ("--frame", "0"), ("--seed", "-1")]
)
def test_usage(tmp_path, small, wrong):
    code, _, err = run(small, "-o", tmp_path / "out", *wrong)
    assert code == 2
    assert wrong[0] in err
    assert tree(tmp_path / "out") == []


def test_an_object_without_image_is_a_failure_when_it_is_named(tmp_path):
    code, _, err = run(get_testdata_file("rtplan.dcm", download=False), "-o", tmp_path / "out")
    assert code == 1
    assert "no pixels\nhint: the report is about images" in err


def test_the_libraries_are_named_when_they_are_missing(tmp_path, small, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr("iomt_crypt.cli.report.find_spec", lambda name: None if name == "skimage" else found(name))
    code, _, err = run(small, "-o", tmp_path / "out")
    assert code == 1
    assert err == (
        "error: reports need packages that are not installed: skimage\nhint: pip install 'iomt-crypt[report]'\n"
    )


def test_help_is_quick_and_says_what_is_shown():
    code = "import sys\nfrom iomt_crypt.cli.app import app\ntry:\n app(['report', '--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('matplotlib', 'scipy', 'skimage', 'reportlab', 'jinja2', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "THE REPORTS SHOW THE PLAIN IMAGE" in done.stdout


def test_the_whole_program(tmp_path, small, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["iomt-crypt", "report", str(tmp_path / "none"), "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/none: no such file\nreported: 0, 1 failed\n"
