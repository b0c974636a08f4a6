"""Keys on a token on the command line, alone and among others."""

from __future__ import annotations

import json

import pytest
from synthetic import file, image
from token_harness import PIN, Hsm, aes_key, certificate_of, put_certificate, rsa_key
from typer.testing import CliRunner

from iomt_crypt.cli.app import app
from iomt_crypt.seal import HpkeIdentity, write_identity

pytestmark = pytest.mark.peer

RAW = file(image(bytes(range(64)), uid="1.2.3.4"))


@pytest.fixture(scope="module")
def hsm(peer, tmp_path_factory):
    hsm = Hsm.create(peer("softhsm2-util"), tmp_path_factory.mktemp("hsm"))

    def fill(session) -> None:
        aes_key(session, "aes", bytes(range(32)))
        rsa_key(session, "rsa", id=b"\2")
        certified = rsa_key(session, "certified", id=b"\3")
        put_certificate(session, certificate_of(certified), "certified", id=b"\3")

    hsm.fill("first", fill)
    yield hsm
    hsm.close()


@pytest.fixture
def source(tmp_path):
    (tmp_path / "image.dcm").write_bytes(RAW)
    return tmp_path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.stdout + done.stderr + repr(done.exception)
    assert PIN not in done.stdout + done.stderr
    return done.stdout


def _round_trip(folder, recipients, identities) -> None:
    to = [argument for recipient in recipients for argument in ("-r", recipient)]
    run("encrypt", *to, folder / "image.dcm", "-o", folder / "out", "--overwrite")
    for identity in identities:
        run("decrypt", "-i", identity, folder / "out", "-o", folder / "back", "--overwrite")
        assert (folder / "back" / "image.dcm").read_bytes() == RAW
        (folder / "back" / "image.dcm").unlink()


@pytest.mark.parametrize("name", ["aes", "rsa", "certified"])
def test_alone(hsm, source, name):
    _round_trip(source, [hsm.uri("first", name)], [hsm.uri("first", name)])


def test_with_the_pin_from_a_file_and_the_uri_in_one(hsm, source):
    """As it is on a node: lists of URIs, nobody to ask."""
    hsm.log_out()
    (source / "team").write_text(f"# on the token\n{hsm.uri('first', 'aes')}\n{hsm.uri('first', 'rsa')}\n")
    (source / "team").chmod(0o644)
    (source / "mine").write_text(f"{hsm.uri('first', 'rsa')}\n")
    (source / "mine").chmod(0o600)
    _round_trip(source, [source / "team"], [source / "mine"])


def test_five_in_one_object(hsm, source):
    mine = HpkeIdentity.generate()
    write_identity(source / "mine", mine)
    (source / "words").write_text("five words that nobody guesses\n")
    (source / "words").chmod(0o600)
    uris = [hsm.uri("first", name) for name in ("aes", "rsa", "certified")]
    words = f"passphrase:{source / 'words'}"
    _round_trip(source, [*uris, words, mine.recipient], [*uris, words, source / "mine"])
    (found,) = map(json.loads, run("inspect", "--json", source / "out" / "image.dcm").splitlines())
    kinds = {"pkcs11-aes-gcm", "rsa-oaep-sha1", "cms-rsa-aes256", "scrypt", "hpke-mlkem768-x25519"}
    assert kinds <= set(json.dumps(found).replace('"', " ").split())


def test_a_key_that_is_not_there(hsm, source):
    done = CliRunner().invoke(app, ["encrypt", "-r", hsm.uri("first", "absent"), str(source), "-o", str(source / "o")])
    assert done.exit_code != 0
    assert "no key 'absent'" in str(done.exception) + done.stderr
    assert not (source / "o").exists() or not list((source / "o").iterdir())
