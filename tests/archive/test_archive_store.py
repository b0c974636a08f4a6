"""Stores: objects appear whole or not at all, and are not overwritten."""

from __future__ import annotations

import os
import sys

import boto3
import fsspec
import pytest
from object_tree import files, write_objects
from pydicom import dcmread

from iomt_crypt.archive import store
from iomt_crypt.archive.decryption import Decryption
from iomt_crypt.archive.key import KeySource
from iomt_crypt.archive.result import Results
from iomt_crypt.archive.verification import Verification
from iomt_crypt.errors import ConfigurationError, InputError, StorageError


@pytest.fixture(params=["memory", "s3", "dir"])
def place(request, tmp_path_factory) -> str:
    """A place for objects. ``dir`` is one whose uploads are not visible in one step: fsspec over a folder."""
    name = request.node.name.replace("[", "-").replace("]", "")
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{name}"
    if request.param == "memory":
        return f"memory://{name}"
    return f"local://{tmp_path_factory.mktemp(name)}"


def listed(url: str) -> list[str]:
    fs, path = store.file_system(url)
    return sorted(str(p) for p in fs.find(path)) if fs.exists(path) else []


def content(url: str) -> bytes:
    with store.reading(url) as stream:
        return stream.read()


@pytest.mark.parametrize("secret", [True, False])
@pytest.mark.parametrize("size", [0, 10, 12 << 20])
def test_there_and_back(place, secret, size):
    data = os.urandom(min(size, 1 << 20)) * (size >> 20 or 1)
    with store.writing(f"{place}/a/b", overwrite=False, secret=secret) as sink:
        for start in range(0, len(data), 1 << 20):
            sink.write(data[start : start + (1 << 20)])
        assert not store.exists(f"{place}/a/b"), "not before it is whole"
    assert content(f"{place}/a/b") == data
    assert len(listed(place)) == 1, "no draft is left"


def test_a_staged_sink_seeks(place):
    with store.writing(f"{place}/a", overwrite=False, secret=False) as sink:
        sink.write(b"....data")
        sink.seek(0)
        sink.write(b"head")
        sink.seek(8)
    assert content(f"{place}/a") == b"headdata"


@pytest.mark.parametrize("secret", [True, False])
@pytest.mark.parametrize("size", [10, 12 << 20])
def test_an_error_leaves_nothing(place, secret, size, s3):
    def fail_midway() -> None:
        with store.writing(f"{place}/a", overwrite=False, secret=secret) as sink:
            sink.write(bytes(size))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_midway()
    assert listed(place) == []
    if place.startswith("s3"):
        assert not boto3.client("s3").list_multipart_uploads(Bucket="archive").get("Uploads")


def test_nothing_is_overwritten(place):
    for _ in range(2):
        with store.writing(f"{place}/a", overwrite=True, secret=False) as sink:
            sink.write(b"first")
    with pytest.raises(StorageError, match="exists already"), store.writing(f"{place}/a", overwrite=False, secret=True):
        pytest.fail("not refused")
    assert content(f"{place}/a") == b"first"


def test_somebody_else_was_quicker(s3):
    url = f"{s3}/race"

    def be_slow() -> None:
        with store.writing(url, overwrite=False, secret=True) as sink:
            sink.write(b"ours")
            boto3.client("s3").put_object(Bucket="archive", Key="race", Body=b"theirs")

    with pytest.raises(StorageError, match=f"{url}: "):
        be_slow()
    assert content(url) == b"theirs"


@pytest.mark.parametrize("url", ["memory://none/a", "s3://archive/none", "s3://nobody/a"])
def test_what_is_not_there(url, s3):
    with pytest.raises(InputError, match="no such file or store"), store.reading(url):
        pytest.fail("not refused")


def test_a_store_that_does_not_answer(s3, monkeypatch):
    fs = fsspec.filesystem("memory")

    def broken(*args, **options):
        raise OSError(5, "the whole request, with its signature")

    monkeypatch.setattr(type(fs), "info", broken)
    with pytest.raises(InputError, match="Input/output error") as caught, store.reading("memory://x/a"):
        pytest.fail("not refused")
    assert "signature" not in str(caught.value)


def test_packages_that_are_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ConfigurationError, match="fsspec is not installed") as caught:
        store.file_system("s3://x/y")
    assert caught.value.hint == "pip install 'iomt-crypt[archive]'"


def test_the_package_of_a_store_is_missing(monkeypatch):
    def missing(*args, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(ConfigurationError, match="support for s3:// is not installed") as caught:
        store.file_system("s3://x/y")
    assert caught.value.hint == "pip install 'iomt-crypt[s3]'"


@pytest.mark.parametrize("place", ["s3", "memory"], indirect=True)
def test_trees_there_and_back(tmp_path, key, place, encryption, told):
    """A folder to a store, verified there, from store to store, and back into a folder."""
    tree = tmp_path / "in"
    write_objects(tree, 12)
    assert told.run(encryption(f"{place}/sealed", tree), tree, journal=tmp_path / "j").done == 12
    assert [o.detail["output"] for o in told.outcomes] == [f"{place}/sealed/{n}" for n in files(tree)]
    assert len(listed(f"{place}/sealed")) == 12
    keys = KeySource.identities_of([str(key)], lambda _: b"")
    assert told.run(Verification(keys), f"{place}/sealed").done == 12
    plain = Decryption(keys, Results(f"{place}/plain", ()))
    assert told.run(plain, f"{place}/sealed").done == 12
    assert told.run(plain, f"{place}/sealed").failed == 12, "they exist already"
    for name in files(tree):
        assert content(f"{place}/plain/{name}") == (tree / name).read_bytes()
    assert told.run(encryption(tmp_path / "again", f"{place}/plain"), f"{place}/plain").done == 12
    assert files(tmp_path / "again") == files(tree)
    assert told.run(encryption(f"{place}/sealed", tree), tree, journal=tmp_path / "j").before == 12


def test_a_false_frame_leaves_nothing(tree, tmp_path, key, s3, encryption, told):
    told.run(encryption(tmp_path / "out", tree / "s000"), tree / "s000")
    damaged = tmp_path / "out" / "i00001.dcm"
    raw = bytearray(damaged.read_bytes())
    assert dcmread(damaged).PixelData
    raw[-1] ^= 1
    damaged.write_bytes(raw)
    keys = KeySource.identities_of([str(key)], lambda _: b"")
    summary = told.run(Decryption(keys, Results(f"{s3}/false", ())), tmp_path / "out")
    assert (summary.done, summary.failed) == (9, 1)
    assert len(listed(f"{s3}/false")) == 9
