"""One study, all of it or nothing: whatever fails, and at whatever point, the folder is as it was."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic import file, image

from iomt_crypt.archive import study
from iomt_crypt.archive.study import decrypt_study, encrypt_study
from iomt_crypt.dicom import inspect_file
from iomt_crypt.durable import open_draft_folder
from iomt_crypt.errors import DiskFullError, InputError, StorageError

N_FILES = 4
APPEAR, FSYNC = study.appear, os.fsync


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("study")
    for number in range(N_FILES):
        elements = image(bytes([number]) * 64, uid=f"1.2.3.{number}") | {0x0020000E: ("UI", b"1.2.9")}
        (folder / f"{number}.dcm").write_bytes(file(elements))
    return sorted(folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One that holds something already."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other.txt").write_text("of somebody else")
    return tmp_path / "out"


@pytest.fixture(params=["encrypt", "decrypt"])
def work(request, tmp_path, originals, epoch, policy, identity) -> Callable[[Path], object]:
    if request.param == "encrypt":
        return lambda folder: encrypt_study(originals, folder, recipients=epoch, policy=policy)
    (tmp_path / "encrypted").mkdir()
    encrypt_study(originals, tmp_path / "encrypted", recipients=epoch, policy=policy)
    paths = sorted((tmp_path / "encrypted").iterdir())
    return lambda folder: decrypt_study(paths, folder, identities=[identity])


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def failing(real: Callable, at: int, error: BaseException, counts: Callable[..., bool]) -> Callable:
    """``real``, whose call number ``at`` of those that count raises ``error`` and does nothing."""
    n_calls = [0]

    def run(*args: object) -> object:
        if counts(*args):
            n_calls[0] += 1
            if n_calls[0] == at + 1:
                raise error
        return real(*args)

    return run


def test_all_of_it_appears(folder, work):
    assert len(work(folder)) == N_FILES
    assert len(content(folder)) == N_FILES + 1


@pytest.mark.parametrize("at", range(N_FILES))
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.EIO, "Input/output error"), StorageError),
        (OSError(errno.ENOSPC, "No space left on device"), DiskFullError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["EIO", "ENOSPC", "interrupt"],
)
def test_a_move_that_fails_in_the_middle(folder, work, monkeypatch, at, error, kind):
    before = content(folder)

    def into_the_folder(path: Path, target: Path) -> bool:
        return Path(target).parent == folder

    monkeypatch.setattr(study, "appear", failing(APPEAR, at, error, into_the_folder))
    with pytest.raises(kind):
        work(folder)
    assert content(folder) == before
    assert [path.name for path in folder.iterdir()] == ["other.txt"], "no folder of drafts either"
    monkeypatch.undo()
    assert len(work(folder)) == N_FILES, "and again, when it can"


def test_the_folder_cannot_be_made_durable(folder, work, monkeypatch):
    before = content(folder)

    def of_the_folder(descriptor: int) -> bool:
        return Path(f"/proc/self/fd/{descriptor}").resolve() == folder

    monkeypatch.setattr(os, "fsync", failing(FSYNC, 0, OSError(errno.EIO, "Input/output error"), of_the_folder))
    with pytest.raises(StorageError, match="Input/output error"):
        work(folder)
    assert content(folder) == before


@pytest.mark.parametrize("at", range(N_FILES))
def test_an_object_that_fails(folder, originals, work, monkeypatch, at):
    """Of the ways through one object, the beginning of each."""
    before = content(folder)
    for name in ("encrypt_file", "decrypt_file"):
        error = OSError(errno.EIO, "Input/output error")
        real = getattr(study, name)

        run = failing(lambda: None, at, error, lambda: True)

        def broken(*args, real=real, run=run, **options):
            run()
            return real(*args, **options)

        monkeypatch.setattr(study, name, broken)
    with pytest.raises(OSError, match="Input/output error"):
        work(folder)
    assert content(folder) == before


def test_what_cannot_be_taken_back_is_named(folder, work, monkeypatch):
    error = OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(study, "appear", failing(APPEAR, 2, error, lambda path, target: Path(target).parent == folder))
    unlink = Path.unlink

    def kept(path: Path, missing_ok: bool = False) -> None:
        if path.parent == folder:
            raise OSError(errno.EROFS, "Read-only file system")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", kept)
    with pytest.raises(StorageError) as caught:
        work(folder)
    assert "remove 2 that could not be removed again" in caught.value.hint


def test_what_a_killed_run_left_is_removed(folder, work):
    """It may be in clear."""
    draft, lock = open_draft_folder(folder / "study", 0o700)
    (draft / "1.dcm").write_bytes(b"plain")
    os.close(lock)
    work(folder)
    assert not draft.exists()


def test_nothing_is_replaced(folder, work):
    work(folder)
    before = content(folder)
    with pytest.raises(StorageError, match="exists already"):
        work(folder)
    assert content(folder) == before


def test_one_of_the_study_that_cannot_be_encrypted(folder, originals, tmp_path, epoch, policy):
    (tmp_path / "no.dcm").write_text("nothing of the kind")
    before = content(folder)
    with pytest.raises(InputError):
        encrypt_study([*originals, tmp_path / "no.dcm"], folder, recipients=epoch, policy=policy)
    assert content(folder) == before


def test_names_are_those_of_the_result(folder, originals, epoch, policy):
    encrypt_study(originals, folder, recipients=epoch, policy=policy)
    for path in folder.glob("*.dcm"):
        found = inspect_file(path)
        assert path.name == f"{found.series_instance_uid}#{found.sop_instance_uid}.dcm"
