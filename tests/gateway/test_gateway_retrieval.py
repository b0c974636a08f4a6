"""fetch against real archives that lost a file, dropped the record, or know C-MOVE alone: Orthanc and dcmqrscp."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pydicom
import pytest

from demo import orthanc
from iomt_crypt import rekey_file
from iomt_crypt.dicom import protect, read_file
from iomt_crypt.dicom.block import GROUP, find_record
from iomt_crypt.node.archive_audit import ArchiveAudit
from iomt_crypt.node.fetcher import Fetched, Fetcher
from iomt_crypt.node.move_listener import MoveTarget
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.sender import Sender
from iomt_crypt.node.transport import configure_pynetdicom
from iomt_crypt.seal import HpkeIdentity, Keyring
from tests import synthetic

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("gateway")]

AET, MOVE_AET = "IOMTFETCH", "IOMTMOVE"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
N_OBJECTS = 6
LIMIT_S = 60.0
configure_pynetdicom()


@dataclass(frozen=True)
class Sealed:
    """An encrypted object of ours and what it was."""

    plain: bytes
    data: bytes
    record: bytes
    sop_instance_uid: str


def seal(epoch, policy, study: str, number: int, sop_class: str | None = None) -> Sealed:
    uid = f"{study}.{number}"
    elements = synthetic.image(uid=uid) | {
        0x0020000D: ("UI", study.encode()),
        0x0020000E: ("UI", f"{study}.9".encode()),
    }
    if sop_class is not None:
        elements[0x00080016] = ("UI", sop_class.encode())
    plain, sink = synthetic.file(elements), io.BytesIO()
    done = protect(read_file(io.BytesIO(plain)), sink, epoch=epoch, policy=policy)
    found = find_record(read_file(sink).header)
    assert found is not None
    return Sealed(plain, sink.getvalue(), found[1], done.sop_instance_uid)


def send(peer: Peer, folder: Path, objects: list[bytes]) -> None:
    folder.mkdir()
    paths = [folder / f"{n}.dcm" for n in range(len(objects))]
    for path, data in zip(paths, objects, strict=True):
        path.write_bytes(data)
    sender = Sender(paths, peer, calling_ae_title=AET)
    for path in paths:
        assert sender.send(path).warning == ""
    sender.close()


def without_record(data: bytes) -> bytes:
    ds = pydicom.dcmread(io.BytesIO(data))
    for tag in [element.tag for element in ds if element.tag.group == GROUP]:
        del ds[tag]
    sink = io.BytesIO()
    pydicom.dcmwrite(sink, ds)
    return sink.getvalue()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def fetch(peer: Peer, keyring, study: str, output: Path, **options) -> list[Fetched]:
    fetcher = Fetcher(peer, calling_ae_title=AET, keyring=keyring, output=output, **options)
    return list(fetcher.fetch(fetcher.listing(study)))


def check(results: list[Fetched], sealed: list[Sealed], broken: set[str]) -> None:
    """Every object but the broken ones is there byte for byte; those are named."""
    assert {r.sop_instance_uid for r in results if r.error} == broken, [str(r.error) for r in results if r.error]
    plain = {each.sop_instance_uid: each.plain for each in sealed}
    came = {r.sop_instance_uid: r.path.read_bytes() for r in results if r.path}
    assert came == {uid: data for uid, data in plain.items() if uid not in broken}


@pytest.fixture(scope="module")
def orthanc_archive(tmp_path_factory, peer) -> Iterator[orthanc.Orthanc]:
    peer("Orthanc")
    configuration = orthanc.Orthanc.configuration
    with pytest.MonkeyPatch.context() as patch:
        # Orthanc's own default: it keeps what it has, and answers success.
        kept = {"OverwriteInstances": False}
        patch.setattr(orthanc.Orthanc, "configuration", lambda self: configuration(self) | kept)
        with orthanc.start(tmp_path_factory.mktemp("orthanc")) as archive:
            yield archive


def orthanc_peer(archive: orthanc.Orthanc) -> Peer:
    return Peer(archive.ae_title, archive.host, archive.port)


def forget_file(archive: orthanc.Orthanc, uid: str) -> None:
    """Remove the file of one object from Orthanc's disk; its index keeps it."""
    instance = archive._instances()[uid]
    (attachment,) = [
        json.loads(archive.get(f"/instances/{instance}/attachments/{name}/info"))["Uuid"] for name in ("dicom",)
    ]
    storage = archive.folder / "storage"
    (storage / attachment[:2] / attachment[2:4] / attachment).unlink()


def introduce(archive: orthanc.Orthanc, target: MoveTarget) -> None:
    """Tell Orthanc where its C-MOVE is to send to."""
    connection = HTTPConnection(archive.host, archive.http_port, timeout=30)
    body = {"AET": MOVE_AET, "Host": "127.0.0.1", "Port": target.port}
    connection.request("PUT", f"/modalities/{MOVE_AET}", json.dumps(body))
    assert connection.getresponse().status == 200
    connection.close()


def test_orthanc_with_a_file_gone(orthanc_archive, epoch, policy, keyring, tmp_path):
    """It ends a C-GET at the file that is gone, and the listing of its series too: the others come all the same."""
    study = "1.2.826.0.1.3680043.10.7.1"
    sealed = [seal(epoch, policy, study, n) for n in range(N_OBJECTS)]
    peer = orthanc_peer(orthanc_archive)
    send(peer, tmp_path / "in", [each.data for each in sealed])
    check(fetch(peer, keyring, study, tmp_path / "whole"), sealed, set())
    broken = {sealed[2].sop_instance_uid, sealed[4].sop_instance_uid}
    for uid in broken:
        forget_file(orthanc_archive, uid)
    check(fetch(peer, keyring, study, tmp_path / "rest"), sealed, broken)


def test_orthanc_by_move(orthanc_archive, epoch, policy, keyring, tmp_path, monkeypatch):
    study = "1.2.826.0.1.3680043.10.7.2"
    sealed = [seal(epoch, policy, study, n) for n in range(N_OBJECTS)]
    peer = orthanc_peer(orthanc_archive)
    send(peer, tmp_path / "in", [each.data for each in sealed])
    # Orthanc always offers C-GET.
    monkeypatch.setattr("iomt_crypt.node.retrieval.GET", "1.2.3")
    target = MoveTarget(MOVE_AET, free_port())
    results = fetch(peer, keyring, study, tmp_path / "unknown", target=target)
    assert {"does not know" in str(r.error) or "0x" in str(r.error) for r in results} == {True}
    introduce(orthanc_archive, target)
    check(fetch(peer, keyring, study, tmp_path / "out", target=target), sealed, set())
    forget_file(orthanc_archive, sealed[1].sop_instance_uid)
    check(fetch(peer, keyring, study, tmp_path / "rest", target=target), sealed, {sealed[1].sop_instance_uid})


def test_a_class_that_orthanc_cannot_send_by_get_comes_by_move(orthanc_archive, epoch, policy, keyring, tmp_path):
    """Label Map Segmentation Storage is of 2024; Orthanc 1.10 stores it and answers its C-GET with 0xA702."""
    study = "1.2.826.0.1.3680043.10.7.6"
    sealed = [seal(epoch, policy, study, n, sop_class=LABEL_MAP if n else None) for n in range(3)]
    peer = orthanc_peer(orthanc_archive)
    send(peer, tmp_path / "in", [each.data for each in sealed])
    check(fetch(peer, keyring, study, tmp_path / "get"), sealed, {each.sop_instance_uid for each in sealed[1:]})
    target = MoveTarget(MOVE_AET, free_port())
    introduce(orthanc_archive, target)
    check(fetch(peer, keyring, study, tmp_path / "out", target=target), sealed, set())


def test_orthanc_with_records_dropped(orthanc_archive, epoch, policy, keyring, tmp_path):
    study = "1.2.826.0.1.3680043.10.7.3"
    sealed = [seal(epoch, policy, study, n) for n in range(3)]
    peer = orthanc_peer(orthanc_archive)
    send(peer, tmp_path / "in", [without_record(each.data) for each in sealed])
    records = {each.sop_instance_uid: [each.record] for each in sealed}
    check(fetch(peer, keyring, study, tmp_path / "none"), sealed, set(records))
    results = fetch(peer, keyring, study, tmp_path / "out", records_of=records.__getitem__)
    check(results, sealed, set())
    assert all(result.from_copy for result in results)


def test_what_orthanc_really_has(orthanc_archive, epoch, identity, policy, tmp_path):
    """A re-keyed object changed nothing, a file is gone, a record was dropped: all after answers of success."""
    study = "1.2.826.0.1.3680043.10.7.5"
    new = HpkeIdentity.generate()
    sealed = [seal(epoch, policy, study, n) for n in range(4)]
    peer = orthanc_peer(orthanc_archive)
    objects = [sealed[0].data, sealed[1].data, without_record(sealed[2].data)]
    send(peer, tmp_path / "in", objects)
    rekeyed = tmp_path / "in" / "0.dcm"
    rekey_file(rekeyed, identities=[identity], recipients=[new.recipient])
    send(peer, tmp_path / "again", [rekeyed.read_bytes()])
    forget_file(orthanc_archive, sealed[1].sop_instance_uid)
    records = {each.sop_instance_uid: [each.record] for each in sealed}

    def look(current, retired) -> dict[str, tuple[str, str]]:
        audit = ArchiveAudit(
            peer,
            calling_ae_title=AET,
            keyring=Keyring([current]),
            retired=Keyring([retired]),
            classifier=False,
            records_of=records.__getitem__,
        )
        return {f.sop_instance_uid: (f.verdict, f.hint) for f in audit.study(study, records)}

    found = look(new, identity)
    assert found[sealed[0].sop_instance_uid][0] == "retired"
    found = look(identity, new)
    assert [found[each.sop_instance_uid][0] for each in sealed] == ["opens", "unsent", "record-lost", "absent"]
    assert "fetch --journal" in found[sealed[2].sop_instance_uid][1]


@contextmanager
def dcmqrscp(program: str, folder: Path, move_port: int, *options: str) -> Iterator[Peer]:
    """DCMTK's archive over ``folder``."""
    storage = folder / "storage"
    storage.mkdir(exist_ok=True)
    port = free_port()
    config = folder / "dcmqrscp.cfg"
    config.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nmover = ({MOVE_AET}, 127.0.0.1, {move_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nARCHIVE {storage} RW (200, 1024mb) ANY\nAETable END\n"
    )
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([program, "-c", str(config), *options], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + LIMIT_S
            while True:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "dcmqrscp does not answer"
                time.sleep(0.02)
            yield Peer("ARCHIVE", "127.0.0.1", port)
        finally:
            process.terminate()
            process.wait()


@pytest.mark.parametrize("how", ["get", "move"])
def test_dcmqrscp(how, epoch, policy, keyring, tmp_path, peer):
    """It goes on by itself where a file is gone, and with --disable-get it knows C-MOVE alone."""
    study = "1.2.826.0.1.3680043.10.7.4"
    sealed = [seal(epoch, policy, study, n) for n in range(N_OBJECTS)]
    move_port = free_port()
    options = ["--disable-get"] if how == "move" else []
    with dcmqrscp(peer("dcmqrscp"), tmp_path, move_port, *options) as archive:
        send(archive, tmp_path / "in", [each.data for each in sealed])
        if how == "move":
            results = fetch(archive, keyring, study, tmp_path / "no target")
            assert {r.state for r in results} == {"failed"}
            assert all("--move-port" in r.error.hint for r in results)
            results = fetch(archive, keyring, study, tmp_path / "bad", target=MoveTarget("NOBODY", free_port()))
            assert all("does not know the move destination" in str(r.error) for r in results), results[0].error
        target = MoveTarget(MOVE_AET, move_port)
        check(fetch(archive, keyring, study, tmp_path / "out", target=target), sealed, set())
        gone = sealed[1].sop_instance_uid
        for path in (tmp_path / "storage").iterdir():
            if gone.encode() in path.read_bytes() and path.name != "index.dat":
                path.unlink()
        check(fetch(archive, keyring, study, tmp_path / "rest", target=target), sealed, {gone})
