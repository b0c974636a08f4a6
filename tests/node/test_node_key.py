"""A node whose recipients are a token and a key service."""

from __future__ import annotations

import signal

import boto3
import pytest
from moto.server import ThreadedMotoServer
from node_harness import dataset, opened, uid, write_object
from token_harness import PIN, Hsm, aes_key

from iomt_crypt.node.peer import Peer
from iomt_crypt.node.sender import Sender
from iomt_crypt.seal.kind.registry import parse_identity

pytestmark = pytest.mark.peer


@pytest.fixture
def hsm(peer, tmp_path):
    (tmp_path / "hsm").mkdir()
    hsm = Hsm.create(peer("softhsm2-util"), tmp_path / "hsm")
    hsm.fill("first", lambda session: aes_key(session, "node", bytes(range(32))))
    yield hsm
    hsm.close()


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """The server, and the environment that this process and the node find it by."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    yield server
    server.stop()


def test_a_token_and_a_key_service_that_goes_away(tmp_path, archive, make_config, run_node, identity, hsm, aws):
    arn = boto3.client("kms").create_key(KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["Arn"]
    names = [hsm.uri("first", "node"), f"awskms:{arn}"]
    config = make_config(archive.port, keys={"epoch_objects": 3})
    team = tmp_path / "recipients.txt"
    team.write_text("".join(f"{line}\n" for line in [identity.recipient, *names]))
    node = run_node(config)
    sender = Sender([], Peer("IOMTCRYPT", "127.0.0.1", node.port), calling_ae_title="MODALITY")
    for number in range(4):
        sender.send(write_object(tmp_path, number))
    node.wait_line(r"epoch begins .*reason=count n_recipients=3")
    archive.wait(lambda: len(archive.stored) == 4)
    for holder in [identity, *map(parse_identity, names)]:
        assert dict(opened(stored, holder) for stored in archive.stored) == {uid(n): dataset(n) for n in range(4)}
    # The service goes away: what is asked of it at the next epoch fails, and no object is refused.
    aws.stop()
    node.process.send_signal(signal.SIGHUP)
    node.wait_line(r"RECIPIENTS NOT CHANGED.*AWS KMS cannot be reached for kms:Encrypt")
    for number in range(4, 9):
        sender.send(write_object(tmp_path, number))
    sender.close()
    archive.wait(lambda: len(archive.stored) == 9)
    token = parse_identity(names[0])
    assert dict(opened(stored, token) for stored in archive.stored) == {uid(n): dataset(n) for n in range(9)}
    assert node.stop() == 0
    assert PIN not in "".join(node.lines)
    assert "one recipient only" not in "".join(node.lines)
