"""Kinds of recipients and identities: each opens its own stanza, and nothing else does."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from key_material import DAY, NOW, PASSPHRASE, Certified

from iomt_crypt.errors import KeyMaterialError, NoMatchingIdentityError
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring, Stanza
from iomt_crypt.seal import passphrase as locked
from iomt_crypt.seal.kind import envelope, registry
from iomt_crypt.seal.kind.passphrase import PassphraseIdentity, PassphraseRecipient
from iomt_crypt.seal.kind.x25519 import X25519Identity
from iomt_crypt.seal.recipient import Identity, Recipient

KINDS = {
    "hpke": ("hpke-mlkem768-x25519", 1168),
    "x25519": ("hpke-x25519", 80),
    "certificate": ("cms-rsa-aes256", None),
    "rsa": ("rsa-oaep-sha1", 256),
    "passphrase": ("scrypt", 67),
}
KEY, EPOCH_ID = bytes(range(32)), bytes(range(100, 116))


@pytest.fixture
def pair(certified, cheap) -> Callable[[str], tuple[Recipient, Identity]]:
    """``pair(kind)``: a recipient and its identity, from the texts a user gives."""

    def make(kind: str) -> tuple[Recipient, Identity]:
        def ask(what: str) -> bytes:
            return PASSPHRASE

        if kind in ("hpke", "x25519"):
            generated = (HpkeIdentity if kind == "hpke" else X25519Identity).generate()
            public, secret = str(generated.recipient), generated.secret_text()
        elif kind == "certificate":
            public = certified.certificate()
            secret = certified.private() + public
        elif kind == "rsa":
            pem = certified.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            public, secret = pem.decode(), certified.private()
        else:
            public = secret = "passphrase:"
        return registry.parse_recipient(public, ask), registry.parse_identity(secret, ask)

    return make


@pytest.mark.parametrize("kind", KINDS)
class TestEachKind:
    def test_round_trip(self, kind, pair):
        recipient, identity = pair(kind)
        epoch = Epoch.create([recipient])
        assert Keyring([identity]).unwrap(epoch.wrap(KEY), epoch.id, epoch.stanzas) == KEY

    def test_stanza(self, kind, pair):
        recipient, identity = pair(kind)
        stanza = recipient.wrap(KEY, EPOCH_ID)
        name, size = KINDS[kind]
        assert (stanza.kind, stanza.recipient) == (name, identity.fingerprint)
        assert size is None or len(stanza.body) == size
        assert KEY not in stanza.body
        assert identity.unwrap(stanza, EPOCH_ID) == KEY
        assert kind == "passphrase" or identity.fingerprint == recipient.fingerprint

    def test_not_in_another_epoch(self, kind, pair):
        recipient, identity = pair(kind)
        stanza = recipient.wrap(KEY, EPOCH_ID)
        assert identity.unwrap(stanza, EPOCH_ID[:-1] + b"\0") is None
        assert identity.unwrap(stanza, b"") is None

    def test_not_under_another_name(self, kind, pair):
        recipient, identity = pair(kind)
        stanza = recipient.wrap(KEY, EPOCH_ID)
        for other in {name for name, _ in KINDS.values()} - {stanza.kind} | {"", "none"}:
            assert identity.unwrap(dataclasses.replace(stanza, kind=other), EPOCH_ID) is None

    def test_the_fingerprint_in_the_stanza_decides_nothing(self, kind, pair):
        recipient, identity = pair(kind)
        stanza = dataclasses.replace(recipient.wrap(KEY, EPOCH_ID), recipient=bytes(8))
        assert identity.unwrap(stanza, EPOCH_ID) == KEY

    def test_every_changed_byte_is_not_mine(self, kind, pair):
        recipient, identity = pair(kind)
        stanza = recipient.wrap(KEY, EPOCH_ID)
        step = 7 if kind == "hpke" else 1
        for position in range(0, len(stanza.body), step):
            if kind == "passphrase" and position < 3:
                continue  # scrypt parameters: below, with their limits
            changed = bytearray(stanza.body)
            changed[position] ^= 1 << (position % 8)
            opened = identity.unwrap(dataclasses.replace(stanza, body=bytes(changed)), EPOCH_ID)
            # Issuer and serial number of a CMS are not looked at: changed or not, the same key comes out.
            assert opened in ((None, KEY) if kind == "certificate" and position < 110 else (None,))

    @given(body=st.binary(max_size=600))
    def test_noise_is_not_mine(self, kind, body):
        identity = _IDENTITIES[kind]
        assert identity.unwrap(Stanza(KINDS[kind][0], bytes(8), body), EPOCH_ID) is None

    def test_cut_and_longer(self, kind, pair):
        recipient, identity = pair(kind)
        stanza = recipient.wrap(KEY, EPOCH_ID)
        for body in (b"", stanza.body[:-1], stanza.body + b"\0", stanza.body * 2):
            assert identity.unwrap(dataclasses.replace(stanza, body=body), EPOCH_ID) is None

    def test_a_longer_key_is_not_taken(self, kind, pair):
        """Whoever has the public half can wrap what they like: only 32 bytes are an epoch key."""
        recipient, identity = pair(kind)
        for key in (b"", bytes(16), bytes(31), bytes(33)):
            assert identity.unwrap(recipient.wrap(key, EPOCH_ID), EPOCH_ID) is None

    def test_no_secret_in_a_repr(self, kind, pair):
        recipient, identity = pair(kind)
        shown = repr(recipient) + repr(identity) + repr(vars(identity).get("recipient"))
        assert len(shown) < 200
        assert PASSPHRASE.decode() not in shown
        assert not any(line in shown for line in str(recipient).splitlines() if len(line) > 20)


_KEY = Certified(rsa.generate_private_key(65537, 2048))
_IDENTITIES = {
    "hpke": HpkeIdentity.generate(),
    "x25519": X25519Identity.generate(),
    "certificate": registry.parse_identity(_KEY.private()),
    "rsa": registry.parse_identity(_KEY.private()),
    "passphrase": PassphraseIdentity(PASSPHRASE),
}


def test_five_kinds_in_one_object(pair):
    """Each identity opens alone; a stranger of each kind does not."""
    pairs = [pair(kind) for kind in KINDS if kind != "rsa"] + [pair("hpke")]
    epoch = Epoch.create([recipient for recipient, _ in pairs])
    assert len(epoch.stanzas) == 5
    for _, identity in pairs:
        assert Keyring([identity]).unwrap(epoch.wrap(KEY), epoch.id, epoch.stanzas) == KEY
    strangers = [*_IDENTITIES.values(), PassphraseIdentity(b"another passphrase")]
    strangers.remove(_IDENTITIES["passphrase"])
    with pytest.raises(NoMatchingIdentityError):
        Keyring(strangers).unwrap(epoch.wrap(KEY), epoch.id, epoch.stanzas)
    assert Keyring([*strangers, pairs[0][1]]).unwrap(epoch.wrap(KEY), epoch.id, epoch.stanzas) == KEY


class TestCertificate:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"start": NOW - 30 * DAY, "end": NOW - DAY}, "expired on"),
            ({"start": NOW + DAY}, "not valid before"),
            ({"usage": "digital_signature"}, "not for encryption"),
            ({"usage": "key_cert_sign"}, "not for encryption"),
        ],
    )
    def test_not_to_be_encrypted_to(self, options, message, certified):
        with pytest.raises(KeyMaterialError, match=message) as caught:
            registry.parse_recipient(certified.certificate(**options))
        assert caught.value.hint
        assert "Doe" not in str(caught.value) + caught.value.hint

    def test_an_expired_one_still_decrypts(self, certified):
        stanza = registry.parse_recipient(certified.certificate()).wrap(KEY, EPOCH_ID)
        old = certified.certificate(start=NOW - 30 * DAY, end=NOW - DAY)
        assert registry.parse_identity(certified.private() + old).unwrap(stanza, EPOCH_ID) == KEY

    def test_no_key_usage_is_any(self, certified):
        assert registry.parse_recipient(certified.certificate(usage=None)).fingerprint

    def test_a_renewed_certificate_is_the_same_recipient(self, certified):
        """Same key, other serial number: the stanza of the old one opens, and the fingerprint stays."""
        old, new = (registry.parse_recipient(certified.certificate()) for _ in range(2))
        assert str(old) != str(new)
        assert old.fingerprint == new.fingerprint
        assert registry.parse_identity(certified.private() + str(new)).unwrap(old.wrap(KEY, EPOCH_ID), EPOCH_ID) == KEY

    def test_other_keys_are_refused(self, elliptic):
        with pytest.raises(KeyMaterialError, match="not RSA"):
            registry.parse_recipient(elliptic.certificate())
        with pytest.raises(KeyMaterialError, match="not RSA"):
            registry.parse_identity(elliptic.private())

    def test_short_keys_are_refused(self):
        short = Certified(rsa.generate_private_key(65537, 1024))
        with pytest.raises(KeyMaterialError, match="1024 bits"):
            registry.parse_recipient(short.certificate())
        with pytest.raises(KeyMaterialError, match="1024 bits"):
            registry.parse_identity(short.private())

    def test_a_certificate_of_another_key(self, certified, stranger):
        with pytest.raises(KeyMaterialError, match="belongs to the private key"):
            registry.parse_identity(certified.private() + stranger.certificate())

    def test_the_right_one_of_a_chain(self, certified, stranger, elliptic):
        chain = elliptic.certificate() + stranger.certificate() + certified.certificate()
        identity = registry.parse_identity(certified.private() + chain)
        assert identity.recipient.fingerprint == identity.fingerprint

    def test_private_key_under_a_passphrase(self, certified):
        text = certified.private(passphrase=b"open sesame") + certified.certificate()
        asked = []
        identity = registry.parse_identity(text, lambda what: asked.append(what) or b"open sesame")
        assert asked == ["private key"]
        assert identity.fingerprint == registry.parse_recipient(certified.certificate()).fingerprint
        with pytest.raises(KeyMaterialError, match="wrong passphrase") as caught:
            registry.parse_identity(text, lambda what: b"open says me")
        assert "says me" not in str(caught.value)
        with pytest.raises(KeyMaterialError, match="nobody can be asked"):
            registry.parse_identity(text)

    @pytest.mark.parametrize("text", ["-----BEGIN {}-----\nAAAA\n-----END {}-----", "-----BEGIN {}-----"])
    def test_damaged(self, text):
        with pytest.raises(KeyMaterialError, match="certificate is damaged"):
            registry.parse_recipient(text.replace("{}", "CERTIFICATE"))
        with pytest.raises(KeyMaterialError, match=r"damaged|0 private keys"):
            registry.parse_identity(text.replace("{}", "PRIVATE KEY"))

    @pytest.mark.peer
    def test_openssl_opens_it(self, certified, secret_file, peer, tmp_path):
        """In an emergency, CMS needs no iomt-crypt: the epoch key is the first half of the content."""
        stanza = registry.parse_recipient(certified.certificate()).wrap(KEY, EPOCH_ID)
        body, key = secret_file("stanza.der", stanza.body), secret_file("key.pem", certified.private())
        command = [peer("openssl"), "cms", "-decrypt", "-inform", "DER", "-in", body, "-inkey", key]
        content = subprocess.run(command, capture_output=True, check=True).stdout
        assert content[:32] == KEY
        assert len(content) == 64

    def test_cbc_cannot_be_bent(self, certified):
        """Bits of the first block are the attacker's to flip through the IV; the check value tells."""
        identity = registry.parse_identity(certified.private())
        stanza = registry.parse_recipient(certified.certificate()).wrap(KEY, EPOCH_ID)
        nonce = envelope.read_envelope(stanza.body).nonce
        at = stanza.body.index(nonce)
        for position in range(at, at + 16):
            for bit in range(8):
                changed = bytearray(stanza.body)
                changed[position] ^= 1 << bit
                assert identity.unwrap(dataclasses.replace(stanza, body=bytes(changed)), EPOCH_ID) is None

    def test_only_the_very_bytes_we_write(self, certified):
        """Two recipients, another content type, lengths in another form: all sound CMS, none of it ours."""
        body = registry.parse_recipient(certified.certificate()).wrap(KEY, EPOCH_ID).body
        assert envelope.read_envelope(body) is not None
        data, signed = bytes.fromhex("06092a864886f70d010701"), bytes.fromhex("06092a864886f70d010702")
        assert envelope.read_envelope(body.replace(data, signed)) is None
        assert body[:2] == b"\x30\x82"
        assert envelope.read_envelope(b"\x30\x83\0" + body[2:]) is None


class TestPassphrase:
    def test_a_wrong_passphrase_is_not_mine(self, cheap):
        stanza = PassphraseRecipient(PASSPHRASE).wrap(KEY, EPOCH_ID)
        assert PassphraseIdentity(PASSPHRASE).unwrap(stanza, EPOCH_ID) == KEY
        assert PassphraseIdentity(PASSPHRASE + b" ").unwrap(stanza, EPOCH_ID) is None

    def test_real_cost(self):
        stanza = PassphraseRecipient(PASSPHRASE).wrap(KEY, EPOCH_ID)
        assert stanza.body[:3] == bytes((17, 8, 1))
        assert PassphraseIdentity(PASSPHRASE).unwrap(stanza, EPOCH_ID) == KEY

    def test_stretched_once(self, cheap, monkeypatch):
        """A node and a reader of many epochs pay scrypt once for each salt."""
        calls = []
        real = locked.stretch
        monkeypatch.setattr("iomt_crypt.seal.kind.passphrase.stretch", lambda *a: calls.append(a) or real(*a))
        recipient, identity = PassphraseRecipient(PASSPHRASE), PassphraseIdentity(PASSPHRASE)
        ids = [bytes([n]) * 16 for n in range(5)]
        stanzas = [recipient.wrap(KEY, epoch_id) for epoch_id in ids]
        assert len({stanza.body[19:] for stanza in stanzas}) == 5
        assert [identity.unwrap(*pair) for pair in zip(stanzas, ids, strict=True)] == [KEY] * 5
        assert len(calls) == 2

    def test_a_fresh_salt_for_each(self, cheap):
        one, two = (PassphraseRecipient(PASSPHRASE) for _ in range(2))
        assert one.fingerprint != two.fingerprint
        assert one.wrap(KEY, EPOCH_ID).recipient == two.wrap(KEY, EPOCH_ID).recipient, "it would help to guess"
        assert one.wrap(KEY, EPOCH_ID).body[:19] != two.wrap(KEY, EPOCH_ID).body[:19]

    @pytest.mark.parametrize(
        "head", [(21, 8, 1), (17, 9, 1), (17, 8, 5), (0, 8, 1), (10, 0, 1), (10, 8, 0), (16, 1, 1), (20, 8, 2)]
    )
    def test_parameters_over_the_limit_cost_nothing(self, head, monkeypatch):
        monkeypatch.setattr("iomt_crypt.seal.kind.passphrase.stretch", pytest.fail)
        stanza = Stanza("scrypt", bytes(8), bytes(head) + bytes(64))
        assert PassphraseIdentity(PASSPHRASE).unwrap(stanza, EPOCH_ID) is None

    @pytest.mark.parametrize("passphrase", [b"", b"short", b"x" * 11])
    def test_too_short_to_encrypt_to(self, passphrase):
        with pytest.raises(KeyMaterialError, match="at least 12"):
            PassphraseRecipient(passphrase)

    def test_from_a_file(self, cheap, secret_file):
        path = secret_file("words", PASSPHRASE + b"\r\nanother line\n")
        stanza = registry.parse_recipient(f"passphrase:{path}").wrap(KEY, EPOCH_ID)
        assert registry.parse_identity(f"passphrase:{path}").unwrap(stanza, EPOCH_ID) == KEY
        assert registry.parse_identity("passphrase:", lambda what: PASSPHRASE).unwrap(stanza, EPOCH_ID) == KEY
        path.chmod(0o640)
        with pytest.raises(KeyMaterialError, match="others may read"):
            registry.parse_identity(f"passphrase:{path}")

    @pytest.mark.parametrize("content", [b"", b"\nsecond line", b"\r\n"])
    def test_an_empty_line(self, content, secret_file):
        with pytest.raises(KeyMaterialError, match="empty"):
            registry.parse_identity(f"passphrase:{secret_file('words', content)}")

    @pytest.mark.parametrize("text", ["correct horse battery", "~/correct horse", "a\0b", "x" * 300])
    def test_the_passphrase_in_place_of_a_file(self, text):
        for parse in (registry.parse_recipient, registry.parse_identity):
            with pytest.raises(KeyMaterialError, match=r"^passphrase:\.\.\. names no file") as caught:
                parse(f"passphrase:{text}")
            assert text not in str(caught.value) + caught.value.hint

    def test_nobody_to_ask(self):
        for parse in (registry.parse_recipient, registry.parse_identity):
            with pytest.raises(KeyMaterialError, match="nobody can be asked") as caught:
                parse("passphrase:")
            assert "passphrase:FILE" in caught.value.hint


class TestRegistry:
    @pytest.mark.parametrize(
        "text", ["", "hello", "vault:secret/key", "iomtpk2aaaa", "-----BEGIN EC PRIVATE KEY-----", "/a"]
    )
    def test_unknown(self, text):
        assert registry.find_kind(text) is None
        for parse in (registry.parse_recipient, registry.parse_identity):
            with pytest.raises(KeyMaterialError, match="known kind") as caught:
                parse(text)
            assert "iomt" in caught.value.hint
            assert text == "" or text not in str(caught.value)

    def test_the_wrong_half(self, certified):
        x25519 = X25519Identity.generate()
        for secret in (x25519.secret_text(), certified.private()):
            with pytest.raises(KeyMaterialError, match="this is an identity") as caught:
                registry.parse_recipient(secret)
            assert "export-recipient" in caught.value.hint
        for public in (str(x25519.recipient), certified.certificate()):
            with pytest.raises(KeyMaterialError, match="this is a recipient"):
                registry.parse_identity(public)

    def test_no_prefix_begins_another(self):
        prefixes = [prefix for kind in registry.KINDS for prefix in dict.fromkeys(kind.prefixes)]
        assert len(prefixes) > 8
        assert not [(a, b) for a in prefixes for b in prefixes if a != b and a.startswith(b)]
        assert all(prefix == prefix.lower() for prefix in prefixes)

    def test_modules_come_when_they_are_needed(self):
        code = (
            "import sys, iomt_crypt.seal\n"
            "kinds = ('certificate', 'passphrase', 'token', 'kms', 'plugin')\n"
            "print(*(k for k in kinds if 'iomt_crypt.seal.kind.' + k in sys.modules))\n"
            "print(*(m for m in ('pkcs11', 'boto3', 'shamir_mnemonic', 'asn1crypto') if m in sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == []

    def test_every_kind_has_its_module(self):
        for kind in registry.KINDS:
            module = __import__(kind.module, fromlist=["*"])
            assert callable(module.parse_recipient)
            assert not kind.identity or callable(module.parse_identity)
