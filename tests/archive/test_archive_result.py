"""Where results go: never onto an original, and without what a killed run left."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from object_tree import files, write_objects
from typer.testing import CliRunner

from iomt_crypt import encrypt_file
from iomt_crypt.cli.app import app
from iomt_crypt.durable import draft_path
from iomt_crypt.errors import ConfigurationError, StorageError


def run(*arguments: object) -> tuple[int, str]:
    made = CliRunner().invoke(app, [str(a) for a in arguments])
    assert made.exception is None or isinstance(made.exception, SystemExit), made.exception
    return made.exit_code, " ".join(made.stderr.replace("│", " ").split())


@pytest.fixture
def encrypt(tmp_path, identity) -> list[str]:
    return ["encrypt", "-r", str(identity.recipient), "--site-key", str(tmp_path / "site.key")]


@pytest.fixture
def medium(tmp_path) -> Path:
    write_objects(tmp_path / "in", 2)
    return tmp_path / "in"


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


@pytest.mark.parametrize("option", ["--overwrite", "--resume", "--dry-run", None])
@pytest.mark.parametrize("spelling", ["same", "dots", "link"])
def test_the_source_is_no_place_for_results(encrypt, medium, tmp_path, option, spelling):
    before = content(medium)
    (tmp_path / "link").symlink_to(medium)
    output = {"same": medium, "dots": f"{medium}/s000/..", "link": tmp_path / "link"}[spelling]
    code, err = run(*encrypt, medium, "-o", output, *([option] if option else []))
    assert code == 2
    assert "originals are never replaced" in err
    assert content(medium) == before


def test_nor_is_the_folder_of_a_file(encrypt, medium, key):
    before, one = content(medium), medium / "s000" / "i00000.dcm"
    for options in (["--overwrite"], ["--resume"], []):
        code, err = run(*encrypt, one, "-o", one.parent, *options)
        assert code == 1
        assert f"error: {one}: the result would take the place of an original" in err
        assert "--overwrite" not in err
        assert content(medium) == before
    code, err = run("decrypt", "-i", key, one, "-o", one.parent, "--overwrite")
    assert code == 1
    assert content(medium) == before


def test_nor_is_a_folder_above_where_results_meet_inputs(encrypt, tmp_path):
    """``in/in/x`` becomes ``in/x`` of a folder above ``in``: another input."""
    write_objects(tmp_path / "in", 1)
    write_objects(tmp_path / "in" / "in", 1)
    before = content(tmp_path / "in")
    code, err = run(*encrypt, tmp_path / "in", "-o", tmp_path, "--overwrite")
    assert code == 1
    assert err.count("would take the place of an original") == 1
    # The other one goes beside them.
    assert content(tmp_path / "in") == before
    assert (tmp_path / "s000" / "i00000.dcm").exists()


@pytest.mark.parametrize("way", ["hard link", "link"])
def test_nor_is_another_name_of_an_input(encrypt, medium, tmp_path, way):
    one, out = medium / "s000" / "i00000.dcm", tmp_path / "out"
    out.mkdir()
    os.link(one, out / one.name) if way == "hard link" else (out / one.name).symlink_to(one)
    before = content(medium)
    code, err = run(*encrypt, one, "-o", out, "--overwrite")
    assert (code, content(medium), content(out)) == (1, before, {one.name: before["s000/i00000.dcm"]})
    assert "would take the place of an original" in err


def test_results_below_a_source_are_replaced(encrypt, medium):
    for _ in range(2):
        assert run(*encrypt, medium, "-o", medium / "out", "--overwrite") == (0, "encrypted: 2")


def test_an_original_below_a_source_is_not(encrypt, medium, tmp_path):
    """Below the folder for results too: a plain object is none that this run made."""
    (medium / "out" / "s000").mkdir(parents=True)
    original = medium / "out" / "s000" / "i00000.dcm"
    original.write_bytes((medium / "s000" / "i00001.dcm").read_bytes())
    before = original.read_bytes()
    code, err = run(*encrypt, medium, "-o", medium / "out", "--overwrite")
    assert code == 1
    assert "would take the place of an original" in err
    assert original.read_bytes() == before


def test_in_stores(encryption):
    for folder, source in (
        ("memory://a/b", "memory://a//b/"),
        ("s3://bucket/a", "s3a://bucket/./a/"),
        ("s3://bucket", "s3://bucket/"),
    ):
        with pytest.raises(ConfigurationError, match="the folder for the results is the source"):
            encryption(folder, source).results.check()
    encryption("s3://bucket/a", "s3://bucket/b", "gs://bucket/a", "/bucket/a").results.check()


def test_an_object_of_a_store_is_not_replaced(encryption, told, medium):
    import fsspec

    fs = fsspec.filesystem("memory")
    data = (medium / "s000" / "i00000.dcm").read_bytes()
    fs.pipe("/result/in/in/one", data)
    fs.pipe("/result/in/one", data)
    try:
        summary = told.run(encryption("memory://result/", "memory://result/in", overwrite=True), "memory://result/in")
        assert (summary.done, summary.failed) == (1, 1)
        assert fs.cat("/result/in/one") == fs.cat("/result/in/in/one") == data
    finally:
        fs.rm("/result", recursive=True)


def test_one_file_from_python(medium, identity):
    one = medium / "s000" / "i00000.dcm"
    before = one.read_bytes()
    with pytest.raises(StorageError, match="the result would take the place of the original"):
        encrypt_file(one, one, recipients=[identity.recipient], overwrite=True)
    assert one.read_bytes() == before


class TestLeftovers:
    """A killed run leaves drafts, whose content may be in clear."""

    @pytest.fixture
    def sealed(self, encrypt, medium, tmp_path) -> Path:
        assert run(*encrypt, medium, "-o", tmp_path / "sealed")[0] == 0
        return tmp_path / "sealed"

    @pytest.mark.parametrize("again", ["--resume", "--journal"])
    def test_a_resume_removes_them(self, sealed, key, tmp_path, again):
        options = [again, str(tmp_path / "journal")] if again == "--journal" else [again]
        decrypt = ["decrypt", "-i", key, sealed, "-o", tmp_path / "back", *options]
        assert run(*decrypt)[0] == 0
        there = files(tmp_path / "back")
        for name in ("i00000.dcm", "gone.dcm"):  # its source need not be there any more
            draft_path(tmp_path / "back" / "s000" / name).write_bytes(b"in clear")
        assert len(files(tmp_path / "back")) == len(there) + 2
        assert run(*decrypt)[0] == 0
        assert files(tmp_path / "back") == there

    def test_any_run_removes_those_in_its_folder(self, sealed, key, tmp_path):
        (tmp_path / "back" / "below").mkdir(parents=True)
        for folder in ("back", "back/below"):
            draft_path(tmp_path / folder / "a").write_bytes(b"in clear")
        assert run("decrypt", "-i", key, sealed, "-o", tmp_path / "back", "--dry-run")[0] == 0
        assert len(files(tmp_path / "back")) == 2
        assert run("decrypt", "-i", key, sealed, "-o", tmp_path / "back")[0] == 0
        assert [name.partition(".")[0] for name in files(tmp_path / "back")] == ["below/", "s000/i00000", "s000/i00001"]


@pytest.mark.parametrize("n_bytes", [240, 241, 255])
def test_names_of_any_length(encrypt, medium, key, tmp_path, n_bytes):
    name = "ä" * ((n_bytes - 4) // 2) + "x" * (n_bytes % 2) + ".dcm"
    assert len(os.fsencode(name)) == n_bytes
    shutil.copy(medium / "s000" / "i00000.dcm", medium / name)
    assert run(*encrypt, medium / name, "-o", tmp_path / "out") == (0, "encrypted: 1")
    assert run("decrypt", "-i", key, tmp_path / "out" / name, "-o", tmp_path / "back") == (0, "decrypted: 1")
    assert content(tmp_path / "back") == {name: (medium / name).read_bytes()}
