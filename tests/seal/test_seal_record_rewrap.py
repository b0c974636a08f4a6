"""A record for other recipients: the same in all else, in the same room where it fits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import record_fuzz
from iomt_crypt.errors import AuthenticationError, NoMatchingIdentityError
from iomt_crypt.seal import (
    Epoch,
    HpkeIdentity,
    Keyring,
    Layout,
    ObjectKey,
    Record,
    encode_map,
    open_header,
    seal_header,
)
from iomt_crypt.seal.container import contain, contained_bytes, content
from iomt_crypt.seal.record import ParsedRecord


@pytest.fixture
def packed(epoch: Epoch) -> bytes:
    key = ObjectKey.generate()
    record = Record(
        suite="hybrid-1",
        form="native",
        object_id=key.object_id,
        sop_instance_uid="2.25.1",
        pixel_tag=0x7FE00010,
        layout=Layout(3, 256, 16, 16),
        tags=bytes(range(48)),
        epoch_id=epoch.id,
        wrapped_key=epoch.wrap(key.data_key),
        stanzas=epoch.stanzas,
        sealed=seal_header(key, b"header " * 50),
        software="0.1.0",
    )
    return record.authenticated(key).pack()


def others(count: int) -> tuple[list[HpkeIdentity], Epoch]:
    identities = [HpkeIdentity.generate() for _ in range(count)]
    return identities, Epoch.create([identity.recipient for identity in identities])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_in_the_same_room(count, packed, keyring):
    identities, new = others(count)
    opened = ParsedRecord.of(packed).open(keyring)
    rewrapped = opened.rewrapped(new, size=len(packed))
    assert len(rewrapped) == len(packed)
    with pytest.raises(NoMatchingIdentityError):
        ParsedRecord.of(rewrapped).open(keyring)
    for identity in identities:
        again = ParsedRecord.of(rewrapped).open(Keyring([identity]))
        assert again.key == opened.key
        assert open_header(again.key, again.record.sealed) == b"header " * 50
        back = replace(
            again.record,
            epoch_id=opened.record.epoch_id,
            wrapped_key=opened.record.wrapped_key,
            stanzas=opened.record.stanzas,
            mac=opened.record.mac,
        )
        assert back == opened.record


def test_more_than_fit(packed, keyring):
    _, new = others(4)
    opened = ParsedRecord.of(packed).open(keyring)
    rewrapped = opened.rewrapped(new, size=len(packed))
    assert len(rewrapped) > len(packed)
    assert len(rewrapped) == len(opened.rewrapped(new))
    assert len(rewrapped) - contained_bytes(content(rewrapped)) >= 2560


def test_there_and_back_gives_the_same_bytes(packed, keyring, epoch):
    (identity,), new = others(1)
    away = ParsedRecord.of(packed).open(keyring).rewrapped(new, size=len(packed))
    assert ParsedRecord.of(away).open(Keyring([identity])).rewrapped(epoch, size=len(packed)) == packed


def test_of_a_size(packed):
    record = Record.unpack(packed)
    least = contained_bytes(content(packed))
    for size in (least, least + 1, len(packed) + 999):
        assert len(record.pack(size=size)) == size
        assert Record.unpack(record.pack(size=size)) == record
    with pytest.raises(ValueError, match=f"needs {least} bytes"):
        record.pack(size=least - 1)


def test_the_body_is_deterministic_cbor(packed):
    """What is spliced together is what the encoder of RFC 8949, 4.2.1 makes."""
    record = Record.unpack(packed)
    fields = vars(record) | {"layout": vars(record.layout)}
    fields["stanzas"] = [[s.kind, s.recipient, s.body] for s in record.stanzas]
    assert content(packed) == encode_map(fields)


def test_a_container_of_another_size_is_refused(packed):
    for wrong in (packed[:-2] + b"\1\0", packed[:40], b"", contain(b"")):
        with pytest.raises(AuthenticationError):
            Record.unpack(wrong)


def test_a_key_that_does_not_come_back_is_noticed(packed, keyring, monkeypatch):
    _, new = others(1)
    opened = ParsedRecord.of(packed).open(keyring)
    monkeypatch.setattr(Epoch, "wrap", lambda self, key: bytes(40))
    with pytest.raises(AuthenticationError):
        opened.rewrapped(new, size=len(packed))


def test_nothing_secret_is_shown(packed, keyring):
    opened = ParsedRecord.of(packed).open(keyring)
    shown = repr(opened)
    for secret in (opened.key.data_key, opened.mac_key):
        assert repr(secret) not in shown
        assert secret.hex() not in shown


def test_the_keyring_forgets_the_epoch_that_was_used_longest_ago(identity, monkeypatch):
    monkeypatch.setattr(Keyring, "_CACHED_EPOCHS", 2)
    keyring, opened = Keyring([identity]), []
    unwrap = HpkeIdentity.unwrap

    def counted(self, stanza, epoch_id):
        opened.append(epoch_id)
        return unwrap(self, stanza, epoch_id)

    monkeypatch.setattr(HpkeIdentity, "unwrap", counted)
    first, second, third = (Epoch.create([identity.recipient]) for _ in range(3))
    for epoch in (first, second, first, third, first, second):
        assert keyring.unwrap(epoch.wrap(bytes(32)), epoch.id, epoch.stanzas) == bytes(32)
    assert opened == [first.id, second.id, third.id, second.id]
    assert keyring.fingerprints == {identity.fingerprint}


def test_a_keyring_of_an_epoch(epoch):
    keyring = Keyring.of_epoch(epoch)
    assert keyring.unwrap(epoch.wrap(bytes(32)), epoch.id, epoch.stanzas) == bytes(32)
    _, other = others(1)
    with pytest.raises(NoMatchingIdentityError):
        keyring.unwrap(other.wrap(bytes(32)), other.id, other.stanzas)


def test_mutated_records_give_the_documented_errors_only():
    found = record_fuzz.run(2000)
    assert found["AuthenticationError"] > 1000
    assert found["NoMatchingIdentityError"] > 20
    assert found["opened, by a recipient"] > 20
    assert found["opened"] < 100  # in the slack alone
