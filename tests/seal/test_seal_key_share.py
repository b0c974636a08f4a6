"""Shares: any K of N, and no fewer, make the identity; what is wrong with one is said without its words."""

from __future__ import annotations

import itertools
import random
import stat
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic.wordlist import WORDLIST

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal import HpkeIdentity, fingerprint_text
from iomt_crypt.seal.inventory import describe
from iomt_crypt.seal.kind.x25519 import X25519Identity
from iomt_crypt.seal.share import GENERATED, combine, read_share, split_new_identity, write_shares
from iomt_crypt.seal.trial import check


@pytest.fixture(scope="module")
def split():
    return split_new_identity("hpke", 3, 5)


@pytest.mark.parametrize("kind", GENERATED)
def test_any_k_of_n(kind):
    identity, shares = split_new_identity(kind, 2, 3)
    assert type(identity) is GENERATED[kind]
    assert [len(share.split()) for share in shares] == [35] * 3
    for chosen in itertools.permutations(shares, 2):
        assert combine(chosen).secret_text() == identity.secret_text()


def test_more_than_needed(split):
    identity, shares = split
    assert combine(shares).fingerprint == identity.fingerprint
    assert combine([*shares[:3], shares[0]]).fingerprint == identity.fingerprint


def test_fewer_than_needed(split):
    _, shares = split
    with pytest.raises(KeyMaterialError, match="2 different shares given, 3 needed"):
        combine(shares[:2])
    with pytest.raises(KeyMaterialError, match="1 different shares given, 3 needed"):
        combine([shares[0]] * 3)
    with pytest.raises(KeyMaterialError, match="no shares"):
        combine([])


def test_shares_of_two_identities(split):
    other = split_new_identity("hpke", 3, 5)[1]
    with pytest.raises(KeyMaterialError, match="not of one identity"):
        combine([*split[1][:2], other[2]])


@pytest.mark.parametrize(("k", "n"), [(1, 1), (1, 3), (4, 3), (0, 0), (2, 17)])
def test_numbers_out_of_range(k, n):
    with pytest.raises(KeyMaterialError, match=f"{k} of {n} shares cannot be made"):
        split_new_identity("hpke", k, n)


@settings(max_examples=50)
@given(seed=st.integers(0, 1 << 32))
def test_up_to_three_wrong_words_are_found(split, seed):
    rng = random.Random(seed)
    words = split[1][0].split()
    for at in rng.sample(range(len(words)), rng.randint(1, 3)):
        words[at] = rng.choice([word for word in WORDLIST if word != words[at]])
    with pytest.raises(KeyMaterialError) as caught:
        combine([" ".join(words), *split[1][1:3]])
    # In full, so that no word of the share is in it. ("change" and "exchange" are in the list of words.)
    assert str(caught.value) == "share 1: a word is wrong, or two were exchanged"
    assert (caught.value.hint, caught.value.__cause__) == ("read it again", None)


def test_words_that_are_none(split):
    words = split[1][0].split()
    words[6] = "Zürich"
    words[30] = "xylophone"
    with pytest.raises(KeyMaterialError, match="share 1: not in the word list: word 7, 31") as caught:
        combine([" ".join(words)])
    assert "xylophone" not in str(caught.value)
    with pytest.raises(KeyMaterialError, match="34 words, 35 expected"):
        combine([" ".join(split[1][0].split()[:34])])


class TestFiles:
    def test_written(self, split, tmp_path):
        identity, shares = split
        pages = write_shares(tmp_path / "new", identity, shares, kind="hpke", threshold=3)
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
        assert [page.name for page in sorted((tmp_path / "new").iterdir())] == [page.name for page in pages]
        for n, (page, words) in enumerate(zip(pages, shares, strict=True), 1):
            assert stat.S_IMODE(page.stat().st_mode) == 0o600
            text = page.read_text()
            for note in (f"fingerprint: {fingerprint_text(identity.fingerprint)}", f"index: {n}", "threshold: 3"):
                assert f"# {note}\n" in text
            assert read_share(page) == words
        assert combine([read_share(page) for page in pages[2:]]).fingerprint == identity.fingerprint

    def test_all_or_none(self, split, tmp_path):
        identity, shares = split
        pages = write_shares(tmp_path, identity, shares, kind="hpke", threshold=3)
        for page in pages[:3]:
            page.unlink()
        with pytest.raises(FileExistsError):
            write_shares(tmp_path, identity, shares, kind="hpke", threshold=3)
        assert sorted(tmp_path.iterdir()) == sorted(pages[3:])

    def test_typed_by_hand(self, split, secret_file):
        words = split[1][0].split()
        rows = "\n".join(f"{n}. {word.upper()}" if n % 2 else f" {n} {word}" for n, word in enumerate(words, 1))
        assert read_share(secret_file("typed", "# from the safe\r\n" + rows)) == split[1][0]

    def test_typed_words_are_seen_as_a_share(self, split, secret_file):
        path = secret_file("typed", split[1][0].replace(" ", "\n"))
        assert [(info.role, info.problem) for info in describe(path)] == [("share", "")]
        assert [(result.role, result.error) for result in check(str(path), ask=None)] == [("share", None)]
        path.chmod(0o644)
        assert "others may read" in describe(path)[0].problem
        with pytest.raises(KeyMaterialError, match="others may read"):
            list(check(str(path), ask=None))

    @pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe"])
    def test_no_share(self, content, secret_file):
        with pytest.raises(KeyMaterialError, match=r"no share in it|not a key file"):
            read_share(secret_file("share", content))

    def test_others_may_read(self, split, secret_file):
        path = secret_file("share", split[1][0])
        path.chmod(0o644)
        with pytest.raises(KeyMaterialError, match="others may read"):
            read_share(path)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "shamir_mnemonic", None)
    with pytest.raises(KeyMaterialError, match="shamir-mnemonic") as caught:
        split_new_identity("hpke", 2, 3)
    assert caught.value.hint == "pip install 'iomt-crypt[escrow]'"


def test_seeds():
    """SHAKE-256 of the seed: of 96 bytes as in X-Wing, of 32."""
    assert HpkeIdentity.from_seed(bytes(32)).secret_text() != X25519Identity.from_seed(bytes(32)).secret_text()
    assert HpkeIdentity.from_seed(bytes(32))._secret[:32] == X25519Identity.from_seed(bytes(32))._secret
    assert len(HpkeIdentity.from_seed(bytes(32))._secret) == 96
