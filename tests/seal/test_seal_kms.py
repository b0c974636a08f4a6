"""Keys in AWS KMS, with moto's server; refusals and outages with one that only refuses."""

from __future__ import annotations

import json
import socket
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from moto.server import ThreadedMotoServer

from iomt_crypt.errors import KeyMaterialError, NetworkError, NoMatchingIdentityError
from iomt_crypt.seal import Epoch, Keyring, load_recipients
from iomt_crypt.seal.kind import kms
from iomt_crypt.seal.kind.registry import parse_identity, parse_recipient

EPOCH_KEY, EPOCH_ID = bytes(range(32)), b"sixteen bytes id"
REGION = "eu-central-1"
SECRET = "AWS-secret-7731"
ARN = f"arn:aws:kms:{REGION}:123456789012:key/11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def server():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def aws(monkeypatch, tmp_path):
    """The usual environment, and nothing of the machine's own."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    values = {
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return monkeypatch


@pytest.fixture
def client(server, aws):
    aws.setenv("AWS_ENDPOINT_URL", server)
    return boto3.client("kms")


@pytest.fixture
def arn(client):
    return _make(client)


def _make(client, **options) -> str:
    return client.create_key(KeyUsage="ENCRYPT_DECRYPT", **options)["KeyMetadata"]["Arn"]


def test_there_and_back(arn):
    recipient, identity = parse_recipient(f"awskms:{arn}"), parse_identity(f"AWSKMS:{arn}")
    epoch = Epoch.create([recipient])
    (stanza,) = epoch.stanzas
    assert (stanza.kind, stanza.recipient) == ("awskms", identity.fingerprint)
    assert epoch.key not in stanza.body
    assert Keyring([identity]).unwrap(epoch.wrap(bytes(32)), epoch.id, epoch.stanzas) == bytes(32)
    assert parse_recipient(str(recipient)).fingerprint == recipient.fingerprint


def test_the_epoch_is_bound_by_the_encryption_context(client, arn):
    """What any AWS program needs to know to open it."""
    stanza = parse_recipient(f"awskms:{arn}").wrap(EPOCH_KEY, EPOCH_ID)
    opened = client.decrypt(CiphertextBlob=stanza.body, EncryptionContext={"iomt-crypt epoch": EPOCH_ID.hex()})
    assert opened["Plaintext"] == EPOCH_KEY
    assert parse_identity(f"awskms:{arn}").unwrap(stanza, EPOCH_ID[::-1]) is None


def test_names_of_one_key(client, arn):
    client.create_alias(AliasName="alias/archive/radiology", TargetKeyId=arn)
    names = (
        arn,
        arn.rpartition("/")[2],
        "alias/archive/radiology",
        f"{arn.rpartition(':')[0]}:alias/archive/radiology",
    )
    keys = [parse_recipient(f"awskms:{name}") for name in names]
    assert {key.fingerprint for key in keys} == {kms._fingerprint(arn)}
    assert {str(key) for key in keys} == {f"awskms:{arn}"}


def test_an_alias_is_resolved_once(client, arn):
    """What was wrapped stays with the key it was wrapped with, wherever the alias goes."""
    client.create_alias(AliasName="alias/moves", TargetKeyId=arn)
    identity = parse_identity("awskms:alias/moves")
    stanza = parse_recipient("awskms:alias/moves").wrap(EPOCH_KEY, EPOCH_ID)
    client.update_alias(AliasName="alias/moves", TargetKeyId=_make(client))
    assert identity.unwrap(stanza, EPOCH_ID) == EPOCH_KEY
    assert parse_identity("awskms:alias/moves").unwrap(stanza, EPOCH_ID) is None


def test_replicas_of_a_key_in_several_regions(client):
    arn = _make(client, MultiRegion=True)
    client.replicate_key(KeyId=arn.rpartition("/")[2], ReplicaRegion="eu-west-1")
    here, there = (parse_recipient(f"awskms:{name}") for name in (arn, arn.replace(REGION, "eu-west-1")))
    assert here.fingerprint == there.fingerprint
    assert str(here) != str(there)
    single = _make(client)
    assert kms._fingerprint(single) != kms._fingerprint(single.replace(REGION, "eu-west-1"))


def test_stanzas_that_are_not_mine(client, arn):
    other = _make(client)
    stanza = parse_recipient(f"awskms:{arn}").wrap(EPOCH_KEY, EPOCH_ID)
    identity = parse_identity(f"awskms:{arn}")
    assert identity.unwrap(stanza, EPOCH_ID) == EPOCH_KEY
    foreign = parse_recipient(f"awskms:{other}").wrap(EPOCH_KEY, EPOCH_ID)
    changed = replace(stanza, body=stanza.body[:-1] + bytes([stanza.body[-1] ^ 1]))
    for wrong in (foreign, changed, replace(stanza, body=b""), replace(stanza, kind="hpke"), _long(stanza)):
        assert identity.unwrap(wrong, EPOCH_ID) is None
    epoch = Epoch.create([parse_recipient(f"awskms:{other}")])
    with pytest.raises(NoMatchingIdentityError):
        Keyring([identity]).unwrap(epoch.wrap(bytes(32)), epoch.id, epoch.stanzas)


def _long(stanza):
    return replace(stanza, body=bytes(kms.MAX_BODY_BYTES + 1))


def test_another_length_is_no_epoch_key(client, arn):
    identity = parse_identity(f"awskms:{arn}")
    stanza = identity.wrap(EPOCH_KEY[:31], EPOCH_ID)
    assert identity.unwrap(stanza, EPOCH_ID) is None


@pytest.mark.parametrize(
    "name", ["", "alias/", "key/1", "arn:aws:s3:eu:1:key/1", "arn:aws:kms:eu-central-1:12:key/1", "https://127.0.0.1"]
)
def test_names_that_are_none(name):
    with pytest.raises(KeyMaterialError, match="not followed by the name of a key") as caught:
        parse_recipient(f"awskms:{name}")
    assert "alias/NAME" in caught.value.hint


def test_keys_that_cannot_be_used(client, arn):
    rsa = _make(client, KeySpec="RSA_2048").rpartition("/")[2]
    with pytest.raises(KeyMaterialError, match="RSA_2048"):
        parse_recipient(f"awskms:{rsa}")
    with pytest.raises(KeyMaterialError, match=r"kms:DescribeKey.*NotFoundException") as caught:
        parse_recipient("awskms:alias/absent")
    assert "region" in caught.value.hint


def test_in_a_list_of_recipients(client, arn, tmp_path):
    (tmp_path / "team").write_text(f"# in the cloud\nawskms:{arn}\n")
    assert load_recipients([tmp_path / "team"])[0].fingerprint == kms._fingerprint(arn)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(KeyMaterialError) as caught:
        parse_recipient(f"awskms:{ARN}")
    assert "pip install 'iomt-crypt[kms]'" in caught.value.hint


@contextmanager
def refusing(status: int, code: str):
    """A service that answers every request with one error."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            requests.append(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"__type": code, "message": f"User: someone, {SECRET}"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", requests
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "code", "error", "hint"),
    [
        (400, "AccessDeniedException", KeyMaterialError, "must allow kms:Encrypt"),
        (400, "NotFoundException", KeyMaterialError, "region"),
        (400, "DisabledException", KeyMaterialError, "disabled"),
        (400, "KMSInvalidStateException", KeyMaterialError, "deletion"),
        (400, "ExpiredTokenException", KeyMaterialError, "expired"),
        (400, "SomethingNew", KeyMaterialError, ""),
        (500, "KMSInternalException", NetworkError, "later"),
        (400, "ThrottlingException", NetworkError, "later"),
        (503, "?", NetworkError, "later"),
    ],
)
def test_refusals(aws, status, code, error, hint):
    aws.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    with refusing(status, code) as (url, requests):
        aws.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(error, match="kms:Encrypt") as caught:
            parse_recipient(f"awskms:{ARN}").wrap(EPOCH_KEY, EPOCH_ID)
    assert len(requests) == (kms.ATTEMPTS if error is NetworkError else 1)
    assert hint in caught.value.hint
    assert SECRET not in str(caught.value) + caught.value.hint
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("code", ["IncorrectKeyException", "InvalidCiphertextException"])
def test_a_stanza_that_only_claims_to_be_for_the_key(aws, code):
    with refusing(400, code) as (url, requests):
        aws.setenv("AWS_ENDPOINT_URL", url)
        identity = parse_identity(f"awskms:{ARN}")
        assert identity.unwrap(kms.Stanza(kms.KIND, identity.fingerprint, bytes(150)), EPOCH_ID) is None
        assert len(requests) == 1


def test_a_stanza_that_names_another_key_is_not_sent(aws):
    with refusing(400, "AccessDeniedException") as (url, requests):
        aws.setenv("AWS_ENDPOINT_URL", url)
        identity = parse_identity(f"awskms:{ARN}")
        stanza = kms.Stanza(kms.KIND, bytes(8), bytes(150))
        assert identity.unwrap(stanza, EPOCH_ID) is None
        assert requests == []
        with pytest.raises(KeyMaterialError, match=r"kms:Decrypt.*AccessDenied"):
            identity.unwrap(replace(stanza, recipient=identity.fingerprint), EPOCH_ID)


def test_nobody_there(aws):
    aws.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    aws.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(NetworkError, match=r"cannot be reached for kms:Encrypt \(EndpointConnectionError") as caught:
        parse_recipient(f"awskms:{ARN}").wrap(EPOCH_KEY, EPOCH_ID)
    assert "AWS_ENDPOINT_URL" in caught.value.hint


def test_somebody_who_does_not_answer(aws):
    aws.setattr(kms, "READ_S", 0.05)
    aws.setattr(kms, "ATTEMPTS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        aws.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(NetworkError, match="ReadTimeoutError"):
            parse_recipient(f"awskms:{ARN}").wrap(EPOCH_KEY, EPOCH_ID)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_ACCESS_KEY_ID", None, "no credentials"),
        ("AWS_PROFILE", "nobody", "cannot be set up"),
        ("AWS_DEFAULT_REGION", None, "cannot be set up"),
        ("AWS_ENDPOINT_URL", "no url", "cannot be set up"),
    ],
)
def test_an_environment_that_is_not_complete(aws, name, value, message):
    aws.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    if value is None:
        aws.delenv(name)
    else:
        aws.setenv(name, value)
    with pytest.raises(KeyMaterialError, match=message) as caught:
        parse_recipient("awskms:alias/x").wrap(EPOCH_KEY, EPOCH_ID)
    assert SECRET not in str(caught.value) + caught.value.hint


def test_nothing_secret_is_shown(arn):
    key = parse_identity(f"awskms:{arn}")
    assert SECRET not in repr(key) + str(key)
    assert arn not in repr(key)
