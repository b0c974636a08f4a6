"""Drafts: their names, and which of them are left over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iomt_crypt import durable
from iomt_crypt.durable import draft


@pytest.mark.parametrize(
    "name",
    ["a", "a" * 240, "a" * 241, "a" * 255, "ü" * 127, "日" * 85, "a\nb", os.fsdecode(b"\xff" * 255), "a.0123abcd.part"],
)
def test_any_name_has_a_draft(tmp_path: Path, name: str):
    for path in (durable.draft_path(tmp_path / name), tmp_path / name):
        assert len(os.fsencode(path.name)) <= 255
    path = durable.draft_path(tmp_path / name)
    assert len(os.fsencode(path.name)) <= 143  # what eCryptfs takes
    assert path.parent == tmp_path
    assert durable.is_draft(path.name)
    if "\udcff" not in name:
        path.name.encode()  # no character is cut in two
    with durable.appearing_file(tmp_path / name) as file:
        file.write(b"x")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_drafts_of_older_versions_are_drafts():
    assert durable.is_draft(".a.0123abcd.part")
    assert durable.is_draft(".a\nb.0123abcd.part")
    for name in ("a.0123abcd.part", ".a.part", ".a.0123abc.part", "..0123abcd.part", ".hidden"):
        assert not durable.is_draft(name)


def test_leftovers(tmp_path: Path):
    mine = [durable.draft_path(tmp_path / name) for name in ("a", "b" * 255, "sub/c")]
    (tmp_path / "sub").mkdir()
    for path in mine:
        path.write_bytes(b"plain")
    folder = durable.draft_path(tmp_path / "report")
    folder.mkdir()
    (folder / "picture").touch()
    # Names that this version does not give, links, and what is no file, are somebody else's.
    kept = [tmp_path / ".a.00000000.part", tmp_path / "sub" / "object", durable.draft_path(tmp_path / "pipe")]
    kept[0].touch()
    kept[1].touch()
    os.mkfifo(kept[2])
    kept.append(durable.draft_path(tmp_path / "link"))
    kept[3].symlink_to(kept[1])
    assert sorted(durable.remove_leftovers(tmp_path)) == sorted([*mine[:2], folder])
    assert mine[2].exists()
    assert durable.remove_leftovers(tmp_path, below=True) == [mine[2]]
    assert sorted(p for p in tmp_path.rglob("*") if p.name != "sub") == sorted(kept)
    assert durable.remove_leftovers(tmp_path / "none") == []


def test_drafts_of_the_living_stay(tmp_path: Path):
    with durable.appearing_file(tmp_path / "a") as file, durable.appearing_folder(tmp_path / "b"):
        file.write(b"x")
        assert durable.remove_leftovers(tmp_path, below=True) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_draft_that_is_taken_away_before_it_is_locked_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    flock, n_calls = draft.fcntl.flock, 0

    def taken(descriptor: int, how: int) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            Path(f"/proc/self/fd/{descriptor}").readlink().unlink()
        flock(descriptor, how)

    monkeypatch.setattr(draft.fcntl, "flock", taken)
    with durable.appearing_file(tmp_path / "a") as file:
        file.write(b"x")
    assert n_calls == 2
    assert (tmp_path / "a").read_bytes() == b"x"


def test_where_nothing_can_be_locked_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def none(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(draft.fcntl, "flock", none)
    path = durable.draft_path(tmp_path / "a")
    path.touch()
    with durable.appearing_file(tmp_path / "b"):
        pass
    assert durable.remove_leftovers(tmp_path) == []
    assert path.exists()
