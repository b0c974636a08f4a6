"""Epochs of the node: when they change, for whom, and what happens when a change fails."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import load_pem_x509_certificate
from key_material import DAY, NOW, Certified
from node_harness import cli, cli_json, dataset, opened, uid, write_object

from iomt_crypt.errors import KeyMaterialError, NetworkError, NoMatchingIdentityError
from iomt_crypt.node.epoch import LOOK_S, EpochSource
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.recipient import RecipientList, expiry_advice
from iomt_crypt.node.sender import Sender
from iomt_crypt.seal import HpkeIdentity, fingerprint_text
from iomt_crypt.seal.kind.certificate import CertificateRecipient
from iomt_crypt.seal.recipient import Stanza

PARTNER = HpkeIdentity.generate()


class Recipients:
    """Recipients that a test changes."""

    def __init__(self, *recipients) -> None:
        self.now = list(recipients)
        self.is_changed = False
        self.n_read = 0
        self.n_looks = 0

    def read(self):
        self.n_read += 1
        self.is_changed = False
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    def changed(self) -> bool:
        self.n_looks += 1
        return self.is_changed

    def change(self, now) -> None:
        self.now, self.is_changed = now, True


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def make(clock):
    def make(recipients: Recipients, *, n_objects: int = 1000, hours: float = 24) -> EpochSource:
        return EpochSource(recipients, n_objects=n_objects, hours=hours, clock=lambda: clock[0])

    return make


def _for(epoch) -> set[bytes]:
    return {stanza.recipient for stanza in epoch.stanzas}


def test_epoch_changes_by_count_and_by_time(identity, make, clock):
    source = make(Recipients(identity.recipient), n_objects=3, hours=1)
    first = [source.current().id for _ in range(3)]
    assert len(set(first)) == 1
    second = source.current().id
    assert second not in first
    clock[0] = 3599.0
    assert source.current().id == second
    clock[0] = 3600.0
    assert source.current().id != second


def test_new_recipients_get_a_new_epoch(identity, make, clock, caplog):
    caplog.set_level("INFO")
    recipients = Recipients(identity.recipient)
    source, told = make(recipients), []
    source.on_change(told.append)
    first = source.current()
    recipients.change([identity.recipient, PARTNER.recipient])
    assert source.current() is first, "looked at a moment ago"
    clock[0] += LOOK_S
    second = source.current()
    assert second.id != first.id
    assert _for(second) == {identity.fingerprint, PARTNER.fingerprint}
    assert source.current() is second
    assert recipients.n_read == 2
    assert [set(facts.recipients) for facts in told] == [
        {fingerprint_text(identity.fingerprint)},
        {fingerprint_text(identity.fingerprint), fingerprint_text(PARTNER.fingerprint)},
    ]
    assert told[-1].epoch == second.id.hex()
    lines = [record.getMessage() for record in caplog.records if "epoch begins" in record.getMessage()]
    assert [("reason=start" in line, "reason=recipients" in line) for line in lines] == [(True, False), (False, True)]
    assert all(fingerprint in lines[1] for fingerprint in told[-1].recipients)
    assert first.key.hex() not in caplog.text


def test_files_are_looked_at_every_few_seconds(identity, make, clock):
    recipients = Recipients(identity.recipient)
    source = make(recipients)
    for _ in range(500):
        clock[0] += 0.01
        source.current()
    assert recipients.n_looks == int(5.0 / LOOK_S)


def test_a_signal_reads_at_once(identity, make):
    recipients = Recipients(identity.recipient)
    source = make(recipients)
    recipients.now = [PARTNER.recipient]
    source.look(reload=True)
    assert _for(source.current()) == {PARTNER.fingerprint}


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (KeyMaterialError("team.txt: no recipient in it", hint="look into it"), "no recipient in it (hint: look into"),
        (NetworkError("the key service is away"), "the key service is away"),
        (ZeroDivisionError("S3CR3T"), "unexpected ZeroDivisionError"),
        ([], "0 recipients given"),
    ],
)
def test_a_broken_file_changes_nothing(identity, make, clock, caplog, fault, shown):
    recipients = Recipients(identity.recipient)
    source, told = make(recipients, n_objects=5), []
    source.on_change(told.append)
    first = source.current()
    recipients.change(fault)
    clock[0] += LOOK_S
    assert source.current() is first
    assert shown in told[-1].problem
    assert shown in caplog.text
    assert "RECIPIENTS NOT CHANGED" in caplog.text
    assert "S3CR3T" not in caplog.text + told[-1].problem
    # The old recipients' epochs end as they should.
    epochs = set()
    for _ in range(8):
        source.look()
        epochs.add(source.current().id)
    assert len(epochs) == 2
    assert source.facts().problem == told[-1].problem != ""
    # Mended: by a later attempt, though the file did not change (the service is back).
    recipients.now = [PARTNER.recipient]
    clock[0] += 5.0
    assert source.current().id in epochs, "no object waits for an attempt"
    source.look()
    assert _for(source.current()) == {PARTNER.fingerprint}
    assert told[-1].problem == source.facts().problem == ""


class Moody:
    """A recipient on a token or in a service, which may be away."""

    fingerprint = b"a token!"

    def __init__(self) -> None:
        self.is_away = False
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def wrap(self, epoch_key: bytes, epoch_id: bytes) -> Stanza:
        self.entered.set()
        assert self.go_on.wait(60)
        if self.is_away:
            raise NetworkError("the token is away")
        return Stanza("moody", self.fingerprint, bytes(40))


def test_an_epoch_that_cannot_be_wrapped_goes_on(make, clock):
    """Better an epoch over its count than objects refused."""
    moody = Moody()
    source = make(Recipients(moody), n_objects=2)
    first = source.current()
    source.current()
    moody.is_away = True
    assert [source.current().id for _ in range(5)] == [first.id] * 5
    assert "the token is away" in source.facts().problem
    moody.is_away = False
    source.look()
    assert source.current().id == first.id, "not tried at each look"
    clock[0] += 5.0
    source.look()
    assert source.current().id != first.id
    assert source.facts().problem == ""


def test_the_first_epoch_must_be_made(make):
    moody = Moody()
    moody.is_away = True
    with pytest.raises(NetworkError):
        make(Recipients(moody))


def test_objects_do_not_wait_for_a_slow_token(make):
    moody = Moody()
    source = make(Recipients(moody), n_objects=1)
    first = source.current()
    moody.go_on.clear()
    moody.entered.clear()
    found = []
    slow = threading.Thread(target=lambda: found.append(source.current().id))
    slow.start()
    assert moody.entered.wait(60)
    assert source.current().id == first.id
    moody.go_on.set()
    slow.join(60)
    assert found != [first.id]
    assert len(found) == 1


def test_many_threads_while_recipients_change(identity, make, clock):
    """Each sees the recipients change in order, and what is given after a change is for the new ones."""
    sets = [[HpkeIdentity.generate().recipient] for _ in range(6)]
    recipients = Recipients(*sets[0])
    source = make(recipients, n_objects=20)
    order = {one.fingerprint: number for number, (one,) in enumerate(sets)}
    stopping, seen = threading.Event(), [[] for _ in range(6)]

    def use(found: list[int]) -> None:
        while not stopping.is_set():
            found.append(order[source.current().stanzas[0].recipient])

    users = [threading.Thread(target=use, args=(found,)) for found in seen]
    for user in users:
        user.start()
    try:
        for number, now in enumerate(sets[1:], 1):
            recipients.now = now
            while source.recipients[0] is not now[0]:
                source.look(reload=True)
            assert order[source.current().stanzas[0].recipient] == number
    finally:
        stopping.set()
        for user in users:
            user.join(60)
    assert all(found == sorted(found) for found in seen)
    assert all(found for found in seen)


class TestFiles:
    @pytest.fixture
    def path(self, tmp_path, identity) -> Path:
        path = tmp_path / "team.txt"
        path.write_text(f"{identity.recipient}\n")
        return path

    @pytest.fixture
    def settled(self, path):
        """A list whose clock stands an hour after the file was written."""
        return RecipientList([str(path), str(PARTNER.recipient)], clock=lambda: path.stat().st_ctime + 3600)

    def test_texts_and_files(self, settled, identity):
        found = {recipient.fingerprint for recipient in settled.read()}
        assert found == {identity.fingerprint, PARTNER.fingerprint}
        assert not settled.changed()

    def test_every_way_to_change_a_file(self, settled, path, tmp_path):
        def append():
            with path.open("a") as file:
                file.write("#\n")

        def rename_over():
            (tmp_path / "new").write_text(path.read_text())
            os.utime(tmp_path / "new", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
            (tmp_path / "new").replace(path)

        def same_size():
            status = path.stat()
            path.write_text(path.read_text().replace("#", " "))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

        settled.read()
        for change in (append, same_size, rename_over, path.unlink):
            change()
            if path.exists():
                assert settled.changed()
                settled.read()
                assert not settled.changed()
        # A missing file has no age: it is taken for gone when a second look does not find it either.
        settled._clock = lambda: 0.0
        assert [settled.changed(), settled.changed()] == [False, True]
        with pytest.raises(KeyMaterialError, match="cannot be read"):
            settled.read()
        assert not settled.changed()

    def test_a_file_that_is_being_written_is_not_taken(self, path, identity):
        now = [0.0]
        recipients = RecipientList([str(path)], clock=lambda: now[0])
        recipients.read()
        for size in (1, 2):
            path.write_text("x" * size)
            now[0] = path.stat().st_ctime
            assert not recipients.changed()
        assert recipients.changed(), "the same at two looks"
        path.write_text("xxx")
        now[0] = path.stat().st_ctime + 2.1
        assert recipients.changed(), "old enough"

    def test_a_change_while_it_is_read_is_not_missed(self, settled, path, monkeypatch):
        from iomt_crypt.node import recipient

        real = recipient.load_recipients

        def load(values):
            found = real(values)
            path.write_text(f"{PARTNER.recipient}\n")
            return found

        monkeypatch.setattr(recipient, "load_recipients", load)
        settled.read()
        assert settled.changed()


def _replace(path: Path, *lines: object) -> None:
    """As it should be done: whole, by a rename."""
    draft = path.with_suffix(".new")
    draft.write_text("".join(f"{line}\n" for line in lines))
    draft.replace(path)


def _opens(stored, identity) -> bool:
    try:
        opened(stored, identity)
    except NoMatchingIdentityError:
        return False
    return True


def test_recipients_change_while_objects_come_in(tmp_path, archive, make_config, run_node, identity):
    """Four times, while a sender sends: by signal and by itself, with a broken file in between."""
    node = run_node(make_config(archive.port))
    node.wait_line("one recipient only")
    team, port = tmp_path / "recipients.txt", node.port
    stopping, n_sent, faults = threading.Event(), [0], []

    def send() -> None:
        sender = Sender([], Peer("IOMTCRYPT", "127.0.0.1", port), calling_ae_title="MODALITY")
        while not stopping.is_set():
            try:
                sender.send(write_object(tmp_path, n_sent[0]))
            except Exception as error:
                faults.append(error)
                return
            n_sent[0] += 1
            stopping.wait(0.02)  # some hundred objects are enough
        sender.close()

    def forget() -> int:
        """How many objects there are once everything sent so far has arrived."""
        n_before = n_sent[0] + 2
        archive.wait(lambda: len(archive.stored) > n_before)
        return len(archive.stored)

    sending = threading.Thread(target=send)
    sending.start()
    try:
        marks = [forget()]
        _replace(team, identity.recipient, PARTNER.recipient)
        node.process.send_signal(signal.SIGHUP)
        node.wait_line(r"epoch begins .*reason=recipients n_recipients=2")
        marks.append(forget())
        _replace(team, "# nobody left")
        node.wait_line(r"RECIPIENTS NOT CHANGED.*no recipient in it")
        (status,) = cli_json("node", "status", "--config", tmp_path / "node.toml")
        assert "no recipient in it" in status["problem"]
        assert len(status["recipients"]) == 2
        marks.append(forget())
        _replace(team, PARTNER.recipient)
        node.wait_line(rf"epoch begins .*n_recipients=1 recipients={fingerprint_text(PARTNER.fingerprint)}")
        marks.append(forget())
    finally:
        stopping.set()
        sending.join(60)
    assert faults == []
    archive.wait(lambda: len(archive.stored) == n_sent[0])
    (status,) = cli_json("node", "status", "--config", tmp_path / "node.toml")
    assert status["recipients"] == [fingerprint_text(PARTNER.fingerprint)]
    assert not status["problem"]
    by_both = [(_opens(stored, identity), _opens(stored, PARTNER)) for stored in archive.stored]
    assert by_both == sorted(by_both, key=[(True, False), (True, True), (False, True)].index)
    assert by_both[0] == (True, False)
    assert by_both[-1] == (False, True)
    assert set(by_both[marks[1] : marks[2]]) == {(True, True)}, "the broken file changed nothing"
    found = dict(
        opened(stored, identity if mine else PARTNER) for stored, (mine, _) in zip(archive.stored, by_both, strict=True)
    )
    assert found == {uid(number): dataset(number) for number in range(n_sent[0])}
    assert node.stop() == 0


def test_a_receiver_that_restarts_with_a_broken_file_waits_for_a_good_one(
    tmp_path, archive, make_config, run_node, identity
):
    config = make_config(archive.port)
    node = run_node(config)
    port = node.port
    _replace(tmp_path / "recipients.txt", "nonsense")
    node.wait_line("RECIPIENTS NOT CHANGED")
    os.kill(node.children()["receiver"], signal.SIGKILL)
    node.wait_line("receiver ended with status 3")
    assert node.process.poll() is None
    _replace(tmp_path / "recipients.txt", identity.recipient)
    node.wait_line("node ready", count=2)
    sender = Sender([path := write_object(tmp_path, 1)], Peer("IOMTCRYPT", "127.0.0.1", port), calling_ae_title="M")
    sender.send(path)
    sender.close()
    archive.wait(lambda: len(archive.stored) == 1)
    assert opened(archive.stored[0], identity) == (uid(1), dataset(1))
    words = cli("node", "status", "--config", config).stdout
    assert f"recipients: {fingerprint_text(identity.fingerprint)}\n" in words
    assert "queued: 0\n" in words
    assert "problem: -\n" in words
    assert node.stop() == 0
    assert "recipients: -\n" in cli("node", "status", "--config", config).stdout


def test_check_recommends_an_escrow_recipient(tmp_path, archive, make_config, identity):
    config = make_config(archive.port)
    done = cli("node", "check", "--config", config)
    assert done.returncode == 0
    assert "escrow: warning: one recipient only" in done.stdout
    assert "keygen --split" in done.stderr
    _replace(tmp_path / "recipients.txt", identity.recipient, PARTNER.recipient)
    (tmp_path / "recipients.txt").chmod(0o664)
    (open_file,) = (f for f in cli_json("node", "check", "--config", config) if "mode 0664" in f["text"])
    assert open_file["warning"]
    assert "chmod go-w" in open_file["hint"]
    (tmp_path / "recipients.txt").chmod(0o644)
    findings = {finding["name"]: finding for finding in cli_json("node", "check", "--config", config)}
    assert findings["escrow"]["ok"]
    assert not findings["escrow"]["warning"]
    assert fingerprint_text(PARTNER.fingerprint) in findings["recipients"]["text"]


@pytest.mark.parametrize(("days", "text"), [(10, "expires in 9 days"), (31, None)])
def test_a_certificate_that_expires_soon_is_told(tmp_path, archive, make_config, identity, caplog, days, text):
    certificate = Certified(rsa.generate_private_key(65537, 2048)).certificate(end=NOW + days * DAY)
    (tmp_path / "team.pem").write_text(certificate)
    config = make_config(archive.port, keys={"recipients": ["recipients.txt", "team.pem"]})
    findings = cli_json("node", "check", "--config", config)
    told = [f["text"] for f in findings if f["warning"]]
    recipients = RecipientList([str(tmp_path / "team.pem")])
    with caplog.at_level("WARNING"):
        EpochSource(recipients, n_objects=1, hours=1)
    if text is None:
        assert told == []
        assert caplog.messages == []
    else:
        assert [text in sentence for sentence in (*told, *caplog.messages)] == [True, True]


def test_an_expired_certificate_is_told():
    certificate = Certified(rsa.generate_private_key(65537, 2048)).certificate(start=NOW - 9 * DAY, end=NOW - DAY)
    recipient = CertificateRecipient(load_pem_x509_certificate(certificate.encode("ascii")))
    ((text, hint),) = expiry_advice([recipient])
    assert text == f"recipient {fingerprint_text(recipient.fingerprint)} has expired"
    assert "new certificate" in hint
