"""iomt-crypt fetch: from an archive by C-FIND and C-GET, decrypted, complete or said to be incomplete."""

from __future__ import annotations

import io
import json

import pytest
from node_harness import CT, EXPLICIT, MR, Archive, cli, dataset, part10, uid
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AllStoragePresentationContexts, evt
from pynetdicom.presentation import build_context

from iomt_crypt.dicom import Policy, protect, read_network
from iomt_crypt.errors import MalformedError
from iomt_crypt.node.fetcher import Fetcher
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.transport import configure_pynetdicom
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring

configure_pynetdicom()
STUDY = uid(900001)


class _Store:
    """What an archive has, with C-FIND and C-GET over it."""

    def __init__(self) -> None:
        self.objects: list[Dataset] = []
        self.withheld: set[str] = set()
        self.names_classes = True
        self.get_status: int | None = None
        contexts = [build_context(context.abstract_syntax) for context in AllStoragePresentationContexts]
        for context in contexts:
            context.scu_role = context.scp_role = True
        contexts += [build_context("1.2.840.10008.5.1.4.1.2.2.1"), build_context("1.2.840.10008.5.1.4.1.2.2.3")]
        self.archive = Archive(
            contexts=contexts, handlers=[(evt.EVT_C_FIND, self._on_find), (evt.EVT_C_GET, self._on_get)]
        )

    def add(self, content: bytes) -> None:
        self.objects.append(dcmread(io.BytesIO(content)))

    def _matches(self, identifier: Dataset) -> list[Dataset]:
        found = [ds for ds in self.objects if ds.StudyInstanceUID == identifier.StudyInstanceUID]
        series = identifier.get("SeriesInstanceUID")
        return [ds for ds in found if not series or ds.SeriesInstanceUID == series]

    def _on_find(self, event):
        identifier = event.identifier
        seen = set()
        for ds in self._matches(identifier):
            answer = Dataset()
            answer.QueryRetrieveLevel = identifier.QueryRetrieveLevel
            answer.SeriesInstanceUID = ds.SeriesInstanceUID
            if identifier.QueryRetrieveLevel == "IMAGE":
                answer.SOPInstanceUID = ds.SOPInstanceUID
                if self.names_classes:
                    answer.SOPClassUID = ds.SOPClassUID
            key = answer.get("SOPInstanceUID", answer.SeriesInstanceUID)
            if key not in seen:
                seen.add(key)
                yield 0xFF00, answer

    def _on_get(self, event):
        found = [ds for ds in self._matches(event.identifier) if ds.SOPInstanceUID not in self.withheld]
        yield len(found)
        if self.get_status is not None:
            yield self.get_status, None
            return
        for ds in found:
            yield 0xFF00, ds


@pytest.fixture
def store():
    store = _Store()
    yield store
    store.archive.close()


def _encrypted(data: bytes, identity: HpkeIdentity) -> bytes:
    sink = io.BytesIO()
    source = read_network(data, transfer_syntax_uid="1.2.840.10008.1.2.1")
    protect(source, sink, epoch=Epoch.create([identity.recipient]), policy=Policy(site_key=b"k" * 32))
    return sink.getvalue()


def _fetch(store: _Store, identity: HpkeIdentity, output, **options):
    peer = Peer("ARCHIVE", "127.0.0.1", store.archive.port)
    fetcher = Fetcher(peer, calling_ae_title="WS", keyring=Keyring([identity]), output=output, **options)
    instances = fetcher.find(STUDY)
    return instances, list(fetcher.fetch(instances))


@pytest.mark.parametrize("names_classes", [True, False], ids=["classes named", "classes not named"])
def test_a_study_comes_back_byte_for_byte(tmp_path, store, identity, names_classes):
    store.names_classes = names_classes
    originals = {uid(n): dataset(n, sop_class=MR if n % 3 == 0 else CT) for n in range(9)}
    for data in originals.values():
        store.add(_encrypted(data, identity))
    instances, results = _fetch(store, identity, tmp_path / "out")
    assert len(instances) == len(results) == 9
    assert {result.state for result in results} == {"decrypted"}
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert files.keys() == {f"{name}.dcm" for name in originals}
    for name, data in originals.items():
        assert files[f"{name}.dcm"].endswith(data)
        assert len(files[f"{name}.dcm"]) < len(data) + 600


def test_plain_objects_are_saved_and_said_to_be_plain(tmp_path, store, identity):
    store.add(_encrypted(dataset(1), identity))
    store.add(part10(dataset(2), CT, uid(2)))
    _, results = _fetch(store, identity, tmp_path / "out")
    assert sorted(result.state for result in results) == ["decrypted", "plain"]
    assert dcmread(tmp_path / "out" / f"{uid(2)}.dcm").PixelData == dataset(2)[-512:]


def test_what_the_archive_does_not_send_is_failed(tmp_path, store, identity):
    for number in range(4):
        store.add(_encrypted(dataset(number), identity))
    store.withheld.add(store.objects[2].SOPInstanceUID)
    _, results = _fetch(store, identity, tmp_path / "out")
    failed = [result for result in results if result.state == "failed"]
    assert [result.sop_instance_uid for result in failed] == [store.objects[2].SOPInstanceUID]
    assert "did not send" in str(failed[0].error)
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_refused_retrieval_says_what_the_archive_said(tmp_path, store, identity):
    store.add(_encrypted(dataset(1), identity))
    store.get_status = 0xA702
    _, (result,) = _fetch(store, identity, tmp_path / "out")
    assert result.state == "failed"
    assert "0xA702" in str(result.error)


def test_damaged_foreign_and_present_objects_leave_no_file(tmp_path, store, identity):
    """A flipped bit, another's key, a name that is taken: failed by name, and nothing written."""
    damaged = bytearray(_encrypted(dataset(1), identity))
    damaged[-100] ^= 1
    store.add(bytes(damaged))
    store.add(_encrypted(dataset(2), HpkeIdentity.generate()))
    store.add(_encrypted(dataset(3), identity))
    output = tmp_path / "out"
    output.mkdir()
    (output / f"{uid(3)}.dcm").write_bytes(b"precious")
    _, results = _fetch(store, identity, output)
    errors = {result.sop_instance_uid: str(result.error) for result in results}
    assert [errors[ds.SOPInstanceUID] for ds in store.objects[:2]] == ["authentication failed", "no matching identity"]
    assert "exists already" in errors[store.objects[2].SOPInstanceUID]
    assert [path.name for path in output.iterdir()] == [f"{uid(3)}.dcm"]
    assert (output / f"{uid(3)}.dcm").read_bytes() == b"precious"


def test_a_plain_object_cannot_choose_a_path(tmp_path, store, identity):
    """The name of the file comes from the peer when nothing is authenticated."""
    peer = Peer("ARCHIVE", "127.0.0.1", store.archive.port)
    output = tmp_path / "a" / "out"
    output.mkdir(parents=True)
    fetcher = Fetcher(peer, calling_ae_title="WS", keyring=Keyring([identity]), output=output)
    for hostile in ("../../evil", "/tmp/evil", "", ".", "1.2\n3", "1" * 65):
        with pytest.raises(MalformedError, match="no UID may have"):
            fetcher._take(hostile, CT, EXPLICIT, dataset(1))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_command_line(tmp_path, store, identity, identity_file):
    for number in range(3):
        store.add(_encrypted(dataset(number), identity))
    base = ("fetch", "--from", f"ARCHIVE@127.0.0.1:{store.archive.port}", "-i", identity_file)
    done = cli(*base, "--study", STUDY, "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["state"] for line in done.stdout.splitlines()] == ["decrypted"] * 3
    assert len(list((tmp_path / "out").iterdir())) == 3
    again = cli(*base, "--study", STUDY, "-o", tmp_path / "out")
    assert again.returncode == 1
    assert again.stderr.count("exists already") == 3
    nothing = cli(*base, "--study", "1.2.3", "-o", tmp_path / "none")
    assert nothing.returncode == 1
    assert "study 1.2.3" in nothing.stderr
    assert cli(*base, "--study", STUDY, "-o", tmp_path / "x", "--headers", "some").returncode == 2
