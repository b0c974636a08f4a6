"""Archives that do not take Explicit VR, or not every class: what the node sends, and what `node check` says."""

from __future__ import annotations

import io

import pytest
from hostile_archive import HostileArchive
from node_harness import CT, EXPLICIT, MR, Archive, dataset, part10, uid, write_object
from pynetdicom.presentation import build_context

from iomt_crypt.dicom import Policy, protect, read_file, restore
from iomt_crypt.dicom.implicit import implicit_dataset
from iomt_crypt.errors import MalformedError, NetworkError, UnsupportedError
from iomt_crypt.node import check as node_check
from iomt_crypt.node.acceptance import LIKELY
from iomt_crypt.node.client import Client, Timeouts
from iomt_crypt.node.config import load
from iomt_crypt.node.context import MAX_CONTEXTS, proposed
from iomt_crypt.node.entry import NewEntry
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.sender import Sender
from iomt_crypt.node.spool import Spool
from iomt_crypt.node.transport import configure_pynetdicom
from iomt_crypt.seal import Epoch, Keyring

configure_pynetdicom()
IMPLICIT = "1.2.840.10008.1.2"
JPEG = "1.2.840.10008.1.2.4.50"


@pytest.fixture
def implicit_only():
    archive = Archive(contexts=[build_context(uid, [IMPLICIT]) for uid in (*LIKELY, CT, MR)])
    yield archive
    archive.close()


def _peer(archive) -> Peer:
    return Peer("ARCHIVE", "127.0.0.1", archive.port)


def _client(archive) -> Client:
    return Client(_peer(archive), calling_ae_title="US", timeouts=Timeouts(30.0, 30.0))


def test_an_encrypted_object_survives_an_archive_of_implicit_vr(implicit_only, tmp_path, identity):
    """What arrives opens byte for byte, and the file that was sent stays as it was."""
    original = part10(dataset(1, size=32), CT, uid(1))
    path = tmp_path / "sealed.dcm"
    with path.open("wb+") as sink:
        policy = Policy(site_key=bytes(32))
        protect(read_file(io.BytesIO(original)), sink, epoch=Epoch.create([identity.recipient]), policy=policy)
    sealed = path.read_bytes()
    client = _client(implicit_only)
    client.open([(CT, EXPLICIT)])
    assert client.store(path) == (0, "")
    client.release()
    (stored,) = implicit_only.stored
    assert stored.transfer_syntax_uid == IMPLICIT
    assert path.read_bytes() == sealed
    kept = part10(stored.data, stored.sop_class_uid, stored.sop_instance_uid, IMPLICIT)
    for headers in ("original", "merged"):
        plain = io.BytesIO()
        restore(io.BytesIO(kept), plain, keyring=Keyring([identity]), headers=headers)
        assert plain.getvalue() == original


def test_explicit_vr_is_preferred(archive, tmp_path):
    client = _client(archive)
    client.open([(CT, EXPLICIT)])
    assert client.context_for((CT, EXPLICIT)) == (CT, EXPLICIT)
    client.store(write_object(tmp_path, 1))
    client.release()
    assert [(stored.transfer_syntax_uid, stored.data) for stored in archive.stored] == [(EXPLICIT, dataset(1))]


def test_send_to_an_archive_of_implicit_vr(implicit_only, tmp_path):
    """Explicit files are converted, implicit ones go as they are, compressed ones are refused by name."""
    explicit = write_object(tmp_path, 1)
    already = tmp_path / "implicit.dcm"
    converted = b"".join(implicit_dataset(io.BytesIO(explicit.read_bytes())))
    already.write_bytes(part10(converted, CT, uid(2), IMPLICIT))
    compressed = tmp_path / "jpeg.dcm"
    compressed.write_bytes(part10(dataset(3), CT, uid(3), JPEG))
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(part10(dataset(4)[:-100], CT, uid(4)))
    sender = Sender([explicit], _peer(implicit_only), calling_ae_title="US", timeouts=Timeouts(30.0, 30.0))
    assert sender.send(explicit).transfer_syntax_uid == IMPLICIT
    assert sender.send(already).transfer_syntax_uid == IMPLICIT
    with pytest.raises(UnsupportedError, match="JPEG Baseline"):
        sender.send(compressed)
    with pytest.raises(MalformedError):
        sender.send(cut)
    # The object whose conversion failed was half said: the next one has a new association.
    assert sender.send(explicit).transfer_syntax_uid == IMPLICIT
    sender.close()
    assert [stored.data for stored in implicit_only.stored] == [converted] * 3


def test_contexts_come_in_pairs_or_not_at_all():
    contexts = [(f"1.2.{n}", EXPLICIT) for n in range(100)]
    for limit in (MAX_CONTEXTS - 1, MAX_CONTEXTS - 2):
        chosen = proposed(contexts, limit=limit)
        assert len(chosen) == 126
        assert all((sop_class, IMPLICIT) in chosen for sop_class, _ in chosen)
    assert list(proposed([("1.2", JPEG), ("1.3", IMPLICIT)], limit=127)) == [("1.2", JPEG), ("1.3", IMPLICIT)]


def _storage(config_path):
    return list(node_check._storage(load(config_path)))


def _journal(config_path, *classes: str) -> None:
    spool = Spool(load(config_path).spool.folder)
    spool.create()
    journal = Journal(spool.journal_path)
    journal.create()
    for number, sop_class in enumerate(classes):
        journal.add(NewEntry(f"{number}.dcm", sop_class, uid(number), size_bytes=1, received_at=0.0))
    journal.close()


def test_check_tells_what_the_archive_takes(archive, implicit_only, make_config):
    (finding,) = _storage(make_config(archive.port))
    assert finding.ok
    assert not finding.warning
    assert f"takes {len(LIKELY)} of {len(LIKELY)} storage classes" in finding.text
    (finding,) = _storage(make_config(implicit_only.port))
    assert finding.ok
    assert f"{len(LIKELY)} of them in Implicit VR Little Endian alone" in finding.text


def test_check_fails_for_a_class_that_came_in_and_is_refused(make_config):
    odd = "1.2.3.4.5"
    narrow = Archive(contexts=[build_context(CT, [EXPLICIT])])
    config = make_config(narrow.port)
    (finding,) = _storage(config)
    assert finding.ok
    assert finding.warning
    assert "MR Image Storage" in finding.text
    _journal(config, CT, odd, CT)
    (finding,) = _storage(config)
    assert not finding.ok
    assert f"not: {odd}, " in finding.text
    narrow.close()


def test_check_fails_where_nothing_is_taken(make_config):
    none = Archive(contexts=[build_context("1.2.840.10008.5.1.4.1.2.1.1", [IMPLICIT])])
    (finding,) = _storage(make_config(none.port))
    assert not finding.ok
    assert f"takes 0 of {len(LIKELY)}" in finding.text
    none.close()


def test_check_is_not_fooled_by_contexts_that_were_not_proposed(make_config):
    hostile = HostileArchive()
    hostile.take = lambda number, sop_class, syntaxes: [
        (number, 0, [JPEG] if sop_class in LIKELY else syntaxes)  # Verification is taken as it should
    ]
    (finding,) = _storage(make_config(hostile.port))
    assert not finding.ok
    hostile.close()


def test_a_peer_whose_pdus_are_too_small_is_left_alone(tmp_path):
    hostile = HostileArchive()
    hostile.max_pdu_bytes = 8
    client = _client(hostile)
    client.open([(CT, EXPLICIT)])
    with pytest.raises(NetworkError, match="PDUs of at most 8 bytes"):
        client.store(write_object(tmp_path, 1))
    client.release()
    hostile.close()
