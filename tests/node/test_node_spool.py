from __future__ import annotations

import errno
import os
import stat

import pytest

from iomt_crypt.errors import DiskFullError, StorageError
from iomt_crypt.node import spool as spool_module
from iomt_crypt.node.spool import Spool


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    spool.create()
    return spool


def _add(spool: Spool, content: bytes) -> str:
    with spool.draft() as draft:
        draft.file.write(content)
        return spool.commit(draft).name


def test_committed_objects_are_listed_in_order_of_arrival(spool):
    names = [_add(spool, bytes([n])) for n in range(20)]
    assert spool.names() == names
    assert [spool.path(name).read_bytes() for name in names] == [bytes([n]) for n in range(20)]


def test_nothing_is_readable_by_others(spool):
    name = _add(spool, b"x")
    for path, mode in ((spool.folder, 0o700), (spool.objects, 0o700), (spool.path(name), 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_what_is_not_committed_leaves_no_trace(spool):
    with spool.draft() as draft:
        draft.file.write(b"half")
    assert list(spool.incoming.iterdir()) == []
    assert spool.names() == []


def test_bytes_are_synced_before_the_name_and_the_folder_after(spool, monkeypatch):
    steps = []
    real_fsync, real_appear = os.fsync, spool_module.appear

    def fsync(descriptor):
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        return real_fsync(descriptor)

    def appear(draft, path):
        steps.append("rename")
        real_appear(draft, path)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(spool_module, "appear", appear)
    _add(spool, b"x")
    assert steps == ["sync file", "rename", "sync folder"]


def test_an_object_whose_folder_cannot_be_synced_is_not_in_the_spool(spool, monkeypatch):
    real_fsync = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "injected")
        return real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="injected"):
        _add(spool, b"x")
    assert spool.names() == []
    assert list(spool.incoming.iterdir()) == []


def test_leftovers_are_cleared_and_foreign_files_are_no_objects(spool):
    (spool.incoming / "00000000000000000001-00000000.dcm.tmp").write_bytes(b"half")
    (spool.objects / "notes.txt").write_text("mine")
    assert spool.clear_incoming() == 1
    assert spool.names() == []


def test_the_reserve_is_not_touched(tmp_path):
    free = Spool(tmp_path).free_bytes()
    spool = Spool(tmp_path, reserve_bytes=free // 2)
    spool.require_room(free // 4)
    with pytest.raises(DiskFullError, match="reserve"):
        spool.require_room(free // 4 * 3)


def test_one_node_per_spool_and_children_keep_the_lock(spool):
    descriptor = spool.lock()
    inherited = os.dup(descriptor)
    with pytest.raises(StorageError, match="another node"):
        spool.lock()
    os.close(descriptor)
    with pytest.raises(StorageError, match="another node"):
        spool.lock(wait_s=0.1)
    os.close(inherited)
    os.close(spool.lock())


def test_announcement_is_whole_or_absent(spool):
    assert spool.announced() is None
    spool.announce({"port": 104})
    assert spool.announced() == {"port": 104}
    (spool.folder / "node.json").write_text("{")
    assert spool.announced() is None
    spool.withdraw()
    assert not (spool.folder / "node.json").exists()
