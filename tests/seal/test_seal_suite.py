"""Suites: what a tag covers, and that no key is used for two things."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iomt_crypt.errors import AuthenticationError
from iomt_crypt.seal import DEFAULT_SUITE, SUITES, Layout, ObjectKey
from iomt_crypt.seal.schedule import derived
from iomt_crypt.seal.suite import Suite

LAYOUT = Layout(4, 64, 16, 8)


@pytest.fixture(params=sorted(SUITES))
def suite(request) -> type[Suite]:
    return SUITES[request.param]


def sealed(suite: type[Suite], key: ObjectKey, plain: bytes, index: int = 0, binding: bytes = b"uid"):
    frame = bytearray(plain)
    tag = suite(key, LAYOUT, binding).seal(index, memoryview(frame))
    return frame, tag


def refused(made: Suite, index: int, frame: bytes, tag: bytes) -> None:
    """No plain byte stays in the buffer."""
    buffer = bytearray(frame)
    with pytest.raises(AuthenticationError):
        made.open(index, memoryview(buffer), tag)
    assert buffer == bytes(len(frame))


def test_the_default():
    assert DEFAULT_SUITE == "hybrid-1"
    assert set(SUITES) == {"hybrid-1", "chaos-cnn-1"}


@given(data=st.data())
def test_there_and_back(data):
    suite = SUITES[data.draw(st.sampled_from(sorted(SUITES)))]
    word_bits = data.draw(st.sampled_from([8, 16]))
    size = data.draw(st.integers(1, 70)) * word_bits // 8
    layout = Layout(data.draw(st.integers(1, 9)), size, word_bits, data.draw(st.integers(1, 80)))
    plain = data.draw(st.binary(min_size=size, max_size=size))
    index = data.draw(st.integers(0, layout.n_frames - 1))
    made = suite(ObjectKey.generate(), layout, b"uid")
    frame = bytearray(plain)
    tag = made.seal(index, memoryview(frame))
    assert len(tag) == suite.tag_bytes
    made.open(index, memoryview(frame), tag)
    assert frame == plain


def test_what_a_tag_covers(suite):
    """Frame number, layout, object id, binding, key, ciphertext, tag."""
    key = ObjectKey.generate()
    frame, tag = sealed(suite, key, bytes(64), 1)
    made = suite(key, LAYOUT, b"uid")
    refused(made, 0, frame, tag)
    refused(made, 2, frame, tag)
    refused(suite(key, replace(LAYOUT, n_frames=5), b"uid"), 1, frame, tag)
    refused(suite(key, replace(LAYOUT, frame_bytes=66), b"uid"), 1, frame, tag)
    refused(suite(key, replace(LAYOUT, word_bits=8), b"uid"), 1, frame, tag)
    refused(suite(key, replace(LAYOUT, row_length=9), b"uid"), 1, frame, tag)
    refused(suite(key, LAYOUT, b"uid2"), 1, frame, tag)
    refused(suite(ObjectKey(key.data_key, bytes(16)), LAYOUT, b"uid"), 1, frame, tag)
    refused(suite(ObjectKey(bytes(32), key.object_id), LAYOUT, b"uid"), 1, frame, tag)
    for position in range(len(tag)):
        refused(made, 1, frame, tag[:position] + bytes([tag[position] ^ 1]) + tag[position + 1 :])
    for position in range(64):
        refused(made, 1, frame[:position] + bytes([frame[position] ^ 128]) + frame[position + 1 :], tag)
    made.open(1, memoryview(frame), tag)
    assert frame == bytes(64)


def test_a_binding_cannot_lend_its_end_to_the_frame(suite):
    key = ObjectKey.generate()
    frame, tag = sealed(suite, key, bytes(64), binding=b"1.2.34")
    refused(suite(key, LAYOUT, b"1.2"), 0, b".34" + frame, tag)
    refused(suite(key, replace(LAYOUT, frame_bytes=67, word_bits=8), b"1.2"), 0, b".34" + frame, tag)


def test_frames_that_do_not_fit_the_layout(suite):
    made = suite(ObjectKey.generate(), LAYOUT, b"uid")
    for index, size in [(-1, 64), (4, 64), (0, 63), (0, 66), (0, 0)]:
        with pytest.raises(ValueError, match="4 frames of 64 bytes"):
            made.seal(index, memoryview(bytearray(size)))
        refused(made, index, bytes(range(size)), bytes(suite.tag_bytes))


@pytest.mark.parametrize("tag", [b"", bytes(1), bytes(12), bytes(15), bytes(17), bytes(64)])
def test_tags_of_other_sizes(suite, tag):
    key = ObjectKey.generate()
    frame, good = sealed(suite, key, bytes(64))
    for wrong in (tag, good[: len(tag)]):
        buffer = bytearray(frame)
        if len(wrong) != suite.tag_bytes:
            with pytest.raises((AuthenticationError, ValueError)):
                suite(key, LAYOUT, b"uid").open(0, memoryview(buffer), wrong)


def test_suites_do_not_open_each_other(suite):
    """Also with a tag of the right size."""
    key = ObjectKey.generate()
    frame, tag = sealed(suite, key, bytes(64))
    for other in SUITES.values():
        if other is not suite:
            refused(other(key, LAYOUT, b"uid"), 0, frame, tag.ljust(32, b"\0")[: other.tag_bytes])


def test_no_two_frames_alike(suite):
    key = ObjectKey.generate()
    frames = {bytes(sealed(suite, key, bytes(64), index)[0]) for index in range(4)}
    frames |= {bytes(sealed(suite, ObjectKey.generate(), bytes(64))[0]) for _ in range(4)}
    assert len(frames) == 8


def test_labels():
    """Every purpose has its own key, and every object its own keys."""
    key = ObjectKey.generate()
    purposes = [f"{name}/{use}" for name in SUITES for use in ("image", "tag")] + ["header", "record/mac"]
    keys = [key.derive(purpose) for purpose in purposes]
    keys += [ObjectKey(key.data_key, bytes(16)).derive(purpose) for purpose in purposes]
    assert len(set(keys)) == len(keys)
    assert all(len(k) == 32 for k in keys)
    assert ObjectKey.generate().data_key != key.data_key


def test_derivation_vector():
    """HKDF-SHA-256 (RFC 5869) by hand: extract under the object id, one expansion."""
    import hashlib
    import hmac

    key = ObjectKey(bytes(range(32)), bytes(range(16)))
    extracted = hmac.digest(key.object_id, key.data_key, hashlib.sha256)
    expected = hmac.digest(extracted, b"iomt-crypt/1/header\1", hashlib.sha256)
    assert key.derive("header") == expected


@pytest.mark.parametrize("purpose", ["header", "record/mac", "a purpose that is longer than the block of a hash" * 2])
def test_the_short_way_to_one_key_is_the_library_s(purpose):
    for key in (ObjectKey(bytes(32), bytes(16)), *(ObjectKey.generate() for _ in range(20))):
        assert derived(key.data_key, key.object_id, purpose) == key.derive(purpose)
