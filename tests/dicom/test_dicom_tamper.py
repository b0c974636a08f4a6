"""Whatever is changed in an encrypted object, nothing of it is released, and one opaque error says so."""

from __future__ import annotations

import io
import random
from dataclasses import replace

import pytest
from synthetic import file, image

from iomt_crypt import encrypt_file
from iomt_crypt.dicom import decrypt_file, protect, read_file, restore, verify_file
from iomt_crypt.dicom.block import find_record
from iomt_crypt.errors import AuthenticationError, HeaderDriftError, InputError, IomtCryptError, NoMatchingIdentityError
from iomt_crypt.seal import HpkeIdentity, Keyring, Record

OPAQUE = "authentication failed"


def encrypted(raw: bytes, epoch, policy) -> bytes:
    sink = io.BytesIO()
    protect(read_file(io.BytesIO(raw)), sink, epoch=epoch, policy=policy)
    return sink.getvalue()


@pytest.fixture(scope="module", params=["hybrid-1", "chaos-cnn-1"])
def victim(request, epoch, policy):
    """An encrypted object of three frames, 16 bits."""
    pixels = bytes(range(256)) * 3
    raw = file(image(pixels, rows=8, columns=16, bits=16, frames=3, vr="OW"))
    return encrypted(raw, epoch, replace(policy, suite=request.param))


def record_span(data: bytes) -> tuple[int, int]:
    container = find_record(read_file(io.BytesIO(data)).header)[1]
    begin = data.index(container)
    return begin, begin + len(container)


def pixel_span(data: bytes) -> tuple[int, int]:
    pixel = read_file(io.BytesIO(data)).pixel
    return pixel.offset, pixel.offset + pixel.size


def refused(data: bytes, keyring: Keyring, headers="original") -> IomtCryptError:
    """The error of a decryption; nothing but sound frames may have been written before it."""
    with pytest.raises(IomtCryptError) as caught:
        restore(io.BytesIO(data), io.BytesIO(), keyring=keyring, headers=headers)
    return caught.value


def flipped(data: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


def test_every_byte_of_the_ciphertext(victim, keyring):
    chance = random.Random(1)
    begin, end = pixel_span(victim)
    assert end - begin == 768
    for position in range(begin, end):
        error = refused(flipped(victim, position, chance.randrange(8)), keyring)
        assert (type(error), str(error)) == (AuthenticationError, OPAQUE)


def test_every_byte_of_the_record(victim, keyring):
    """Head, body, digest and slack, the sealed header, tags and stanzas in it included."""
    chance = random.Random(2)
    begin, end = record_span(victim)
    for position in range(begin, end):
        error = refused(flipped(victim, position, chance.randrange(8)), keyring)
        assert (type(error), str(error)) == (AuthenticationError, OPAQUE)


def test_every_bit_of_the_head_and_the_digest(victim, keyring):
    begin, end = record_span(victim)
    size = int.from_bytes(victim[begin + 10 : begin + 14], "big")
    places = [*range(begin, begin + 14), *range(begin + 14 + size, begin + 14 + size + 40)]
    assert places[-1] < end
    for position in places:
        for bit in range(8):
            assert type(refused(flipped(victim, position, bit), keyring)) is AuthenticationError


def test_swapped_frames(victim, keyring):
    begin, _ = pixel_span(victim)
    first, second = victim[begin : begin + 256], victim[begin + 256 : begin + 512]
    assert type(refused(victim[:begin] + second + first + victim[begin + 512 :], keyring)) is AuthenticationError
    assert type(refused(victim[:begin] + first + first + victim[begin + 512 :], keyring)) is AuthenticationError


@pytest.mark.parametrize("cut", [1, 2, 256, 700, 2000])
def test_truncated(victim, keyring, cut):
    assert isinstance(refused(victim[:-cut], keyring), InputError | AuthenticationError)


def test_one_frame_less(victim, keyring):
    """The pixel element made shorter, so that the file is sound again."""
    begin, _ = pixel_span(victim)
    shorter = victim[: begin - 4] + (512).to_bytes(4, "little") + victim[begin : begin + 512]
    assert type(refused(shorter, keyring)) is AuthenticationError
    longer = victim[: begin - 4] + (1024).to_bytes(4, "little") + victim[begin:] + bytes(256)
    assert type(refused(longer, keyring)) is AuthenticationError


@pytest.fixture(scope="module")
def pair(epoch, policy):
    """Two encrypted objects of the same shape, under the same epoch."""
    elements = [image(bytes([n]) * 64, uid=f"1.2.3.4.{n}", more={0x00100010: ("PN", b"Doe^%d" % n)}) for n in (1, 2)]
    return [(file(e), encrypted(file(e), epoch, policy)) for e in elements]


def test_swapped_records(pair, keyring):
    (_, one), (_, two) = pair
    (b1, e1), (b2, e2) = record_span(one), record_span(two)
    assert e1 - b1 == e2 - b2
    for headers in ("original", "merged", "strict"):
        error = refused(one[:b1] + two[b2:e2] + one[e1:], keyring, headers)
        assert type(error) is (HeaderDriftError if headers == "strict" else AuthenticationError)


def test_swapped_pixels(pair, keyring):
    (_, one), (_, two) = pair
    (b1, e1), (b2, e2) = pixel_span(one), pixel_span(two)
    for headers in ("original", "merged", "strict"):
        assert type(refused(one[:b1] + two[b2:e2] + one[e1:], keyring, headers)) is AuthenticationError


def test_the_header_of_another_patient_is_not_put_on_an_image(pair, keyring):
    """Record and pixels of the first object in the second one's header."""
    (raw, one), (_, two) = pair
    (b1, e1), (b2, e2) = record_span(one), record_span(two)
    (p1, _), (p2, _) = pixel_span(one), pixel_span(two)
    mixed = two[:b2] + one[b1:e1] + two[e2:p2] + one[p1:]
    error = refused(mixed, keyring, "strict")
    assert type(error) is HeaderDriftError
    assert "Doe" not in str(error)
    for headers in ("merged", "original"):
        sink = io.BytesIO()
        restored = restore(io.BytesIO(mixed), sink, keyring=keyring, headers=headers)
        assert sink.getvalue() == raw, "with its own patient"
        assert not restored.applied
        assert ("the record belongs to" in restored.remark) == (headers == "merged")
        assert "Doe" not in restored.remark


@pytest.mark.parametrize("position", ["pixels", "record"])
def test_no_file_is_left(position, victim, identity, tmp_path):
    _, end = pixel_span(victim) if position == "pixels" else record_span(victim)
    (tmp_path / "damaged.dcm").write_bytes(flipped(victim, end - 3000 if position == "record" else end - 1, 0))
    with pytest.raises(AuthenticationError):
        decrypt_file(tmp_path / "damaged.dcm", tmp_path / "plain.dcm", identities=[identity])
    with pytest.raises(AuthenticationError):
        verify_file(tmp_path / "damaged.dcm", identities=[identity])
    assert [p.name for p in tmp_path.iterdir()] == ["damaged.dcm"]


def test_what_was_there_before_is_kept(victim, identity, tmp_path):
    (tmp_path / "damaged.dcm").write_bytes(flipped(victim, len(victim) - 1, 0))
    (tmp_path / "plain.dcm").write_bytes(b"yesterday's")
    with pytest.raises(AuthenticationError):
        decrypt_file(tmp_path / "damaged.dcm", tmp_path / "plain.dcm", identities=[identity], overwrite=True)
    assert (tmp_path / "plain.dcm").read_bytes() == b"yesterday's"


def test_wrong_identity(victim, tmp_path):
    error = refused(victim, Keyring([HpkeIdentity.generate()]))
    assert (type(error), str(error)) == (NoMatchingIdentityError, "no matching identity")
    assert type(refused(victim, Keyring([]))) is NoMatchingIdentityError


def test_frames_before_the_damage_are_the_only_ones_written(victim, keyring):
    """Frame 2 of 3 is damaged: the sink got the header and frame 1, all of it authentic."""
    begin, _ = pixel_span(victim)
    sink = io.BytesIO()
    with pytest.raises(AuthenticationError):
        restore(io.BytesIO(flipped(victim, begin + 256, 0)), sink, keyring=keyring)
    assert sink.getvalue().endswith(bytes(range(256)))


def test_a_record_of_another_recipient_does_not_open_with_an_old_key(identity, epoch, policy, keyring):
    """A keyring that knows an epoch still asks for a stanza that opens."""
    data = encrypted(file(image()), epoch, policy)
    sink = io.BytesIO()
    restore(io.BytesIO(data), sink, keyring=keyring)
    record = Record.unpack(find_record(read_file(io.BytesIO(data)).header)[1])
    stranger = HpkeIdentity.generate()
    with pytest.raises(NoMatchingIdentityError):
        Keyring([stranger]).unwrap(record.wrapped_key, record.epoch_id, record.stanzas)


def test_encrypting_twice_is_refused(victim, epoch, policy, tmp_path):
    (tmp_path / "a.dcm").write_bytes(victim)
    with pytest.raises(InputError, match="encrypted already"):
        encrypt_file(tmp_path / "a.dcm", tmp_path / "b.dcm", recipients=epoch, policy=policy)
    assert not (tmp_path / "b.dcm").exists()
