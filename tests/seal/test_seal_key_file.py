"""Key files with several entries of several kinds; what can be said of them; whether they work."""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import asdict

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat
from key_material import DAY, NOW, PASSPHRASE

from iomt_crypt.errors import KeyMaterialError, NoMatchingIdentityError
from iomt_crypt.seal import (
    HpkeIdentity,
    fingerprint_text,
    load_identities,
    load_or_create_site_key,
    load_recipients,
    write_identity,
)
from iomt_crypt.seal import passphrase as locked
from iomt_crypt.seal.entry import read_entries
from iomt_crypt.seal.inventory import describe
from iomt_crypt.seal.kind.x25519 import X25519Identity
from iomt_crypt.seal.secret import read_secret_line
from iomt_crypt.seal.share import split_new_identity, write_shares
from iomt_crypt.seal.trial import check


@pytest.fixture
def x25519() -> X25519Identity:
    return X25519Identity.generate()


class TestEntries:
    def test_identities_of_several_kinds(self, identity, x25519, certified, stranger, secret_file, cheap):
        words = secret_file("words", PASSPHRASE)
        text = f"# mine\n{identity.secret_text()}\n\n{certified.private()}{certified.certificate()}\n"
        text += f"passphrase:{words}\n{locked.lock(x25519.secret_text().encode(), b'p')}\n{stranger.private()}"
        found = load_identities([secret_file("all", text)], ask=lambda what: b"p")
        names = [type(i).__name__ for i in found]
        assert names == [
            "HpkeIdentity", "CertificateIdentity", "PassphraseIdentity", "X25519Identity", "CertificateIdentity"
        ]  # fmt: skip

    def test_recipients_of_several_kinds(self, identity, x25519, certified, stranger, tmp_path):
        text = f"{certified.certificate()}{stranger.certificate()}# key\n{identity.recipient}\n{x25519.recipient}\n"
        (tmp_path / "team").write_text(text)
        assert len({r.fingerprint for r in load_recipients([tmp_path / "team"])}) == 4

    @pytest.mark.parametrize("order", ["key first", "certificate first", "between"])
    def test_a_private_key_and_its_certificates(self, order, certified, stranger, secret_file):
        key, own, other = certified.private(), certified.certificate(), stranger.certificate()
        text = {"key first": key + own, "certificate first": own + key, "between": other + "# key\n\n" + key + own}[
            order
        ]
        [found] = load_identities([secret_file("pem", text)])
        assert str(found.recipient).strip() == own.strip()

    def test_several_pairs(self, certified, stranger, secret_file):
        text = "".join(c.private() + c.certificate() for c in (certified, stranger))
        found = load_identities([secret_file("pem", text)])
        assert [i.recipient.fingerprint for i in found] == [i.fingerprint for i in found]
        assert len({i.fingerprint for i in found}) == 2

    def test_other_forms_of_private_keys(self, certified, secret_file):
        for form in (PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8):
            for passphrase in (None, b"open"):
                path = secret_file(f"{form!r}{passphrase}".replace("/", ""), certified.private(passphrase, form))
                [found] = load_identities([path], ask=lambda what: b"open")
                assert found.fingerprint == load_recipients([certified.certificate()])[0].fingerprint

    def test_what_is_asked_for(self, certified, secret_file):
        asked = []
        path = secret_file("pem", certified.private(b"open"))
        load_identities([path], ask=lambda what: asked.append(what) or b"open")
        assert asked == [f"{path}: private key"]

    @pytest.mark.parametrize("cut", ["-----END", "-----BEGIN"])
    def test_pem_that_is_cut(self, cut, certified, secret_file):
        lines = [line for line in certified.certificate().splitlines() if not line.startswith(cut)]
        for text in ("\n".join(lines), "\n".join(lines) + "\n" + certified.certificate()):
            with pytest.raises(KeyMaterialError, match=r"a PEM block is not complete|not a recipient"):
                load_recipients([secret_file(f"pem{len(text)}", text)])

    def test_an_error_names_file_and_line(self, identity, tmp_path):
        (tmp_path / "team").write_text(f"# team\n\n{identity.recipient}\niomtpkx1aaaa\n")
        with pytest.raises(KeyMaterialError, match=r"team, line 4: key text iomtpkx1\.\.\. is damaged") as caught:
            load_recipients([tmp_path / "team"])
        assert caught.value.hint

    def test_a_line_that_is_no_key_is_not_passed_over(self, identity, tmp_path):
        """A recipient with a slip in its prefix must not silently be left out."""
        (tmp_path / "team").write_text(f"{identity.recipient}\nomtpk1aaaaaaa\n")
        with pytest.raises(KeyMaterialError, match="line 2: not a recipient of a known kind"):
            load_recipients([tmp_path / "team"])

    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    def test_comments_in_any_language(self, mark, identity, tmp_path):
        text = f"{mark}# R\u00f6ntgen, \u653e\u5c04\u7dda\u79d1\r\n{identity.recipient}\r\n"
        (tmp_path / "team").write_bytes(text.encode())
        assert len(load_recipients([tmp_path / "team"])) == 1

    @pytest.mark.parametrize("kind", ["iomtlocked1:{}", "iomtpk1{}", "pem CERTIFICATE", "pem PRIVATE KEY"])
    def test_keys_only_in_ascii(self, kind, secret_file):
        label = kind.removeprefix("pem ")
        form = f"-----BEGIN {label}-----\n{{}}\n-----END {label}-----" if label != kind else kind
        text = form.format("\u00e4\u00f6")
        path = secret_file("k", text.encode())
        for load in (load_identities, load_recipients):
            with pytest.raises(KeyMaterialError):
                load([path]) if load is load_recipients else load([path], ask=lambda what: b"p")

    @pytest.mark.parametrize("error", [PermissionError(1, "no"), OSError(95, "not supported")])
    def test_on_a_stick_without_links(self, error, identity, tmp_path, monkeypatch):
        def no_links(*_):
            raise error

        monkeypatch.setattr(os, "link", no_links)
        write_identity(tmp_path / "k", identity)
        assert load_identities([tmp_path / "k"])[0].fingerprint == identity.fingerprint
        before = (tmp_path / "k").read_bytes()
        with pytest.raises(FileExistsError):
            write_identity(tmp_path / "k", HpkeIdentity.generate())
        assert (tmp_path / "k").read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["k"]

    def test_notes(self, identity, tmp_path):
        write_identity(tmp_path / "k", identity)
        [entry] = read_entries(tmp_path / "k", secret=True)
        assert entry.notes["fingerprint"] == fingerprint_text(identity.fingerprint)
        assert entry.notes["kind"] == "hpke"
        assert abs(datetime.datetime.fromisoformat(entry.notes["created"]) - NOW) < DAY
        assert identity.secret_text() not in repr(entry)

    def test_a_secret_line_keeps_its_blanks(self, secret_file):
        assert read_secret_line(secret_file("w", b"  two words \nx")) == b"  two words "
        assert read_secret_line(secret_file("v", b"\xc3\xa4\xff")) == b"\xc3\xa4\xff"


class TestDescribe:
    def test_identity(self, identity, tmp_path):
        write_identity(tmp_path / "k", identity)
        [info] = describe(tmp_path / "k")
        assert (info.role, info.kind, info.locked, info.problem) == ("identity", "hpke", False, "")
        assert info.fingerprint == fingerprint_text(identity.fingerprint)
        assert info.recipient == str(identity.recipient)
        assert info.created

    def test_locked(self, x25519, tmp_path, cheap):
        write_identity(tmp_path / "k", x25519, passphrase=b"p")
        [info] = describe(tmp_path / "k")
        assert (info.role, info.kind, info.locked) == ("identity", "x25519", True)
        assert info.fingerprint == fingerprint_text(x25519.fingerprint)
        assert info.recipient == str(x25519.recipient)

    def test_certificates(self, certified, tmp_path):
        fingerprint = fingerprint_text(load_recipients([certified.certificate()])[0].fingerprint)
        old = certified.certificate(start=NOW - 9 * DAY, end=NOW - DAY)
        (tmp_path / "c").write_text(certified.certificate() + old)
        new, expired = describe(tmp_path / "c")
        assert (new.fingerprint, new.problem) == (fingerprint, "")
        assert new.expires > NOW.isoformat()
        assert "expired" in expired.problem
        assert expired.fingerprint == fingerprint

    @pytest.mark.parametrize("passphrase", [None, b"open"])
    def test_private_key(self, passphrase, certified, secret_file):
        path = secret_file(
            "pem", certified.private(passphrase) + certified.certificate(end=NOW - DAY, start=NOW - 2 * DAY)
        )
        [info] = describe(path)
        assert (info.role, info.kind, info.locked) == ("identity", "certificate", passphrase is not None)
        assert info.fingerprint == fingerprint_text(load_recipients([certified.certificate()])[0].fingerprint)
        assert info.recipient.startswith("-----BEGIN CERTIFICATE")
        assert info.problem == ""
        [alone] = describe(secret_file("alone", certified.private(passphrase)))
        assert bool(alone.fingerprint) == (passphrase is None)

    def test_texts_that_name_keys_are_not_opened(self, tmp_path):
        (tmp_path / "t").write_text("pkcs11:token=none;object=none\npassphrase:/nowhere\nawskms:alias/none\n")
        assert [i.kind for i in describe(tmp_path / "t")] == ["token", "passphrase", "kms"]
        assert {i.role for i in describe(tmp_path / "t")} == {"identity or recipient"}

    def test_site_key_and_share(self, tmp_path):
        load_or_create_site_key(tmp_path / "site")
        assert describe(tmp_path / "site")[0].role == "site key"
        identity, words = split_new_identity("hpke", 2, 3)
        pages = write_shares(tmp_path / "s", identity, words, kind="hpke", threshold=2)
        [info] = describe(pages[1])
        assert info.role == "share 2 of 3, 2 needed"
        assert info.fingerprint == fingerprint_text(identity.fingerprint)

    def test_problems(self, identity, tmp_path):
        write_identity(tmp_path / "k", identity)
        (tmp_path / "k").chmod(0o644)
        assert "0644" in describe(tmp_path / "k")[0].problem
        (tmp_path / "u").write_text("hello\niomtpk1aaa\n")
        unknown, damaged = describe(tmp_path / "u")
        assert "known kind" in unknown.problem
        assert "damaged" in damaged.problem
        (tmp_path / "e").write_text("# nothing\n")
        with pytest.raises(KeyMaterialError, match="no key in it"):
            describe(tmp_path / "e")

    def test_nothing_secret(self, identity, x25519, certified, secret_file, tmp_path):
        text = f"{identity.secret_text()}\n{x25519.secret_text()}\n{certified.private()}"
        shown = json.dumps([asdict(i) for i in describe(secret_file("all", text))])
        for line in text.splitlines():
            assert line.startswith("-----") or line not in shown
        load_or_create_site_key(tmp_path / "site")
        assert read_entries(tmp_path / "site", secret=True)[0].text not in repr(describe(tmp_path / "site"))


class TestTrial:
    def test_all_that_works(self, identity, x25519, certified, secret_file, cheap, tmp_path):
        words = secret_file("words", PASSPHRASE)
        text = f"{identity.secret_text()}\n{certified.private()}{certified.certificate()}passphrase:{words}\n"
        results = list(check(str(secret_file("all", text)), ask=None))
        assert [(r.role, r.error, r.notes) for r in results] == [("identity", None, ())] * 3
        (tmp_path / "team").write_text(f"{identity.recipient}\n{certified.certificate()}{x25519.recipient}\n")
        results = list(check(str(tmp_path / "team"), ask=None))
        assert [(r.role, r.error) for r in results] == [("recipient", None)] * 3
        assert results[2].fingerprint == fingerprint_text(x25519.fingerprint)

    def test_texts(self, identity, secret_file, cheap):
        assert [r.error for r in check(str(identity.recipient), ask=None)] == [None]
        [result] = check(f"passphrase:{secret_file('words', PASSPHRASE)}", ask=None)
        assert (result.role, result.error) == ("identity", None)
        asked = []
        [result] = check("passphrase:", ask=lambda what: asked.append(what) or PASSPHRASE)
        assert result.error is None
        assert asked == ["passphrase"]
        [result] = check("passphrase:", ask=lambda what: b"short")
        assert "at least 12" in str(result.error)

    def test_only_as_recipients(self, secret_file, cheap):
        path = secret_file("words", PASSPHRASE)
        [result] = check(f"passphrase:{path}", ask=None, recipients_only=True)
        assert result.role == "recipient"

    def test_locked(self, identity, tmp_path, cheap):
        write_identity(tmp_path / "k", identity, passphrase=b"p")
        assert [r.error for r in check(str(tmp_path / "k"), ask=lambda what: b"p")] == [None]
        [wrong] = check(str(tmp_path / "k"), ask=lambda what: b"q")
        assert "wrong passphrase" in str(wrong.error)
        [nobody] = check(str(tmp_path / "k"), ask=None)
        assert "nobody can be asked" in str(nobody.error)

    def test_expiry(self, certified, secret_file, tmp_path):
        (tmp_path / "soon").write_text(certified.certificate(end=NOW + 9 * DAY))
        [soon] = check(str(tmp_path / "soon"), ask=None)
        assert soon.notes == ("expires in 8 days",)
        expired = certified.certificate(start=NOW - 9 * DAY, end=NOW - DAY)
        (tmp_path / "old").write_text(expired)
        [old] = check(str(tmp_path / "old"), ask=None)
        assert "expired" in str(old.error)
        [identity] = check(str(secret_file("pem", certified.private() + expired)), ask=None)
        assert identity.error is None
        assert "cannot be encrypted to" in identity.notes[0]

    def test_one_bad_key_hides_no_other(self, identity, tmp_path):
        (tmp_path / "team").write_text(f"iomtpk1aaaa\n{identity.recipient}\n")
        bad, good = check(str(tmp_path / "team"), ask=None)
        assert "line 1" in str(bad.error)
        assert good.error is None

    def test_a_secret_that_others_may_read(self, identity, tmp_path):
        write_identity(tmp_path / "k", identity)
        (tmp_path / "k").chmod(0o644)
        with pytest.raises(KeyMaterialError, match="others may read"):
            list(check(str(tmp_path / "k"), ask=None))
        load_or_create_site_key(tmp_path / "site")
        assert [r.error for r in check(str(tmp_path / "site"), ask=None)] == [None]
        (tmp_path / "site").chmod(0o604)
        with pytest.raises(KeyMaterialError, match="others may read"):
            list(check(str(tmp_path / "site"), ask=None))

    def test_shares(self, tmp_path):
        identity, words = split_new_identity("x25519", 2, 2)
        pages = write_shares(tmp_path, identity, words, kind="x25519", threshold=2)
        [result] = check(str(pages[0]), ask=None)
        assert (result.role, result.error) == ("share", None)
        pages[0].write_text(pages[0].read_text().replace(" 1. ", " 1. un"))
        [result] = check(str(pages[0]), ask=None)
        assert "word list" in str(result.error)

    def test_an_identity_that_does_not_open(self, identity, tmp_path, monkeypatch):
        write_identity(tmp_path / "k", identity)
        monkeypatch.setattr(HpkeIdentity, "unwrap", lambda *a: None)
        [result] = check(str(tmp_path / "k"), ask=None)
        assert isinstance(result.error, NoMatchingIdentityError)

    def test_unknown(self):
        with pytest.raises(KeyMaterialError, match="neither a file"):
            list(check("vault:x", ask=None))
