"""verify --archive, and the way back of a record that an archive has lost."""

from __future__ import annotations

import io
import json
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
from node_harness import CT, EXPLICIT, dataset, part10, uid
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from query_archive import QueryArchive
from typer.testing import CliRunner

from iomt_crypt.cli.app import app
from iomt_crypt.dicom import Policy, protect, read_network
from iomt_crypt.dicom.block import GROUP, find_record
from iomt_crypt.dicom.source import read_file
from iomt_crypt.node.archive_audit import ArchiveAudit
from iomt_crypt.node.entry import NewEntry
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.transport import configure_pynetdicom
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring

configure_pynetdicom()
STUDY = uid(900001)


@dataclass(frozen=True)
class Sealed:
    data: bytes
    record: bytes
    uid: str

    @property
    def dataset(self) -> Dataset:
        return dcmread(io.BytesIO(self.data))

    @property
    def stripped(self) -> bytes:
        ds, sink = self.dataset, io.BytesIO()
        for tag in [element.tag for element in ds if element.tag.group == GROUP]:
            del ds[tag]
        dcmwrite(sink, ds)
        return sink.getvalue()


def seal(number: int, identity: HpkeIdentity) -> Sealed:
    sink = io.BytesIO()
    source = read_network(dataset(number, size=64), transfer_syntax_uid=EXPLICIT)
    done = protect(source, sink, epoch=Epoch.create([identity.recipient]), policy=Policy(site_key=b"k" * 32))
    found = find_record(read_file(sink).header)
    assert found is not None
    return Sealed(sink.getvalue(), found[1], done.sop_instance_uid)


@pytest.fixture(scope="module")
def store():
    store = QueryArchive()
    yield store
    store.archive.close()


@pytest.fixture(autouse=True)
def _empty(store):
    store.objects, store.surplus = [], []
    store.withheld.clear()


@pytest.fixture
def journal(tmp_path):
    """A node's journal, with objects as delivered."""

    def make(*objects: Sealed) -> Path:
        path = tmp_path / "journal.sqlite3"
        journal = Journal(path)
        journal.create()
        for number, each in enumerate(objects):
            entry = NewEntry(f"{number}.dcm", CT, each.uid, 1, 0.0, study_instance_uid=STUDY, record=each.record)
            object_id = journal.add(entry)
            assert journal.claim(limit=10, lease_s=60.0)
            journal.delivered([object_id])
        journal.close()
        return path

    return make


def run(*arguments: object, code: int = 0):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return done


def verify(store, *arguments: object, code: int) -> dict[str, dict]:
    address = f"ARCHIVE@127.0.0.1:{store.archive.port}"
    done = run("verify", "--archive", address, "--no-classifier", "--json", *arguments, code=code)
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({finding["sop_instance_uid"] for finding in findings}) == len(findings)
    return {finding["sop_instance_uid"]: finding for finding in findings}


def test_each_object_has_its_verdict(store, identity, identity_file, journal, tmp_path):
    old = HpkeIdentity.generate()
    sealed = [seal(n, identity) for n in range(8)]
    retired = seal(8, old)
    foreign = seal(9, HpkeIdentity.generate())
    newer = seal(3, identity)  # the archive kept the first version
    damaged = bytearray(sealed[4].data)
    damaged[-100] ^= 1
    for data in (sealed[0].data, sealed[1].stripped, sealed[3].data, bytes(damaged), retired.data, foreign.data):
        store.add(data)
    store.add(sealed[5].data)
    store.withheld.add(sealed[5].uid)
    plain = dcmread(io.BytesIO(part10(dataset(6, size=64), CT, uid(6))))
    store.objects.append(plain)
    audit = ArchiveAudit(
        Peer("ARCHIVE", "127.0.0.1", store.archive.port),
        calling_ae_title="WS",
        keyring=Keyring([identity]),
        retired=Keyring([old]),
        classifier=False,
    )
    found = {finding.sop_instance_uid: finding for finding in audit.study(STUDY)}
    assert {uid: finding.verdict for uid, finding in found.items()} == {
        sealed[0].uid: "opens",
        sealed[1].uid: "record-lost",  # its pixels are noise
        sealed[3].uid: "opens",
        sealed[4].uid: "damaged",
        sealed[5].uid: "unsent",
        uid(6): "plain",
        retired.uid: "retired",
        foreign.uid: "closed",
    }
    path = journal(sealed[0], sealed[1], sealed[3], newer, sealed[4], sealed[7])
    found = verify(store, path, "-i", identity_file, code=1)
    assert {uid: finding["verdict"] for uid, finding in found.items()} == {
        sealed[0].uid: "opens",
        sealed[1].uid: "record-lost",
        sealed[3].uid: "different",
        sealed[4].uid: "damaged",
        sealed[7].uid: "absent",
    }
    assert "fetch --journal" in found[sealed[1].uid]["hint"]
    assert "older version" in found[sealed[3].uid]["error"]


def test_all_sound_is_exit_0(store, identity, identity_file, tmp_path):
    sealed = [seal(n, identity) for n in range(2)]
    for each in sealed:
        store.add(each.data)
        (tmp_path / f"{each.uid}.dcm").write_bytes(each.data)
    found = verify(store, "--study", STUDY, "-i", identity_file, code=0)
    assert {finding["verdict"] for finding in found.values()} == {"opens"}
    assert {f["verdict"] for f in verify(store, "--study", STUDY, code=0).values()} == {"sealed"}
    files = [tmp_path / f"{each.uid}.dcm" for each in sealed]
    assert set(verify(store, *files, "-i", identity_file, code=0)) == {each.uid for each in sealed}
    assert {f["verdict"] for f in verify(store, "--study", "1.2.3", code=1).values()} == {"absent"}
    run("verify", "--archive", "A@127.0.0.1:1", code=2)
    run("verify", code=2)


def test_an_archive_that_is_down_is_named(identity_file):
    done = run("verify", "--archive", "A@127.0.0.1:1", "--study", STUDY, "-i", identity_file, code=1)
    assert "cannot be reached" in done.output


def test_a_lost_record_comes_back_from_the_journal(store, identity, identity_file, journal, tmp_path):
    """By fetch with the journal, and by export and decrypt."""
    first, second, third = (seal(n, identity) for n in (1, 2, 3))
    newer = seal(2, identity)
    path = journal(first, second, newer, third)
    store.add(first.stripped)
    store.add(second.stripped)
    address = f"ARCHIVE@127.0.0.1:{store.archive.port}"
    base = ("fetch", "--from", address, "--study", STUDY, "-i", identity_file)
    assert "--journal" in run(*base, "-o", tmp_path / "without", code=1).output
    done = run(*base, "-o", tmp_path / "fetched", "--journal", path)
    assert done.output.count("record lost") == 2
    for number in (1, 2):
        assert (tmp_path / "fetched" / f"{uid(number)}.dcm").read_bytes().endswith(dataset(number, size=64))

    export = ("node", "record", "export", "--config", path)
    run(*export, "--all", "-o", tmp_path / "records")
    names = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "records").iterdir()}
    assert names == dict.fromkeys(
        [f"{first.uid}.record", f"{second.uid}.record", f"{second.uid}-2.record", f"{third.uid}.record"], 0o600
    )
    run(*export, "--uid", first.uid, "-o", tmp_path / "one.record")
    assert (tmp_path / "one.record").read_bytes() == first.record
    assert "has no record" in run(*export, "--uid", "1.2.3", "-o", tmp_path / "x", code=1).output
    assert "name a folder" in run(*export, "--uid", second.uid, "-o", tmp_path / "x", code=1).output
    run(*export, "-o", tmp_path / "x", code=2)

    lost = tmp_path / "lost"
    lost.mkdir()
    (lost / "1.dcm").write_bytes(first.stripped)
    (lost / "2.dcm").write_bytes(second.stripped)
    run("decrypt", lost, "-i", identity_file, "-o", tmp_path / "no", code=1)
    run("decrypt", lost / "1.dcm", "-i", identity_file, "-o", tmp_path / "a", "--record", tmp_path / "one.record")
    run("decrypt", lost, "-i", identity_file, "-o", tmp_path / "b", "--record", tmp_path / "records")
    for folder, names in (("a", ["1.dcm"]), ("b", ["1.dcm", "2.dcm"])):
        for name in names:
            assert (tmp_path / folder / name).read_bytes().endswith(dataset(int(name[0]), size=64))
    run("verify", lost, "-i", identity_file, "--no-classifier", code=1)
    done = run("verify", lost, "-i", identity_file, "--no-classifier", "--record", tmp_path / "records")
    assert done.output.count("opened with a copy") == 2
    (tmp_path / "junk").write_bytes(b"junk")
    run("decrypt", lost, "-i", identity_file, "-o", tmp_path / "c", "--record", tmp_path / "junk", code=1)
