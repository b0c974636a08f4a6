"""The walk: files, folders, links, DICOMDIRs, stores; order; what is passed over."""

from __future__ import annotations

import itertools
import os
import warnings
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.fileset import FileSet
from synthetic import file, image

from iomt_crypt.archive.operation import Outcome
from iomt_crypt.archive.tree import Found, walk
from iomt_crypt.errors import ConfigurationError


def names(*sources: object, **options) -> list[str]:
    """Relative names; what cannot be walked with an exclamation mark."""
    found = walk([str(s) for s in sources], **options)
    return [f"!{Path(f.location).name}" if isinstance(f, Outcome) else f.item.relative for f in found]


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"x" * len(path))
    return folder


def test_order_and_what_is_told(tmp_path):
    touch(tmp_path, "b/2", "b/1", "a", "b.x", "b/c/d", "é")
    (tmp_path / "empty").mkdir()
    assert names(tmp_path) == ["a", "b/1", "b/2", "b/c/d", "b.x", "é"]
    found = [f for f in walk([str(tmp_path)]) if isinstance(f, Found)]
    for one in found:
        status = Path(one.item.location).stat()
        assert (one.size, one.mtime_ns) == (status.st_size, status.st_mtime_ns)
        assert (one.item.named, one.item.source, one.item.again) == (False, str(tmp_path), False)
        assert one.item.location == str(tmp_path / one.item.relative)


@given(
    st.lists(
        st.lists(st.sampled_from(["a", "b", "a.b", "-", "Z"]), min_size=1, max_size=4).map("/".join),
        unique=True,
        max_size=12,
    )
)
def test_everything_once_in_the_order_of_the_names(tmp_path_factory, paths):
    root = tmp_path_factory.mktemp("walk")
    for path in paths:
        if not any((root / path).is_relative_to(root / p) or (root / p).is_relative_to(root / path)
                   for p in paths if p != path):  # fmt: skip
            touch(root, path)
    there = sorted((p.relative_to(root) for p in root.rglob("*") if p.is_file()), key=lambda p: p.parts)
    assert names(root) == [str(p) for p in there]


def test_it_is_a_stream(tmp_path):
    touch(tmp_path, "a/1", "b/1")
    stream = walk([str(tmp_path)])
    first = next(stream)
    assert isinstance(first, Found)
    touch(tmp_path, "b/2")
    assert [f.item.relative for f in stream if isinstance(f, Found)] == ["b/1", "b/2"]


def test_links_are_not_followed_inside(tmp_path):
    touch(tmp_path, "in/a", "out/b")
    (tmp_path / "in" / "file").symlink_to(tmp_path / "out" / "b")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    os.mkfifo(tmp_path / "in" / "pipe")
    assert names(tmp_path / "in") == ["a", "!file", "!folder"]
    assert names(tmp_path / "in" / "folder") == ["b"], "a link that is named is what it is to"


def test_links_out_of_all_sources_are_told(tmp_path):
    """Nobody is to believe that what is behind them was looked at."""
    touch(tmp_path, "in/a", "out/b", "other/c")
    touch(tmp_path, "file")
    for name, to in (("out", "out"), ("other", "other/c"), ("here", "in"), ("away", "none"), ("file", "file")):
        (tmp_path / "in" / name).symlink_to(tmp_path / to)
    found = list(walk([str(tmp_path / "in"), str(tmp_path / "other"), str(tmp_path / "file")]))
    outcomes = [one for one in found if isinstance(one, Outcome)]
    assert [(o.location, o.state, o.detail) for o in outcomes] == [
        (str(tmp_path / "in" / name), "skipped", {"link": True}) for name in ("away", "out")
    ]
    assert all(outcome.hint for outcome in outcomes)
    assert [f.item.relative for f in found if isinstance(f, Found)] == ["a", "c", "file"]


def test_a_link_that_is_refused_covers_nothing(tmp_path):
    """What it leads to is another source, and is done."""
    touch(tmp_path, "tree/1", "tree/sub/2")
    (tmp_path / "link").symlink_to(tmp_path / "tree")
    for sources in (["link", "tree"], ["tree", "link"], ["link", "tree/sub"]):
        found = list(walk([str(tmp_path / name) for name in sources], in_place=True))
        assert [one.location for one in found if isinstance(one, Outcome)] == [str(tmp_path / "link")]
        assert [f.item.relative for f in found if isinstance(f, Found)] == (
            ["2"] if "tree/sub" in sources else ["1", "sub/2"]
        )


def test_in_place_nothing_is_met_twice(tmp_path):
    touch(tmp_path, "a/b/1", "a/2", "c")
    (tmp_path / "a" / "d").symlink_to(tmp_path / "c")
    sources = [str(tmp_path / name) for name in ("a/b", "a", "c", "a/b/1", "c", "a", "a/", "none", "none")]
    found = [one.item.location for one in walk(sources, in_place=True) if isinstance(one, Found)]
    assert [str(Path(path).relative_to(tmp_path)) for path in found] == ["a/2", "a/b/1", "c", "none", "none"]
    assert len(list(walk(sources))) > len(found)


@pytest.mark.parametrize("name", ["file", "folder"])
def test_in_place_refuses_links(tmp_path, name):
    touch(tmp_path, "out/b")
    (tmp_path / "folder").symlink_to(tmp_path / "out")
    (tmp_path / "file").symlink_to(tmp_path / "out" / "b")
    assert names(tmp_path / name, in_place=True) == [f"!{name}"]
    assert names(tmp_path / "out", in_place=True) == ["b"]


def test_our_own_files_are_passed_over(tmp_path):
    touch(tmp_path, "a", ".a.0123abcd.part", ".iomt-crypt/redo/1", ".hidden", "b/.iomt-crypt/x", ".a.part")
    assert names(tmp_path) == [".a.part", ".hidden", "a"]


def test_results_below_a_source(tmp_path):
    touch(tmp_path, "a", "out/b", "outer/c")
    assert names(tmp_path, exclude=[str(tmp_path / "out")]) == ["a", "outer/c"]
    assert names(tmp_path, exclude=[str(tmp_path)]) == ["a", "out/b", "outer/c"], "in place is no result below it"


def test_what_cannot_be_read(tmp_path, monkeypatch):
    touch(tmp_path, "a/1", "b/1", "c/1")
    real = os.listdir

    def listdir(path):
        if "/b" in str(path):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    assert names(tmp_path) == ["a/1", "!b", "c/1"]
    [failed] = [f for f in walk([str(tmp_path)]) if isinstance(f, Outcome)]
    assert failed.state == "failed"
    assert "cannot be read (Permission denied)" in failed.reason


def test_missing_sources_are_told_when_they_are_opened(tmp_path):
    [found] = walk([str(tmp_path / ("x" * 300))])
    assert isinstance(found, Found)
    assert found.item.named


def test_a_folder_of_many(tmp_path, monkeypatch):
    """A million names are asked for one by one."""
    (tmp_path / "d").mkdir()
    count = 50_000
    monkeypatch.setattr(os, "listdir", lambda path: [f"{i:07}" for i in range(count)])
    asked = []
    real = os.lstat

    def lstat(path):
        asked.append(path)
        return real(__file__)

    monkeypatch.setattr(os, "lstat", lstat)
    assert len(list(itertools.islice(walk([str(tmp_path)]), 10))) == 10
    assert len([path for path in asked if str(path).startswith(f"{tmp_path}/")]) < 20


class TestDicomdir:
    @pytest.fixture
    def medium(self, tmp_path) -> Path:
        fileset = FileSet()
        for i in range(3):
            path = tmp_path / f"{i}.dcm"
            more = {0x00080060: ("CS", b"OT"), 0x00200010: ("SH", b"1"), 0x00200011: ("IS", b"1"),
                    0x00200013: ("IS", str(i).encode()), 0x00080020: ("DA", b"20200101"),
                    0x00080030: ("TM", b"101010"), 0x00080064: ("CS", b"WSD")}  # fmt: skip
            path.write_bytes(file(image(bytes([i]) * 64, uid=f"1.2.3.{i}", more=more)))
            fileset.add(path)
        scratch = [fileset._stage["t"]]
        fileset.write(tmp_path / "medium")
        for folder in [*scratch, fileset._stage["t"]]:  # else left to the garbage collector, which warns
            folder.cleanup()
        (tmp_path / "medium" / "README").write_text("not referenced")
        return tmp_path / "medium"

    def test_its_objects(self, medium):
        found = list(walk([str(medium / "DICOMDIR")]))
        assert len(found) == 3
        for one in found:
            assert isinstance(one, Found)
            assert Path(one.item.location).is_file()
            assert str(medium / one.item.relative) == one.item.location
            assert one.size > 0
            assert one.item.named

    @pytest.mark.parametrize("suffix", ["", ".", ";1", ".;1"])
    def test_copied_in_lower_case(self, medium, suffix):
        """As Linux shows ISO 9660 and FAT, and as many copy programs write them."""
        before = [one.item.relative for one in walk([str(medium / "DICOMDIR")])]
        for path in sorted(medium.rglob("*"), key=lambda path: -len(path.parts)):
            if path.name not in ("DICOMDIR", "README"):
                path.rename(path.with_name(path.name.lower() + (suffix if path.is_file() else "")))
        found = list(walk([str(medium / "DICOMDIR")]))
        assert [one.item.relative for one in found] == [name.lower() + suffix for name in before]
        assert all(Path(one.item.location).is_file() and one.size > 0 for one in found)

    def test_two_names_that_differ_in_case_only(self, medium):
        [first, *_] = walk([str(medium / "DICOMDIR")])
        path = Path(first.item.location)
        for name in (path.name.lower(), path.name.capitalize()):
            (path.parent / name).write_bytes(path.read_bytes())
        assert next(walk([str(medium / "DICOMDIR")])) == first, "the one that is written so is meant"
        path.unlink()
        [failed, *others] = walk([str(medium / "DICOMDIR")])
        assert isinstance(failed, Outcome)
        assert failed.state == "failed"
        assert failed.reason.endswith(f", which may be {path.name.capitalize()} or {path.name.lower()}")
        assert len(others) == 2
        assert all(isinstance(one, Found) for one in others)

    def test_below_a_folder_it_is_a_file(self, medium):
        assert "DICOMDIR" in names(medium)
        assert len(names(medium)) == 5

    @pytest.mark.parametrize("reference", ["../secret", "/etc/passwd", "..", "LINK/secret"])
    def test_references_to_the_outside(self, medium, tmp_path, reference):
        from pydicom import dcmread

        touch(tmp_path, "secret")
        (medium / "LINK").symlink_to(tmp_path)
        ds = dcmread(medium / "DICOMDIR")
        record = next(r for r in ds.DirectoryRecordSequence if "ReferencedFileID" in r)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            record.ReferencedFileID = reference.split("/") if not reference.startswith("/") else reference
            ds.save_as(medium / "DICOMDIR")
        found = list(walk([str(medium / "DICOMDIR")]))
        assert [type(f) for f in found].count(Outcome) == 1
        [refused] = [f for f in found if isinstance(f, Outcome)]
        assert refused.state == "failed"
        assert "outside of its folder" in refused.reason

    def test_not_a_dicomdir(self, tmp_path):
        touch(tmp_path, "DICOMDIR")
        [failed] = walk([str(tmp_path / "DICOMDIR")])
        assert isinstance(failed, Outcome)
        assert "not a DICOMDIR" in failed.reason


class TestStores:
    @pytest.fixture
    def memory(self):
        fs = fsspec.filesystem("memory")
        for name in ("a", "b/2", "b/1", ".a.0123abcd.part"):
            fs.pipe_file(f"/tree/{name}", name.encode())
        yield "memory://tree"
        fs.rm("/tree", recursive=True)

    def test_folder(self, memory):
        assert names(memory) == ["a", "b/1", "b/2"]
        found = list(walk([memory]))
        assert [f.item.location for f in found] == ["memory://tree/a", "memory://tree/b/1", "memory://tree/b/2"]
        assert [f.size for f in found] == [1, 3, 3]
        assert all(f.mtime_ns > 0 for f in found)

    def test_one_object(self, memory):
        [found] = walk([f"{memory}/b/1"])
        assert (found.item.relative, found.item.named) == ("1", True)

    def test_results_below_it(self, memory):
        assert names(memory, exclude=[f"{memory}/b"]) == ["a"]

    @pytest.mark.parametrize("url", ["memory://none", "nonsense://x/y", "s3://key:secret@bucket/x"])
    def test_what_is_not_there(self, url):
        [failed] = walk([url])
        assert isinstance(failed, Outcome)
        assert failed.state == "failed"
        assert "secret" not in failed.reason + failed.hint

    def test_s3(self, s3):
        fs = fsspec.filesystem("s3", use_listings_cache=False)
        for name in ("x/b/2", "x/b/1", "x/a", "xy/no"):
            fs.pipe_file(f"archive/walk/{name}", name.encode())
        assert names(f"{s3}/walk/x") == ["a", "b/1", "b/2"]
        assert [f.mtime_ns > 0 for f in walk([f"{s3}/walk/x/a"])] == [True]
        assert names(f"{s3}/walk/none") == ["!none"]
        assert names("s3://nobody/x") == ["!x"]


def test_credentials_in_an_address():
    from iomt_crypt.archive.store import file_system

    with pytest.raises(ConfigurationError, match="holds credentials") as caught:
        file_system("s3://key:secret@bucket/x")
    assert "secret" not in str(caught.value)
