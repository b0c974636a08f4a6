"""What a crash leaves: torn records are completed, block by block, and nothing else is touched."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from rekey_harness import MTIME_NS, check_rekeyed, located, rekey, state_files, worker, write_tree

from iomt_crypt.archive import redo, rekey_batch, rekey_folder, rekey_target, rekey_worker
from iomt_crypt.archive.redo import BLOCK_BYTES, Change, Redo, is_between, read_changes, recover
from iomt_crypt.archive.rekey import recover_trees
from iomt_crypt.archive.rekey_folder import Folder
from iomt_crypt.errors import AuthenticationError, StorageError
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring
from iomt_crypt.seal.container import without_slack
from iomt_crypt.seal.record import ParsedRecord


@pytest.fixture
def tree(tmp_path, old):
    return write_tree(tmp_path / "tree", 4, [old])


@pytest.fixture
def folder(tree):
    opened = Folder(tree.folder)
    yield opened
    opened.close()


def change_of(tree, name: str, old: HpkeIdentity, new: list[HpkeIdentity]) -> Change:
    """What a run would write there."""
    location = located(tree.before[name])
    epoch = Epoch.create([identity.recipient for identity in new])
    size = len(location.container)
    container = ParsedRecord.of(location.container).open(Keyring([old])).rewrapped(epoch, size=size)
    status = (tree.folder / name).stat()
    numbers = status.st_ino, status.st_size, status.st_mtime_ns, location.offset
    return Change(name, *numbers, location.container, container)


def cut_off(folder: Folder, *changes: Change) -> Path:
    """A redo file whose process is gone."""
    file = Redo(folder)
    for change in changes:
        file.add(change)
    file.write()
    file.abandon()
    return next((folder.path / ".iomt-crypt" / "redo").iterdir())


def write_blocks(path: Path, change: Change, pattern: int) -> None:
    """Blocks of the disk, new where the bit of ``pattern`` is set."""
    data = bytearray(path.read_bytes())
    for number in range(change.offset // BLOCK_BYTES, (change.offset + len(change.new) - 1) // BLOCK_BYTES + 1):
        begin = max(change.offset, number * BLOCK_BYTES)
        end = min(change.offset + len(change.new), (number + 1) * BLOCK_BYTES)
        if pattern >> (number - change.offset // BLOCK_BYTES) & 1:
            data[begin:end] = change.new[begin - change.offset : end - change.offset]
    status = path.stat()
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def n_blocks(change: Change) -> int:
    return (change.offset + len(change.new) - 1) // BLOCK_BYTES - change.offset // BLOCK_BYTES + 1


def test_every_place_where_a_write_can_stop(tree, folder, old, new):
    name, path = "study0/00000.dcm", tree.paths[0]
    change = change_of(tree, name, old, new)
    patterns = [(1 << count) - 1 for count in range(n_blocks(change) + 1)]
    chance = random.Random(5)
    patterns += [chance.getrandbits(n_blocks(change)) for _ in range(40)]  # a disk writes in any order
    torn = 0
    for pattern in patterns:
        path.write_bytes(tree.before[name])
        write_blocks(path, change, pattern)
        there = path.read_bytes()[change.offset : change.offset + len(change.new)]
        cut_off(folder, change)
        found = recover(folder)
        assert [r.state for r in found] == ["complete" if there == change.new else "completed"]
        torn += there not in (change.old, change.new)
        check_rekeyed(tree, name, old, new)
        assert state_files(tree.folder) == []
    assert torn > 20


def test_a_torn_record_is_completed_by_the_next_run(tree, folder, old, new):
    name = "study0/00000.dcm"
    change = change_of(tree, name, old, new)
    write_blocks(tree.paths[0], change, 0b1010101)
    with pytest.raises(AuthenticationError):
        ParsedRecord.of(located(tree.paths[0].read_bytes()).container)
    cut_off(folder, change)
    third = [HpkeIdentity.generate()]
    outcomes = rekey(tree, [old, *new], third)
    assert {outcome.state for outcome in outcomes} == {"done"}
    for name in tree.before:
        check_rekeyed(tree, name, old, third)
    assert tree.paths[0].stat().st_mtime_ns == MTIME_NS
    assert state_files(tree.folder) == []


def test_a_record_torn_after_the_run_began_is_completed_too(tree, folder, old, new):
    """By a worker that was killed beside this one: its batch is done again here."""
    working = worker([old, *new], [HpkeIdentity.generate()])
    items = tree.items()
    assert working.run(items[1:2])[0].state == "done"
    change = change_of(tree, "study0/00000.dcm", old, new)
    write_blocks(tree.paths[0], change, 0b11)
    cut_off(folder, change)
    assert working.run(items[:1])[0].state == "done"
    working.close()
    assert state_files(tree.folder) == []


def test_objects_that_a_recovery_changed_are_looked_at_again(tree, folder, old, new, monkeypatch):
    """They were worked out together with the torn one, before it was met."""
    monkeypatch.setattr(rekey_worker, "_MANY", 1)
    third = [HpkeIdentity.generate()]
    working = worker([old, *new], third)
    items, names = tree.items(), list(tree.before)
    assert working.run(items[1:2])[0].state == "done"
    changes = [change_of(tree, names[place], old, new) for place in (0, 2, 3)]
    write_blocks(tree.paths[0], changes[0], 0b11)
    cut_off(folder, *changes)
    assert {outcome.state for outcome in working.run([items[0], items[2], items[3]])} == {"done"}
    working.close()
    assert state_files(tree.folder) == []
    for name in names:
        check_rekeyed(tree, name, old, third)


def test_what_was_changed_since_is_left_and_the_redo_file_kept(tree, folder, old, new):
    change = change_of(tree, "study0/00000.dcm", old, new)
    other = change_of(tree, "study1/00001.dcm", old, new)
    data = bytearray(tree.before["study0/00000.dcm"])
    data[change.offset + 700] ^= 1
    tree.paths[0].write_bytes(data)
    cut_off(folder, change, other)
    assert [(r.state, r.reason) for r in recover(folder)] == [("left", "it was changed since"), ("completed", "")]
    assert tree.paths[0].read_bytes() == data
    check_rekeyed(tree, "study1/00001.dcm", old, new)
    (left,) = (tree.folder / ".iomt-crypt" / "redo").glob("*.left")
    assert read_changes(left.read_bytes()) == [change, other]
    assert recover(folder) == []
    tree.paths[0].write_bytes(tree.before["study0/00000.dcm"])
    assert [r.state for r in recover_trees([str(tree.folder)], left=True)] == ["completed", "complete"]
    check_rekeyed(tree, "study0/00000.dcm", old, new)
    assert not (tree.folder / ".iomt-crypt").exists()


@pytest.mark.parametrize("how", ["gone", "replaced", "longer", "another record"])
def test_what_is_no_longer_the_same_file_is_left(how, tree, folder, old, new):
    path = tree.paths[0]
    change = change_of(tree, "study0/00000.dcm", old, new)
    cut_off(folder, change)
    if how == "gone":
        path.unlink()
    elif how == "replaced":
        os.link(path, path.with_suffix(".kept"))  # so that its inode is not used again
        path.unlink()
        path.write_bytes(tree.before["study0/00000.dcm"])
    elif how == "longer":
        path.write_bytes(tree.before["study0/00000.dcm"] + b"\0\0")
    else:
        later = change_of(tree, "study0/00000.dcm", old, [HpkeIdentity.generate()])
        write_blocks(path, later, -1)
    before = path.read_bytes() if path.exists() else None
    found = recover(folder)
    assert [r.state for r in found] == ["complete" if how == "another record" else "left"]
    assert (path.read_bytes() if path.exists() else None) == before


@pytest.mark.parametrize("name", ["../outside.dcm", "study0/../../outside.dcm", "./x/..", "..", "/etc/hostname"])
def test_a_redo_file_leads_nowhere_else(name, tree, folder, old, new, tmp_path):
    outside = tmp_path / "outside.dcm"
    outside.write_bytes(tree.before["study0/00000.dcm"])
    change = change_of(tree, "study0/00000.dcm", old, new)
    cut_off(folder, change._replace(relative=name, inode=outside.stat().st_ino))
    assert [r.state for r in recover(folder)] == ["left"]
    assert outside.read_bytes() == tree.before["study0/00000.dcm"]


def test_the_redo_file_of_another_user_is_left(tree, folder, old, new, monkeypatch):
    path = cut_off(folder, change_of(tree, "study0/00000.dcm", old, new))
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    assert [(r.state, r.location) for r in recover(folder)] == [("left", str(path))]
    assert tree.untouched("study0/00000.dcm")
    assert path.exists()


def test_the_redo_file_of_a_living_process_is_refused(tree, folder, old, new):
    change = change_of(tree, "study0/00000.dcm", old, new)
    file = Redo(folder)
    file.add(change)
    file.write()
    assert [r.state for r in recover(folder)] == ["in use"]
    assert tree.untouched("study0/00000.dcm")
    file.abandon()
    assert [r.state for r in recover(folder)] == ["completed"]


def test_a_redo_file_that_was_not_finished(tree, folder, old, new):
    """Whole entries count, and what follows them was never relied upon."""
    changes = [change_of(tree, name, old, new) for name in tree.before]
    path = cut_off(folder, *changes)
    data = path.read_bytes()
    assert read_changes(data) == changes
    for size in range(0, len(data), 97):
        found = read_changes(data[:size])
        assert found == changes[: len(found)]
    middle = bytearray(data)
    middle[len(data) // 2] ^= 1
    assert read_changes(bytes(middle)) == changes[: len(read_changes(bytes(middle)))]
    assert len(read_changes(bytes(middle))) < len(changes)
    assert read_changes(b"") == read_changes(b"something else") == []


def test_drafts_of_a_run_that_was_cut_off_go(tree, folder):
    file = Redo(folder)
    draft = file.drafts() / "draft"
    draft.write_bytes(b"half an object")
    assert draft.is_file()
    file.write()
    file.abandon()
    assert recover(folder) == []
    assert state_files(tree.folder) == []


def test_nobody_else_may_read_the_state(tree, folder, old, new):
    path = cut_off(folder, change_of(tree, "study0/00000.dcm", old, new))
    assert path.stat().st_mode & 0o777 == 0o600
    assert {p.stat().st_mode & 0o777 for p in (path.parent, path.parent.parent)} == {0o700}


def test_a_file_that_is_locked_by_a_recovery_while_it_is_made(tree, folder, monkeypatch):
    """A recovery may take a redo file for an empty one before its lock: another one is made."""
    made, create = [], rekey_folder.create_secret

    def taken(path, name):
        found = create(path, name)
        made.append(found[0])
        if len(made) == 1:
            found[0].unlink()
        return found

    monkeypatch.setattr(rekey_folder, "create_secret", taken)
    file = Redo(folder)
    assert len(made) == 2
    assert made[1].exists()
    file.remove()


def test_folders_that_another_run_removes_at_its_end_are_made_again(tree, folder, old, new, monkeypatch):
    """`Folder.leave_state` of one run comes between the folder and the file of another one."""
    make = Folder.state
    removed: list[str] = []

    def removing(self, name):
        path = make(self, name)
        if name not in removed:
            removed.append(name)
            self.leave_state()
            assert not path.exists()
        return path

    monkeypatch.setattr(Folder, "state", removing)
    many = [*new, *(HpkeIdentity.generate() for _ in range(6))]
    assert {outcome.state for outcome in rekey(tree, [old], many, noted=True)} == {"done"}
    assert sorted(removed) == ["drafts", "epochs", "redo"]
    for name in tree.before:
        check_rekeyed(tree, name, old, many)


def test_the_state_of_a_run_that_ends_while_it_is_looked_for(folder, monkeypatch):
    state = folder.state("redo")
    iterate = Path.iterdir

    def gone(self):
        if self == state:
            state.rmdir()
        return iterate(self)

    monkeypatch.setattr(Path, "iterdir", gone)
    assert recover(folder) == []


@pytest.mark.parametrize("whole", [False, True])
def test_times_are_kept_though_the_write_was_cut_off(whole, tree, folder, old, new):
    """The kill comes between the write and the setting back of the time."""
    change, path = change_of(tree, "study0/00000.dcm", old, new), tree.paths[0]
    write_blocks(path, change, -1 if whole else 0b1011)
    os.utime(path)
    assert path.stat().st_mtime_ns != MTIME_NS
    cut_off(folder, change)
    assert [r.state for r in recover(folder)] == ["complete" if whole else "completed"]
    assert path.stat().st_mtime_ns == MTIME_NS


def test_a_time_that_may_not_be_set_back_keeps_no_recovery_from_ending(tree, folder, old, new, monkeypatch):
    """Of a file of another owner: the record is whole, and the redo file goes."""
    change = change_of(tree, "study0/00000.dcm", old, new)
    write_blocks(tree.paths[0], change, -1)
    cut_off(folder, change)

    def refused(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refused)
    assert [r.state for r in recover(folder)] == ["complete"]
    assert state_files(tree.folder) == []


def test_a_recovery_that_fails_is_told_of_each_object(tree, old, new, monkeypatch):
    def fails(*_, **__):
        raise StorageError("redo: Input/output error")

    monkeypatch.setattr(rekey_target, "recover", fails)
    outcomes = rekey(tree, [old], new)
    assert {(o.state, o.reason) for o in outcomes} == {("failed", "redo: Input/output error")}
    assert all(tree.untouched(name) for name in tree.before)


def test_redo_files_of_the_first_version_are_read(tree, folder, old, new):
    """They may hold the only record of an object."""
    changes = [change_of(tree, name, old, new) for name in list(tree.before)[:3]]
    data = b"IOMTREDO\0\1"
    for c in changes:
        name, was, now = c.relative.encode(), without_slack(c.old), without_slack(c.new)
        head = struct.pack(">QQQLHLL", c.inode, c.size, c.offset, len(c.new), len(name), len(was), len(now))
        body = head + name + was + now
        data += hashlib.sha256(body).digest()[:16] + body
    assert read_changes(data) == [c._replace(mtime_ns=None) for c in changes]
    assert read_changes(data[:-1]) == [c._replace(mtime_ns=None) for c in changes[:2]]
    path = cut_off(folder)
    path.write_bytes(data)
    write_blocks(tree.paths[0], changes[0], 0b1011)
    assert [r.state for r in recover(folder)] == ["completed"] * 3
    for c in changes:
        check_rekeyed(tree, c.relative, old, new)


def test_blocks_are_counted_from_the_beginning_of_the_file():
    change = Change("x", 1, 2, 3, 500, b"a" * 600, b"b" * 600)
    assert is_between(change, b"b" * 12 + b"a" * 512 + b"b" * 76)
    assert is_between(change, b"b" * 13 + b"a" * 587)  # a process that was killed
    assert not is_between(change, b"b" * 12 + b"a" * 100 + b"b" * 100 + b"a" * 388)
    assert not is_between(change, b"b" * 13 + b"c" * 587)
    assert not is_between(change, b"b" * 599)


def test_a_change_that_could_not_be_finished_keeps_its_redo_file(tree, old, new, monkeypatch):
    n_writes, pwrite = [], os.pwrite

    def fails(descriptor, data, offset):
        n_writes.append(1)
        if len(n_writes) == 1:
            return pwrite(descriptor, data[:1000], offset)
        if len(n_writes) == 2:
            raise OSError(28, "No space left on device")  # file systems that copy on write can say so
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", fails)
    outcomes = rekey(tree, [old], new)
    assert [outcome.state for outcome in outcomes] == ["failed", "done", "done", "done"]
    assert len(state_files(tree.folder)) == 1
    assert [r.state for r in recover_trees([str(tree.folder)])] == ["completed", *["complete"] * 3]
    for name in tree.before:
        check_rekeyed(tree, name, old, new)


def test_recovery_that_cannot_write_says_so(tree, folder, old, new, monkeypatch):
    cut_off(folder, change_of(tree, "study0/00000.dcm", old, new))

    def fails(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(redo, "overwrite", fails)
    with pytest.raises(StorageError, match="Read-only file system"):
        recover(folder)
    assert len(state_files(tree.folder)) == 1


def test_two_runs_over_one_tree(tree, old, new, monkeypatch):
    """The other run is between our reading and our writing: its record stays, and is a whole one."""
    third = [HpkeIdentity.generate()]
    apply = rekey_batch.Batch.apply
    begun = []

    def meanwhile(self, failed):
        if not begun:
            begun.append(True)
            assert {o.state for o in rekey(tree, [old], third)} == {"done"}
        apply(self, failed)

    monkeypatch.setattr(rekey_batch.Batch, "apply", meanwhile)
    assert {(o.state, "was changed while" in o.reason) for o in rekey(tree, [old], new)} == {("failed", True)}
    for name in tree.before:
        check_rekeyed(tree, name, old, third)


def test_an_object_is_locked_while_it_is_written(tree, old, new, monkeypatch):
    locked, overwrite = [], rekey_batch.overwrite

    def watched(descriptor, new, offset, status):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        with path.open("rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked.append(path)
        overwrite(descriptor, new, offset, status)

    monkeypatch.setattr(rekey_batch, "overwrite", watched)
    rekey(tree, [old], new)
    assert locked == tree.paths


def test_the_command_recovers(tree, folder, old, new):
    change = change_of(tree, "study0/00000.dcm", old, new)
    write_blocks(tree.paths[0], change, 0b10)
    cut_off(folder, change)
    command = [sys.executable, "-m", "iomt_crypt", "rekey", "--recover", str(tree.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "recovered: " in done.stderr
    check_rekeyed(tree, "study0/00000.dcm", old, new)
    file = Redo(folder)
    busy = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert busy.returncode == 1
    assert "is alive" in busy.stderr
    file.remove()
