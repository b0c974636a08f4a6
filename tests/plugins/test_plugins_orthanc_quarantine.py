"""Sealed files: durable, whole or nothing, opened only by a recipient."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iomt_crypt_orthanc import alarm, quarantine, recovery
from iomt_crypt_orthanc.protector import Protector
from plain_image import MARK, write_image

from iomt_crypt.dicom import Policy, inspect_file
from iomt_crypt.durable import appearance, draft_path
from iomt_crypt.errors import AuthenticationError, KnownAnswerError, NetworkError, NoMatchingIdentityError
from iomt_crypt.node.epoch import EpochSource
from iomt_crypt.node.recipient import RecipientList
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring

CHUNK = quarantine.CHUNK_BYTES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    quarantine.create(tmp_path / "quarantine")
    return tmp_path / "quarantine"


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_there_and_back(folder: Path, epoch: Epoch, keyring: Keyring, size: int):
    data = (b"plain" * (size // 5 + 1))[:size]
    name = quarantine.put(folder, data, epoch=epoch, reason="of no kind")
    assert quarantine.names(folder) == [name]
    entry = quarantine.read(folder / name)
    assert (entry.reason, entry.size_bytes) == ("of no kind", size)
    assert quarantine.open_entry(entry, keyring) == data
    sealed = (folder / name).read_bytes()
    assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert size < 16 or b"plainplain" not in sealed


def test_only_a_recipient_opens(folder: Path, epoch: Epoch):
    name = quarantine.put(folder, b"x", epoch=epoch, reason="")
    with pytest.raises(NoMatchingIdentityError):
        quarantine.open_entry(quarantine.read(folder / name), Keyring([HpkeIdentity.generate()]))


@given(data=st.data())
def test_any_change_is_found(tmp_path_factory, epoch: Epoch, keyring: Keyring, data):
    folder = tmp_path_factory.mktemp("sealed")
    path = folder / quarantine.put(folder, bytes(CHUNK + 100), epoch=epoch, reason="why")
    sealed = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(sealed) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    if how == "flip":
        sealed[where] ^= 1 << data.draw(st.integers(0, 7))
    elif how == "cut":
        del sealed[where:]
    else:
        sealed[where:where] = b"\0"
    path.write_bytes(sealed)
    with pytest.raises((AuthenticationError, NoMatchingIdentityError)):
        quarantine.open_entry(quarantine.read(path), keyring)


def test_chunks_do_not_change_places(folder: Path, epoch: Epoch, keyring: Keyring):
    path = folder / quarantine.put(folder, bytes(3 * CHUNK), epoch=epoch, reason="")
    entry, sealed, step = quarantine.read(path), path.read_bytes(), CHUNK + 16
    head, chunks = sealed[: entry.offset], sealed[entry.offset :]
    first, second, third = chunks[:step], chunks[step : 2 * step], chunks[2 * step :]
    for changed in (second + first + third, first + second, first + third):
        path.write_bytes(head + changed)
        with pytest.raises(AuthenticationError):
            quarantine.open_entry(entry, keyring)


@pytest.mark.parametrize("step", ["open", "write", "fsync", "rename", "folder"])
def test_a_failing_disk_leaves_nothing(folder: Path, epoch: Epoch, monkeypatch: pytest.MonkeyPatch, step: str):
    def fail(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    target, name = {
        "open": (os, "open"),
        "write": (quarantine, "_sealed"),
        "fsync": (os, "fsync"),
        "rename": (appearance, "_rename_exclusively"),
        "folder": (appearance, "_sync"),
    }[step]
    with monkeypatch.context() as patched:
        patched.setattr(target, name, fail)
        with pytest.raises(OSError, match="No space"):
            quarantine.put(folder, b"x" * 100, epoch=epoch, reason="")
    assert list(folder.iterdir()) == []


def test_synced_before_it_has_its_name(folder: Path, epoch: Epoch, monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []
    fsync, appear = os.fsync, appearance.appear
    monkeypatch.setattr(
        os, "fsync", lambda fd: (done.append(f"sync {Path(f'/proc/self/fd/{fd}').readlink()}"), fsync(fd))[1]
    )
    monkeypatch.setattr(appearance, "appear", lambda a, b, **o: (done.append(f"{a} is {b}"), appear(a, b, **o))[1])
    name = quarantine.put(folder, b"x", epoch=epoch, reason="")
    draft = done[0].removeprefix("sync ")
    assert done == [f"sync {draft}", f"{draft} is {folder / name}", f"sync {folder}"]


def test_drafts_of_the_dead_go(folder: Path, epoch: Epoch):
    name = quarantine.put(folder, b"x", epoch=epoch, reason="")
    (folder / f"{name}.draft").touch()  # of an older version
    draft_path(folder / name).touch()
    (folder / "somebody's notes.txt").touch()
    quarantine.create(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted([name, "somebody's notes.txt"])
    assert quarantine.names(folder) == [name]
    assert quarantine.names(folder / "none") == []


@pytest.fixture
def protector(tmp_path: Path, folder: Path, identity: HpkeIdentity, policy: Policy) -> Protector:
    epochs = EpochSource(RecipientList([str(identity.recipient)]), n_objects=10, hours=1)
    return Protector(epochs=epochs, policy=policy, folder=tmp_path, on_failure="quarantine")


def test_retry_keeps_what_does_not_arrive(
    tmp_path: Path, folder: Path, epoch: Epoch, keyring: Keyring, protector: Protector
):
    plain = write_image(tmp_path, 1).read_bytes()
    sound = quarantine.put(folder, plain, epoch=epoch, reason="once")
    hopeless = quarantine.put(folder, b"no DICOM at all", epoch=epoch, reason="for ever")
    assert alarm.update(tmp_path, "for ever") == 2
    assert (tmp_path / "ALARM").read_text().startswith("2 objects")

    def down(name: str, data: bytes) -> None:
        raise NetworkError("the archive is down")

    results = {each.name: each.error for each in recovery.retry(tmp_path, keyring, protector, down)}
    assert results[sound] == "the archive is down"
    assert quarantine.names(folder) == sorted([sound, hopeless])
    to = recovery.to_folder(tmp_path / "out")
    results = {each.name: each.error for each in recovery.retry(tmp_path, keyring, protector, to)}
    assert results[sound] == ""
    assert "not a DICOM" in results[hopeless]
    assert quarantine.names(folder) == [hopeless]
    (made,) = (tmp_path / "out").iterdir()
    assert inspect_file(made).encryption is not None
    assert MARK not in made.read_bytes()
    assert [each.error for each in recovery.export(tmp_path, keyring, recovery.to_folder(tmp_path / "plain"))] == [""]
    (exported,) = (tmp_path / "plain").iterdir()
    assert exported.read_bytes() == b"no DICOM at all"
    assert not (tmp_path / "ALARM").exists()


def test_refusing_policy_keeps_nothing(tmp_path: Path, folder: Path, identity: HpkeIdentity, policy: Policy):
    epochs = EpochSource(RecipientList([str(identity.recipient)]), n_objects=10, hours=1)
    protector = Protector(epochs=epochs, policy=policy, folder=tmp_path, on_failure="refuse")
    truncated = write_image(tmp_path, 1).read_bytes()[:-100]
    outcome = protector.take(truncated)
    assert (outcome.verdict, outcome.data) == ("refused", b"")
    assert quarantine.names(folder) == []


class _Plain:
    """In the place of AES-256-GCM: nothing is encrypted, and all of it comes back."""

    def __init__(self, key: bytes) -> None:
        pass

    def encrypt(self, nonce: bytes, data: bytes, binding: bytes) -> bytes:
        return bytes(data) + bytes(16)

    def decrypt(self, nonce: bytes, data: bytes, binding: bytes) -> bytes:
        return data[:-16]


class _Other(_Plain):
    """What comes back is something else."""

    def encrypt(self, nonce: bytes, data: bytes, binding: bytes) -> bytes:
        return os.urandom(len(data) + 16)


@pytest.mark.parametrize(("broken", "told"), [(_Plain, "it is plain"), (_Other, "it gives other bytes")])
def test_what_is_set_aside_is_vouched_for(folder, epoch, monkeypatch, broken, told):
    monkeypatch.setattr(quarantine, "AESGCM", broken)
    with pytest.raises(KnownAnswerError, match=told):
        quarantine.put(folder, b"plain" * CHUNK, epoch=epoch, reason="why")
    assert list(folder.iterdir()) == []


def test_a_machine_that_cannot_seal_refuses(tmp_path, folder, identity, policy, monkeypatch):
    monkeypatch.setattr(quarantine, "AESGCM", _Plain)
    epochs = EpochSource(RecipientList([str(identity.recipient)]), n_objects=9, hours=1.0)
    protector = Protector(epochs=epochs, policy=policy, folder=tmp_path, on_failure="quarantine")
    assert protector.set_aside(b"plain" * 100, "why").verdict == "refused"
    assert list(folder.iterdir()) == []
