"""The demo itself, with few objects: there and back, and honest when something does not come back."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo import __main__ as demo
from demo import objects, samples
from tests import fork_server


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an MR and an NM study, a copy, and a text; the demo's own folders are in ``tmp_path``."""
    monkeypatch.setattr(demo, "WORK", tmp_path / "work")
    monkeypatch.setattr(demo, "PICTURE", tmp_path / "before-after.png")
    monkeypatch.setattr(demo.gateway, "_COMMAND", fork_server.command())
    monkeypatch.setattr(samples, "_GROUPS", (objects.mr_series, objects.nuclear_medicine))
    folder = tmp_path / "studies"
    assert len(samples.ensure(folder)) == 4
    shutil.copy(folder / "mr" / "mr-1.dcm", folder / "mr" / "mr-9-copy.dcm")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.mark.parametrize("archive", ["embedded", pytest.param("orthanc", marks=pytest.mark.peer)])
def test_everything_comes_back(archive: str, studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main([str(studies), "--archive", archive]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "demo: 4 sent, 4 delivered, 4 byte-identical"
    assert any(line.startswith("skipped") and "notes.txt" in line for line in said)
    assert any(line.startswith("not sent again") and "mr-9-copy.dcm: a copy of mr-1.dcm" in line for line in said)
    assert demo.PICTURE.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.suffix for path in (demo.WORK / "restored").iterdir()) == [".dcm"] * 4


def test_what_is_refused_is_told(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = studies / "mr" / "mr-2.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-5000])
    assert demo.main([str(studies / "mr"), "--archive", "embedded"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "demo: 3 sent, 2 delivered, 2 byte-identical"
    assert any(line.startswith("failed") and "mr-2.dcm" in line for line in said)
    assert any(line.startswith("hint:") for line in said)


def test_nothing_to_send(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main([str(studies / "notes.txt")]) == 1
    assert "no DICOM objects to send" in capsys.readouterr().out
    assert demo.main([str(studies / "absent")]) == 1
    assert "does not exist" in capsys.readouterr().out


def test_a_node_that_does_not_start(
    studies: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo.gateway, "make_key", lambda folder: (folder / "identity.key", "iomtpk1nonsense"))
    assert demo.main([str(studies), "--archive", "embedded"]) == 1
    said = capsys.readouterr().out
    assert "before it was ready" in said
    assert "end of node.log" in said


def test_what_came_back_of_an_object_whose_uid_is_none_has_the_derived_name(tmp_path: Path) -> None:
    one, entry = SimpleNamespace(sop_instance_uid="dccc9599"), SimpleNamespace(sop_instance_uid="2.25.1")
    assert demo.restored_file(tmp_path, one, entry) is None
    (tmp_path / "2.25.1.dcm").touch()
    assert demo.restored_file(tmp_path, one, None) is None
    assert demo.restored_file(tmp_path, one, entry) == tmp_path / "2.25.1.dcm"
    (tmp_path / "dccc9599.dcm").touch()
    assert demo.restored_file(tmp_path, one, entry) == tmp_path / "dccc9599.dcm"
