"""Keys on PKCS#11 tokens, with SoftHSM."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_unwrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from token_harness import PIN, Hsm, aes_key, certificate_of, put_certificate, rsa_key

from iomt_crypt.errors import KeyMaterialError, NoMatchingIdentityError
from iomt_crypt.seal import Epoch, Keyring, Stanza
from iomt_crypt.seal.kind import token_aes, token_session
from iomt_crypt.seal.kind.certificate import CertificateRecipient
from iomt_crypt.seal.kind.registry import parse_identity, parse_recipient
from iomt_crypt.seal.recipient import epoch_info

pytestmark = pytest.mark.peer

EPOCH_KEY, EPOCH_ID = bytes(range(32)), b"sixteen bytes id"
AES = bytes(range(100, 132))
DATA_KEY = bytes(range(50, 82))


@pytest.fixture(scope="module")
def hsm(peer, tmp_path_factory):
    """Token ``first`` has keys of all kinds, ``second`` a copy of one of them and another one of the same name."""
    hsm = Hsm.create(peer("softhsm2-util"), tmp_path_factory.mktemp("hsm"))
    public = hsm.fill("first", _fill)
    hsm.fill("second", lambda session: (aes_key(session, "copy", AES), aes_key(session, "gcm", bytes(32), id=b"\2")))
    yield SimpleNamespace(hsm=hsm, public=public, uri=hsm.uri)
    hsm.close()


def _fill(session):
    aes_key(session, "gcm", AES)
    aes_key(session, "kw", AES, id=b"\2", ENCRYPT=False, DECRYPT=False)
    aes_key(session, "nothing", AES, id=b"\3", ENCRYPT=False, DECRYPT=False, UNWRAP=False)
    aes_key(session, "short", AES[:16], id=b"\4")
    for number in (5, 6):
        aes_key(session, "twice", bytes([number]) * 32, id=bytes([number]))
    public = rsa_key(session, "rsa", id=b"\7")
    certified = rsa_key(session, "certified", id=b"\x08")
    put_certificate(session, certificate_of(certified), "certified", id=b"\x08")
    put_certificate(session, certificate_of(certified, days=-1), "expired", id=b"\x09")
    for kind in (aes_key, rsa_key):
        kind(session, "both", *([AES] if kind is aes_key else []), id=b"\x0a")
    return public


@pytest.fixture
def fresh(hsm):
    """No session is open, no PIN remembered, whatever the test does."""
    hsm.hsm.log_out()
    yield hsm
    hsm.hsm.log_out()


def _there_and_back(recipient, identity) -> Epoch:
    epoch = Epoch.create([recipient])
    assert Keyring([identity]).unwrap(epoch.wrap(DATA_KEY), epoch.id, epoch.stanzas) == DATA_KEY
    assert recipient.fingerprint == identity.fingerprint == epoch.stanzas[0].recipient
    return epoch


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [
        ("gcm", "pkcs11-aes-gcm", 60),
        ("kw", "pkcs11-aes-kw", 56),
        ("rsa", "rsa-oaep-sha1", 256),
        ("certified", "cms-rsa-aes256", None),
    ],
)
def test_there_and_back(hsm, name, kind, size):
    epoch = _there_and_back(parse_recipient(hsm.uri("first", name)), parse_identity(hsm.uri("first", name)))
    (stanza,) = epoch.stanzas
    assert stanza.kind == kind
    assert size in (None, len(stanza.body))
    assert epoch.key not in stanza.body


def test_what_the_token_makes_is_what_the_format_says(hsm):
    """The same key in software opens it."""
    stanza = parse_recipient(hsm.uri("first", "gcm")).wrap(EPOCH_KEY, EPOCH_ID)
    nonce, sealed = stanza.body[:12], stanza.body[12:]
    assert AESGCM(AES).decrypt(nonce, sealed, epoch_info(EPOCH_ID)) == EPOCH_KEY
    stanza = parse_recipient(hsm.uri("first", "kw")).wrap(EPOCH_KEY, EPOCH_ID)
    assert aes_key_unwrap(AES, stanza.body) == EPOCH_KEY + EPOCH_ID


def test_key_wrapping_with_padding(hsm, monkeypatch):
    """RFC 5649, which SoftHSM does under the number it had before PKCS#11 3.0 gave it one."""
    monkeypatch.setitem(token_aes._METHODS, token_aes.KWP, token_aes._wrapping("AES_KEY_WRAP_PAD"))
    monkeypatch.setattr(token_aes, "_choose", lambda *_: token_aes.KWP)
    key = parse_identity(hsm.uri("first", "kw"))
    stanza = key.wrap(EPOCH_KEY, EPOCH_ID)
    assert stanza.kind == "pkcs11-aes-kwp"
    assert aes_key_unwrap_with_padding(AES, stanza.body) == EPOCH_KEY + EPOCH_ID
    assert key.unwrap(stanza, EPOCH_ID) == EPOCH_KEY
    assert key.unwrap(stanza, EPOCH_ID[::-1]) is None


# Must open for ever: (name of the key, whose value is AES; fingerprint; body).
VECTORS = (
    (
        "gcm",
        "pkcs11-aes-gcm",
        "e9410052adb0eb85",
        "ad79d70abbaa81e6dd1742d46c428ed325417dfd4a9800cb0867f0fe7b96cc9c1dc2658f387b682c2069c02cb645907e0d59a9d8860d475753134d71",
    ),
    (
        "kw",
        "pkcs11-aes-kw",
        "0e4f2fc1d2331ed2",
        "cf3a3bb0cc92a8a07ae69c5b87ac960f895c1b470192e246d1ada7f850d8516704ea0a30a436fab5ed7c6cd5a06d2b282d304f490bcf6fbf",
    ),
)


@pytest.mark.parametrize(("name", "kind", "fingerprint", "body"), VECTORS)
def test_old_stanzas_open(hsm, name, kind, fingerprint, body):
    identity = parse_identity(hsm.uri("first", name))
    assert identity.fingerprint.hex() == fingerprint
    assert identity.unwrap(Stanza(kind, bytes.fromhex(fingerprint), bytes.fromhex(body)), EPOCH_ID) == EPOCH_KEY


def test_a_copy_of_the_key_on_another_token_opens(hsm):
    epoch = _there_and_back(parse_recipient(hsm.uri("first", "gcm")), parse_identity(hsm.uri("second", "copy")))
    other = parse_identity(hsm.uri("second", "gcm"))  # the same name, another key
    with pytest.raises(NoMatchingIdentityError):
        Keyring([other]).unwrap(epoch.wrap(DATA_KEY), epoch.id, epoch.stanzas)


def test_the_public_half_as_text_and_from_elsewhere(hsm):
    """Encrypted without the token, opened by it."""
    identity = parse_identity(hsm.uri("first", "rsa"))
    pem = hsm.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert str(parse_recipient(hsm.uri("first", "rsa"))) == str(identity.recipient) == pem.strip()
    _there_and_back(parse_recipient(pem), identity)
    # A certificate that the token has never seen, for the same key.
    _there_and_back(CertificateRecipient(certificate_of(hsm.public)), identity)


def test_an_expired_certificate_is_no_recipient(hsm):
    with pytest.raises(KeyMaterialError, match="expired"):
        parse_recipient(hsm.uri("first", "expired"))
    # by type, the key beside it
    assert "PUBLIC KEY" in str(parse_recipient(hsm.uri("first", "certified", type="public")))


@pytest.mark.parametrize("name", ["gcm", "kw", "rsa", "certified"])
def test_stanzas_that_are_not_mine(hsm, name):
    recipient, identity = (parse(hsm.uri("first", name)) for parse in (parse_recipient, parse_identity))
    stanza = recipient.wrap(EPOCH_KEY, EPOCH_ID)
    assert identity.unwrap(stanza, EPOCH_ID) == EPOCH_KEY
    assert identity.unwrap(stanza, EPOCH_ID[::-1]) is None
    middle = len(stanza.body) // 2
    for body in (
        b"",
        stanza.body[:-1],
        stanza.body + b"\0",
        bytes(len(stanza.body)),
        stanza.body[:middle] + bytes([stanza.body[middle] ^ 1]) + stanza.body[middle + 1 :],
        stanza.body[:-1] + bytes([stanza.body[-1] ^ 1]),
    ):
        assert identity.unwrap(replace(stanza, body=body), EPOCH_ID) is None
    assert identity.unwrap(replace(stanza, kind="pkcs11-other"), EPOCH_ID) is None
    assert identity.unwrap(replace(stanza, recipient=bytes(8)), EPOCH_ID) is None


@pytest.mark.parametrize(
    ("token", "name", "more", "message", "hint"),
    [
        ("no such", "gcm", {}, "no token 'no such'", "'first'"),
        ("same name", "gcm", {}, "2 tokens fit", "serial"),
        ("first", "absent", {}, "no key 'absent'", "'gcm'"),
        ("first", "nothing", {}, "neither encrypt", "CKA_ENCRYPT"),
        ("first", "short", {}, "128 bits, needed: 256", ""),
        ("first", "twice", {}, "2 keys fit", "id="),
        ("third", "any", {}, "no key 'any'", "no keys"),
        ("first", "both", {}, "a secret key and of a private key", "type="),
        ("first", "rsa", {"type": "public"}, "an identity", "type=private"),
    ],
)
def test_keys_that_cannot_be_used(hsm, token, name, more, message, hint):
    with pytest.raises(KeyMaterialError, match=message) as caught:
        parse_identity(hsm.uri(token, name, **more))
    assert hint in caught.value.hint
    assert PIN not in str(caught.value) + caught.value.hint


def test_ids_and_types_choose(hsm):
    assert parse_identity(hsm.uri("first", "twice", id="%05")).fingerprint
    secret, private = (parse_identity(hsm.uri("first", "both", type=kind)) for kind in ("secret-key", "private"))
    assert secret.fingerprint == parse_identity(hsm.uri("first", None, id="%01")).fingerprint
    assert private.fingerprint != secret.fingerprint


@pytest.mark.parametrize(
    ("path", "message"), [("/nowhere/p11.so", "No such file"), ("{pin}", "cannot be used"), ("/", "cannot be used")]
)
def test_modules_that_are_none(hsm, path, message):
    path = path.format(pin=hsm.hsm.pin_file)
    with pytest.raises(KeyMaterialError, match=message) as caught:
        parse_identity(f"pkcs11:token=t;object=o?module-path={path}")
    assert "module-path" in caught.value.hint


def test_without_the_package(hsm, monkeypatch):
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(KeyMaterialError) as caught:
        parse_identity(hsm.uri("first", "gcm"))
    assert "pip install 'iomt-crypt[token]'" in caught.value.hint


class TestPin:
    def test_it_is_asked_for_once(self, fresh):
        asked = []

        def ask(what):
            asked.append(what)
            return PIN.encode()

        for name in ("gcm", "kw"):
            _there_and_back(
                *(parse(fresh.uri("first", name, ask=True), ask) for parse in (parse_recipient, parse_identity))
            )
        assert asked == ["PIN of token first"]

    def test_what_is_public_needs_none(self, fresh):
        for name in ("rsa", "certified"):
            assert parse_recipient(fresh.uri("first", name, ask=True)).fingerprint
        with pytest.raises(KeyMaterialError, match="nobody can be asked") as caught:
            parse_recipient(fresh.uri("first", "gcm", ask=True))
        assert "pin-source" in caught.value.hint

    def test_a_wrong_one_is_tried_once(self, fresh, tmp_path):
        pin = tmp_path / "pin"
        pin.write_text("wrong-4712\n")
        pin.chmod(0o600)
        flags = [_flags(fresh.hsm)]
        for message in ("wrong PIN", "refused this PIN before", "refused this PIN before"):
            with pytest.raises(KeyMaterialError, match=message) as caught:
                parse_identity(fresh.uri("first", "gcm", pin=pin))
            assert "4712" not in str(caught.value) + caught.value.hint + repr(caught.value.__context__)
            flags.append(_flags(fresh.hsm))
        assert flags == [False, True, True, True], "the token counts wrong PINs"
        pin.write_text(PIN)
        assert parse_identity(fresh.uri("first", "gcm", pin=pin)).fingerprint
        assert not _flags(fresh.hsm)

    @pytest.mark.parametrize("content", ["", "\nsecond line", "\xff" * 300, "x"])
    def test_files_without_one(self, fresh, tmp_path, content):
        pin = tmp_path / "pin"
        pin.write_bytes(content.encode("latin-1"))
        pin.chmod(0o600)
        with pytest.raises(KeyMaterialError):
            parse_identity(fresh.uri("second", "gcm", pin=pin))
        pin.write_text(PIN)
        pin.chmod(0o640)
        with pytest.raises(KeyMaterialError, match="others may read"):
            parse_identity(fresh.uri("second", "gcm", pin=pin))
        assert parse_identity(fresh.uri("second", "gcm")).fingerprint

    @pytest.mark.parametrize(
        ("flag", "message"), [("USER_PIN_LOCKED", "the PIN is locked"), ("USER_PIN_FINAL_TRY", "one more attempt")]
    )
    def test_a_token_that_is_or_would_be_locked(self, fresh, monkeypatch, flag, message):
        """SoftHSM never locks itself: another token's flags, and no way to log in."""
        import pkcs11

        real = token_session._token

        def locked(uri):
            token = real(uri)
            flags = token.flags | pkcs11.TokenFlag[flag]
            return SimpleNamespace(label=token.label, serial=token.serial, flags=flags, open=token.open)

        monkeypatch.setattr(token_session, "_token", locked)
        with pytest.raises(KeyMaterialError, match=message):
            parse_identity(fresh.uri("first", "gcm"))

    def test_a_token_with_keys_of_its_own(self, fresh, monkeypatch):
        """PIN pad: no PIN passes through us."""
        import pkcs11

        real, seen = token_session._token, []

        def pad(uri):
            token = real(uri)

            def open_(**how):
                seen.append(how)
                return token.open(user_pin=PIN) if how else token.open()

            flags = token.flags | pkcs11.TokenFlag.PROTECTED_AUTHENTICATION_PATH
            return SimpleNamespace(label=token.label, serial=token.serial, flags=flags, open=open_)

        monkeypatch.setattr(token_session, "_token", pad)
        assert parse_identity(fresh.uri("first", "gcm", ask=True)).fingerprint
        assert seen == [{"user_pin": pkcs11.types.PROTECTED_AUTH}]


def _flags(hsm) -> bool:
    import pkcs11

    return bool(hsm_token(hsm).flags & pkcs11.TokenFlag.USER_PIN_COUNT_LOW)


def hsm_token(hsm):
    import pkcs11

    return pkcs11.lib(str(hsm.module)).get_token(token_label="first")


@pytest.mark.parametrize("name", ["gcm", "kw", "certified"])
def test_a_token_that_was_taken_out_and_put_back(fresh, name):
    asked = []
    identity = parse_identity(fresh.uri("first", name, ask=True), lambda what: asked.append(what) or PIN.encode())
    stanza = parse_recipient(fresh.uri("first", name)).wrap(EPOCH_KEY, EPOCH_ID)
    for _ in range(2):
        fresh.hsm.pull_out()
        assert identity.unwrap(stanza, EPOCH_ID) == EPOCH_KEY
    assert len(asked) == 1
    tokens, away = fresh.hsm.folder / "tokens", fresh.hsm.folder / "away"
    shutil.move(tokens, away)
    tokens.mkdir()
    try:
        fresh.hsm.pull_out()
        with pytest.raises(KeyMaterialError, match="no token 'first'") as caught:
            identity.unwrap(stanza, EPOCH_ID)
        assert "plugged in" in caught.value.hint
    finally:
        tokens.rmdir()
        shutil.move(away, tokens)
    fresh.hsm.pull_out()
    assert identity.unwrap(stanza, EPOCH_ID) == EPOCH_KEY


def test_many_threads(hsm):
    """Eight at once, on three keys of two tokens."""
    keys = [parse_identity(hsm.uri(*name)) for name in (("first", "gcm"), ("first", "rsa"), ("second", "gcm"))]
    stanzas = [getattr(key, "recipient", key).wrap(EPOCH_KEY, EPOCH_ID) for key in keys]
    together = threading.Barrier(8)

    def work(number: int) -> list[bytes | None]:
        together.wait(60)
        return [keys[(number + i) % 3].unwrap(stanzas[(number + i) % 3], EPOCH_ID) for i in range(12)]

    with ThreadPoolExecutor(8) as pool:
        assert [found for some in pool.map(work, range(8)) for found in some] == [EPOCH_KEY] * 96


def test_a_child_logs_in_for_itself(fresh):
    """After a fork, and with the lock held by another thread of the parent."""
    identity = parse_identity(fresh.uri("first", "gcm"))
    stanza = identity.wrap(EPOCH_KEY, EPOCH_ID)
    with token_session._lock:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if identity.unwrap(stanza, EPOCH_ID) == EPOCH_KEY and token_session._inherited == set() else 2
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert identity.unwrap(stanza, EPOCH_ID) == EPOCH_KEY


def test_a_key_that_was_replaced_is_no_broken_stanza(fresh):
    """The token answers, with another key of the same name."""
    hsm = fresh.hsm
    hsm.fill("third", lambda session: aes_key(session, "k", AES))
    token_session._sessions.clear()
    identity = parse_identity(fresh.uri("third", "k"))
    stanza = identity.wrap(EPOCH_KEY, EPOCH_ID)
    token_session._close_all()

    def replace_key(session):
        for found in list(session.get_objects()):
            found.destroy()
        aes_key(session, "k", bytes(32))

    hsm.fill("third", replace_key)
    with pytest.raises(KeyMaterialError, match="another key has taken the place"):
        identity.unwrap(stanza, EPOCH_ID)
    token_session._close_all()
    hsm.fill("third", lambda session: [found.destroy() for found in list(session.get_objects())])


def test_nothing_secret_is_shown(hsm):
    keys = [parse_identity(hsm.uri("first", name)) for name in ("gcm", "kw", "rsa", "certified")]
    keys += [parse_recipient(hsm.uri("first", name)) for name in ("gcm", "kw", "rsa", "certified")]
    shown = [repr(key) for key in keys] + [repr(getattr(key, "_key", "")) for key in keys]
    assert all(PIN not in text and str(hsm.hsm.pin_file) not in text for text in shown)
    assert any("TokenPrivateKey on first" in text for text in shown)
