"""A real Orthanc with the plug-in, fed by storescu, by REST and by STOW-RS: it holds noise and loses nothing."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from corpus import ENCRYPTED
from iomt_crypt_orthanc import quarantine
from iomt_crypt_orthanc.__main__ import main
from orthanc_harness import (
    LIBRARIES,
    Plugged,
    Running,
    make_python,
    make_script,
    require_libraries,
    start,
    storescu,
    wait_until,
)
from plain_image import MARK, PATIENT, write_image

from iomt_crypt.dicom import protect, read_file, restore
from iomt_crypt.dicom.block import find_record
from iomt_crypt.seal import HpkeIdentity, Keyring, write_identity

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("orthanc-plugin")]

#: Three processes less to start.
ENCRYPTS_ONLY = {"Workers": 1, "Identities": [], "Users": []}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, peer, identity: HpkeIdentity) -> Iterator[Running]:
    peer("Orthanc")
    require_libraries()
    folder = tmp_path_factory.mktemp("plugged")
    fault = folder / "FAULT"
    options = options_for(folder, identity, fault)
    with start(folder / "orthanc", options) as server:
        yield Running(server, folder, fault)


def options_for(folder: Path, identity: HpkeIdentity, fault: Path, **section) -> dict:
    if not (folder / "hospital.key").exists():
        write_identity(folder / "hospital.key", identity)
        (folder / "hospital.pub").write_text(f"{identity.recipient}\n")
    return {
        "Plugins": [str(LIBRARIES / name) for name in ("libOrthancPython.so", "libOrthancDicomWeb.so")],
        "PythonScript": str(make_script(folder, fault)),
        "IomtCrypt": {
            "Recipients": [str(folder / "hospital.pub")],
            "Folder": str(folder / "state"),
            "Python": str(make_python(folder, fault)),
            "Identities": [str(folder / "hospital.key")],
            "Users": ["alice"],
        }
        | section,
    }


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def plain_of(stored: bytes, keyring: Keyring) -> bytes:
    sink = io.BytesIO()
    restore(io.BytesIO(stored), sink, keyring=keyring)
    return sink.getvalue()


def sop_instance_uid(data: bytes) -> str:
    return read_file(io.BytesIO(data)).text(0x00080018)


def assert_only_noise(server: Plugged) -> dict[str, bytes]:
    """Nothing that Orthanc lists, and nothing in its storage, is plain; what it lists."""
    files = server.files()
    for identifier, data in files.items():
        assert find_record(read_file(io.BytesIO(data)).header) is not None, identifier
    for path in (server.folder / "storage").rglob("*"):
        if path.is_file():
            assert MARK not in path.read_bytes(), path
    return files


def originals(running: Running, keyring: Keyring) -> dict[str, bytes]:
    """Everything that the server or the quarantine has, decrypted, by SOP Instance UID."""
    plain = [plain_of(data, keyring) for data in running.server.files().values()]
    plain += [quarantine.open_entry(quarantine.read(path), keyring) for path in running.quarantined()]
    return {sop_instance_uid(data): data for data in plain}


def test_300_objects_by_storescu(running: Running, peer, outbox: Path, tmp_path: Path):
    """Only noise is stored; who may gets back, byte for byte, what an Orthanc without the plug-in would hold."""
    sent = {sop_instance_uid(write_image(outbox, number).read_bytes()) for number in range(300)}
    assert len(sent) == 300
    assert storescu(peer("storescu"), running.server, outbox) == [True] * 300
    stored = assert_only_noise(running.server)
    assert len(stored) == 300
    assert running.quarantined() == []
    with start(tmp_path / "plain", {}) as without:
        assert storescu(peer("storescu"), without, outbox) == [True] * 300
        expected = {sop_instance_uid(data): data for data in without.files().values()}
    assert set(expected) == sent
    for identifier in stored:
        status, data = running.server.ask("GET", f"/iomt-crypt/instances/{identifier}/file", user="alice")
        assert status == 200
        assert data == expected.pop(sop_instance_uid(data))
    assert expected == {}
    for patient in json.loads(running.server.get("/patients")):  # the other tests look at everything that is stored
        assert running.server.ask("DELETE", f"/patients/{patient}")[0] == 200


# Where it fails, and what becomes of an object that comes by C-STORE and by REST: sealed away, or refused.
FAULTS = {
    "read": ("sealed", "sealed"),
    "protect": ("sealed", "sealed"),
    "find": ("sealed", "sealed"),
    "die": ("sealed", "sealed"),
    "read full": ("refused", "refused"),
    "protect fsync": ("refused", "refused"),
    "die die-twice": ("refused", "refused"),
    "decide": ("refused", "refused"),
    "count": ("refused", "refused"),
    # the callback itself raises, and Orthanc takes the plain instance: by C-STORE the filter refuses it, by REST it is
    # deleted as soon as it is stored
    "callback": ("refused", "sealed"),
    "callback filter": ("refused", "sealed"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_lets_a_plain_image_through(running: Running, peer, outbox: Path, keyring: Keyring, fault: str):
    number = 1000 + 2 * list(FAULTS).index(fault)
    by_network, by_rest = write_image(outbox, number), write_image(outbox.parent, number + 1)
    before, sealed = set(running.server.files()), len(running.quarantined())
    by_network_expected, by_rest_expected = FAULTS[fault]
    wait_until(lambda: running.server.status()["workers"] == 2)
    with running.fault(fault):
        assert storescu(peer("storescu"), running.server, outbox) == [by_network_expected == "sealed"]
        sealed += by_network_expected == "sealed"
        assert len(running.quarantined()) == sealed
        status, _ = running.server.ask("POST", "/instances", by_rest.read_bytes())
        assert (status == 200) == (by_rest_expected == "sealed")
        sealed += by_rest_expected == "sealed"
    assert len(running.quarantined()) == sealed
    assert set(running.server.files()) == before
    assert_only_noise(running.server)
    found = originals(running, keyring)
    assert (sop_instance_uid(by_rest.read_bytes()) in found) == (by_rest_expected == "sealed")
    if by_rest_expected == "sealed":
        assert found[sop_instance_uid(by_rest.read_bytes())] == by_rest.read_bytes()
    assert (sop_instance_uid(by_network.read_bytes()) in found) == (by_network_expected == "sealed")
    assert PATIENT not in running.log_text()
    assert "ALARM" in running.log_text()


def test_an_alarm_is_seen(running: Running, peer, outbox: Path):
    write_image(outbox, 1100)
    with running.fault("read"):
        assert storescu(peer("storescu"), running.server, outbox) == [True]
    n = len(running.quarantined())
    assert running.server.status()["quarantine"] == n > 0
    assert (running.state / "ALARM").read_text().startswith(f"{n} objects in quarantine")
    assert f"({running.quarantined()[-1].name})" in running.log_text()
    wait_until(lambda: f"iomt_crypt_quarantine {n} " in running.server.get("/tools/metrics-prometheus").decode())
    for path in running.quarantined():
        assert path.stat().st_mode & 0o777 == 0o600
        assert MARK not in path.read_bytes()
    assert running.quarantined()[0].parent.stat().st_mode & 0o777 == 0o700


def test_the_quarantine_is_emptied(running: Running, peer, outbox: Path, keyring: Keyring, capsys):
    wanted = write_image(outbox, 1200).read_bytes()
    with running.fault("read"):
        assert storescu(peer("storescu"), running.server, outbox) == [True]
    config = ["--config", str(running.server.folder / "orthanc.json")]
    assert main(["quarantine", "list", *config]) == 0
    listed = capsys.readouterr().out
    assert all(path.name in listed for path in running.quarantined())
    assert PATIENT not in listed
    user = running.folder / "user"
    user.write_text("bob:bob:s wörd\n")
    user.chmod(0o600)
    url = f"http://127.0.0.1:{running.server.http_port}"
    with running.fault("read"):  # Orthanc puts it back: what it does not store stays
        n = len(running.quarantined())
        assert main(["quarantine", "retry", *config, "--url", url]) == 1, "a password is needed"
        assert len(running.quarantined()) == n
    assert main(["quarantine", "retry", *config, "--url", url, "--user-file", str(user)]) == 0
    assert running.quarantined() == []
    assert not (running.state / "ALARM").exists()
    assert sop_instance_uid(wanted) in originals(running, keyring)
    assert_only_noise(running.server)


def test_by_stow(running: Running, outbox: Path, keyring: Keyring):
    plain = write_image(outbox, 1300).read_bytes()
    body = b"--B\r\nContent-Type: application/dicom\r\n\r\n" + plain + b"\r\n--B--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=B'
    status, _ = running.server.ask("POST", "/dicom-web/studies", body, **{"Content-Type": kind})
    assert status == 200
    assert originals(running, keyring)[sop_instance_uid(plain)] == plain
    assert_only_noise(running.server)
    refused = write_image(outbox, 1301).read_bytes()
    with running.fault("decide"):
        body = body.replace(plain, refused)
        status, answer = running.server.ask("POST", "/dicom-web/studies", body, **{"Content-Type": kind})
        assert status != 200 or b"00081198" in answer  # Failed SOP Sequence
    assert sop_instance_uid(refused) not in originals(running, keyring)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_real_files_by_rest(running: Running, keyring: Keyring):
    """Every form and transfer syntax: what Orthanc takes is encrypted, and comes back as the bytes that were sent."""
    cases = [case for case in ENCRYPTED if case.path.stat().st_size < 200_000][::5]
    stored = 0
    for case in cases:
        raw = case.read()
        status, answer = running.server.ask("POST", "/instances", raw)
        if status != 200:
            continue  # Orthanc wants a study, a series and codes that it knows
        identifier = json.loads(answer)["ID"]
        held = running.server.get(f"/instances/{identifier}/file")
        assert find_record(read_file(io.BytesIO(held)).header) is not None, case.name
        status, data = running.server.ask("GET", f"/iomt-crypt/instances/{identifier}/file", user="alice")
        assert (status, data) == (200, raw), case.name
        running.server.ask("DELETE", f"/instances/{identifier}")
        stored += 1
    assert stored > len(cases) // 2 > 5


def test_what_orthanc_makes_itself(running: Running, outbox: Path):
    """Objects in a ZIP, made from JSON, and modified copies of what is stored."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.dcm", write_image(outbox, 1350 + number).read_bytes())
    before = running.server.count()
    status, answer = running.server.ask("POST", "/instances", packed.getvalue())
    assert (status, running.server.count()) == (200, before + 3)
    study = json.loads(answer)[0]["ParentStudy"]
    image = "data:image/png;base64," + base64.b64encode(running.server.get("/app/images/unsupported.png")).decode()
    made = {"Tags": {"PatientName": PATIENT, "Modality": "CT"}, "Content": image}
    assert running.server.ask("POST", "/tools/create-dicom", json.dumps(made).encode())[0] == 200
    change = {"Replace": {"StudyDescription": "changed"}, "Force": True}
    assert running.server.ask("POST", f"/studies/{study}/modify", json.dumps(change).encode())[0] == 200
    anonymise = json.dumps({"Keep": []}).encode()
    assert running.server.ask("POST", f"/studies/{study}/anonymize", anonymise)[0] == 200
    assert running.server.count() >= before + 3 + 1 + 2 * 3
    assert_only_noise(running.server)
    # copies cannot be brought back under their new names, and the tests that follow look at all
    for patient in json.loads(running.server.get("/patients")):
        running.server.ask("DELETE", f"/patients/{patient}")


def test_encrypted_objects_pass_unchanged(running: Running, outbox: Path, epoch, policy):
    sink = io.BytesIO()
    protect(read_file(io.BytesIO(write_image(outbox, 1400).read_bytes())), sink, epoch=epoch, policy=policy)
    status, answer = running.server.ask("POST", "/instances", sink.getvalue())
    assert status == 200
    assert running.server.get(f"/instances/{json.loads(answer)['ID']}/file") == sink.getvalue()


def test_plain_pixels_behind_a_record_do_not_pass(running: Running, outbox: Path, epoch, policy):
    """Somebody's record in front of a plain image is no encryption."""
    sink = io.BytesIO()
    protect(read_file(io.BytesIO(write_image(outbox, 1500).read_bytes())), sink, epoch=epoch, policy=policy)
    source = read_file(sink)
    assert source.pixel is not None
    start_, size = source.pixel.offset, source.pixel.size
    raw = sink.getvalue()
    gradient = np.arange(size // 2, dtype="<u2").tobytes()
    truncated = raw[: start_ - 4] + (size // 2).to_bytes(4, "little") + raw[start_ : start_ + size // 2]
    for forged in (raw[:start_] + gradient + raw[start_ + size :], truncated):
        n = len(running.quarantined())
        status, answer = running.server.ask("POST", "/instances", forged)
        assert (status, json.loads(answer)["Status"]) == (200, "FilteredOut")
        assert len(running.quarantined()) == n + 1


def test_what_is_no_dicom_is_refused(running: Running):
    n = len(running.quarantined())
    assert running.server.ask("POST", "/instances", b"no DICOM at all")[0] in (400, 500)
    assert len(running.quarantined()) == n


def test_who_may_and_who_may_not(running: Running, outbox: Path):
    plain = write_image(outbox, 1600).read_bytes()
    stored = json.loads(running.server.ask("POST", "/instances", plain)[1])
    instance, study = stored["ID"], stored["ParentStudy"]
    uids = [read_file(io.BytesIO(plain)).text(0x0020000D)]
    tags = json.loads(running.server.get(f"/instances/{instance}/simplified-tags"))
    series, sop = tags["SeriesInstanceUID"], tags["SOPInstanceUID"]
    web = f"/iomt-crypt/dicom-web/studies/{uids[0]}/series/{series}/instances/{sop}"
    routes = {
        f"/iomt-crypt/instances/{instance}/file": "file",
        f"/iomt-crypt/instances/{instance}/preview": "preview",
        f"/iomt-crypt/studies/{study}/archive": "archive",
        web: "dicom-web",
    }
    forged = {"Authorization": "Basic YWxpY2U6d3Jvbmc="}  # alice:wrong
    for route, action in routes.items():
        assert running.server.ask("GET", route, user="bob")[0] == 403
        assert running.server.ask("GET", route, user=None)[0] == 401
        assert running.server.ask("GET", route, user=None, **forged)[0] == 401
        assert running.server.ask("POST", route, b"", user="alice")[0] == 405
        log = running.log_text()
        assert re.search(f"audit: denied action={action} user=bob target=\\S+", log)
        status, body = running.server.ask("GET", route, user="alice")
        assert status == 200
        assert re.search(f"audit: granted action={action} user=alice target=\\S+", running.log_text())
        if action == "file":
            assert body == plain
        elif action == "preview":
            assert body.startswith(b"\x89PNG")
        elif action == "archive":
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                assert archive.read(f"{sop_instance_uid(plain)}.dcm") == plain
        else:
            assert plain in body
    assert running.server.ask("GET", "/iomt-crypt/instances/0-0/file", user="alice")[0] == 404
    assert running.server.ask("GET", "/iomt-crypt/dicom-web/studies/1.2.3", user="alice")[0] == 404
    assert running.server.ask("GET", "/iomt-crypt/studies/0-0/archive", user="alice")[0] == 404
    assert running.server.status()["may_decrypt"] is False
    assert json.loads(running.server.ask("GET", "/iomt-crypt/status", user="alice")[1])["may_decrypt"] is True
    assert PATIENT not in running.log_text()
    assert b"iomt-crypt" in running.server.get("/plugins/explorer.js")


def test_a_damaged_object_is_not_released(running: Running, outbox: Path, epoch, policy):
    sink = io.BytesIO()
    protect(read_file(io.BytesIO(write_image(outbox, 1700).read_bytes())), sink, epoch=epoch, policy=policy)
    raw = bytearray(sink.getvalue())
    raw[-1] ^= 1
    identifier = json.loads(running.server.ask("POST", "/instances", bytes(raw))[1])["ID"]
    status, body = running.server.ask("GET", f"/iomt-crypt/instances/{identifier}/file", user="alice")
    assert (status, json.loads(body)["error"]) == (500, "authentication failed")
    running.server.ask("DELETE", f"/instances/{identifier}")


def workers(server: Plugged) -> list[int]:
    children = Path(f"/proc/{server.process.pid}/task")
    pids = [int(pid) for task in children.iterdir() for pid in (task / "children").read_text().split()]
    return [pid for pid in pids if b"iomt_crypt_orthanc.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_dead_workers_are_replaced(running: Running, peer, outbox: Path):
    """One that died with nothing in hand costs nothing but time."""
    write_image(outbox, 1800)
    n, stored = len(running.quarantined()), running.server.count()
    for pid in workers(running.server):
        os.kill(pid, signal.SIGKILL)
    assert storescu(peer("storescu"), running.server, outbox) == [True]
    assert (running.server.count(), len(running.quarantined())) == (stored + 1, n)


def test_missing_keys_refuse(running: Running, peer, outbox: Path):
    write_image(outbox, 1900)
    stored = running.server.count()
    public = running.folder / "hospital.pub"
    moved = public.rename(running.folder / "elsewhere")
    try:
        for pid in workers(running.server):
            os.kill(pid, signal.SIGKILL)
        assert storescu(peer("storescu"), running.server, outbox) == [False]
        assert "a worker cannot work" in running.log_text()
    finally:
        moved.rename(public)
    assert running.server.count() == stored
    wait_until(lambda: running.server.status()["workers"] > 0)
    assert storescu(peer("storescu"), running.server, outbox) == [True]
    assert running.server.count() == stored + 1


def test_killed_while_it_receives(tmp_path: Path, outbox: Path, peer, identity: HpkeIdentity, keyring: Keyring):
    """kill -9 of Orthanc, half of the objects on their way into the quarantine: what was accepted is there."""
    fault = tmp_path / "FAULT"
    options = options_for(tmp_path, identity, fault, **ENCRYPTS_ONLY)
    sent = [sop_instance_uid(write_image(outbox, 2000 + number).read_bytes()) for number in range(50)]
    with start(tmp_path / "orthanc", options) as server:
        running = Running(server, tmp_path, fault)
        accepted: list[bool] = []
        sender = threading.Thread(target=lambda: accepted.extend(storescu(peer("storescu"), server, outbox)))
        sender.start()
        wait_until(lambda: server.count() >= 5)
        fault.write_text("protect")
        wait_until(lambda: len(running.quarantined()) >= 5)
        server.process.kill()
        sender.join()
    assert 5 < sum(accepted) < 50
    fault.unlink()
    shutil.rmtree(tmp_path / "fault")
    with start(tmp_path / "orthanc", options_for(tmp_path, identity, fault, **ENCRYPTS_ONLY)) as server:
        running = Running(server, tmp_path, fault)
        found = originals(running, keyring)
        assert_only_noise(server)
    assert {uid for uid, ok in zip(sent, accepted, strict=True) if ok} <= set(found)
    assert not list((tmp_path / "state" / "quarantine").glob("*.draft"))


def test_a_full_disk(tmp_path: Path, outbox: Path, peer, identity: HpkeIdentity, keyring: Keyring):
    """A quarantine of 96 kB: what fits is accepted, what does not is refused, and nothing plain is anywhere."""
    fault = tmp_path / "FAULT"
    options = options_for(tmp_path, identity, fault, **ENCRYPTS_ONLY)
    for number in range(12):
        write_image(outbox, 3000 + number)
    state = tmp_path / "state"
    state.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(state)], check=False)
    try:
        with start(tmp_path / "orthanc", options) as server:
            fault.write_text("protect" if mounted.returncode == 0 else "protect full")
            accepted = storescu(peer("storescu"), server, outbox)
            running = Running(server, tmp_path, fault)
            assert sum(accepted) == len(running.quarantined()) == len(originals(running, keyring))
            assert False in accepted
            assert server.count() == 0
            fault.unlink()
            assert storescu(peer("storescu"), server, outbox) == [True] * 12  # only the quarantine is full
            assert_only_noise(server)
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(state)], check=True)
