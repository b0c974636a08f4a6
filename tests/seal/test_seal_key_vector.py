"""What was written once must open for ever, and as docs/FORMAT.md says."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
from stanza_reader import OPENERS

from iomt_crypt.seal import Stanza, fingerprint_text
from iomt_crypt.seal import passphrase as locked
from iomt_crypt.seal.kind import registry
from iomt_crypt.seal.kind.passphrase import PassphraseIdentity
from iomt_crypt.seal.share import combine

VECTORS = json.loads(Path(__file__).with_name("stanza.json").read_text())
STANZAS = VECTORS["stanzas"]


def test_there_are_some():
    assert {vector["kind"] for vector in STANZAS} == set(OPENERS)
    assert len(STANZAS) >= 11
    assert all(VECTORS[name] for name in ("texts", "locked", "shares"))


@pytest.mark.parametrize("vector", STANZAS, ids=lambda vector: vector["kind"])
class TestStanza:
    def test_opens(self, vector):
        text = vector["identity"]
        if vector["kind"] == "scrypt":
            identity = PassphraseIdentity(text.encode())
        else:
            identity = registry.parse_identity(text)
            assert identity.fingerprint.hex() == vector["fingerprint"]
        stanza = Stanza(vector["kind"], bytes.fromhex(vector["fingerprint"]), bytes.fromhex(vector["body"]))
        epoch_id = bytes.fromhex(vector["epoch_id"])
        assert identity.unwrap(stanza, epoch_id).hex() == vector["epoch_key"]
        assert identity.unwrap(stanza, bytes(16)) is None

    def test_opens_as_the_format_says(self, vector):
        body, epoch_id = bytes.fromhex(vector["body"]), bytes.fromhex(vector["epoch_id"])
        assert OPENERS[vector["kind"]](vector["identity"], body, epoch_id).hex() == vector["epoch_key"]


@pytest.mark.parametrize("vector", VECTORS["texts"], ids=lambda vector: vector["recipient"][:8])
def test_texts(vector):
    identity = registry.parse_identity(vector["identity"])
    assert str(identity.recipient) == vector["recipient"]
    assert fingerprint_text(registry.parse_recipient(vector["recipient"]).fingerprint) == vector["fingerprint"]


@pytest.mark.parametrize("vector", VECTORS["locked"])
def test_locked(vector):
    assert locked.unlock(vector["line"], vector["passphrase"].encode()).decode() == vector["identity"]


@pytest.mark.parametrize("vector", VECTORS["shares"])
def test_shares(vector):
    for two in combinations(vector["shares"], 2):
        assert combine(two).secret_text() == vector["identity"]
