"""The whole way with a real archive: send -> node -> Orthanc -> fetch, every object of the corpora byte for byte."""

from __future__ import annotations

import io
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from corpus import ENCRYPTED

from demo import gateway, orthanc
from iomt_crypt.dicom import read_file, restore, split_file
from iomt_crypt.errors import InputError
from iomt_crypt.node.entry import State
from iomt_crypt.node.fetcher import Fetcher
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.sender import Sender
from iomt_crypt.node.transport import configure_pynetdicom
from iomt_crypt.seal import Keyring, load_identities
from tests import fork_server

pytestmark = [
    pytest.mark.peer,
    pytest.mark.xdist_group("gateway"),
    # real headers, real mistakes in them
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
]

LIMIT_S = 120.0
#: Orthanc 1.10 stores these SOP classes as unknown ones, and answers a C-GET for them with 0xA702, plain or encrypted.
NOT_BY_C_GET = {"1.2.840.10008.5.1.4.1.1.66.7"}  # Label Map Segmentation, newer than that Orthanc


@dataclass(frozen=True)
class Object:
    """One file to send, and what must come back: the bytes of its data set."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    data: bytes


@dataclass(frozen=True)
class Gateway:
    archive: orthanc.Orthanc
    node: gateway.Node
    journal: Journal
    keyring: Keyring
    identity: Path

    def wait_delivered(self) -> None:
        """Until nothing is on its way; everything must have arrived."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            counts = self.journal.totals().by_state
            if not counts[State.QUEUED] and not counts[State.SENDING]:
                break
            assert time.monotonic() < deadline, counts
            time.sleep(0.05)
        assert not counts[State.FAILED], [entry.reason for entry in self.journal.entries(state=State.FAILED)]


@pytest.fixture(scope="module")
def commands() -> Iterator[None]:
    """With what a server has, and not with all that is installed for the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway, "_COMMAND", fork_server.command())
        yield


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, peer, commands) -> Iterator[Gateway]:
    peer("Orthanc")
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "orthanc").mkdir()
    identity, recipient = gateway.make_key(folder)
    with orthanc.start(folder / "orthanc") as archive:
        config = gateway.write_config(folder, recipient, archive)
        with gateway.run_node(config) as node:
            journal = Journal(folder / "spool" / "journal.sqlite3")
            yield Gateway(archive, node, journal, Keyring(load_identities([identity])), identity)
            journal.close()


def objects(paths: list[Path]) -> list[Object]:
    found = []
    for path in paths:
        raw = path.read_bytes()
        try:
            source, parts = read_file(io.BytesIO(raw)), split_file(io.BytesIO(raw))
        except InputError:
            continue
        study = source.text(0x0020000D)
        if source.text(0x00080018) and study:  # without an instance nobody can send it, without a study nobody find it
            found.append(Object(path, parts.sop_class_uid, parts.sop_instance_uid, study, raw[parts.dataset_offset :]))
    return found


def rounds(sent: list[Object]) -> list[list[Object]]:
    """The n-th round has the n-th file of each SOP Instance UID: an archive holds one of them at a time."""
    by_uid: dict[str, list[Object]] = defaultdict(list)
    for each in sent:
        by_uid[each.sop_instance_uid].append(each)
    most = max(len(group) for group in by_uid.values())
    return [[group[n] for group in by_uid.values() if n < len(group)] for n in range(most)]


def check(restored: Path, expected: list[Object], derived: dict[str, str]) -> None:
    """Every file is there and right; one whose original UID is no UID has the archive's."""
    for each in expected:
        valid = re.fullmatch("[0-9.]+", each.sop_instance_uid)
        raw = (restored / f"{each.sop_instance_uid if valid else derived[each.sop_instance_uid]}.dcm").read_bytes()
        offset = split_file(io.BytesIO(raw)).dataset_offset
        assert raw[offset:] == each.data, each.path.name


def test_samples_by_the_commands(running: Gateway, sample_files: list[Path], tmp_path: Path):
    sent = objects(sample_files)
    assert len(sent) == len(sample_files) > 0
    gateway.command("send", *map(str, sample_files), "--to", running.node.address)
    running.wait_delivered()
    studies = [word for study in {each.study_instance_uid for each in sent} for word in ("--study", study)]
    address = f"{running.archive.ae_title}@{running.archive.host}:{running.archive.port}"
    gateway.command(
        *("fetch", "--from", address, "--aet", gateway.FETCH_AE_TITLE, *studies),
        *("-i", str(running.identity), "-o", str(tmp_path / "back")),
    )
    check(tmp_path / "back", sent, {})
    assert len(list((tmp_path / "back").iterdir())) == len(sent)


def test_corpora(running: Gateway, tmp_path: Path):
    configure_pynetdicom()
    sent = objects([case.path for case in ENCRYPTED])
    assert len(sent) > 50
    for number, batch in enumerate(rounds(sent)):
        sender = Sender(
            [each.path for each in batch], Peer.parse(running.node.address), calling_ae_title=gateway.FETCH_AE_TITLE
        )
        for each in batch:
            assert sender.send(each.path).warning == "", each.path
        sender.close()
        running.wait_delivered()
        by_c_get = [each for each in batch if each.sop_class_uid not in NOT_BY_C_GET]
        derived = {entry.original_sop_instance_uid: entry.sop_instance_uid for entry in running.journal.entries()}
        fetch(running, by_c_get, derived, tmp_path / str(number))
        check(tmp_path / str(number), by_c_get, derived)
        for each in batch:
            if each.sop_class_uid in NOT_BY_C_GET:
                assert download(running, each) == each.data


def fetch(running: Gateway, batch: list[Object], derived: dict[str, str], output: Path) -> None:
    """Fetch the studies of ``batch`` in this process."""
    archive = running.archive
    fetcher = Fetcher(
        Peer(archive.ae_title, archive.host, archive.port),
        calling_ae_title=gateway.FETCH_AE_TITLE,
        keyring=running.keyring,
        output=output,
        headers="strict",
    )
    wanted = {derived[each.sop_instance_uid] for each in batch}
    for study in sorted({each.study_instance_uid for each in batch}):
        found = [instance for instance in fetcher.find(study) if instance.sop_instance_uid in wanted]
        for result in fetcher.fetch(found):
            assert result.error is None, result


def download(running: Gateway, each: Object) -> bytes:
    """One object by Orthanc's REST interface, decrypted."""
    entries = [e for e in running.journal.entries() if e.original_sop_instance_uid == each.sop_instance_uid]
    stored = running.archive._instances()[entries[-1].sop_instance_uid]
    plain = io.BytesIO()
    restore(io.BytesIO(running.archive.get(f"/instances/{stored}/file")), plain, keyring=running.keyring)
    return plain.getvalue()[split_file(plain).dataset_offset :]
