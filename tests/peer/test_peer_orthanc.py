"""A real Orthanc stores encrypted objects of every form, shows their noise, and gives them back whole."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from corpus import ENCRYPTED, Case, batches

from demo import orthanc as archive
from iomt_crypt.dicom import protect, read_file, restore

pytestmark = [
    pytest.mark.peer,
    pytest.mark.xdist_group("orthanc"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
]


class Client:
    """Orthanc's REST interface."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def store(self, raw: bytes) -> str | None:
        """Orthanc's identifier; None when it takes no such object."""
        status, body = self.ask("POST", "/instances", raw)
        return json.loads(body)["ID"] if status == 200 else None

    def renders(self, identifier: str) -> bool:
        status, body = self.ask("GET", f"/instances/{identifier}/preview")
        return status == 200 and body.startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def server(peer, tmp_path_factory):
    peer("Orthanc")
    with archive.start(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="module")
def client(server) -> Client:
    return Client(server.http_port)


def sealed(case: Case, epoch, policy) -> tuple[bytes, str]:
    sink = io.BytesIO()
    done = protect(read_file(io.BytesIO(case.read())), sink, epoch=epoch, policy=policy)
    return sink.getvalue(), done.form


@pytest.mark.parametrize("cases", batches(ENCRYPTED, 4), ids=lambda cases: f"{len(cases)} files")
def test_store_show_and_fetch(cases: Sequence[Case], client, epoch, keyring, policy):
    rendered = 0
    for case in cases:
        raw = case.read()
        data, form = sealed(case, epoch, policy)
        before, after = client.store(raw), client.store(data)
        if before is not None:
            assert after is not None, f"{case.name}: the original is taken"
        if after is None:
            continue
        if before is not None and form != "header" and client.renders(before):
            assert client.renders(after), f"{case.name}: the original can be seen"
            rendered += 1
        status, stored = client.ask("GET", f"/instances/{after}/file")
        assert status == 200
        back = io.BytesIO()
        restore(io.BytesIO(stored), back, keyring=keyring, headers="strict")
        assert back.getvalue() == raw, case.name
        for identifier in {before, after} - {None}:
            client.ask("DELETE", f"/instances/{identifier}")
    assert rendered > len(cases) // 3


def test_storescu(server, client, peer, epoch, keyring, policy, tmp_path: Path):
    """By the network, as a modality would: the bytes of the data set come back as they went."""
    program = peer("storescu")
    cases = [c for c in ENCRYPTED if c.name.startswith("test_files/") and c.path.stat().st_size < 40_000][::6]
    sent = {}
    for number, case in enumerate(cases):
        header = read_file(io.BytesIO(case.read()))
        if not all(header.text(tag) for tag in (0x0020000D, 0x0020000E, 0x00080018)):
            continue  # Orthanc refuses the original just as well
        data, _ = sealed(case, epoch, policy)
        (tmp_path / f"{number}.dcm").write_bytes(data)
        sent[read_file(io.BytesIO(data)).text(0x00080018)] = case
    assert len(sent) > 5
    done = subprocess.run(
        [
            program,
            "-aet",
            "STORESCU",
            "-aec",
            server.ae_title,
            "-xe",
            "-R",
            "-v",
            "127.0.0.1",
            str(server.port),
            "+sd",
            str(tmp_path),
        ],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    for instance in json.loads(client.ask("GET", "/instances?expand")[1]):
        case = sent.pop(instance["MainDicomTags"]["SOPInstanceUID"], None)
        if case is None:
            continue
        stored = client.ask("GET", f"/instances/{instance['ID']}/file")[1]
        back = io.BytesIO()
        restore(io.BytesIO(stored), back, keyring=keyring, headers="strict")
        assert back.getvalue() == case.read(), case.name
    assert sent == {}
