"""A file appears whole, or not at all: on any file system, with no room, where nothing may be written, and killed."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iomt_crypt import durable
from iomt_crypt.durable import appearance
from iomt_crypt.errors import DiskFullError, StorageError

SCRIPT = Path(__file__).with_name("appearance_by_hand.py")
LONG = "x" * 255
WRITTEN = {
    "answers": ["written", "StorageError: new: exists already", "written", "written", "written"],
    "sizes": {"new": 300, LONG: 1, "big": 1 << 24},
    "folder": True,
}


def by_hand(*arguments: str, prefix: tuple[str, ...] = ()) -> Any:
    command = [*prefix, sys.executable, str(SCRIPT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def mounting(script: str) -> tuple[str, ...]:
    """A command prefix that mounts something by ``script`` for what follows alone."""
    namespaces = "-m" if os.geteuid() == 0 else "-Urm"
    return ("unshare", namespaces, "sh", "-c", f'{script} && exec "$@"', "sh")


@pytest.fixture
def no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an exclusive rename nor links, as on exFAT through FUSE."""

    def refuse(number: int) -> Any:
        def call(*_: Any, **__: Any) -> None:
            raise OSError(number, os.strerror(number))

        return call

    monkeypatch.setattr(appearance, "_rename_exclusively", refuse(errno.EINVAL))
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))


@pytest.fixture
def no_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links, and no exclusive rename, as on NFS."""
    monkeypatch.setattr(appearance, "_LIBC", None)


@pytest.mark.parametrize("way", ["rename", "no_rename", "no_link"])
def test_every_way_gives_the_same(tmp_path: Path, way: str, request: pytest.FixtureRequest):
    if way != "rename":
        request.getfixturevalue(way)
    path = tmp_path / "new"
    with durable.appearing_file(path, mode=0o600) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_nlink == 1
    with pytest.raises(StorageError, match=r"new: exists already"), durable.appearing_file(path) as file:
        pytest.fail("nothing is begun that cannot end well")
    with durable.appearing_file(path, replace=True) as file:
        file.write(b"another")
    assert path.read_bytes() == b"another"
    (tmp_path / "mine").write_bytes(b"x")
    with pytest.raises(FileExistsError):
        durable.appear(tmp_path / "mine", path)
    (tmp_path / "nowhere").symlink_to("nothing")
    with pytest.raises(FileExistsError):
        durable.appear(tmp_path / "mine", tmp_path / "nowhere")
    assert path.read_bytes() == b"another"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "new", "nowhere"]


@pytest.mark.parametrize("way", ["rename", "no_rename", "no_link"])
def test_a_file_that_somebody_makes_meanwhile_stays(tmp_path: Path, way: str, request: pytest.FixtureRequest):
    if way != "rename":
        request.getfixturevalue(way)
    path = tmp_path / "new"
    with pytest.raises(StorageError, match="exists already"), durable.appearing_file(path) as file:  # noqa: PT012
        file.write(b"mine")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("way", ["rename", "no_rename", "no_link"])
def test_of_many_writers_one_wins(tmp_path: Path, way: str, request: pytest.FixtureRequest):
    if way != "rename":
        request.getfixturevalue(way)
    path, start, answers = tmp_path / "new", threading.Barrier(8), []

    def run(number: int) -> None:
        with durable.appearing_file(path) as file:
            file.write(b"%d" % number * 1000)
            start.wait(30)

    def tried(number: int) -> None:
        try:
            run(number)
        except StorageError:
            answers.append(None)
        else:
            answers.append(b"%d" % number * 1000)

    threads = [threading.Thread(target=tried, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer for answer in answers if answer] == [path.read_bytes()]
    assert list(tmp_path.iterdir()) == [path]


def test_a_lost_answer_of_a_link_is_no_failure(tmp_path: Path, no_rename: None, monkeypatch: pytest.MonkeyPatch):
    """NFS asks again when the first answer is lost, and hears that the name is taken: by the file itself."""
    link = os.link

    def twice(*names: Any, **options: Any) -> None:
        link(*names, **options)
        link(*names, **options)

    monkeypatch.setattr(os, "link", twice)
    with durable.appearing_file(tmp_path / "new") as file:
        file.write(b"whole")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"whole"]


def test_the_bytes_are_durable_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    done: list[str] = []
    fsync, appear = os.fsync, appearance.appear

    def synced(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(appearance, "appear", lambda a, b, **o: (done.append(f"name {a.name}"), appear(a, b, **o)))
    with durable.appearing_file(tmp_path / "a" / "b" / "new", folders=True) as file:
        file.write(b"x")
    draft = done[-2].removeprefix("name ")
    assert done == [f"sync {tmp_path.name}", "sync a", f"sync {draft}", f"name {draft}", "sync b"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_share_that_cannot_sync_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    _fail_on_folders(monkeypatch, number)
    with durable.appearing_file(tmp_path / "new") as file:
        file.write(b"x")
    assert (tmp_path / "new").read_bytes() == b"x"


def test_a_name_that_is_not_durable_goes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _fail_on_folders(monkeypatch, errno.EIO)
    reason = r"new: cannot be written \(Input/output error\)"
    with pytest.raises(StorageError, match=reason), durable.appearing_file(tmp_path / "new") as file:
        file.write(b"x")
    assert list(tmp_path.iterdir()) == []


def _fail_on_folders(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("step", ["open", "fsync", "rename"])
def test_every_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, step: str):
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    target = (appearance, "_rename_exclusively") if step == "rename" else (os, step)
    with monkeypatch.context() as patched:
        patched.setattr(*target, fail)
        with pytest.raises(StorageError) as caught, durable.appearing_file(tmp_path / "new") as file:
            file.write(b"x" * (1 << 20))
    assert isinstance(caught.value, DiskFullError) == (number != errno.EIO)
    assert str(tmp_path / "new") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_block_leaves_nothing(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), durable.appearing_file(tmp_path / "new") as file:  # noqa: PT012
        file.write(b"x")
        1 / 0  # noqa: B018
    with pytest.raises(ZeroDivisionError), durable.appearing_folder(tmp_path / "folder") as draft:  # noqa: PT012
        (draft / "file").touch()
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []


def test_folders(tmp_path: Path):
    with durable.appearing_folder(tmp_path / "a" / "b", mode=0o700) as draft:
        (draft / "file").write_bytes(b"x")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    with pytest.raises(StorageError, match="b: exists already"), durable.appearing_folder(tmp_path / "a" / "b"):
        pass
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == ["a", "a/b", "a/b/file"]


def test_a_place_that_is_none(tmp_path: Path):
    (tmp_path / "file").touch()
    for path, reason in ((tmp_path / "file" / "new", "Not a directory"), (tmp_path / "no" / "new", "No such file")):
        with pytest.raises(StorageError, match=reason), durable.appearing_file(path):
            pass
    with (
        pytest.raises(StorageError, match="not a folder"),
        durable.appearing_file(tmp_path / "file" / "new", folders=True),
    ):
        pass
    with pytest.raises(StorageError, match="Is a directory"), durable.appearing_file(tmp_path, replace=True):
        pass


def test_a_full_file_system(tmp_path: Path):
    prefix = mounting(f'mount -t tmpfs -o size=1m tmpfs "{tmp_path}"')
    found = by_hand("write", str(tmp_path), prefix=prefix)
    assert found["answers"] == [*WRITTEN["answers"][:4], "DiskFullError: big: no room left on the device"]
    assert found["sizes"] == {"new": 300, LONG: 1}


def test_a_file_system_to_be_read_only(tmp_path: Path):
    prefix = mounting(f'mount -t tmpfs -o ro tmpfs "{tmp_path}"')
    found = by_hand("write", str(tmp_path), prefix=prefix)
    assert set(found["answers"]) == {
        f"StorageError: {name}: cannot be written (Read-only file system)" for name in ("new", LONG, "big")
    }
    assert found["sizes"] == {}


def exfat(tmp_path: Path, peer: Callable[[str], str]) -> tuple[str, ...]:
    """A command prefix that gives what follows a file system with neither links nor an exclusive rename."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists() or not Path("/dev/fuse").exists():
        pytest.skip("to mount exFAT takes root, loop devices and FUSE; its refusals are injected in the test before")
    image, place = tmp_path / "image", tmp_path / "place"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run([peer("mkfs.exfat"), str(image)], check=True, capture_output=True, timeout=60)
    mount = f'{peer("mount.exfat-fuse")} -o fmask=0177,dmask=0077 $loop "{place}" >/dev/null'
    # Its process lives until it is unmounted, and holds on to the mount namespace.
    script = f'loop=$(losetup -f --show "{image}") && {mount} && losetup -d $loop; "$@"; code=$?; umount "{place}"'
    return ("unshare", "-m", "sh", "-c", f"{script}; exit $code", "sh")


def test_a_file_system_without_links(tmp_path: Path):
    """Injected where exFAT cannot be mounted: see the next one."""
    assert by_hand("write", str(tmp_path), "refuse") == WRITTEN


def test_exfat(tmp_path: Path, peer: Callable[[str], str]):
    assert by_hand("write", str(tmp_path / "place"), prefix=exfat(tmp_path, peer)) == WRITTEN


@pytest.mark.parametrize("refuse", [(), ("refuse",)], ids=["rename", "no links"])
def test_killed_at_any_moment(tmp_path: Path, refuse: tuple[str, ...]):
    found = by_hand("kill", str(tmp_path), *refuse)
    assert len(found) > 25
    for case in found:
        # What is there is whole, or what was there before; and what is left beside it is known as ours, and goes.
        assert case["state"] in (("old", "whole") if case["old"] else ("absent", "whole")), case
        assert case["removed"] == case["drafts"], case
        assert case["left"] == [], case
        assert all(durable.is_draft(name) for name in case["drafts"])
    assert {(case["old"], case["state"]) for case in found} == {
        (False, "absent"), (False, "whole"), (True, "old"), (True, "whole")
    }  # fmt: skip
    assert any(case["drafts"] for case in found)
