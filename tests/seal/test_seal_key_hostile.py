"""Whatever a key file holds, it is keys or a KeyMaterialError, and what is said of it repeats nothing long."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from key_material import Certified

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal import HpkeIdentity, load_identities, load_or_create_site_key, load_recipients
from iomt_crypt.seal import passphrase as locked
from iomt_crypt.seal.inventory import describe
from iomt_crypt.seal.kind.x25519 import X25519Identity
from iomt_crypt.seal.share import read_share, split_new_identity
from iomt_crypt.seal.trial import check

_CERTIFIED = Certified(rsa.generate_private_key(65537, 2048))
_PEOPLE = (HpkeIdentity.generate(), X25519Identity.generate())
_WHOLE = [
    *(str(person.recipient) for person in _PEOPLE),
    *(person.secret_text() for person in _PEOPLE),
    _CERTIFIED.certificate(),
    _CERTIFIED.private(),
    _CERTIFIED.private(b"open"),
    split_new_identity("x25519", 2, 2)[1][0],
]
_PIECES = ["# threshold: 3\n", "# index: 1\n", "#", "AAAA", "\n", "\r\n", "\0", "\u2028", "\u00df", "-----BEGIN -----"]
_PIECES += [f"-----{end} {label}-----" for end in ("BEGIN", "END") for label in ("CERTIFICATE", "PRIVATE KEY")]
_PIECES += ["-----BEGIN PUBLIC KEY-----", "iomtlocked1:", "iomtsite1", "iomtpk1", "iomtskx1", "passphrase:", "vault:x"]
_PIECES += ["passphrase:/dev/null", "plugin:none:x"]


@st.composite
def contents(draw) -> bytes:
    """Keys and pieces of keys, whole, cut and with a byte changed, in any order."""
    parts = []
    for _ in range(draw(st.integers(0, 6))):
        text = draw(st.sampled_from(_WHOLE + _PIECES))
        if draw(st.booleans()):
            text = text[draw(st.integers(0, len(text))) :]
        parts.append(text.encode() + draw(st.sampled_from([b"", b"\n", b"\n", b" "])))
    raw = bytearray(b"".join(parts))
    if raw and draw(st.booleans()):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw) if draw(st.integers(0, 9)) else draw(st.binary(max_size=200))


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("hostile") / "k"
    made.touch(0o600)
    return made


def _keys(run) -> list[object]:
    """What ``run`` gives; nothing for the one error there may be."""
    try:
        return list(run())
    except KeyMaterialError as error:
        _says_little(f"{error} {error.hint}")
        return []


def _says_little(text: str) -> None:
    for secret in _WHOLE[2:4] + _WHOLE[5:]:
        body = re.sub(r"-----.*?-----|\s", "", secret)
        assert not any(body[n : n + 16] in text for n in range(8, len(body) - 16, 4))


@given(content=contents())
def test_every_reader(content, path, monkeypatch_module):
    path.write_bytes(content)
    for identity in _keys(lambda: load_identities([path], ask=lambda what: b"open")):
        assert len(identity.fingerprint) == 8
    for recipient in _keys(lambda: load_recipients([path], ask=lambda what: b"five words or more")):
        assert len(recipient.fingerprint) == 8
    for info in _keys(lambda: describe(path)):
        public = asdict(info) | {"recipient": ""}
        _says_little(str(public))
    for result in _keys(lambda: check(str(path), ask=lambda what: b"five words or more")):
        _says_little(str(result))
    _keys(lambda: [load_or_create_site_key(path)])
    _keys(lambda: [read_share(path)])


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locked, "_LOG2_N", 4)
        yield patch
