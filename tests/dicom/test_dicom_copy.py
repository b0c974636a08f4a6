"""An object whose record was lost opens with a copy of it, and only with its own."""

from __future__ import annotations

import io

import pydicom
import pytest

from iomt_crypt.dicom import protect, read_file, restore
from iomt_crypt.dicom.block import GROUP, find_record
from iomt_crypt.dicom.inspection import verify_stream
from iomt_crypt.errors import AuthenticationError, NoMatchingIdentityError, NotEncryptedError
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring
from tests import synthetic


@pytest.fixture
def plain() -> bytes:
    return synthetic.file(synthetic.image())


@pytest.fixture
def seal(plain, epoch, policy):
    """Encrypt `plain`; give object and record."""

    def make(recipients: Epoch = epoch, content: bytes = plain) -> tuple[bytes, bytes]:
        sink = io.BytesIO()
        protect(read_file(io.BytesIO(content)), sink, epoch=recipients, policy=policy)
        found = find_record(read_file(sink).header)
        assert found is not None
        return sink.getvalue(), found[1]

    return make


def without_private_block(data: bytes) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(data))
    for tag in [element.tag for element in dataset if element.tag.group == GROUP]:
        del dataset[tag]
    sink = io.BytesIO()
    pydicom.dcmwrite(sink, dataset)
    return sink.getvalue()


def opened(data: bytes, keyring: Keyring, *records: bytes):
    sink = io.BytesIO()
    done = restore(io.BytesIO(data), sink, keyring=keyring, records_of=lambda uid: records)
    return sink.getvalue(), done.from_copy


def test_a_lost_record_is_put_back(seal, plain, keyring):
    data, record = seal()
    stripped = without_private_block(data)
    with pytest.raises(NotEncryptedError):
        opened(stripped, keyring)
    assert opened(stripped, keyring, record) == (plain, True)
    assert opened(data, keyring, record) == (plain, False)


def test_a_damaged_record_is_put_back(seal, plain, keyring):
    data, record = seal()
    place = data.index(record)
    for offset in (4, len(record) // 2, len(record) - 40):
        damaged = bytearray(data)
        damaged[place + offset] ^= 1
        with pytest.raises((AuthenticationError, NoMatchingIdentityError)):
            opened(bytes(damaged), keyring)
        assert opened(bytes(damaged), keyring, record) == (plain, True)


def test_a_record_that_another_opens_gives_way_to_the_copy(seal, plain, keyring):
    """As after a re-keying: the journal's copy is for the recipients of before."""
    data, _ = seal(Epoch.create([HpkeIdentity.generate().recipient]))
    mine, record = seal()
    with pytest.raises(NoMatchingIdentityError):
        opened(data, keyring, record)  # the same UID, other pixels
    assert opened(mine, keyring, record)[0] == plain


def test_of_two_versions_the_one_that_fits_opens(seal, plain, keyring):
    """Sent twice, an object has two records under one UID; the archive has either version."""
    (first, record_of_first), (second, record_of_second) = seal(), seal()
    for data in (first, second):
        for records in ((record_of_first, record_of_second), (record_of_second, record_of_first)):
            assert opened(without_private_block(data), keyring, *records) == (plain, True)
    with pytest.raises(NotEncryptedError):
        opened(without_private_block(first), keyring, record_of_second)


def test_a_copy_of_another_object_opens_nothing(seal, keyring):
    data, _ = seal()
    other = synthetic.file(synthetic.image() | {0x00080018: ("UI", b"1.2.3.77")})
    _, record = seal(content=other)
    stripped = without_private_block(data)
    for copies in ((record,), (b"",), (b"junk" * 100,), (record[:-1],)):
        with pytest.raises(NotEncryptedError):
            opened(stripped, keyring, *copies)


def test_damaged_pixels_stay_damaged(seal, keyring):
    data, record = seal()
    stripped = bytearray(without_private_block(data))
    stripped[-10] ^= 1
    with pytest.raises((AuthenticationError, NotEncryptedError)):
        opened(bytes(stripped), keyring, record)


def test_verify_says_that_a_copy_opens(seal, keyring):
    data, record = seal()
    stripped = io.BytesIO(without_private_block(data))
    assert verify_stream(stripped, identities=keyring).state == "plain"
    found = verify_stream(stripped, identities=keyring, records_of=lambda uid: [record])
    assert (found.state, found.from_copy) == ("authentic", True)
    own = verify_stream(io.BytesIO(data), identities=keyring, records_of=lambda uid: [record])
    assert (own.state, own.from_copy) == ("authentic", False)
