"""The handler on a pynetdicom server of its own, fed by DCMTK."""

from __future__ import annotations

import inspect
import io
import re
import shutil
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from clean_environment import ROOT, copy_project, with_packages_of
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from readme_script import blocks, follow, links

from iomt_crypt.dicom import restore, split_file
from iomt_crypt.errors import ConfigurationError, InputError, KeyMaterialError, NetworkError, StorageError
from iomt_crypt.node.destination import Parcel
from iomt_crypt.node.handler import StoreHandler
from iomt_crypt.seal import HpkeIdentity, Keyring

FOLDER = ROOT / "plugins" / "pynetdicom"
SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.5"]


@pytest.fixture
def serve():
    """``serve(handler)``: the port of a server of somebody who knows pynetdicom, and has this handler only."""
    servers = []

    def serve(handler) -> int:
        entity = AE("THEIRS")
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax, SYNTAXES)
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, handler)])
        servers.append(server)
        return server.server_address[1]

    yield serve
    for server in servers:
        server.shutdown()


@pytest.fixture
def make(tmp_path, identity):
    made = []

    def make(**options) -> StoreHandler:
        options = {"recipients": [str(identity.recipient)], "reserve_bytes": 0} | options
        made.append(StoreHandler(tmp_path / "store", **options))
        return made[-1]

    yield make
    for handler in made:
        handler.close()


def paths(*names: str) -> list[Path]:
    return [Path(get_testdata_file(name, download=False)) for name in names]


def storescu(peer, port: int, *files: Path, more: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [peer("storescu"), "-aec", "THEIRS", *more, "127.0.0.1", str(port), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def data_set(path: Path) -> bytes:
    with path.open("rb") as stream:
        return path.read_bytes()[split_file(stream).dataset_offset :]


def opened(path: Path, identity: HpkeIdentity, folder: Path) -> bytes:
    back = folder / "back.dcm"
    with path.open("rb") as stream, back.open("w+b") as sink:
        restore(stream, sink, keyring=Keyring([identity]))
    return data_set(back)


@pytest.mark.peer
def test_storescu_is_answered_when_noise_is_on_the_disk(peer, serve, make, identity, tmp_path):
    handler = make()
    port = serve(handler)
    sent = paths("CT_small.dcm", "MR_small.dcm", "reportsi.dcm")
    done = storescu(peer, port, *sent)
    assert done.returncode == 0, done.stderr
    done = storescu(peer, port, *paths("JPEG2000.dcm"), more=("-xw",))
    assert done.returncode == 0, done.stderr
    stored = sorted(handler.folder.glob("*.dcm"))
    assert len(stored) == 4
    whole = b"".join(path.read_bytes() for path in stored)
    assert paths("CT_small.dcm")[0].read_bytes()[-2000:] not in whole
    # DCMTK sends files without group lengths and trailing padding: elements are compared
    for path, encrypted in zip([*sent, *paths("JPEG2000.dcm")], stored, strict=True):
        opened(encrypted, identity, tmp_path)
        original, back = dcmread(path), dcmread(tmp_path / "back.dcm")
        assert back.SOPInstanceUID == original.SOPInstanceUID
        assert back.get("PixelData") == original.get("PixelData")
        assert str(back.PatientName) == str(original.PatientName)
    assert list((tmp_path / "store" / "incoming").iterdir()) == []


@pytest.mark.peer
def test_what_is_refused_stays_with_its_sender(peer, serve, make, tmp_path):
    handler = make()
    port = serve(handler)
    assert storescu(peer, port, *paths("CT_small.dcm")).returncode == 0
    (stored,) = handler.folder.glob("*.dcm")
    again = tmp_path / "again.dcm"
    shutil.copy(stored, again)
    done = storescu(peer, port, again, more=("-v",))
    assert "CannotUnderstand" in done.stdout + done.stderr  # 0xC003
    assert len(list(handler.folder.glob("*.dcm"))) == 1


class Event:
    """What a handler sees, without a network."""

    def __init__(self, **request: object) -> None:
        source = paths("CT_small.dcm")[0]
        with source.open("rb") as stream:
            parts = split_file(stream)
        default = {
            "DataSet": io.BytesIO(data_set(source)),
            "AffectedSOPClassUID": parts.sop_class_uid,
            "AffectedSOPInstanceUID": parts.sop_instance_uid,
        }
        self.request = SimpleNamespace(**(default | request))
        self.context = SimpleNamespace(transfer_syntax=parts.transfer_syntax_uid)
        self.assoc = SimpleNamespace(requestor=SimpleNamespace(ae_title="THEM"))


class Shelf:
    """A destination that keeps what it is given, or does what ``fault`` does."""

    def __init__(self, fault=None) -> None:
        self.kept: list[tuple[Parcel, bytes]] = []
        self.fault = fault

    def deliver(self, parcel: Parcel) -> None:
        if self.fault:
            raise self.fault
        self.kept.append((parcel, parcel.path.read_bytes()))

    def close(self) -> None:
        pass


def test_a_destination_has_it_before_the_answer(make, identity, tmp_path):
    shelf = Shelf()
    handler = make(destination=shelf)
    assert handler(Event()).Status == 0x0000
    ((parcel, data),) = shelf.kept
    assert list(handler.folder.iterdir()) == []
    (tmp_path / "got.dcm").write_bytes(data)
    assert parcel.sop_instance_uid.startswith("2.25.")
    assert opened(tmp_path / "got.dcm", identity, tmp_path) == data_set(paths("CT_small.dcm")[0])


@pytest.mark.parametrize(
    "fault",
    [NetworkError("away"), InputError("no"), RuntimeError("Zebedee^Quentin"), OSError(28, "full"), KeyError("x")],
)
def test_a_destination_that_fails_is_a_failure_for_the_sender(make, caplog, fault):
    handler = make(destination=Shelf(fault))
    response = handler(Event())
    assert response.Status not in (0x0000, 0xB000, 0xB006, 0xB007)
    assert list(handler.folder.iterdir()) == []
    assert "Zebedee" not in caplog.text + str(response.get("ErrorComment", ""))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"DataSet": None}, 0xC001),
        ({"AffectedSOPInstanceUID": "1.2.3"}, 0xA900),
        ({"_dataset_path": Path("/tmp/plain")}, 0x0110),
    ],
)
def test_odd_requests(make, request_, status):
    handler = make()
    assert handler(Event(**request_)).Status == status
    assert list(handler.folder.iterdir()) == []


def test_no_exception_reaches_the_server(make):
    handler = make()
    broken = Event()
    del broken.request.DataSet
    assert handler(broken).Status == 0x0110
    assert handler(object()).Status == 0x0110


def test_a_full_disk_is_said(make):
    handler = make(reserve_bytes=1 << 62)
    assert handler(Event()).Status == 0xA700


@pytest.mark.peer
def test_a_server_that_stores_in_clear_is_refused(peer, serve, make, monkeypatch):
    monkeypatch.setattr(_config, "STORE_RECV_CHUNKED_DATASET", True)
    handler = make()
    done = storescu(peer, serve(handler), *paths("CT_small.dcm"), more=("-v",))
    assert "0x110" in done.stdout + done.stderr
    assert list(handler.folder.iterdir()) == []


def test_wrong_keys_are_found_at_once(tmp_path, identity):
    with pytest.raises(KeyMaterialError):
        StoreHandler(tmp_path / "a", recipients=[])
    with pytest.raises(KeyMaterialError):
        StoreHandler(tmp_path / "a", recipients=[str(tmp_path / "nowhere.pub")])
    with pytest.raises(ConfigurationError):
        StoreHandler(tmp_path / "a", recipients=[str(identity.recipient)], suite="none")
    StoreHandler(tmp_path / "a", recipients=[str(identity.recipient)]).close()


def test_one_folder_one_handler(make, tmp_path, identity):
    first = make()
    with pytest.raises(StorageError, match="another node"):
        StoreHandler(tmp_path / "store", recipients=[str(identity.recipient)])
    first.close()
    assert first(Event()).Status == 0x0110
    make()


def test_many_at_a_time(make):
    handler = make()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(handler(Event()).Status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [0] * 8
    assert len(list(handler.folder.iterdir())) == 8


def test_the_example_is_what_the_readme_shows():
    (text,) = blocks(FOLDER / "README.md", "python")
    assert text.strip() in (FOLDER / "server.py").read_text()
    body = text.split("\n\n")[-1].strip().splitlines()
    assert len(body) <= 10


def test_every_argument_is_documented():
    readme = (FOLDER / "README.md").read_text()
    documented = set()
    for row in re.findall(r"^\| (`[\w`, ]+`) \|", readme, re.MULTILINE):
        documented |= set(re.findall(r"\w+", row))
    assert documented == set(inspect.signature(StoreHandler).parameters)


def test_the_readme_works(tmp_path, sample_files):
    assert links(FOLDER / "README.md") == []
    folder = copy_project(tmp_path / "checkout", "plugins/pynetdicom")
    (folder / "sample_dicom").mkdir()
    for number, path in enumerate(sorted(sample_files, key=lambda path: path.stat().st_size)[:3]):
        shutil.copy(path, folder / "sample_dicom" / f"{number}.dcm")
    follow(FOLDER / "README.md", with_packages_of(tmp_path / "venv", "node"), folder, port="11113")
    assert len(list((folder / "store" / "objects").glob("*.dcm"))) == 3
