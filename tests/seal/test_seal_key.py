"""Keys: files, texts, passphrases, epochs, identities."""

from __future__ import annotations

import base64
import stat

import pytest

from iomt_crypt.errors import AuthenticationError, KeyMaterialError, NoMatchingIdentityError
from iomt_crypt.seal import (
    Epoch,
    HpkeIdentity,
    HpkeRecipient,
    Keyring,
    ObjectKey,
    fingerprint_text,
    load_identities,
    load_or_create_site_key,
    load_recipients,
    write_identity,
)
from iomt_crypt.seal import passphrase as locked
from iomt_crypt.seal.recipient import encode_text


def test_an_identity_and_its_recipient_as_text(identity):
    assert HpkeIdentity.parse(identity.secret_text()).fingerprint == identity.fingerprint
    text = str(identity.recipient)
    assert text.startswith("iomtpk1")
    for spelling in (text, text.upper(), f"  {text}\n"):
        assert HpkeRecipient.parse(spelling).fingerprint == identity.fingerprint
    assert len(fingerprint_text(identity.fingerprint)) == 19


def test_no_secret_in_a_repr(identity, epoch, keyring, policy):
    key = ObjectKey.generate()
    shown = "".join(map(repr, (identity, identity.recipient, epoch, keyring, key, policy)))
    for secret in (identity.secret_text(), repr(epoch.key), epoch.key.hex(), repr(key.data_key), repr(policy.site_key)):
        assert secret not in shown


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + "a",
        lambda text: text[:-1] + "!",
        lambda text: "iomtpk1",
        lambda text: text[:40] + ("b" if text[40] == "a" else "a") + text[41:],
        lambda text: text[:30] + "\u017f" + text[31:],
    ],
)
def test_damaged_recipients(change, identity):
    with pytest.raises(KeyMaterialError) as caught:
        HpkeRecipient.parse(change(str(identity.recipient)))
    assert str(identity.recipient)[20:40] not in str(caught.value)


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31)])
def test_a_recipient_that_everybody_could_open(point, identity):
    """X25519 points of small order."""
    text = encode_text("iomtpk1", identity.recipient._public[:1184] + point)
    with pytest.raises(KeyMaterialError, match="not a usable public key"):
        Epoch.create([HpkeRecipient.parse(text)])


def test_a_public_key_that_is_none():
    with pytest.raises(KeyMaterialError, match="not a valid public key"):
        HpkeRecipient.parse(encode_text("iomtpk1", b"\xff" * 1216))


def test_identity_file(identity, tmp_path):
    path = tmp_path / "key"
    write_identity(path, identity)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [i.fingerprint for i in load_identities([path, path])] == [identity.fingerprint] * 2
    with pytest.raises(FileExistsError):
        write_identity(path, HpkeIdentity.generate())
    assert load_identities([path])[0].fingerprint == identity.fingerprint
    assert [p.name for p in tmp_path.iterdir()] == ["key"]
    recipient = next(line for line in path.read_text().splitlines() if "recipient:" in line).split()[-1]
    assert load_recipients([recipient])[0].fingerprint == identity.fingerprint


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_identity_that_others_may_read(mode, identity, tmp_path):
    write_identity(tmp_path / "key", identity)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(KeyMaterialError, match="others may read") as caught:
        load_identities([tmp_path / "key"])
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no identity"),
        (b"# only a comment\n", "no identity"),
        (b"hello\n", "not an identity"),
        (b"iomtsk1aaaa\n", "damaged"),
        (b"iomtlocked1:!!!\n", "not base64"),
        (b"iomtlocked1:\n", "damaged"),
        (b"\xff\xfe\n", "not a key file"),
        (b"x" * ((1 << 20) + 1), "larger than"),
    ],
)
def test_files_that_are_no_identities(content, message, tmp_path):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyMaterialError, match=message):
        load_identities([path], ask=lambda _: b"x")


def test_missing_files(tmp_path):
    for load in (load_identities, load_recipients):
        for path in (tmp_path / "nothing", tmp_path, "a" * 300, "a\0b"):
            with pytest.raises(KeyMaterialError, match="cannot be read"):
                load([path])


def test_recipient_instead_of_identity(identity, tmp_path):
    (tmp_path / "key").write_text(f"{identity.recipient}\n")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(KeyMaterialError, match="public"):
        load_identities([tmp_path / "key"])
    (tmp_path / "key").write_text(identity.secret_text())
    with pytest.raises(KeyMaterialError) as caught:
        load_recipients([tmp_path / "key"])
    assert identity.secret_text()[10:30] not in str(caught.value)


def test_lists_of_recipients(tmp_path):
    people = [HpkeIdentity.generate().recipient for _ in range(2)]
    (tmp_path / "team").write_text("# the team\n\n" + "".join(f"{p}\n" for p in people))
    assert [r.fingerprint for r in load_recipients([tmp_path / "team"])] == [p.fingerprint for p in people]


class TestPassphrase:
    def test_there_and_back(self, identity, tmp_path, monkeypatch):
        monkeypatch.setattr(locked, "_LOG2_N", 4)
        write_identity(tmp_path / "key", identity, passphrase=b"secret")
        assert identity.secret_text() not in (tmp_path / "key").read_text()
        asked = []
        found = load_identities([tmp_path / "key"], ask=lambda path: asked.append(path) or b"secret")
        assert found[0].fingerprint == identity.fingerprint
        assert asked == [str(tmp_path / "key")]
        with pytest.raises(KeyMaterialError, match=r"key, line 6: wrong passphrase$"):
            load_identities([tmp_path / "key"], ask=lambda _: b"Secret")
        with pytest.raises(KeyMaterialError, match="nobody can be asked"):
            load_identities([tmp_path / "key"])

    def test_real_cost(self):
        line = locked.lock(b"x", b"secret")
        assert locked.unlock(line, b"secret") == b"x"
        assert base64.b64decode(line.removeprefix(locked.PREFIX))[:3] == bytes((17, 8, 1))

    def test_empty(self):
        with pytest.raises(KeyMaterialError, match="empty"):
            locked.lock(b"x", b"")

    @pytest.mark.parametrize(
        "head", [(21, 8, 1), (17, 9, 1), (17, 8, 5), (0, 8, 1), (10, 0, 1), (10, 8, 0), (17, 1, 1), (16, 1, 1)]
    )
    def test_parameters_over_the_limit(self, head):
        line = locked.PREFIX + base64.b64encode(bytes(head) + bytes(60)).decode()
        with pytest.raises(KeyMaterialError, match="damaged"):
            locked.unlock(line, b"x")

    def test_every_byte(self, monkeypatch):
        monkeypatch.setattr(locked, "_LOG2_N", 4)
        raw = base64.b64decode(locked.lock(b"secret key", b"pass").removeprefix(locked.PREFIX))
        for position in range(3, len(raw)):
            changed = bytearray(raw)
            changed[position] ^= 0x10
            with pytest.raises(KeyMaterialError, match="wrong passphrase"):
                locked.unlock(locked.PREFIX + base64.b64encode(changed).decode(), b"pass")

    def test_something_else_was_locked(self, tmp_path, monkeypatch):
        monkeypatch.setattr(locked, "_LOG2_N", 4)
        (tmp_path / "key").write_text(locked.lock(b"\xff\xfe", b"p"))
        (tmp_path / "key").chmod(0o600)
        with pytest.raises(KeyMaterialError, match="not an identity"):
            load_identities([tmp_path / "key"], ask=lambda _: b"p")


class TestSiteKey:
    def test_made_once(self, tmp_path):
        path = tmp_path / "a" / "site.key"
        key = load_or_create_site_key(path)
        assert len(key) == 32
        assert load_or_create_site_key(path) == key
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert load_or_create_site_key(tmp_path / "other") != key

    @pytest.mark.parametrize("content", ["", "iomtsite1aaaa", "two\nlines"])
    def test_damaged(self, content, tmp_path):
        (tmp_path / "k").write_text(content)
        (tmp_path / "k").chmod(0o600)
        with pytest.raises(KeyMaterialError):
            load_or_create_site_key(tmp_path / "k")

    def test_no_place_for_it(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(KeyMaterialError):
            load_or_create_site_key(tmp_path / "file" / "site.key")


class TestEpoch:
    def test_recipients(self, identity):
        with pytest.raises(KeyMaterialError, match="0 recipients"):
            Epoch.create([])
        with pytest.raises(KeyMaterialError, match="twice"):
            Epoch.create([identity.recipient, HpkeRecipient.parse(str(identity.recipient))])
        with pytest.raises(KeyMaterialError, match="65 recipients"):
            Epoch.create([identity.recipient] * 65)

    def test_fresh_every_time(self, identity):
        one, two = (Epoch.create([identity.recipient]) for _ in range(2))
        assert one.id != two.id
        assert one.key != two.key
        assert one.stanzas != two.stanzas

    def test_wrap(self, epoch, keyring):
        wrapped = epoch.wrap(bytes(range(32)))
        assert len(wrapped) == 40
        assert keyring.unwrap(wrapped, epoch.id, epoch.stanzas) == bytes(range(32))
        with pytest.raises(AuthenticationError):
            keyring.unwrap(wrapped[:-1] + bytes([wrapped[-1] ^ 1]), epoch.id, epoch.stanzas)
        with pytest.raises(AuthenticationError):
            keyring.unwrap(b"", epoch.id, epoch.stanzas)

    def test_the_right_stanza_is_tried_first(self, identity):
        others = [HpkeIdentity.generate().recipient for _ in range(9)]
        epoch = Epoch.create([*others, identity.recipient])
        tried = []

        class Watch:
            fingerprint = identity.fingerprint

            def unwrap(self, stanza, epoch_id):
                tried.append(stanza.recipient)
                return identity.unwrap(stanza, epoch_id)

        Keyring([Watch()]).unwrap(epoch.wrap(bytes(32)), epoch.id, epoch.stanzas)
        assert tried == [identity.fingerprint]

    def test_an_epoch_is_opened_once(self, identity, epoch):
        opened = []

        class Watch:
            fingerprint = identity.fingerprint

            def unwrap(self, stanza, epoch_id):
                opened.append(epoch_id)
                return identity.unwrap(stanza, epoch_id)

        keyring = Keyring([Watch()])
        for _ in range(3):
            keyring.unwrap(epoch.wrap(bytes(32)), epoch.id, epoch.stanzas)
        assert opened == [epoch.id]

    def test_the_cache_does_not_open_what_the_identity_does_not(self, identity, epoch):
        """The same epoch id with a stranger's stanzas is not the cached epoch."""
        keyring = Keyring([identity])
        keyring.unwrap(epoch.wrap(bytes(32)), epoch.id, epoch.stanzas)
        stranger = HpkeIdentity.generate().recipient.wrap(epoch.key, epoch.id)
        with pytest.raises(NoMatchingIdentityError):
            keyring.unwrap(epoch.wrap(bytes(32)), epoch.id, (stranger,))

    def test_the_cache_is_bounded(self, identity, monkeypatch):
        monkeypatch.setattr(Keyring, "_CACHED_EPOCHS", 2)
        keyring = Keyring([identity])
        epochs = [Epoch.create([identity.recipient]) for _ in range(5)]
        for epoch in epochs * 2:
            assert keyring.unwrap(epoch.wrap(bytes(32)), epoch.id, epoch.stanzas) == bytes(32)
        assert len(keyring._epoch_keys) <= 2
