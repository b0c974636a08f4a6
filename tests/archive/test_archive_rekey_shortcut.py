"""Trees of many objects take a shortcut: with the same results, and for no object that the long way refuses."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path

import pytest
from rekey_harness import MTIME_NS, POLICY, Tree, check_rekeyed, rekey, state_files, worker, write_tree

from iomt_crypt import encrypt_file
from iomt_crypt.archive import (
    rekey_batch,
    rekey_epoch,
    rekey_folder,
    rekey_shortcut,
    rekey_target,
    rekey_worker,
)
from iomt_crypt.archive.operation import Item, Outcome
from iomt_crypt.errors import StorageError
from iomt_crypt.seal import Epoch, HpkeIdentity, Record, rewrap
from iomt_crypt.seal.rewrap import Rewrapper
from tests import synthetic

_LONG_WAY = 1 << 60


@pytest.fixture
def taken(monkeypatch) -> list[bytes]:
    """The shortcut is for any number of objects; the containers that it made."""
    made: list[bytes] = []
    rewrapped = Rewrapper.rewrapped

    def counted(self, old, epochs):
        new = rewrapped(self, old, epochs)
        made.extend(new)
        return new

    monkeypatch.setattr(Rewrapper, "rewrapped", counted)
    monkeypatch.setattr(rekey_worker, "_MANY", 1)
    return made


@pytest.fixture
def tree(tmp_path, old) -> Tree:
    return write_tree(tmp_path / "tree", 9, [old])


def odd_tree(folder: Path, old: HpkeIdentity, new: list[HpkeIdentity]) -> Tree:
    """Usual objects, and between them all that there is a word about."""
    folder.parent.mkdir()
    tree = write_tree(folder, 9, [old])
    data = next(iter(tree.before.values()))
    plain = folder / "plain.dcm"
    plain.write_bytes(synthetic.file(synthetic.image()))

    def encrypted(name: str, recipients, elements: synthetic.Elements) -> None:
        path = folder.parent / "to_encrypt.dcm"
        path.write_bytes(synthetic.file(elements))
        encrypt_file(path, folder / name, recipients=recipients, policy=POLICY)

    stranger, wanted = HpkeIdentity.generate().recipient, [identity.recipient for identity in new]
    encrypted("stranger.dcm", [stranger], synthetic.image())
    encrypted("done.dcm", [*wanted], synthetic.image())
    encrypted("others.dcm", [old.recipient, stranger], synthetic.image())
    encrypted("large.dcm", [old.recipient], synthetic.image(more={0x00091001: ("UN", bytes(30_000))}))
    encrypted("no_pixels.dcm", [old.recipient], synthetic.image(pixels=None))
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "text.dcm").write_bytes(b"no DICOM at all\n" * 40)
    (folder / "cut.dcm").write_bytes(data[:-1])
    (folder / "damaged.dcm").write_bytes(data.replace(b"wrapped_key\x58\x28", b"wrapped_key\x58\x29"))
    (folder / "behind.dcm").write_bytes(data + b"\xfc\xff\xfc\xffOB\0\0\x02\0\0\0\0\0")
    (folder / "link.dcm").symlink_to(folder.parent / "to_encrypt.dcm")
    (folder / "folder.dcm").mkdir()
    os.mkfifo(folder / "pipe.dcm")
    paths = [path for path in sorted(folder.rglob("*.dcm")) if path.is_file() and not path.is_symlink()]
    return Tree(folder, {str(path.relative_to(folder)): path.read_bytes() for path in paths})


def run_all(tree: Tree, identities, new, **options) -> list[tuple[str, str, str, str]]:
    """What became of everything in a tree, but for what is random."""
    names = sorted(str(path.relative_to(tree.folder)) for path in tree.folder.rglob("*.dcm"))
    items = [Item(str(tree.folder / name), name, False, str(tree.folder)) for name in names]
    working = worker(identities, new, **options)
    try:
        outcomes: list[Outcome] = working.run(items)
    finally:
        working.close()
    return [
        (name, o.state, o.reason.replace(str(tree.folder), ""), o.detail.get("how", ""))
        for name, o in zip(names, outcomes, strict=True)
    ]


def test_all_but_the_first_object_of_an_epoch(tree, old, new, taken):
    inodes = [path.stat().st_ino for path in tree.paths]
    assert {outcome.detail["how"] for outcome in rekey(tree, [old], new)} == {"in place"}
    assert len(taken) == 8
    for name in tree.before:
        check_rekeyed(tree, name, old, new)
    assert [path.stat().st_ino for path in tree.paths] == inodes
    assert {path.stat().st_mtime_ns for path in tree.paths} == {MTIME_NS}
    assert state_files(tree.folder) == []


@pytest.mark.parametrize(("dry_run", "window"), [(False, 1), (False, 2), (False, 5), (False, 100), (True, 4)])
def test_the_same_results_as_by_the_long_way(dry_run, window, tmp_path, old, new, taken, monkeypatch):
    monkeypatch.setattr(rekey_target, "WINDOW", window)
    one = odd_tree(tmp_path / "one" / "tree", old, new)
    other = Tree(tmp_path / "other" / "tree", one.before)
    shutil.copytree(one.folder, other.folder, symlinks=True, ignore=shutil.ignore_patterns("pipe.dcm"))
    os.mkfifo(other.folder / "pipe.dcm")
    shutil.copy(one.folder.parent / "to_encrypt.dcm", other.folder.parent)
    quick = run_all(one, [old], new, dry_run=dry_run)
    assert len(taken) == 9  # the usual ones: 'behind.dcm' went the long way before
    monkeypatch.setattr(rekey_worker, "_MANY", _LONG_WAY)
    assert run_all(other, [old], new, dry_run=dry_run) == quick
    assert len({state for _, state, _, _ in quick}) == 3
    for name, state, _, how in quick:
        if state == "done" and not dry_run:
            check_rekeyed(one, name, old, new)
            assert how == "in place"
        elif name in one.before:
            assert one.untouched(name)


def test_heads_that_are_larger_are_read_at_once_from_then_on(tmp_path, old, new, taken, monkeypatch):
    """The second object of 10 kB costs one read, not two; a larger one in between changes nothing of that."""
    folder, recipients = tmp_path / "tree", Epoch.create([old.recipient])
    folder.mkdir()
    for number, size in enumerate((9_000, 9_000, 9_000, 30_000, 9_000)):
        plain = tmp_path / "plain.dcm"
        private = {0x00091001: ("UN", random.Random(number).randbytes(size))}  # sealed, and cannot be compressed
        plain.write_bytes(synthetic.file(synthetic.image(uid=f"1.2.{number}", more=private)))
        encrypt_file(plain, folder / f"{number}.dcm", recipients=recipients, policy=POLICY)
    tree = Tree(folder, {f"{number}.dcm": (folder / f"{number}.dcm").read_bytes() for number in range(5)})
    monkeypatch.setattr(rekey_target, "WINDOW", 1)
    reads: list[int] = []
    look, head = rekey_shortcut.Shortcut._worked_out, rekey_shortcut._head

    def looked(self, targets):
        reads.append(0)
        return look(self, targets)

    def counted(*arguments):
        reads[-1] += 1
        return head(*arguments)

    monkeypatch.setattr(rekey_shortcut.Shortcut, "_worked_out", looked)
    monkeypatch.setattr(rekey_shortcut, "_head", counted)
    assert {outcome.detail["how"] for outcome in rekey(tree, [old], new)} == {"in place"}
    assert reads == [2, 1, 1, 2, 1]
    for name in tree.before:
        check_rekeyed(tree, name, old, new)


def test_few_objects_do_not_load_it(tree, old, new):
    working = worker([old], new)
    assert {outcome.state for outcome in working.run(tree.items())} == {"done"}
    assert working._shortcut is None
    working.close()


def test_a_rotation_does_not_take_it(tree, old, new, taken):
    assert {outcome.detail["how"] for outcome in rekey(tree, [old], new, rotate=True)} == {"rotated"}
    assert taken == []


def test_what_is_done_is_skipped(tree, old, new, taken):
    rekey(tree, [old], new)
    before = [path.read_bytes() for path in tree.paths]
    outcomes = rekey(tree, new, new)
    assert {(outcome.state, outcome.before) for outcome in outcomes} == {("skipped", True)}
    assert len(taken) == 8
    assert [path.read_bytes() for path in tree.paths] == before


@pytest.mark.parametrize("window", [2, 100])
def test_a_record_that_does_not_come_back_is_made_the_long_way(window, tree, old, new, taken, monkeypatch, caplog):
    """And all that follows."""
    check, calls = rewrap._is_rewrapped, []

    def fails_once(*arguments):
        calls.append(arguments)
        return len(calls) != 3 and check(*arguments)

    monkeypatch.setattr(rekey_target, "WINDOW", window)
    monkeypatch.setattr(rewrap, "_is_rewrapped", fails_once)
    assert [outcome.state for outcome in rekey(tree, [old], new)] == ["done"] * 9
    assert len(calls) == 3
    assert caplog.text.count("please report this") == 1
    for name in tree.before:
        check_rekeyed(tree, name, old, new)


@pytest.mark.parametrize("what", ["open", "rewrapped", "learn"])
def test_a_fault_in_it_leaves_all_to_the_long_way(what, tree, old, new, taken, monkeypatch, caplog):
    def fails(*_):
        raise IndexError("index is out of bounds")

    monkeypatch.setattr(rekey_target, "WINDOW", 2)
    monkeypatch.setattr(Rewrapper, what, fails)
    assert [outcome.state for outcome in rekey(tree, [old], new)] == ["done"] * 9
    assert caplog.text.count("please report this") == 1
    for name in tree.before:
        check_rekeyed(tree, name, old, new)


def test_an_epoch_that_cannot_be_noted_at_once(tree, old, new, taken, monkeypatch, caplog):
    note, calls = rekey_epoch._note, []

    def fails_once(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise StorageError("no room left on the device")
        note(*arguments, **options)

    monkeypatch.setattr(rekey_epoch, "_note", fails_once)
    monkeypatch.setattr(rekey_epoch, "_OBJECTS_PER_EPOCH", 4)
    assert {outcome.state for outcome in rekey(tree, [old], new)} == {"done"}
    assert len(calls) > 2
    assert caplog.text == ""
    for name in tree.before:
        check_rekeyed(tree, name, old, new)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE])
def test_no_redo_file_can_be_made(number, tree, old, new, taken, monkeypatch, caplog):
    """Each object says why."""
    create = rekey_folder.create_secret

    def full(folder, name=""):
        if folder.name == "redo" and taken:
            raise OSError(number, os.strerror(number))
        return create(folder, name)

    monkeypatch.setattr(rekey_folder, "create_secret", full)
    monkeypatch.setattr(rekey_batch, "_MOST_OBJECTS", 4)
    outcomes = rekey(tree, [old], new)
    assert [outcome.state for outcome in outcomes] == ["done"] * 4 + ["failed"] * 5
    expected = "no room left on the device" if number in (errno.ENOSPC, errno.EDQUOT) else os.strerror(number)
    assert {outcome.reason.rpartition(": ")[2] for outcome in outcomes[4:]} == {expected}
    assert all(outcome.hint for outcome in outcomes[4:])
    assert caplog.text == ""
    assert [tree.untouched(name) for name in tree.before] == [False] * 4 + [True] * 5
    assert state_files(tree.folder) == []


def test_it_is_loaded_when_many_have_been_met(tree, old, new, monkeypatch):
    monkeypatch.setattr(rekey_worker, "_MANY", 5)
    working, items = worker([old], new), tree.items()
    loaded = []
    for start in (0, 3, 6):
        assert {outcome.state for outcome in working.run(items[start : start + 3])} == {"done"}
        loaded.append(working._shortcut is not None)
    working.close()
    assert loaded == [False, True, True]
    for name in tree.before:
        check_rekeyed(tree, name, old, new)


def test_it_cannot_be_loaded(tree, old, new, monkeypatch, caplog):
    def fails(*_):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(rekey_worker, "_MANY", 1)
    monkeypatch.setattr(rekey_shortcut, "record_finder", fails)
    assert {outcome.state for outcome in rekey(tree, [old], new)} == {"done"}
    assert caplog.text.count("please report this") == 1
    for name in tree.before:
        check_rekeyed(tree, name, old, new)


def test_objects_that_all_have_epochs_of_their_own(tmp_path, old, new, taken, monkeypatch):
    """They are looked at a few times together, and not once more for each of them."""
    folder = tmp_path / "tree"
    folder.mkdir()
    trees = [write_tree(folder / f"{number:02}", 1, [old]) for number in range(12)]
    tree = Tree(folder, {f"{t.folder.name}/{name}": data for t in trees for name, data in t.before.items()})
    heads = []
    head = rekey_shortcut._head
    monkeypatch.setattr(rekey_shortcut, "_head", lambda *arguments: (heads.append(1), head(*arguments))[1])
    assert {outcome.state for outcome in rekey(tree, [old], new)} == {"done"}
    assert taken == []
    assert len(heads) == 12 + 11 + 10 + 9
    for name in tree.before:
        check_rekeyed(tree, name, old, new)


def test_an_epoch_serves_so_many_objects(tree, old, new, taken, monkeypatch):
    monkeypatch.setattr(rekey_epoch, "_OBJECTS_PER_EPOCH", 4)
    ids = [outcome.detail["epoch_id"] for outcome in rekey(tree, [old], new)]
    assert [ids.count(i) for i in dict.fromkeys(ids)] == [4, 4, 1]
    assert {Record.unpack(container).epoch_id.hex() for container in taken} == set(ids)
    for name in tree.before:
        check_rekeyed(tree, name, old, new)


def test_more_recipients_than_fit_make_new_files(tree, old, taken):
    many = [HpkeIdentity.generate() for _ in range(6)]
    assert {outcome.detail["how"] for outcome in rekey(tree, [old], many)} == {"new file"}
    assert set(taken) == {None}
    for name in tree.before:
        check_rekeyed(tree, name, old, many)


def test_objects_of_several_epochs(tmp_path, old, new, taken):
    tree = write_tree(tmp_path / "tree", 6, [old])
    other = write_tree(tmp_path / "tree" / "more", 6, [old])
    both = Tree(tree.folder, tree.before | {f"more/{name}": data for name, data in other.before.items()})
    assert {outcome.state for outcome in rekey(both, [old], new)} == {"done"}
    assert len(taken) == 10
    for name in both.before:
        check_rekeyed(both, name, old, new)


def test_an_epoch_of_the_same_number_with_other_stanzas_is_another(tmp_path, old, new, taken):
    """A stanza is not believed because another object with the same epoch opened."""
    tree = write_tree(tmp_path / "tree", 4, [old])
    path = tree.paths[2]
    data = path.read_bytes()
    epoch = Record.unpack(_container(data)).epoch_id
    forged = Epoch.create([HpkeIdentity.generate().recipient])
    source = tmp_path / "source.dcm"
    source.write_bytes(synthetic.file(synthetic.image()))
    path.unlink()
    encrypt_file(source, path, recipients=Epoch(epoch, forged.key, forged.stanzas), policy=POLICY)
    states = [outcome.state for outcome in rekey(tree, [old], new)]
    assert states == ["done", "done", "failed", "done"]
    assert len(taken) == 2


def _container(data: bytes) -> bytes:
    from rekey_harness import located

    return located(data).container
