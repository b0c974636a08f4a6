"""The quick rewrap gives the very bytes of the long one, and opens nothing that the long one does not."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from iomt_crypt.errors import AuthenticationError
from iomt_crypt.seal import SUITES, Epoch, HpkeIdentity, Keyring, Layout, ObjectKey, Record, seal_header
from iomt_crypt.seal import rewrap as rewrap_module
from iomt_crypt.seal.compilation import prepare, walk
from iomt_crypt.seal.record import ParsedRecord, body_of, mac_of
from iomt_crypt.seal.rewrap import OpenSpans, Rewrapper
from iomt_crypt.seal.span import Spans, spans_finder
from tests.mutation import changed, contained

LAYOUTS = {
    "small": (Layout(3, 256, 16, 16), "native"),
    "one frame": (Layout(1, 1 << 19, 16, 512), "native"),
    "bytes": (Layout(2, 333, 8, 333), "carrier"),
    "no row": (Layout(1, 24, 8, 0), "native"),
    "many frames": (Layout(70_000, 2, 16, 1), "native"),
    "23 and 24": (Layout(23, 24, 8, 255), "native"),
    "256 and 65536": (Layout(256, 65536, 16, 65535), "native"),
    "no pixels": (Layout(0, 0, 8, 0), "header"),
}


def make(epoch: Epoch, name: str = "small", suite: str = "hybrid-1", **changes) -> tuple[Record, ObjectKey]:
    key, (layout, form) = ObjectKey.generate(), LAYOUTS[name]
    record = Record(
        suite=suite,
        form=form,
        object_id=key.object_id,
        sop_instance_uid="2.25.1",
        pixel_tag=0x7FE00010 if layout.n_frames else 0,
        layout=layout,
        tags=bytes(layout.n_frames * SUITES[suite].tag_bytes),
        epoch_id=epoch.id,
        wrapped_key=epoch.wrap(key.data_key),
        stanzas=epoch.stanzas,
        sealed=seal_header(key, b"header " * 50),
        software="0.1.0",
    )
    return replace(record, **changes).authenticated(key), key


class One:
    """A `Rewrapper` that is given one container at a time."""

    def __init__(self) -> None:
        self.all = Rewrapper()
        self.learn = self.all.learn

    def open(self, container: bytes) -> OpenSpans | None:
        return self.all.open([container])[0]

    def rewrapped(self, old: OpenSpans, epoch: Epoch) -> bytes | None:
        return self.all.rewrapped([old], [epoch])[0]


def spans_of(container: bytes) -> Spans:
    return spans_finder()([container])[0]


@pytest.fixture
def rewrapper(epoch, keyring) -> One:
    """One that was told ``epoch``."""
    made = One()
    made.learn(make(epoch)[0], keyring)
    return made


@pytest.fixture(scope="module")
def new() -> Epoch:
    return Epoch.create([HpkeIdentity.generate().recipient for _ in range(2)])


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_same_bytes_as_the_long_way(name, suite, epoch, keyring, new, rewrapper):
    packed = make(epoch, name, suite)[0].pack()
    expected = ParsedRecord.of(packed).open(keyring).rewrapped(new, size=len(packed))
    opened = rewrapper.open(packed)
    assert opened is not None
    assert rewrapper.rewrapped(opened, new) == expected
    assert rewrapper.rewrapped(opened, new) == expected  # and when the epoch is not the first time there


def test_of_several_epochs_in_turn(identity, keyring, new):
    epochs = [Epoch.create([identity.recipient]) for _ in range(3)]
    rewrapper = One()
    for epoch in epochs:
        rewrapper.learn(make(epoch)[0], keyring)
    for epoch in [*epochs, *reversed(epochs), epochs[0]]:
        packed = make(epoch)[0].pack()
        opened = rewrapper.open(packed)
        assert opened is not None
        assert (opened.epoch.id, opened.epoch.recipients) == (epoch.id, [identity.fingerprint])
        for target in (new, epochs[1]):
            expected = ParsedRecord.of(packed).open(keyring).rewrapped(target, size=len(packed))
            assert rewrapper.rewrapped(opened, target) == expected


def test_an_epoch_that_nobody_told(epoch, keyring):
    rewrapper, (record, _) = One(), make(epoch)
    assert rewrapper.open(record.pack()) is None
    rewrapper.learn(record, keyring)
    assert rewrapper.open(record.pack()) is not None
    other = Epoch.create([HpkeIdentity.generate().recipient])
    assert rewrapper.open(make(other)[0].pack()) is None
    # its number with other stanzas, and its stanzas with another number
    assert rewrapper.open(make(replace(epoch, stanzas=other.stanzas))[0].pack()) is None
    assert rewrapper.open(make(replace(epoch, id=other.id))[0].pack()) is None


def test_epochs_are_forgotten_when_they_are_many(identity, keyring, monkeypatch):
    monkeypatch.setattr(rewrap_module, "_MOST_EPOCHS", 2)
    rewrapper = One()
    epochs = [Epoch.create([identity.recipient]) for _ in range(3)]
    for epoch in epochs:
        rewrapper.learn(make(epoch)[0], keyring)
    assert [rewrapper.open(make(epoch)[0].pack()) is None for epoch in epochs] == [True, True, False]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda packed, end: packed[:-1] + b"\1", id="slack"),
        pytest.param(lambda packed, end: packed[:end] + bytes(32) + packed[end + 32 :], id="digest"),
        pytest.param(lambda packed, end: contained(packed[14:21] + bytes(32) + packed[53:end]), id="MAC"),
        pytest.param(lambda packed, end: packed[: end + 31], id="cut in the digest"),
        pytest.param(lambda packed, end: packed[:9], id="cut in the head"),
        pytest.param(lambda packed, end: b"", id="nothing"),
        pytest.param(lambda packed, end: packed[:8] + b"\0\2" + packed[10:], id="version"),
        pytest.param(lambda packed, end: packed[:10] + b"\xff\xff\xff\xff" + packed[14:], id="size"),
    ],
)
def test_what_is_damaged(spoil, epoch, keyring, rewrapper):
    packed = make(epoch)[0].pack()
    spoilt = spoil(packed, spans_of(packed).end)
    assert rewrapper.open(packed) is not None
    assert rewrapper.open(spoilt) is None
    with pytest.raises(AuthenticationError):
        ParsedRecord.of(spoilt).open(keyring)


def test_a_wrapped_key_of_another_object(epoch, rewrapper):
    assert rewrapper.open(make(epoch, wrapped_key=bytes(40))[0].pack()) is None
    assert rewrapper.open(make(epoch, wrapped_key=epoch.wrap(bytes(32)))[0].pack()) is None


def test_every_byte_with_a_digest_that_fits(epoch, rewrapper):
    packed = make(epoch)[0].pack()
    body = packed[14 : spans_of(packed).end]
    chance = random.Random(3)
    for position in range(len(body)):
        spoilt = bytearray(body)
        spoilt[position] ^= 1 << chance.randrange(8)
        assert rewrapper.open(contained(bytes(spoilt))) is None


def test_what_a_recipient_could_make(epoch, keyring):
    """Who has the data key makes MACs that fit, of whatever: what the walk answers for, the parser accepts."""
    chance, find, n_both, n_parsed = random.Random(4), spans_finder(), 0, 0
    packed = make(epoch)[0].pack()
    mac_key = ParsedRecord.of(packed).open(keyring).mac_key
    rest = packed[53 : spans_of(packed).end]
    for _ in range(6000):
        found = rest[:-60] + changed(rest[-60:], chance) if chance.random() < 0.3 else changed(rest, chance)
        container = contained(body_of(mac_of(mac_key, found), found))
        try:
            record = Record.unpack(container)
        except AuthenticationError:
            assert find([container]) == [(0, 0, 0, 0, 0)]
            continue
        n_parsed += 1
        stanzas, epoch_id, object_id, wrapped_key, end = find([container])[0]
        if end:
            n_both += 1
            assert container[epoch_id - 16 : epoch_id] == record.epoch_id
            assert container[stanzas] == 0x80 + len(record.stanzas)
            assert container[object_id : object_id + 16] == record.object_id
            assert container[wrapped_key : wrapped_key + 40] == record.wrapped_key
    assert n_both > 500
    assert n_both > 0.98 * n_parsed  # the rest: text that is not ASCII


@pytest.mark.parametrize("text", ["", "x" * 64, "1.2.840." * 8])
def test_texts(text, epoch, rewrapper):
    assert rewrapper.open(make(epoch, sop_instance_uid=text, software=text)[0].pack()) is not None


def test_text_that_is_not_ascii_is_for_the_parser(epoch, rewrapper):
    packed = make(epoch, software="é")[0].pack()
    assert Record.unpack(packed).software == "é"
    assert rewrapper.open(packed) is None


def test_no_room(epoch, rewrapper):
    packed = make(epoch)[0].pack(slack=False)
    many = Epoch.create([HpkeIdentity.generate().recipient for _ in range(3)])
    opened = rewrapper.open(packed)
    assert opened is not None
    assert rewrapper.rewrapped(opened, many) is None


def test_some_at_a_time(epoch, new, rewrapper):
    """Each has its own answer, whatever stands beside it."""
    packed = {name: make(epoch, name)[0].pack() for name in LAYOUTS}
    alone = {name: rewrapper.open(container) for name, container in packed.items()}
    small = make(epoch)[0].pack(slack=False)
    together = rewrapper.all.open([b"", *packed.values(), packed["small"][:-1] + b"\1", small])
    assert together == [None, *alone.values(), None, rewrapper.open(small)]
    usual = [found for found in together if found is not None]
    many = Epoch.create([HpkeIdentity.generate().recipient for _ in range(4)])
    epochs = [new, epoch, *[new] * (len(usual) - 3), many]
    expected = [rewrapper.rewrapped(found, to) for found, to in zip(usual, epochs, strict=True)]
    assert rewrapper.all.rewrapped(usual, epochs) == expected
    assert [container is None for container in expected] == [False] * (len(usual) - 1) + [True]
    assert rewrapper.all.open([]) == rewrapper.all.rewrapped([], []) == []


def test_a_key_that_does_not_come_back_is_noticed(epoch, new, rewrapper, monkeypatch):
    opened = rewrapper.open(make(epoch)[0].pack())
    assert opened is not None
    monkeypatch.setattr(Epoch, "wrap", lambda self, key: bytes(40))
    with pytest.raises(AuthenticationError):
        rewrapper.rewrapped(opened, new)
    monkeypatch.undo()
    assert rewrapper.rewrapped(opened, new) is not None


def test_a_record_that_was_put_together_wrongly_is_noticed(epoch, new, rewrapper, monkeypatch):
    packed = make(epoch)[0].pack()
    opened = rewrapper.open(packed)
    assert opened is not None
    assert rewrapper.rewrapped(opened, new) is not None
    contain = rewrap_module.contain
    for place in (25, 60, opened.at.stanzas + 50, opened.at.epoch_id - 3, opened.at.epoch_id + 15, opened.at.end - 1):

        def spoilt(body, at=place - 14, **options):
            return contain(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :], **options)

        monkeypatch.setattr(rewrap_module, "contain", spoilt)
        with pytest.raises(AuthenticationError):
            rewrapper.rewrapped(opened, new)


def test_a_digest_that_does_not_fit_is_noticed(epoch, new, rewrapper, monkeypatch):
    """Also of a record that is not the first one of its epoch, and so not parsed."""
    opened = rewrapper.open(make(epoch)[0].pack())
    assert opened is not None
    made = rewrapper.rewrapped(opened, new)
    assert made is not None
    place, contain = spans_of(made).end + 7, rewrap_module.contain

    def spoilt(body, **options):
        container = contain(body, **options)
        return container[:place] + bytes([container[place] ^ 1]) + container[place + 1 :]

    monkeypatch.setattr(rewrap_module, "contain", spoilt)
    with pytest.raises(AuthenticationError):
        rewrapper.rewrapped(opened, new)


def test_nothing_secret_is_shown(epoch, rewrapper):
    opened = rewrapper.open(make(epoch)[0].pack())
    assert opened is not None
    for secret in (opened.data_key, opened.mac_key, opened.epoch.key):
        for shown in (repr(opened), repr(opened.epoch), repr(rewrapper.all)):
            assert repr(secret) not in shown
            assert secret.hex() not in shown


def test_a_full_disk_under_the_cache_of_compiled_walks_stops_nobody():
    calls = []

    def on_a_full_disk(number):
        calls.append(number)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")

    prepare(on_a_full_disk, 7)
    assert calls == [7, 7]


def test_a_walk_that_cannot_be_cached_is_compiled_all_the_same():
    namespace = {}
    exec("def last(x):\n    return x[len(x) - 1]", namespace)  # no file: numba finds no place for its cache
    last = walk(namespace["last"])
    assert last(np.arange(3)) == 2
    with pytest.raises(IndexError):  # indices are checked
        walk(namespace["last"])(np.arange(0)[:0])


def test_a_keyring_is_asked_for_the_epoch(epoch):
    from iomt_crypt.errors import NoMatchingIdentityError

    with pytest.raises(NoMatchingIdentityError):
        One().learn(make(epoch)[0], Keyring([]))
