"""The journal: what it knows after which end, and whose it is."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from iomt_crypt.archive.journal import Journal
from iomt_crypt.archive.operation import Item, Outcome
from iomt_crypt.archive.tree import Found
from iomt_crypt.errors import ConfigurationError, StorageError


class Work:
    """An operation of which only its name and options matter."""

    def __init__(self, name: str = "test", options: str = "") -> None:
        self.name, self._options = name, options

    def fingerprint(self) -> str:
        return self._options

    def open(self):
        raise NotImplementedError


def found(name: str, size: int = 1, mtime_ns: int = 2) -> Found:
    return Found(Item(name, name, False, "."), size, mtime_ns)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "journal"


def test_what_it_knows(path):
    one, two, three = found("/a"), found("/b"), found("/ü\udcff")
    with Journal(path, Work(), ["/"]) as journal:
        assert journal.standing(one) == "new"
        journal.begin([one, two, three])
        assert journal.standing(one) == "begun"
        journal.finish([one, two], [Outcome("/a", "done"), Outcome("/b", "failed", "why")])
    with Journal(path, Work(), ["/"]) as journal:
        assert [journal.standing(f) for f in (one, two, three)] == ["done", "failed", "begun"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("changed", [found("/a", size=9), found("/a", mtime_ns=9)])
def test_another_object_under_the_same_name(path, changed):
    with Journal(path, Work(), ["/"]) as journal:
        journal.begin([found("/a")])
        assert journal.standing(changed) == "begun", "an attempt may have left a result, whatever became of the object"
        journal.finish([found("/a")], [Outcome("/a", "done")])
        assert journal.standing(changed) == "new"


def test_what_was_changed_in_place_is_remembered_as_it_is_now(path, tmp_path):
    """A file that grew in the doing is not another object."""
    grown, left, replaced = (tmp_path / name for name in ("grown", "left", "replaced"))
    for name in (grown, left, replaced):
        name.write_bytes(b"as it was")
    work = Work()
    work.in_place = True
    seen = {name: found(str(name), *((s := name.stat()).st_size, s.st_mtime_ns)) for name in (grown, left, replaced)}
    with Journal(path, work, ["/"]) as journal:
        journal.begin(seen.values())
        for name in seen:
            name.write_bytes(b"as it is now")
            if name != replaced:
                os.utime(name, ns=(0, seen[name].mtime_ns))
        outcomes = [Outcome(str(grown), "done"), Outcome(str(left), "failed", "why"), Outcome(str(replaced), "done")]
        journal.finish(list(seen.values()), outcomes)
        now = {name: found(str(name), *((s := name.stat()).st_size, s.st_mtime_ns)) for name in seen}
        assert journal.standing(now[grown]) == "done"
        assert journal.standing(seen[grown]) == "new"
        assert journal.standing(now[left]) == "new"
        assert journal.standing(now[replaced]) == "new", "another run of the archive's put it there meanwhile"


def test_names_do_not_depend_on_the_folder(path, tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path)
    with Journal(path, Work(), ["x"]) as journal:
        journal.begin([found("x/a")])
        journal.finish([found("x/a")], [Outcome("x/a", "done")])
    monkeypatch.chdir(tmp_path / "x")
    with Journal(path, Work(), ["."]) as journal:
        assert journal.standing(found("./a")) == "done"


@pytest.mark.parametrize(
    ("work", "sources"),
    [(Work("other"), ["/s"]), (Work(options="x"), ["/s"]), (Work(), ["/t"]), (Work(), ["/s", "/t"])],
)
def test_another_runs_journal(path, work, sources):
    Journal(path, Work(), ["/s"]).__exit__(None, None, None)
    with pytest.raises(ConfigurationError, match="another run of 'test'") as caught:
        Journal(path, work, sources)
    assert "--journal" in caught.value.hint


def test_not_a_journal(path):
    path.write_bytes(b"my thesis, the only copy" * 100)
    with pytest.raises(ConfigurationError, match="not a journal"):
        Journal(path, Work(), ["/"])
    assert path.read_bytes().startswith(b"my thesis")


def test_another_data_base(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE run (id INTEGER)")
    db.commit()
    db.close()
    with pytest.raises((ConfigurationError, StorageError)):
        Journal(path, Work(), ["/"])


def test_in_use(path):
    with Journal(path, Work(), ["/"]), pytest.raises(StorageError, match="in use by another run"):
        Journal(path, Work(), ["/"])
    Journal(path, Work(), ["/"]).__exit__(None, None, None)


def test_nowhere(tmp_path):
    with pytest.raises(StorageError, match="cannot be opened"):
        Journal(tmp_path / "none" / "journal", Work(), ["/"])


def test_a_hundred_thousand_entries(path):
    """Memory stays with SQLite, and a look-up takes no scan."""
    everything = [found(f"/archive/{i:07}") for i in range(100_000)]
    with Journal(path, Work(), ["/"]) as journal:
        for start in range(0, len(everything), 1000):
            batch = everything[start : start + 1000]
            journal.begin(batch)
            journal.finish(batch, [Outcome(f.item.location, "done") for f in batch])
        assert all(journal.standing(f) == "done" for f in everything[::1000])
        plan = journal._db.execute("EXPLAIN QUERY PLAN SELECT state FROM object WHERE location = ?", ("x",)).fetchall()
        assert "SEARCH" in plan[0][3]
