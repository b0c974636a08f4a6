"""Key texts: nothing but the text itself parses, and nothing of it is repeated."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal import HpkeIdentity, load_identities, load_recipients
from iomt_crypt.seal.kind import registry
from iomt_crypt.seal.kind.x25519 import X25519Identity

_PEOPLE = (HpkeIdentity.generate(), X25519Identity.generate())
TEXTS = [(str(i.recipient), registry.parse_recipient) for i in _PEOPLE]
TEXTS += [(i.secret_text(), registry.parse_identity) for i in _PEOPLE]
_NAMES = ("hpke recipient", "x25519 recipient", "hpke identity", "x25519 identity")
_ALPHABET = string.ascii_letters + string.digits + string.punctuation + " \t\n\u017f\u0131\u00e9"


def refused(parse, text: str, secret: str) -> None:
    with pytest.raises(KeyMaterialError) as caught:
        parse(text)
    shown = f"{caught.value} {caught.value.hint} {caught.value!r} {caught.value.__cause__!r}"
    body = secret[8:]
    assert not any(body[n : n + 12] in shown for n in range(len(body) - 12))


@pytest.mark.parametrize(("text", "parse"), TEXTS, ids=_NAMES)
class TestMutations:
    @given(data=st.data())
    def test_a_character_changed(self, text, parse, data):
        at = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.sampled_from(_ALPHABET))
        assume(other.lower() != text[at])
        changed = text[:at] + other + text[at + 1 :]
        assume(changed.strip() != text)
        refused(parse, changed, text)

    @given(data=st.data())
    def test_characters_lost_inserted_exchanged(self, text, parse, data):
        at = data.draw(st.integers(0, len(text) - 1))
        end = data.draw(st.integers(at + 1, min(at + 8, len(text))))
        new = data.draw(st.text("abcdefghijklmnopqrstuvwxyz234567", max_size=8))
        changed = text[:at] + new + text[end:]
        assume(changed.lower() != text)
        refused(parse, changed, text)

    @given(prefix=st.sampled_from(["iomtpk1", "iomtsk1", "iomtpkx1", "iomtskx1", "iomtsite1"]))
    def test_under_another_prefix(self, text, parse, prefix):
        own = text[: text.index("1") + 1]
        assume(prefix != own)
        for role in (registry.parse_recipient, registry.parse_identity):
            refused(role, prefix + text[len(own) :], text)

    @given(ends=st.tuples(st.text(" \t\r\n", max_size=3), st.text(" \t\r\n", max_size=3)), upper=st.booleans())
    def test_blanks_around_it_and_capitals_do_no_harm(self, text, parse, ends, upper):
        spelled = ends[0] + (text.upper() if upper else text) + ends[1]
        assert parse(spelled).fingerprint == parse(text).fingerprint

    @given(text_=st.text(max_size=80))
    def test_noise(self, text, parse, text_):
        refused(parse, text[:8] + text_, text)


class TestInPlaceOfAFile:
    """What is given to -i and -r, and to the library, is a file's name or a text, and says so."""

    @pytest.mark.parametrize("person", _PEOPLE)
    def test_a_secret(self, person):
        secret = person.secret_text()
        refused(lambda text: load_identities([text]), secret, secret)
        refused(lambda text: load_recipients([text]), secret, secret)
        for text in (secret[1:], "x" + secret, secret[7:]):  # a slip with the mouse
            refused(lambda text: load_identities([text]), text, secret)
            refused(lambda text: load_recipients([text]), text, secret)

    def test_a_secret_says_where_it_belongs(self):
        with pytest.raises(KeyMaterialError, match="in place of a file") as caught:
            load_identities([_PEOPLE[0].secret_text()])
        assert "0600" in caught.value.hint

    def test_a_recipient_as_identity(self):
        with pytest.raises(KeyMaterialError, match="an identity"):
            load_identities([str(_PEOPLE[0].recipient)])

    @pytest.mark.parametrize("load", [load_identities, load_recipients])
    def test_an_unknown_kind(self, load, tmp_path, monkeypatch):
        with pytest.raises(KeyMaterialError, match=r"^vault:\.\.\. is neither") as caught:
            load(["vault:transit/keys/mri"])
        assert "pkcs11:" in caught.value.hint
        monkeypatch.chdir(tmp_path)
        (tmp_path / "vault:key").write_text("# nothing\n")
        (tmp_path / "vault:key").chmod(0o600)
        with pytest.raises(KeyMaterialError, match="in it"):
            load(["vault:key"])

    def test_texts_among_files(self, tmp_path):
        (tmp_path / "team").write_text(f"{_PEOPLE[0].recipient}\n")
        found = load_recipients([str(_PEOPLE[1].recipient), tmp_path / "team"])
        assert [r.fingerprint for r in found] == [_PEOPLE[1].fingerprint, _PEOPLE[0].fingerprint]
