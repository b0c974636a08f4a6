"""Re-keying of trees: what changes, what stays, what is refused."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from rekey_harness import MTIME_NS, check_rekeyed, located, operation, rekey, run, state_files, worker, write_tree

import iomt_crypt
from iomt_crypt.archive import rekey_batch, rekey_folder, rekey_target, rekey_worker
from iomt_crypt.archive.journal import Journal
from iomt_crypt.archive.key import KeySource
from iomt_crypt.archive.operation import Item
from iomt_crypt.archive.rekey import RekeyOperation, readable_after
from iomt_crypt.archive.rekey_folder import Folder
from iomt_crypt.cli.app import main
from iomt_crypt.dicom import decrypt_file, verify_file
from iomt_crypt.errors import (
    AuthenticationError,
    InputError,
    KeyMaterialError,
    NoMatchingIdentityError,
    NotEncryptedError,
)
from iomt_crypt.seal import Epoch, HpkeIdentity, fingerprint_text, write_identity
from iomt_crypt.seal.kind.passphrase import PassphraseIdentity, PassphraseRecipient
from tests import synthetic


@pytest.fixture
def tree(tmp_path, old):
    return write_tree(tmp_path / "tree", 12, [old])


@pytest.fixture
def old_key(tmp_path, old) -> Path:
    write_identity(tmp_path / "old.key", old)
    return tmp_path / "old.key"


def states(outcomes) -> set[tuple[str, str]]:
    return {(outcome.state, outcome.detail.get("how", outcome.reason)) for outcome in outcomes}


def test_in_place(tree, old, new):
    inodes = [path.stat().st_ino for path in tree.paths]
    assert states(rekey(tree, [old], new)) == {("done", "in place")}
    for name in tree.before:
        check_rekeyed(tree, name, old, new)
    assert [path.stat().st_ino for path in tree.paths] == inodes
    assert {path.stat().st_mtime_ns for path in tree.paths} == {MTIME_NS}
    assert state_files(tree.folder) == []


def test_the_epoch_is_new_even_for_the_same_recipients_and_one_more(tree, old, new):
    rekey(tree, [old], [old, *new])
    epochs = [located(data).container for data in (tree.before["study0/00000.dcm"], tree.paths[0].read_bytes())]
    ids = [iomt_crypt.seal.Record.unpack(container).epoch_id for container in epochs]
    assert ids[0] != ids[1]


def test_a_new_file_where_the_record_has_no_room(tree, old, new):
    path = tree.paths[0]
    path.chmod(0o640)
    os.setxattr(path, "user.note", b"kept")
    os.utime(path, ns=(MTIME_NS + 1, MTIME_NS))
    before = path.stat()
    many = [*new, *(HpkeIdentity.generate() for _ in range(5))]
    assert states(rekey(tree, [old], many)) == {("done", "new file")}
    after = path.stat()
    for name in tree.before:
        check_rekeyed(tree, name, old, many)
    assert after.st_ino != before.st_ino
    for field in ("st_mode", "st_uid", "st_gid", "st_atime_ns", "st_mtime_ns"):
        assert getattr(after, field) == getattr(before, field)
    assert os.getxattr(path, "user.note") == b"kept"
    assert state_files(tree.folder) == []


@pytest.mark.parametrize("fails", [False, True])
def test_replaced_files_are_let_go_of(fails, tree, old, new, monkeypatch):
    """The old files are deleted by the thread that waits for the disk; whatever happens, none is held on to."""
    many = [*new, *(HpkeIdentity.generate() for _ in range(5))]
    if fails:
        n_syncs, sync = [], Folder.sync

        def lost(self):
            n_syncs.append(1)
            if len(n_syncs) == 2:  # when the drafts have taken their places
                raise OSError(errno.EIO, "Input/output error")
            sync(self)

        monkeypatch.setattr(Folder, "sync", lost)
    working = worker([old], many)
    outcomes = working.run(tree.items())
    held = [name for name in _open_files() if ".dcm" in name]
    working.close()
    assert {outcome.state for outcome in outcomes} == {"failed" if fails else "done"}
    assert held == []


def _open_files() -> set[str]:
    """Names of what this process has open; files that were deleted end with "(deleted)"."""
    names = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            names.add(str(descriptor.readlink()))
    return names


def test_the_owner_is_kept(tree, old, new, monkeypatch):
    """Only root gives files away; for others what is asked of the system must be the owner that the file had."""
    asked = []
    if os.geteuid() == 0:
        os.chown(tree.paths[0], 1234, 5678)
    else:
        monkeypatch.setattr(os, "fchown", lambda _, *owner: asked.append(owner))
    before = tree.paths[0].stat()
    rekey(tree, [old], [*new, *(HpkeIdentity.generate() for _ in range(5))])
    after = tree.paths[0].stat()
    assert after.st_ino != before.st_ino
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert os.geteuid() == 0 or asked == [(before.st_uid, before.st_gid)] * len(tree.paths)


def test_an_owner_that_cannot_be_kept_is_a_failure(tree, old, new, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    outcomes = rekey(tree, [old], [*new, *(HpkeIdentity.generate() for _ in range(5))])
    assert {outcome.state for outcome in outcomes} == {"failed"}
    assert all(tree.untouched(name) for name in tree.before)
    assert state_files(tree.folder) == []


def test_rotation(tree, old, new, tmp_path):
    plain = tmp_path / "before.dcm"
    decrypt_file(tree.paths[0], plain, identities=[old])
    assert states(rekey(tree, [old], new, rotate=True)) == {("done", "rotated")}
    decrypt_file(tree.paths[0], tmp_path / "after.dcm", identities=[new[1]])
    assert (tmp_path / "after.dcm").read_bytes() == plain.read_bytes()
    for name, path in zip(tree.before, tree.paths, strict=True):
        assert path.read_bytes()[-65:] != tree.before[name][-65:]
        assert path.stat().st_mtime_ns == MTIME_NS
        with pytest.raises(NoMatchingIdentityError):
            verify_file(path, identities=[old])
    assert state_files(tree.folder) == []


def test_a_rotation_that_fails_leaves_the_object(tree, old, new):
    data = tree.paths[0].read_bytes()
    tree.paths[0].write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    damaged = tree.paths[0].read_bytes()
    outcomes = rekey(tree, [old], new, rotate=True)
    assert [outcome.state for outcome in outcomes] == ["failed", *["done"] * 11]
    assert outcomes[0].reason == "authentication failed"
    assert tree.paths[0].read_bytes() == damaged
    assert state_files(tree.folder) == []


def test_dry_run_writes_nothing(tree, old, new):
    for options in ({}, {"rotate": True}):
        outcomes = rekey(tree, [old], new, dry_run=True, **options)
        assert {outcome.state for outcome in outcomes} == {"done"}
        assert all(outcome.detail["dry_run"] for outcome in outcomes)
    assert all(tree.untouched(name) for name in tree.before)
    assert not (tree.folder / ".iomt-crypt").exists()


@pytest.mark.parametrize("dry_run", [False, True])
def test_files_of_others_are_refused_before_they_are_written(dry_run, tree, old, new, monkeypatch):
    """Their times could not be kept; and half of the work would be done when that shows."""
    monkeypatch.setattr(rekey_worker, "_USER", 12345)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    outcomes = rekey(tree, [old], new, dry_run=dry_run)
    assert {outcome.state for outcome in outcomes} == {"failed"}
    assert "belongs to another user" in outcomes[0].reason
    assert all(tree.untouched(name) for name in tree.before)
    assert state_files(tree.folder) == []


@pytest.mark.parametrize("what", ["hard link", "pixels", "not writable", "folder not writable"])
def test_dry_run_finds_what_would_fail(what, tree, old, new, monkeypatch):
    """It says of each object what the run says that changes it, in the same words."""
    path, many, options = tree.paths[0], list(new), {}
    if what == "hard link":
        os.link(path, tree.folder / "study1" / "zz")
        many += [HpkeIdentity.generate() for _ in range(6)]
    elif what == "pixels":
        path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
        options = {"rotate": True}
    else:  # root may do anything
        many += [HpkeIdentity.generate() for _ in range(6 * (what == "folder not writable"))]
        monkeypatch.setattr(os, "access", lambda name, *_, **__: name not in (path.name, "."))
    before = path.read_bytes()
    outcomes = rekey(tree, [old], many, dry_run=True, **options)
    assert outcomes[0].state == "failed"
    assert outcomes[0].reason.count("00000.dcm") == ("writable" in what or what == "hard link")
    assert path.read_bytes() == before
    assert not (tree.folder / ".iomt-crypt").exists()
    if "writable" not in what:
        done = rekey(tree, [old], many, **options)
        assert [(o.state, o.reason) for o in done] == [(o.state, o.reason) for o in outcomes]


def test_what_is_done_is_not_done_again(tree, old, new):
    rekey(tree, [old], new)
    after = [path.read_bytes() for path in tree.paths]
    for identities in ([old], [new[0]], [old, *new]):  # known by its epoch, and by being opened
        assert states(rekey(tree, identities, new)) == {("skipped", "done before: it has exactly these recipients")}
    assert [path.read_bytes() for path in tree.paths] == after


def test_recipients_that_are_claimed_are_not_believed(tree, old, new):
    """The fingerprints in a record are hints: without a run that is known here, it has to be opened."""
    rekey(tree, [old], new)
    shutil.rmtree(tree.folder / ".iomt-crypt")
    assert states(rekey(tree, [old], new)) == {("failed", "no matching identity")}


def test_a_passphrase_is_told_from_another_one(tree, old):
    """Its stanzas say nothing of whose they are; so they are tried, and what is done is known all the same."""
    first, second = (PassphraseRecipient(name * 3) for name in (b"first", b"second"))
    opens_first, opens_second = (PassphraseIdentity(name * 3) for name in (b"first", b"second"))

    def rekeyed(identities, recipient) -> set[tuple[str, str]]:
        working = rekey_worker.RekeyWorker(identities, [recipient])
        try:
            return states(working.run(tree.items()))
        finally:
            working.close()

    before = ("skipped", "done before: it has exactly these recipients")
    assert rekeyed([old], first) == {("done", "in place")}
    assert rekeyed([old], PassphraseRecipient(b"first" * 3)) == {before}  # cut off, and gone on with
    assert rekeyed([opens_first], first) == {before}
    assert {state for state, _ in rekeyed([old], second)} == {"failed"}
    assert rekeyed([opens_first], second) == {("done", "in place")}
    assert rekeyed([opens_second], second) == {before}


def test_a_second_rotation_is_one(tree, old, new):
    rekey(tree, [old], [old], rotate=True)
    first = [path.read_bytes() for path in tree.paths]
    assert states(rekey(tree, [old], [old], rotate=True)) == {("done", "rotated")}
    assert all(path.read_bytes() != data for path, data in zip(tree.paths, first, strict=True))


def test_a_rotation_that_was_begun_goes_on(tree, old):
    """With a journal: what was rotated, and not heard of, is not rotated again."""
    rekey(tree, [old], [old], rotate=True)
    first = [path.read_bytes() for path in tree.paths]
    working = worker([old], [old], rotate=True)
    outcomes = working.run([Item(i.location, i.relative, i.named, i.source, again=True) for i in tree.items()])
    working.close()
    assert {outcome.state for outcome in outcomes} == {"skipped"}
    assert [path.read_bytes() for path in tree.paths] == first


def test_mixed_trees(tree, old, new):
    """Plain, encrypted by others, not DICOM, damaged, to somebody else: told, and left alone."""
    sequence = (0x04000500, ("SQ", b""))
    others = {
        "plain.dcm": (synthetic.file(synthetic.image()), "skipped", "plain"),
        "theirs.dcm": (synthetic.file(synthetic.image(more=dict([sequence]))), "skipped", "other software"),
        "notes.txt": (b"nothing of the kind, but long enough", "skipped", "not a DICOM file"),
        "empty": (b"", "skipped", "not a DICOM file"),
        "cut.dcm": (tree.before["study0/00000.dcm"][:-1], "failed", "are there"),
        "damaged.dcm": (_damaged(tree.before["study0/00000.dcm"]), "failed", "authentication failed"),
    }
    for name, (data, _, _) in others.items():
        (tree.folder / name).write_bytes(data)
    stranger = write_tree(tree.folder.parent / "other", 1, [HpkeIdentity.generate()])
    shutil.copy(stranger.paths[0], tree.folder / "stranger.dcm")
    working = worker([old], new)
    names = [*others, "stranger.dcm", *tree.before]
    outcomes = working.run([Item(str(tree.folder / name), name, False, str(tree.folder)) for name in names])
    working.close()
    found = dict(zip(names, outcomes, strict=True))
    for name, (data, state, reason) in others.items():
        assert found[name].state == state, name
        assert reason in found[name].reason
        assert (tree.folder / name).read_bytes() == data
    assert (found["stranger.dcm"].state, found["stranger.dcm"].reason) == ("failed", "no matching identity")
    assert {found[name].state for name in tree.before} == {"done"}


def _damaged(data: bytes) -> bytes:
    at = located(data).offset + 100
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_file_that_was_named_is_expected_to_be_ours(tmp_path, old, new):
    path = tmp_path / "plain.dcm"
    path.write_bytes(synthetic.file(synthetic.image()))
    working = worker([old], new)
    outcome = working.run([Item(str(path), path.name, True, str(path))])[0]
    working.close()
    assert (outcome.state, "plain" in outcome.reason) == ("failed", True)
    assert not (tmp_path / ".iomt-crypt").exists()


def test_hard_links(tree, old, new):
    """In place both names change, as they are one object; a new file would leave one of them behind."""
    os.link(tree.paths[0], tree.folder / "study1" / "zz.dcm")
    items = [*tree.items(), Item(str(tree.folder / "study1/zz.dcm"), "study1/zz.dcm", False, str(tree.folder))]
    working = worker([old], new)
    assert {outcome.state for outcome in working.run(items)} == {"done"}
    working.close()
    assert (tree.folder / "study1/zz.dcm").samefile(tree.paths[0])
    check_rekeyed(tree, "study0/00000.dcm", old, new)
    after = tree.paths[0].read_bytes()
    working = worker(new, [HpkeIdentity.generate() for _ in range(8)])
    outcome = working.run(items[:1])[0]
    working.close()
    assert outcome.state == "failed"
    assert "2 names" in outcome.reason
    assert tree.paths[0].read_bytes() == after


@pytest.mark.parametrize("where", ["file", "folder"])
def test_links_in_a_tree_are_not_followed(where, tree, old, new, tmp_path):
    outside = write_tree(tmp_path / "outside", 1, [old])
    if where == "file":
        (tree.folder / "link.dcm").symlink_to(outside.paths[0])
        name = "link.dcm"
    else:
        (tree.folder / "link").symlink_to(outside.folder / "study0")
        name = "link/00000.dcm"
    working = worker([old], new)
    outcome = working.run([Item(str(tree.folder / name), name, False, str(tree.folder))])[0]
    working.close()
    assert outcome.state == "failed"
    assert "through a link" in outcome.reason
    assert outside.untouched("study0/00000.dcm")


def test_state_that_is_removed_again_and_again_is_told(tree, old, new, monkeypatch):
    state = Folder.state

    def removed(self, name):
        path = state(self, name)
        path.rmdir()
        return path

    monkeypatch.setattr(Folder, "state", removed)
    outcomes = rekey(tree, [old], new)
    assert {outcome.state for outcome in outcomes} == {"failed"}
    assert "again and again" in outcomes[0].reason
    assert all(tree.untouched(name) for name in tree.before)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", [".iomt-crypt", ".iomt-crypt/redo"])
def test_state_that_is_a_link_is_refused(name, there, tree, old, new, tmp_path):
    """Also one that leads nowhere, which looks like a folder that another run has just removed."""
    if there:
        (tmp_path / "elsewhere").mkdir()
    (tree.folder / name).parent.mkdir(exist_ok=True)
    (tree.folder / name).symlink_to(tmp_path / "elsewhere")
    outcomes = rekey(tree, [old], new)
    assert {outcome.state for outcome in outcomes} == {"failed"}
    assert "a link" in outcomes[0].reason
    assert all(tree.untouched(name) for name in tree.before)


@pytest.mark.parametrize("how", ["another file", "another record", "gone"])
def test_an_object_that_changes_meanwhile_is_left_alone(how, tree, old, new, monkeypatch):
    path, apply = tree.paths[0], rekey_batch.Batch.apply
    other = write_tree(tree.folder.parent / "other", 1, [old]).paths[0].read_bytes()

    def changed(self, failed):
        if how == "gone":
            path.unlink()
        elif how == "another record":
            path.write_bytes(_damaged(path.read_bytes()))
        else:
            path.unlink()
            path.write_bytes(other)
        apply(self, failed)

    monkeypatch.setattr(rekey_batch.Batch, "apply", changed)
    outcomes = rekey(tree, [old], new)
    assert [outcome.state for outcome in outcomes] == ["failed", *["done"] * 11]
    assert how != "another file" or path.read_bytes() == other
    assert state_files(tree.folder) == []


def test_no_room_for_the_redo_file(tree, old, new, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rekey_batch.Redo, "write", lambda self: _raise(full))
    outcomes = rekey(tree, [old], new)
    assert {(o.state, o.reason) for o in outcomes} == {("failed", "redo: no room left on the device")}
    assert all(tree.untouched(name) for name in tree.before)
    assert state_files(tree.folder) == []


def _raise(function):
    try:
        function()
    except OSError as error:
        raise rekey_folder.storage_error(error, "redo") from error


def test_no_room_for_a_new_file(tree, old, new, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rekey_worker, "copy_patched", full)
    outcomes = rekey(tree, [old], [*new, *(HpkeIdentity.generate() for _ in range(5))])
    assert {outcome.state for outcome in outcomes} == {"failed"}
    assert {"no room left" in outcome.reason for outcome in outcomes} == {True}
    assert all(tree.untouched(name) for name in tree.before)
    assert state_files(tree.folder) == []


def test_a_tree_that_cannot_be_written(tree, old, new, monkeypatch):
    mkdir = Path.mkdir

    def read_only(self, *args, **kwargs):
        if ".iomt-crypt" in self.parts:
            raise OSError(errno.EROFS, "Read-only file system")
        mkdir(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", read_only)
    outcomes = rekey(tree, [old], new)
    assert {outcome.state for outcome in outcomes} == {"failed"}
    assert "Read-only file system" in outcomes[0].reason
    assert all(tree.untouched(name) for name in tree.before)


def test_writes_that_the_disk_loses(tree, old, new, monkeypatch):
    """Nothing is called done that is not durable, and what was begun can be completed."""
    n_syncs, sync = [], Folder.sync

    def fails(self):
        n_syncs.append(1)
        if len(n_syncs) == 2:
            raise OSError(errno.EIO, "Input/output error")
        sync(self)

    monkeypatch.setattr(Folder, "sync", fails)
    outcomes = rekey(tree, [old], new)
    assert {outcome.state for outcome in outcomes} == {"failed"}
    assert len(state_files(tree.folder)) == 1
    assert states(rekey(tree, [old], new)) == {("skipped", "done before: it has exactly these recipients")}
    assert state_files(tree.folder) == []


def test_several_batches(tree, old, new, monkeypatch):
    monkeypatch.setattr(rekey_batch, "_MOST_OBJECTS", 5)
    assert states(rekey(tree, [old], new)) == {("done", "in place")}
    for name in tree.before:
        check_rekeyed(tree, name, old, new)
    assert state_files(tree.folder) == []


def test_to_be_looked_at_is_no_access(tree, old, new):
    """Access times stay, also of what is not changed."""
    for path in tree.paths:
        os.utime(path, ns=(5, MTIME_NS))
    rekey(tree, [old], new, dry_run=True)
    assert {path.stat().st_atime_ns for path in tree.paths} == {5}
    rekey(tree, [old], new)
    assert {(path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in tree.paths} == {(5, MTIME_NS)}


def test_without_the_right_to_leave_access_times_alone(tree, old, new, monkeypatch):
    opened, refused = os.open, []

    def open_(path, flags, *arguments, **options):
        if flags & os.O_NOATIME:
            refused.append(path)
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return opened(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", open_)
    assert states(rekey(tree, [old], new)) == {("done", "in place")}
    assert len(refused) == 2 * len(tree.paths)
    for name in tree.before:
        check_rekeyed(tree, name, old, new)


@pytest.mark.parametrize("window", [1, 2, 5, 100])
def test_objects_are_opened_ahead_and_closed(window, tree, old, new, monkeypatch):
    """Whatever is between them: each item has its own outcome, and no file stays open."""
    monkeypatch.setattr(rekey_target, "WINDOW", window)
    items = tree.items()
    os.mkfifo(tree.folder / "pipe.dcm")
    for place, name in enumerate(("missing.dcm", "pipe.dcm", "study0")):
        items.insert(3 * place, Item(str(tree.folder / name), name, True, str(tree.folder / name)))
    working = worker([old], new)
    steps, attempt, begin = [], rekey_target.Targets._attempt, working._begin
    monkeypatch.setattr(
        rekey_target.Targets, "_attempt", lambda *given: (steps.append(f"open {given[1]}"), attempt(*given))[1]
    )
    monkeypatch.setattr(working, "_begin", lambda *given: (steps.append(f"begin {given[0]}"), begin(*given))[1])
    before = _open_files()
    outcomes = working.run(items)
    kept = _open_files() - before
    working.close()
    for number in range(len(items)):
        last = min(len(items) - 1, (number // window + 2) * window - 1)
        assert steps.index(f"open {last}") < steps.index(f"begin {number}")
        assert f"open {last + 1}" not in steps[: steps.index(f"begin {number}")]
    assert [outcome.location for outcome in outcomes] == [item.location for item in items]
    assert [outcome.state for outcome in outcomes] == [
        "failed" if place in (0, 3, 6) else "done" for place in range(len(items))
    ]
    assert [outcomes[place].reason.rpartition(": ")[2] for place in (0, 3, 6)] == [
        "no such file",
        "not a regular file",
        "not a regular file",
    ]
    assert kept <= {str(tree.folder), *(str(tree.folder / f"study{n}") for n in range(3))}
    for name in tree.before:
        check_rekeyed(tree, name, old, new)


def test_windows_that_are_not_taken_to_their_end(tree, monkeypatch):
    """Everything is closed, also when Ctrl-C comes while files are opened."""
    monkeypatch.setattr(rekey_target, "WINDOW", 2)
    targets, before = rekey_target.Targets(dry_run=True), _open_files()
    windows = targets.windows(tree.items())
    assert [target.number for target in next(windows)] == [0, 1]
    assert len(_open_files() - before - _folders(tree)) == 4
    windows.close()
    assert _open_files() - before <= _folders(tree)
    attempt = targets._attempt

    def interrupted(number, item):
        if number == 3:
            raise KeyboardInterrupt
        return attempt(number, item)

    monkeypatch.setattr(targets, "_attempt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(targets.windows(tree.items()))
    assert _open_files() - before <= _folders(tree)
    targets.close()


def _folders(tree) -> set[str]:
    return {str(tree.folder), *(str(path) for path in tree.folder.iterdir())}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO])
def test_redo_files_that_cannot_be_removed(number, tree, old, new, monkeypatch, caplog):
    """What is told as done is done, and the next run removes them."""
    unlink = Path.unlink

    def fails(self, **options):
        if self.parent.name == "redo":
            raise OSError(number, os.strerror(number))
        unlink(self, **options)

    monkeypatch.setattr(rekey_batch, "_MOST_OBJECTS", 2)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", fails)
        assert states(rekey(tree, [old], new)) == {("done", "in place")}
    assert "cannot be removed" in caplog.text
    for name in tree.before:
        check_rekeyed(tree, name, old, new)
    assert len(state_files(tree.folder)) == len(tree.before) / 2
    assert {outcome.state for outcome in rekey(tree, new, new)} == {"skipped"}
    assert state_files(tree.folder) == []


def test_what_is_not_known_to_be_written_is_not_told_as_done(tree, old, new, monkeypatch):
    """Whatever goes wrong between a batch and the disk."""
    advance, calls = rekey_batch.Pipeline._advance, []

    def fails_once(self):
        calls.append(self._prepared)
        if len(calls) == 3:
            self._prepared = None
            raise MemoryError
        advance(self)

    monkeypatch.setattr(rekey_batch, "_MOST_OBJECTS", 2)
    monkeypatch.setattr(rekey_batch.Pipeline, "_advance", fails_once)
    outcomes = rekey(tree, [old], new)
    told = {item.relative: outcome.state for item, outcome in zip(tree.items(), outcomes, strict=True)}
    assert set(told.values()) == {"done", "failed"}
    for name, state in told.items():
        assert tree.untouched(name) == (state == "failed"), name
        if state == "done":
            check_rekeyed(tree, name, old, new)


def test_an_object_that_appears_before_its_turn_is_done(tree, old, new, monkeypatch):
    path = tree.paths[5]
    away = path.rename(tree.folder.parent / "away")
    begin = rekey_worker.RekeyWorker._begin

    def back(self, number, item, target, rewrap):
        if number == 5:
            assert target is None
            away.rename(path)
        return begin(self, number, item, target, rewrap)

    monkeypatch.setattr(rekey_worker.RekeyWorker, "_begin", back)
    assert {outcome.state for outcome in rekey(tree, [old], new)} == {"done"}


def test_an_epoch_serves_so_many_objects(tree, old, new, monkeypatch):
    from iomt_crypt.archive import rekey_epoch

    monkeypatch.setattr(rekey_epoch, "_OBJECTS_PER_EPOCH", 5)
    outcomes = rekey(tree, [old], new)
    ids = [outcome.detail["epoch_id"] for outcome in outcomes]
    assert [ids.count(i) for i in dict.fromkeys(ids)] == [5, 5, 2]
    assert sorted(p.name for p in (tree.folder / ".iomt-crypt" / "epochs").iterdir()) == sorted(set(ids))


def test_stores_are_refused(old, new):
    working = worker([old], new)
    outcome = working.run([Item("s3://bucket/a.dcm", "a.dcm", False, "s3://bucket")])[0]
    working.close()
    assert outcome.state == "failed"
    assert "cannot be changed in place" in outcome.reason


def test_by_run_tree_with_processes(tree, old, new, old_key):
    summary, outcomes = run(tree, operation([old_key], new), workers=2)
    assert (summary.done, summary.failed) == (12, 0)
    assert states(outcomes) == {("done", "in place")}
    for name in tree.before:
        check_rekeyed(tree, name, old, new)
    assert state_files(tree.folder) == []


def test_an_operation_shows_no_secret(old, new, old_key):
    work = operation([old_key], new)
    assert old.secret_text() not in repr(work)
    assert work.fingerprint() == operation([old_key], list(reversed(new))).fingerprint()
    assert work.fingerprint() != operation([old_key], new, rotate=True).fingerprint()
    assert work.fingerprint() != operation([old_key], new[:1]).fingerprint()
    assert not work.secret
    assert RekeyOperation(KeySource((), {"x": b"y"}), KeySource(())).secret


def test_rekey_file(tree, old, new):
    path = tree.paths[0]
    recipients = [identity.recipient for identity in new]
    assert iomt_crypt.rekey_file(path, identities=[old], recipients=recipients) == "in place"
    check_rekeyed(tree, "study0/00000.dcm", old, new)
    assert iomt_crypt.rekey_file(path, identities=new, recipients=recipients) == "done before"
    assert iomt_crypt.rekey_file(str(path), identities=new, recipients=recipients, rotate=True) == "rotated"
    with pytest.raises(NoMatchingIdentityError):
        iomt_crypt.rekey_file(path, identities=[old], recipients=recipients)
    with pytest.raises(KeyMaterialError, match="0 recipients"):
        iomt_crypt.rekey_file(path, identities=new, recipients=[])
    assert not (path.parent / ".iomt-crypt").exists()


def test_rekey_file_refuses(tmp_path, tree, old, new):
    recipients = [identity.recipient for identity in new]
    for data, error in ((synthetic.file(synthetic.image()), NotEncryptedError), (b"", InputError)):
        path = tmp_path / "x.dcm"
        path.write_bytes(data)
        with pytest.raises(error):
            iomt_crypt.rekey_file(path, identities=[old], recipients=recipients)
    tree.paths[0].write_bytes(_damaged(tree.paths[0].read_bytes()))
    with pytest.raises(AuthenticationError):
        iomt_crypt.rekey_file(tree.paths[0], identities=[old], recipients=recipients)
    (tmp_path / "link.dcm").symlink_to(tree.paths[1])
    for path, reason in ((tmp_path / "link.dcm", "through a link"), (tmp_path / "none.dcm", "no such file")):
        with pytest.raises(InputError, match=reason):
            iomt_crypt.rekey_file(path, identities=[old], recipients=recipients)
    with pytest.raises(InputError, match="not a regular file"):
        iomt_crypt.rekey_file(tree.folder / "study0", identities=[old], recipients=recipients)


def test_readable_after(old, new, monkeypatch):
    assert readable_after([old, new[0]], [new[0].recipient])
    assert not readable_after([old], [new[0].recipient])
    with pytest.raises(KeyMaterialError, match="0 recipients"):
        readable_after([old], [])
    monkeypatch.setattr(HpkeIdentity, "unwrap", lambda self, stanza, epoch_id: None)
    with pytest.raises(KeyMaterialError, match=fingerprint_text(old.fingerprint)):
        readable_after([old], [old.recipient])


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def cli(*arguments: object) -> Done:
    """The command in this process, which saves the imports of a new one."""
    stdout, stderr, logger = io.StringIO(), io.StringIO(), logging.getLogger("pydicom")
    level = logger.level
    with redirect_stdout(stdout), redirect_stderr(stderr), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["iomt-crypt", *map(str, arguments)])
        try:
            main()
            code: object = 0
        except SystemExit as left:
            code = left.code
        finally:
            logger.setLevel(level)
    return Done(int(code or 0), stdout.getvalue(), stderr.getvalue())  # type: ignore[call-overload]


def test_the_command(tree, old, new, old_key, tmp_path):
    recipients = tmp_path / "new.txt"
    recipients.write_text("".join(f"{identity.recipient}\n" for identity in new))
    (tree.folder / "notes.txt").write_text("no object")
    refused = cli("rekey", "-i", old_key, "-r", recipients, "--keep-readable", tree.folder)
    assert refused.returncode == 1
    assert "none of the identities given will open the result" in refused.stderr
    done = cli("rekey", "-i", old_key, "-r", recipients, "--json", "--report", tmp_path / "report.json", tree.folder)
    assert done.returncode == 0, done.stderr
    assert "warning: none of the identities given" in done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["how"] for line in told if line["state"] == "done"} == {"in place"}
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["done"], report["skipped"], report["failed"]) == (12, 1, 0)
    for name in tree.before:
        check_rekeyed(tree, name, old, new)
    for arguments in (["-i", old_key], ["-r", recipients], []):
        assert cli("rekey", *arguments, tree.folder).returncode == 2


def test_a_rotation_with_a_failure_is_over(tree, old, old_key):
    """Ordered again, it is done again: it may be months later, for another reason."""
    path = tree.paths[0]
    path.write_bytes(_damaged(path.read_bytes()))
    command = ("rekey", "--rotate", "-i", old_key, "-r", str(old.recipient))
    first = cli(*command, tree.folder)
    assert first.returncode == 1
    assert "name those that failed" in first.stderr
    rotated = [p.read_bytes() for p in tree.paths[1:]]
    path.write_bytes(tree.before["study0/00000.dcm"])
    alone = cli(*command, path)
    assert (alone.returncode, "re-keyed: 1" in alone.stderr) == (0, True), alone.stderr
    assert [p.read_bytes() for p in tree.paths[1:]] == rotated
    again = cli(*command, tree.folder)
    assert (again.returncode, "re-keyed: 12" in again.stderr) == (0, True), again.stderr
    assert all(p.read_bytes() != before for p, before in zip(tree.paths[1:], rotated, strict=True))
    assert sorted(p.name for p in (tree.folder / ".iomt-crypt").iterdir()) == ["epochs"]


def test_a_rotation_that_was_cut_off_is_gone_on_with(tree, old, old_key, monkeypatch):
    command = ("rekey", "--rotate", "-i", old_key, "-r", str(old.recipient), tree.folder)
    finish = Journal.finish

    def interrupted(self, batch, outcomes):
        finish(self, batch, outcomes)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "finish", interrupted)
        cut_off = cli(*command)
    assert cut_off.returncode == 130
    assert "the same command goes on" in cut_off.stderr
    rotated = [p.read_bytes() for p in tree.paths if p.read_bytes() != tree.before[str(p.relative_to(tree.folder))]]
    assert 0 < len(rotated) < 12
    done = cli(*command)
    assert done.returncode == 0, done.stderr
    assert "goes on with a rotation that was cut off" in done.stderr
    assert f"re-keyed: {12 - len(rotated)}, {len(rotated)} before" in done.stderr
    assert {p.read_bytes() for p in tree.paths} >= set(rotated)


@pytest.mark.parametrize("option", [["--dry-run"], ["--rotate"], ["--journal", "j"], ["--report", "r"]])
def test_recovery_goes_with_no_other_option(option, tree):
    refused = cli("rekey", "--recover", *option, tree.folder)
    assert refused.returncode == 2
    assert option[0] in refused.stderr


def test_recovery_of_nothing_is_an_error(tree, tmp_path):
    assert cli("rekey", "--recover", tree.folder).returncode == 0
    for place in (tmp_path / "nope", "s3://bucket/x"):
        assert cli("rekey", "--recover", place).returncode == 1


@pytest.mark.parametrize("source", ["nope", "link"])
def test_no_state_where_none_belongs(source, tree, old, old_key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tree.folder)
    done = cli("rekey", "--rotate", "-i", old_key, "-r", str(old.recipient), source)
    assert done.returncode == 1
    assert not list(tmp_path.rglob(".iomt-crypt"))


def test_key_usage(tree, old, new, old_key, tmp_path):
    names = [fingerprint_text(identity.fingerprint) for identity in (old, *new)]
    both = write_tree(tree.folder / "both", 3, [old, new[0]])
    alone = cli("key", "usage", "-i", old_key, tree.folder)
    assert alone.returncode == 1
    assert alone.stderr.count("opened by no other identity") == 12
    assert "not yet: 12 objects" in alone.stderr
    found = json.loads(cli("key", "usage", "--json", "--fingerprint", names[1].upper(), tree.folder).stdout)
    assert found["objects"] == 15
    assert sorted(found["epochs"].values()) == [3, 12]
    assert {r["fingerprint"]: r["objects"] for r in found["recipients"]} == {names[0]: 15, names[1]: 3}
    assert (found["retiring"], found["only_by_these"]) == ([names[1]], 0)
    ok = cli("key", "usage", "--fingerprint", names[1], both.folder)
    assert ok.returncode == 0
    assert "can be retired" in ok.stderr
    assert cli("key", "usage", "--fingerprint", names[0], "--fingerprint", names[1], both.folder).returncode == 1
    assert cli("key", "usage", "--fingerprint", "abcd", both.folder).returncode == 2
    assert cli("key", "usage", both.folder).returncode == 0


@pytest.mark.parametrize("what", ["link", "damaged", "nothing", "missing"])
def test_key_usage_does_not_say_what_it_does_not_know(what, tree, old, new, tmp_path):
    """Whoever retires a key by its word loses no object that was not looked at."""
    rekey(tree, [old], new)
    sources = [str(tree.folder)]
    if what == "link":
        other = write_tree(tmp_path / "other", 1, [old])
        (tree.folder / "disk2").symlink_to(other.folder)
        said = "1 links lead out of"
    elif what == "damaged":
        tree.paths[0].write_bytes(tree.paths[0].read_bytes()[:700])
        said = "1 files could not be looked at"
    elif what == "nothing":
        shutil.rmtree(tree.folder)
        tree.folder.mkdir()
        said = "there is no encrypted object"
    else:
        sources.append(str(tmp_path / "nope"))
        said = "1 files could not be looked at"
    name = fingerprint_text(old.fingerprint)
    asked = cli("key", "usage", "--fingerprint", name, *sources)
    assert asked.returncode == 1
    assert f"not known: {said}" in asked.stderr
    assert "can be retired" not in asked.stderr
    found = json.loads(cli("key", "usage", "--json", "--fingerprint", name, *sources).stdout)
    assert (found["can_be_retired"], found["only_by_these"], found["complete"]) == (False, 0, True)
    if what == "link":
        assert "skipped" in asked.stderr
        assert cli("key", "usage", "--fingerprint", name, *sources, str(other.folder)).returncode == 1
        (tree.folder / "disk2").unlink()
        assert cli("key", "usage", "--fingerprint", name, *sources).returncode == 0


def test_epochs_are_for_these_recipients(new):
    assert {s.recipient for s in Epoch.create([i.recipient for i in new]).stanzas} == {i.fingerprint for i in new}


def test_no_room_for_the_note_of_an_epoch(tree, old, new, monkeypatch):
    """Every object is told the same, nothing half written is left, and with room again all are done."""

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    operations = worker([old], new)
    monkeypatch.setattr(os, "fsync", full)
    outcomes = operations.run(tree.items())
    assert [outcome.state for outcome in outcomes] == ["failed"] * len(tree.before)
    assert all("no room left" in outcome.reason for outcome in outcomes)
    assert not [path for path in (tree.folder / ".iomt-crypt").rglob("*") if path.is_file()]
    assert all(tree.untouched(name) for name in tree.before)
    monkeypatch.undo()
    assert {outcome.state for outcome in operations.run(tree.items())} == {"done"}
    operations.close()
