"""iomt-crypt fetch: from an archive by C-FIND and C-GET, decrypted, complete or said to be incomplete."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from node_harness import CT, EXPLICIT, MR, cli, dataset, part10, uid
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_FIND, C_GET
from query_archive import QueryArchive

from iomt_crypt.dicom import Policy, protect, read_network, split_file
from iomt_crypt.durable import open_draft
from iomt_crypt.errors import InputError, MalformedError, NetworkError
from iomt_crypt.node.catalog import Instance, Listing, completed
from iomt_crypt.node.demand import Arrival, Demand
from iomt_crypt.node.fetcher import Fetcher
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.transport import configure_pynetdicom
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring

configure_pynetdicom()
STUDY = uid(900001)


@pytest.fixture
def store():
    store = QueryArchive()
    yield store
    store.archive.close()


def _encrypted(data: bytes, identity: HpkeIdentity) -> bytes:
    sink = io.BytesIO()
    source = read_network(data, transfer_syntax_uid="1.2.840.10008.1.2.1")
    protect(source, sink, epoch=Epoch.create([identity.recipient]), policy=Policy(site_key=b"k" * 32))
    return sink.getvalue()


def _fetch(store: QueryArchive, identity: HpkeIdentity, output, **options):
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


def test_a_plain_object_is_named_and_written_only_when_asked_for(tmp_path, store, identity):
    store.add(_encrypted(dataset(1), identity))
    store.add(part10(dataset(2), CT, uid(2)))
    _, results = _fetch(store, identity, tmp_path / "out")
    assert {r.sop_instance_uid: r.state for r in results} == {
        store.objects[0].SOPInstanceUID: "decrypted",
        uid(2): "failed",
    }
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{uid(1)}.dcm"]
    (error,) = [result.error for result in results if result.error]
    assert "not encrypted" in str(error)
    assert "--plain" in error.hint
    _, results = _fetch(store, identity, tmp_path / "both", plain=True)
    assert sorted(result.state for result in results) == ["decrypted", "plain"]
    assert dcmread(tmp_path / "both" / f"{uid(2)}.dcm").PixelData == dataset(2)[-512:]


def _changed(ds: Dataset, **values: str) -> Dataset:
    """Another object like ``ds``."""
    sink = io.BytesIO()
    dcmwrite(sink, ds)
    other = dcmread(io.BytesIO(sink.getvalue()))
    for keyword, value in values.items():
        setattr(other, keyword, value)
    if "SOPInstanceUID" in values:
        other.file_meta.MediaStorageSOPInstanceUID = values["SOPInstanceUID"]
    return other


def test_what_was_not_asked_for_is_named_and_not_written(tmp_path, store, identity):
    """Another study's, another series', one that nobody listed, and a second one under one UID."""
    store.add(_encrypted(dataset(1), identity))
    store.add(_encrypted(dataset(2), identity))
    first = store.objects[0]
    other = dcmread(io.BytesIO(_encrypted(dataset(3), identity)))
    store.surplus = [
        _changed(other, StudyInstanceUID="1.2.3"),
        other,
        _changed(first),
    ]
    _, results = _fetch(store, identity, tmp_path / "out")
    assert sorted(result.state for result in results) == ["decrypted"] * 2 + ["refused"] * 3
    errors = [str(result.error) for result in results if result.state == "refused"]
    for what in ("another study, 1.2.3", "not asked for", "a second object under this UID"):
        assert any(what in error for error in errors), errors
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{uid(1)}.dcm", f"{uid(2)}.dcm"]


def test_other_content_under_an_asked_uid_is_named(tmp_path, store, identity):
    """The archive has one object's header over another's record: neither is written."""
    wanted, other = (dcmread(io.BytesIO(_encrypted(dataset(n), identity))) for n in (1, 2))
    store.objects = [_changed(other, SOPInstanceUID=wanted.SOPInstanceUID)]
    for headers in ("merged", "original", "strict"):
        _, (result,) = _fetch(store, identity, tmp_path / headers, headers=headers)
        assert result.state == "failed"
        assert f"another object under this UID: {other.SOPInstanceUID}" in str(result.error)
        assert list((tmp_path / headers).iterdir()) == []


def test_the_healthy_objects_behind_a_broken_one_come(tmp_path, store, identity):
    """As Orthanc does it: the retrieval of a series ends where one cannot be sent."""
    for number in range(5):
        store.add(_encrypted(dataset(number), identity))
    store.breaks = True
    store.withheld.add(store.objects[1].SOPInstanceUID)
    _, results = _fetch(store, identity, tmp_path / "out")
    assert sorted(result.state for result in results) == ["decrypted"] * 4 + ["failed"]
    (failed,) = [result for result in results if result.error]
    assert failed.sop_instance_uid == store.objects[1].SOPInstanceUID
    assert "0xC000" in str(failed.error)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2"], ids=["implicit", "big endian"])
def test_another_transfer_syntax_opens_byte_for_byte(tmp_path, identity, syntax):
    store = QueryArchive(syntax)
    try:
        ds = dcmread(io.BytesIO(_encrypted(dataset(1), identity)))
        sink = io.BytesIO()
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax.endswith("2.2"):
            pixels = np.frombuffer(ds.PixelData, "<u2")
            ds.PixelData = pixels.astype(">u2").tobytes()
        little = not syntax.endswith("2.2")
        dcmwrite(sink, ds, implicit_vr=little, little_endian=little, force_encoding=True)
        store.add(sink.getvalue())
        _, (result,) = _fetch(store, identity, tmp_path / "out")
        assert result.error is None
        assert (tmp_path / "out" / f"{uid(1)}.dcm").read_bytes().endswith(dataset(1))
    finally:
        store.archive.close()


def test_an_object_whose_clear_header_cannot_be_parsed_opens(tmp_path, store, identity):
    """An archive damaged an element that nobody needs."""
    content = _encrypted(dataset(1), identity)
    store.add(content)
    at = content.index(struct.pack("<HH", 0x0020, 0x0013))  # Instance Number: a length far beyond the end
    arrival = Arrival(CT, store.objects[0].SOPInstanceUID, EXPLICIT, b"")
    data = content[: at + 6] + b"\xff\xff" + content[at + 8 :]
    offset = split_file(io.BytesIO(content)).dataset_offset
    peer = Peer("ARCHIVE", "127.0.0.1", store.archive.port)
    fetcher = Fetcher(peer, calling_ae_title="WS", keyring=Keyring([identity]), output=tmp_path / "out")
    demand = Demand(fetcher.listing(STUDY), peer)
    damaged = replace(arrival, data=data[offset:])
    (tmp_path / "out").mkdir()
    result = fetcher._on_arrival(damaged, demand.admit(damaged))
    assert result.error is None
    assert (tmp_path / "out" / f"{uid(1)}.dcm").read_bytes().endswith(dataset(1))
    assert "not compared" in result.remark


def test_what_a_killed_fetch_left_is_removed(tmp_path, store, identity):
    """It is in clear."""
    store.add(_encrypted(dataset(1), identity))
    (tmp_path / "out").mkdir()
    draft, file = open_draft(tmp_path / "out" / "1.2.3.dcm", 0o600)
    file.write(b"plain")
    file.close()
    _, (result,) = _fetch(store, identity, tmp_path / "out")
    assert result.error is None
    assert not draft.exists()


def test_a_lost_record_is_put_back_by_a_copy(tmp_path, store, identity):
    content = _encrypted(dataset(1), identity)
    ds = dcmread(io.BytesIO(content))
    record = next(element.value for element in ds if element.tag.group == 0x7FDF and element.tag.elem >= 0x1000)
    ds.remove_private_tags()
    store.objects = [ds]
    _, (without,) = _fetch(store, identity, tmp_path / "out")
    assert "--journal" in without.error.hint
    _, (result,) = _fetch(
        store, identity, tmp_path / "out", records_of=lambda uid: [record] if uid == ds.SOPInstanceUID else []
    )
    assert (result.state, result.from_copy) == ("decrypted", True)
    assert (tmp_path / "out" / f"{uid(1)}.dcm").read_bytes().endswith(dataset(1))
    _, (wrong,) = _fetch(store, identity, tmp_path / "none", records_of=lambda uid: [b"junk"])
    assert "no copy of its record opens it" in str(wrong.error)


def test_some_objects_of_a_series_are_asked_for_alone(tmp_path, store, identity):
    for number in range(4):
        store.add(_encrypted(dataset(number), identity))
    peer = Peer("ARCHIVE", "127.0.0.1", store.archive.port)
    fetcher = Fetcher(peer, calling_ae_title="WS", keyring=Keyring([identity]), output=tmp_path / "out")
    results = list(fetcher.fetch(fetcher.find(STUDY)[:2]))
    assert [result.state for result in results] == ["decrypted"] * 2


@pytest.mark.parametrize(
    "change",
    [{"MessageIDBeingRespondedTo": 77}, {"Status": 0x0110}, None],
    ids=["another message", "a failure", "another kind"],
)
def test_an_answer_to_something_else_is_none(tmp_path, store, identity, monkeypatch, change):
    """Answers are matched by kind and message ID."""
    store.add(_encrypted(dataset(1), identity))
    peer = Peer("ARCHIVE", "127.0.0.1", store.archive.port)
    fetcher = Fetcher(peer, calling_ae_title="WS", keyring=Keyring([identity]), output=tmp_path / "out")
    send = DIMSEServiceProvider.send_msg

    def lie(self, message, context_id):
        if not self.assoc.is_requestor and isinstance(message, C_FIND):
            if change is None:
                kind = C_GET()
                kind.MessageIDBeingRespondedTo, kind.Status = message.MessageIDBeingRespondedTo, 0
                kind.AffectedSOPClassUID = message.AffectedSOPClassUID
                message = kind
            for name, value in (change or {}).items():
                setattr(message, name, value)
        send(self, message, context_id)

    monkeypatch.setattr(DIMSEServiceProvider, "send_msg", lie)
    listing = fetcher.listing(STUDY)
    assert listing.instances == ()
    (problem,) = listing.unlisted.values()
    assert ("status 0x0110" if change == {"Status": 0x0110} else "does not belong to it") in str(problem)


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
    fetcher = Fetcher(peer, calling_ae_title="WS", keyring=Keyring([identity]), output=output, plain=True)
    source = read_network(dataset(1), transfer_syntax_uid=EXPLICIT)
    for hostile in ("../../evil", "/tmp/evil", "", ".", "1.2\n3", "1" * 65):
        with pytest.raises(MalformedError, match="no UID may have"):
            fetcher._take(Arrival(CT, hostile, EXPLICIT, dataset(1)), source)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_object_is_what_its_command_says(store):
    """SOP Instance UID and SOP Class UID of the data set are those of the C-STORE."""
    peer = Peer("ARCHIVE", "127.0.0.1", store.archive.port)
    listing = Listing(STUDY, tuple(Instance(STUDY, uid(900002), uid(n), CT) for n in (1, 2)))
    demand = Demand(listing, peer)
    for arrival, what in (
        (Arrival(CT, uid(2), EXPLICIT, dataset(1)), "another object under this UID"),
        (Arrival(MR, uid(1), EXPLICIT, dataset(1)), "another SOP class"),
        (Arrival(CT, uid(3), EXPLICIT, dataset(3)), "not asked for"),
    ):
        with pytest.raises(NetworkError, match=what):
            demand.admit(arrival)
    with pytest.raises(InputError):
        demand.admit(Arrival(CT, uid(1), EXPLICIT, b"\x08\x00garbage"))
    demand.admit(Arrival(CT, uid(1), EXPLICIT, dataset(1)))
    with pytest.raises(NetworkError, match="a second object"):
        demand.admit(Arrival(CT, uid(1), EXPLICIT, dataset(1)))
    assert [(r.sop_instance_uid, r.kind) for r in demand.rest()] == [(uid(1), "surplus"), (uid(2), "different")]


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


@pytest.mark.parametrize("extent", ["class", "list"])
def test_a_listing_that_fails_costs_no_object(tmp_path, store, identity, extent):
    """Some archives read each file to answer a C-FIND, and fail at one that is gone."""
    for number in range(5):
        store.add(_encrypted(dataset(number), identity))
    store.breaks, store.unlistable = True, extent
    gone = store.objects[1].SOPInstanceUID
    store.withheld.add(gone)
    peer = Peer("ARCHIVE", "127.0.0.1", store.archive.port)
    fetcher = Fetcher(peer, calling_ae_title="WS", keyring=Keyring([identity]), output=tmp_path / "out")
    results = list(fetcher.fetch(fetcher.listing(STUDY)))
    problems = {result.sop_instance_uid: str(result.error) for result in results if result.error}
    if extent == "list":  # the journal knows what is behind it
        known = completed(
            fetcher.listing(STUDY),
            [Instance(STUDY, str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID), CT) for ds in store.objects],
        )
        fetcher = Fetcher(peer, calling_ae_title="WS", keyring=Keyring([identity]), output=tmp_path / "known")
        fetcher.listing(STUDY)
        by_journal = list(fetcher.fetch(known))
        assert sum(result.state == "decrypted" for result in by_journal) == 4
        assert [r.sop_instance_uid for r in by_journal if r.state == "failed"] == [gone]
    if extent == "class":
        assert [*problems] == [gone]
        assert len(results) == 5
    else:  # nobody knows what is behind it
        series = store.objects[0].SeriesInstanceUID
        assert [*problems] == [series]
        assert "no complete list" in problems[series]
        assert sum(result.state == "decrypted" for result in results) == 1
