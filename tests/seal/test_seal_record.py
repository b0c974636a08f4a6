"""The record: strict to parse, one error for whatever is wrong, also when an adversary fixes the digest."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import replace

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iomt_crypt.errors import AuthenticationError, NoMatchingIdentityError
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring, Layout, ObjectKey, Record, Stanza, open_header, seal_header
from iomt_crypt.seal.container import contain
from iomt_crypt.seal.encoding import require_few
from tests.mutation import body_of, changed, contained


def make(epoch: Epoch, **changes) -> tuple[Record, ObjectKey]:
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
    return replace(record, **changes).authenticated(key), key


def open_all(packed: bytes, keyring: Keyring) -> bytes:
    """The whole way to the header."""
    record = Record.unpack(packed)
    key = ObjectKey(keyring.unwrap(record.wrapped_key, record.epoch_id, record.stanzas), record.object_id)
    record.check(key)
    return open_header(key, record.sealed)


def refused(packed: bytes, keyring: Keyring) -> None:
    with pytest.raises((AuthenticationError, NoMatchingIdentityError)) as caught:
        open_all(packed, keyring)
    assert str(caught.value) in ("authentication failed", "no matching identity")
    assert caught.value.__cause__ is None


def test_there_and_back(epoch, keyring):
    record, _ = make(epoch)
    for slack in (True, False):
        packed = record.pack(slack=slack)
        assert len(packed) % 2 == 0
        assert Record.unpack(packed) == record
        assert Record.unpack(packed).pack(slack=slack) == packed
        assert open_all(packed, keyring) == b"header " * 50
    assert record.pack() == record.pack(slack=False) + bytes(len(record.pack()) - len(record.pack(slack=False)))
    assert record.tag(2) == bytes(range(32, 48))


def test_the_size_is_known_before_the_tags_are(epoch):
    record, key = make(epoch)
    assert len(replace(record, tags=bytes(48), mac=bytes(32)).pack()) == len(record.authenticated(key).pack())


def test_two_more_recipients_fit_into_the_slack(epoch):
    record, key = make(epoch)
    more = Epoch.create([HpkeIdentity.generate().recipient for _ in range(2)]).stanzas
    longer = replace(record, stanzas=record.stanzas + more).authenticated(key)
    assert len(longer.pack(slack=False)) <= len(record.pack())


@pytest.mark.parametrize("size", [0, 1, 7, 8, 13, 14, 20, 46, 100])
def test_short_containers(size, epoch, keyring):
    refused(make(epoch)[0].pack()[:size], keyring)


def test_slack_is_zero(epoch, keyring):
    packed = make(epoch)[0].pack()
    refused(packed[:-1] + b"\1", keyring)
    assert open_all(packed + bytes(3), keyring)


@pytest.mark.parametrize("version", [0, 2, 0x0100, 0xFFFF])
def test_other_versions(version, epoch, keyring):
    refused(contained(body_of(make(epoch)[0].pack()), version), keyring)


def test_every_byte_of_the_body_with_a_digest_that_fits(epoch, keyring):
    """The keyed MAC decides, not the digest."""
    body = body_of(make(epoch)[0].pack())
    chance = random.Random(3)
    for position in range(len(body)):
        changed = bytearray(body)
        changed[position] ^= 1 << chance.randrange(8)
        refused(contained(bytes(changed)), keyring)


def test_mutations_with_a_digest_that_fits(epoch, keyring):
    body = body_of(make(epoch)[0].pack())
    chance = random.Random(4)
    for _ in range(3000):
        found = changed(body, chance)
        if found != body:
            refused(contained(found, slack=64), keyring)


@given(junk=st.binary(max_size=300), framed=st.booleans())
def test_junk(junk, framed, keyring):
    refused(contained(junk) if framed else junk, keyring)


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.binary(max_size=40) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
        max_leaves=12,
    ),
    field=st.sampled_from(sorted(Record.__dataclass_fields__)),
)
def test_fields_of_other_types(value, field, epoch, keyring):
    fields = cbor2.loads(body_of(make(epoch)[0].pack()))
    if fields[field] != value or type(fields[field]) is not type(value):
        refused(contained(cbor2.dumps(fields | {field: value}, canonical=True)), keyring)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\xbf\xff", id="indefinite map"),
        pytest.param(b"\x9f\xff", id="indefinite array"),
        pytest.param(b"\x5f\x41a\xff", id="indefinite bytes"),
        pytest.param(b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff", id="bytes of 2^64 - 1"),
        pytest.param(b"\x5a\xff\xff\xff\xff" + bytes(10), id="bytes of 4 GiB"),
        pytest.param(b"\x7b\x7f\xff\xff\xff\xff\xff\xff\xff", id="text of 2^63"),
        pytest.param(b"\x9b\x00\x00\x00\xff\xff\xff\xff\xff", id="array of 2^40"),
        pytest.param(b"\xbb\x00\x00\x00\xff\xff\xff\xff\xff", id="map of 2^40"),
        pytest.param(b"\x81" * 100_000 + b"\x00", id="nested arrays"),
        pytest.param(b"\xa1\x00" * 100_000 + b"\x00", id="nested maps"),
        pytest.param(b"\xc1" * 100_000 + b"\x00", id="nested tags"),
        pytest.param(b"\xd8\x1c\x80\xd8\x1d\x00", id="shared references"),
        pytest.param(b"\xd8\x1d\x1a\xff\xff\xff\xff", id="reference to nothing"),
        pytest.param(b"\xc2\x5a\x00\x00\xff\xff" + b"\xff" * 65535, id="large bignum"),
        pytest.param(b"\xc4\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01", id="decimal of exponent 2^63"),
        pytest.param(b"\xd8\x23\x78\x20(" + b"a+" * 14 + b")+$", id="regular expression"),
        pytest.param(b"\xf9\x7e\x00", id="NaN"),
        pytest.param(b"\xa2\x61a\x00\x61a\x01", id="duplicate keys"),
        pytest.param(b"\xa0", id="empty map"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x1c", id="reserved"),
        pytest.param(b"\x62\xff\xff", id="text that is not UTF-8"),
    ],
)
def test_cbor_oddities(body, keyring):
    refused(contained(body), keyring)


def rewritten(epoch: Epoch, change) -> bytes:
    fields = cbor2.loads(body_of(make(epoch)[0].pack()))
    change(fields)
    return contained(cbor2.dumps(fields, canonical=True))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda f: f.update(extra=1), id="another field"),
        pytest.param(lambda f: f.pop("software"), id="a field less"),
        pytest.param(lambda f: f["layout"].update(extra=1), id="another field in layout"),
        pytest.param(lambda f: f["layout"].update(n_frames=True), id="a boolean for a number"),
        pytest.param(lambda f: f["layout"].update(n_frames=2), id="a frame less"),
        pytest.param(lambda f: f["layout"].update(n_frames=1 << 40), id="many frames"),
        pytest.param(lambda f: f["layout"].update(frame_bytes=255), id="half a word"),
        pytest.param(lambda f: f["layout"].update(frame_bytes=-2), id="negative"),
        pytest.param(lambda f: f["layout"].update(row_length=0), id="row length 0"),
        pytest.param(lambda f: f["layout"].update(word_bits=32), id="word bits"),
        pytest.param(lambda f: f.update(suite="aes"), id="unknown suite"),
        pytest.param(lambda f: f.update(suite="chaos-cnn-1", tags=bytes(96)), id="the other suite"),
        pytest.param(lambda f: f.update(form="raw"), id="unknown form"),
        pytest.param(lambda f: f.update(form="header"), id="form that does not fit"),
        pytest.param(lambda f: f.update(form="carrier"), id="the other form"),
        pytest.param(lambda f: f.update(stanzas=[]), id="no stanza"),
        pytest.param(lambda f: f.update(stanzas=f["stanzas"] * 65), id="too many stanzas"),
        pytest.param(lambda f: f.update(stanzas=f["stanzas"] * 2), id="a stanza twice"),
        pytest.param(lambda f: f["stanzas"][0].append(b""), id="a stanza of four"),
        pytest.param(lambda f: f["stanzas"][0].__setitem__(0, "x" * 65), id="long kind"),
        pytest.param(lambda f: f["stanzas"][0].__setitem__(0, "rsa"), id="unknown kind"),
        pytest.param(lambda f: f["stanzas"][0].__setitem__(2, bytes(1 << 17)), id="long stanza"),
        pytest.param(lambda f: f["stanzas"][0].__setitem__(2, b""), id="empty stanza"),
        pytest.param(lambda f: f.update(epoch_id=bytes(16)), id="another epoch"),
        pytest.param(lambda f: f.update(wrapped_key=bytes(40)), id="another key"),
        pytest.param(lambda f: f.update(object_id=bytes(16)), id="another object"),
        pytest.param(lambda f: f.update(sop_instance_uid="2.25.2"), id="another instance"),
        pytest.param(lambda f: f.update(pixel_tag=0x7FE00008), id="another element"),
        pytest.param(lambda f: f.update(sealed=b""), id="no header"),
        pytest.param(lambda f: f.update(mac=bytes(32)), id="no MAC"),
    ],
)
def test_forged_fields(change, epoch, keyring):
    refused(rewritten(epoch, change), keyring)


def test_not_the_shortest_encoding(epoch, keyring):
    """The same content, encoded in another way, is not the same record."""
    body = body_of(make(epoch)[0].pack())
    assert open_all(contained(body), keyring)
    fields = cbor2.loads(body)
    backwards = dict(reversed(fields.items()))
    refused(contained(cbor2.dumps(backwards)), keyring)
    refused(contained(body + b"\0"), keyring)
    refused(contained(body.replace(b"\x18\x10", b"\x19\x00\x10", 1)) if b"\x18\x10" in body else b"", keyring)


def test_somebody_else_cannot_open(epoch):
    with pytest.raises(NoMatchingIdentityError):
        open_all(make(epoch)[0].pack(), Keyring([HpkeIdentity.generate()]))


def test_header_of_another_object(epoch):
    one, other = ObjectKey.generate(), ObjectKey.generate()
    sealed = seal_header(one, b"x" * 1000)
    assert open_header(one, sealed) == b"x" * 1000
    assert len(sealed) < 100
    for key in (other, ObjectKey(one.data_key, other.object_id), ObjectKey(other.data_key, one.object_id)):
        with pytest.raises(AuthenticationError):
            open_header(key, sealed)


def test_a_stanza_is_bound_to_its_epoch(identity):
    stanza = identity.recipient.wrap(bytes(32), b"1" * 16)
    assert identity.unwrap(stanza, b"1" * 16) == bytes(32)
    assert identity.unwrap(stanza, b"2" * 16) is None
    assert identity.unwrap(Stanza("rsa", stanza.recipient, stanza.body), b"1" * 16) is None
    assert identity.unwrap(replace(stanza, recipient=bytes(8)), b"1" * 16) == bytes(32)


def test_few_bytes_make_few_values():
    """A megabyte of empty maps would be 64 MB of them: refused before they are made."""
    body = b"\xad\x63mac\x9a" + (1 << 20).to_bytes(4, "big") + b"\xa0" * (1 << 20)
    container = contain(body)
    tracemalloc.start()
    try:
        with pytest.raises(AuthenticationError):
            Record.unpack(container)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(container)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("value", "n_values"),
    [
        ({"a": [1, -1, 1.5, None, True], "b": {"c": b"x" * 70_000}}, 12),
        ([b"x" * 300] * 300, 301),
        (["y" * 70_000, 1 << 40, 70_000, 300, 24], 6),
    ],
)
def test_values_are_counted_as_the_decoder_makes_them(value, n_values):
    encoded = cbor2.dumps(value)
    assert len(encoded) > 1 << 16
    require_few(encoded, n_values)
    with pytest.raises(ValueError, match=f"more than {n_values - 1} values"):
        require_few(encoded, n_values - 1)
