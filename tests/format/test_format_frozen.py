"""Objects that were written once open for ever, to the very bytes that went in, with every identity they are for."""

from __future__ import annotations

import io

import pytest

from iomt_crypt import inspect_file, verify_file
from iomt_crypt.dicom import block, read_file, restore
from iomt_crypt.seal import HpkeIdentity, Keyring, Record
from iomt_crypt.seal.kind.passphrase import PassphraseIdentity
from iomt_crypt.seal.kind.x25519 import X25519Identity
from tests.format.generate import FOLDER, KEYS, OBJECTS, PASSPHRASE

NAMES = sorted(path.stem for path in FOLDER.glob("*.dcm"))
HPKE, X25519 = KEYS.read_text().split()


@pytest.fixture(scope="module")
def keyrings():
    identities = (HpkeIdentity.parse(HPKE), X25519Identity.parse(X25519), PassphraseIdentity(PASSPHRASE))
    return [Keyring([identity]) for identity in identities]


def test_none_has_gone():
    assert len(NAMES) >= 17
    assert set(NAMES) >= set(OBJECTS)


@pytest.mark.parametrize("name", NAMES)
def test_opens(name, keyrings):
    data, original = (FOLDER / f"{name}.dcm").read_bytes(), (FOLDER / f"{name}.original").read_bytes()
    for keyring in keyrings:
        sink = io.BytesIO()
        restored = restore(io.BytesIO(data), sink, keyring=keyring, headers="strict")
        assert restored.changed == ()
        # What came over the network gets a preamble and file meta information of ours.
        assert sink.getvalue().endswith(original) if name == "network" else sink.getvalue() == original
    assert verify_file(FOLDER / f"{name}.dcm", identities=keyrings[0]).state == "authentic"
    assert inspect_file(FOLDER / f"{name}.dcm").encryption is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_record_is_written_as_it_was_read(name):
    _, container = block.find_record(read_file(io.BytesIO((FOLDER / f"{name}.dcm").read_bytes())).header)
    assert Record.unpack(container).pack(size=len(container)) == container
