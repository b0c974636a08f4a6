"""Keys on the command line: made, split, looked at, tried; every kind encrypts and decrypts."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from key_material import DAY, NOW, PASSPHRASE, Certified
from synthetic import file, image
from typer.testing import CliRunner

from iomt_crypt.cli.app import app
from iomt_crypt.cli.option import asker
from iomt_crypt.errors import IomtCryptError
from iomt_crypt.seal import fingerprint_text, load_identities, load_recipients, share, write_identity
from iomt_crypt.seal import passphrase as locked
from iomt_crypt.seal.kind.x25519 import X25519Identity

RAW = file(image(bytes(range(64)), uid="1.2.3.4"))


class Run:
    """One run of the command line in this process: what `main` makes of it."""

    def __init__(self, *arguments: object) -> None:
        made = CliRunner().invoke(app, [str(a) for a in arguments])
        self.code, self.out, self.err = made.exit_code, made.stdout, made.stderr
        if isinstance(made.exception, IomtCryptError):
            self.code = 1
            self.err += f"error: {made.exception}\nhint: {made.exception.hint}\n"
        elif made.exception is not None and not isinstance(made.exception, SystemExit):
            raise made.exception

    @property
    def said(self) -> str:
        return self.out + self.err

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    monkeypatch.setattr(locked, "_LOG2_N", 4)


@pytest.fixture(scope="module")
def certified() -> Certified:
    return Certified(rsa.generate_private_key(65537, 2048))


@pytest.fixture
def folder(tmp_path, certified) -> Path:
    """Files of keys of every kind, as users have them; no secret readable by others."""
    secrets = {
        "words": PASSPHRASE.decode() + "\n",
        "key.pem": certified.private(),
        "pair.pem": certified.private(b"open sesame") + certified.certificate(),
        "sesame": "open sesame\n",
    }
    public = certified.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for name, text in (secrets | {"cert.pem": certified.certificate(), "public.pem": public}).items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600 if name in secrets else 0o644)
    (tmp_path / "image.dcm").write_bytes(RAW)
    return tmp_path


def round_trip(folder: Path, recipients: list[object], identity: list[object]) -> Run:
    """Encrypt to ``recipients``, decrypt with ``identity``; the run of decrypt."""
    to = [argument for recipient in recipients for argument in ("-r", recipient)]
    made = Run("encrypt", *to, folder / "image.dcm", "-o", folder / "out")
    assert made.code == 0, made.said
    return Run("decrypt", *identity, folder / "out", "-o", folder / "back", "--overwrite")


class TestEveryKind:
    @pytest.mark.parametrize(
        ("recipient", "identity"),
        [
            ("cert.pem", ["key.pem"]),
            ("cert.pem", ["pair.pem", "--passphrase-file", "sesame"]),
            ("public.pem", ["key.pem"]),
            ("passphrase:words", ["passphrase:words"]),
            ("passphrase:words", ["passphrase:", "--passphrase-file", "words"]),
        ],
    )
    def test_alone(self, recipient, identity, folder, monkeypatch):
        monkeypatch.chdir(folder)
        done = round_trip(folder, [recipient], ["-i", *identity])
        assert done.code == 0, done.said
        assert (folder / "back" / "image.dcm").read_bytes() == RAW

    @pytest.mark.parametrize("kind", ["hpke", "x25519"])
    def test_generated(self, kind, folder):
        made = Run("keygen", "--kind", kind, "-o", folder / "k")
        assert made.code == 0
        done = round_trip(folder, [made.out.strip()], ["-i", folder / "k"])
        assert done.code == 0, done.said
        assert (folder / "back" / "image.dcm").read_bytes() == RAW

    def test_five_in_one_object(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        texts = [
            Run("keygen", "--kind", kind, "-o", name).out.strip() for kind, name in (("hpke", "a"), ("x25519", "b"))
        ]
        (folder / "team").write_text(f"# the team\n{texts[0]}\n{(folder / 'cert.pem').read_text()}passphrase:words\n")
        other = Run("keygen", "-o", "c").out.strip()
        for identity in (["a"], ["b"], ["c"], ["key.pem"], ["passphrase:words"]):
            done = round_trip(folder, ["team", texts[1], other], ["-i", *identity])
            assert done.code == 0, done.said
            assert (folder / "back" / "image.dcm").read_bytes() == RAW
            (folder / "back" / "image.dcm").unlink()
            (folder / "out" / "image.dcm").unlink()

    def test_the_wrong_identity(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        Run("keygen", "-o", "stranger")
        (folder / "other words").write_text("another five words here\n")
        (folder / "other words").chmod(0o600)
        for recipient in ("cert.pem", "passphrase:words"):
            for identity in ("stranger", "passphrase:other words"):
                done = round_trip(folder, [recipient], ["-i", identity])
                assert done.code == 1
                assert "no matching identity" in done.err
                assert not (folder / "back" / "image.dcm").exists()
                (folder / "out" / "image.dcm").unlink()

    def test_a_passphrase_is_not_retired_by_mistake(self, folder, monkeypatch):
        """Its stanzas do not tell whose they are: an object that is only under passphrases counts as its own."""
        monkeypatch.chdir(folder)
        assert round_trip(folder, ["passphrase:words"], ["-i", "passphrase:words"]).code == 0
        asked = Run("key", "usage", "-i", "passphrase:words", "out")
        assert asked.code == 1
        assert "opened by no other identity" in asked.err
        own = Run("keygen", "-o", "k").out.strip()
        Run("rekey", "-i", "passphrase:words", "-r", own, "-r", "passphrase:words", "out")
        assert Run("key", "usage", "-i", "passphrase:words", "out").code == 0

    def test_an_expired_certificate(self, folder, certified):
        (folder / "old.pem").write_text(certified.certificate(start=NOW - 9 * DAY, end=NOW - DAY))
        done = Run("encrypt", "-r", folder / "old.pem", folder / "image.dcm", "-o", folder / "out")
        assert done.code == 1
        assert re.search(r"error: .*old\.pem, line 1: certificate [0-9a-f-]{19} expired on", done.err)
        assert not (folder / "out").exists()


class TestKeygen:
    @pytest.mark.parametrize(("kind", "prefix"), [("hpke", "iomtpk1"), ("x25519", "iomtpkx1")])
    def test_kinds(self, kind, prefix, tmp_path):
        made = Run("keygen", "--kind", kind, "-o", tmp_path / "k")
        assert made.out.startswith(prefix)
        [info] = Run("key", "info", tmp_path / "k", "--json").lines()
        assert (info["kind"], info["recipient"]) == (kind, made.out.strip())

    def test_split(self, tmp_path):
        made = Run("keygen", "--split", "2/3", "--shares", tmp_path / "s")
        assert made.code == 0
        pages = sorted((tmp_path / "s").iterdir())
        assert [page.name[-10:] for page in pages] == ["1-of-3.txt", "2-of-3.txt", "3-of-3.txt"]
        assert sorted(p.name for p in tmp_path.iterdir()) == ["s"], "no identity file unless one is named"
        assert made.err.count("share written to") == 3
        back = Run("key", "combine", pages[2], pages[0], "-o", tmp_path / "k")
        assert (back.code, back.out) == (0, made.out)
        assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
        words = [w for page in pages for line in page.read_text().splitlines() if line[0] != "#" for w in line.split()]
        assert not [w for w in words if len(w) > 7 and w in made.said + back.said]

    def test_split_and_file(self, tmp_path):
        [made] = Run("keygen", "--split", "2/2", "--shares", tmp_path / "s", "-o", tmp_path / "k", "--json").lines()
        assert made["identity"] == str(tmp_path / "k")
        assert (made["threshold"], len(made["shares"])) == (2, 2)
        [back] = Run("key", "combine", *made["shares"], "-o", tmp_path / "again", "--json").lines()
        assert back["fingerprint"] == made["fingerprint"]
        ours, again = (load_identities([tmp_path / name])[0].secret_text() for name in ("k", "again"))
        assert ours == again

    @pytest.mark.parametrize(
        "options",
        [["--split", "2/3"], ["--shares", "s"], ["--split", "3", "--shares", "s"], ["--split", "a/b", "--shares", "s"],
         ["--split", "2/3", "--shares", "s", "--passphrase"], ["--kind", "rsa"]],
    )  # fmt: skip
    def test_usage(self, options, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert Run("keygen", *options).code == 2
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("split", ["1/3", "4/3", "2/17"])
    def test_impossible_split(self, split, tmp_path):
        made = Run("keygen", "--split", split, "--shares", tmp_path / "s")
        assert made.code == 1
        assert "shares cannot be made" in made.err
        assert not (tmp_path / "s").exists()

    def test_shares_where_nothing_can_be_written(self, tmp_path):
        (tmp_path / "s").write_text("a file")
        made = Run("keygen", "--split", "2/3", "--shares", tmp_path / "s")
        assert (made.code, made.out) == (1, "")
        assert "cannot be written there" in made.err


class TestSplitIsAllOrNothing:
    """Shares of an identity whose recipient nobody knows are secrets that nobody looks after."""

    def made(self, tmp_path, *options: object) -> Run:
        return Run("keygen", "--split", "2/3", "--shares", tmp_path / "s", "-o", tmp_path / "k", *options)

    def test_the_file_exists(self, tmp_path):
        (tmp_path / "k").write_text("precious")
        made = self.made(tmp_path)
        assert (made.code, made.out) == (1, "")
        assert "exists already" in made.err
        assert [path.name for path in tmp_path.rglob("*")] == ["k"]
        assert (tmp_path / "k").read_text() == "precious"

    def test_the_file_cannot_be_written(self, tmp_path):
        made = Run("keygen", "--split", "2/3", "--shares", tmp_path / "s", "-o", tmp_path / "none" / "k")
        assert made.code == 1
        assert list(tmp_path.iterdir()) == []

    def test_the_shares_cannot_be_written(self, tmp_path):
        (tmp_path / "s").write_text("a file")
        assert self.made(tmp_path).code == 1
        assert [path.name for path in tmp_path.iterdir()] == ["s"]

    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_the_recipient_cannot_be_told(self, tmp_path, monkeypatch, options):
        """A full disk under ``> escrow.pub``; shares of others stay."""
        (tmp_path / "s").mkdir()
        (tmp_path / "s" / "others-share-1-of-3.txt").write_text("theirs")

        def full(*_: object, **__: object) -> None:
            assert len(list((tmp_path / "s").iterdir())) == 4
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("typer.echo", full)
        with pytest.raises(OSError, match="No space left"):
            self.made(tmp_path, *options)
        assert [path.name for path in tmp_path.rglob("*.*")] == ["others-share-1-of-3.txt"]
        assert not (tmp_path / "k").exists()

    def test_once_the_recipient_is_told_all_stays(self, tmp_path, monkeypatch):
        """Who has it may encrypt to it."""
        echo = typer.echo

        def no_stderr(message: str, *, err: bool = False) -> None:
            if err:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            echo(message)

        monkeypatch.setattr("typer.echo", no_stderr)
        with pytest.raises(OSError, match="No space left"):
            self.made(tmp_path)
        assert len(list((tmp_path / "s").iterdir())) == 3
        assert (tmp_path / "k").exists()

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "error"), OSError(errno.ENOSPC, "full")])
    @pytest.mark.parametrize("there", [False, True])
    def test_a_share_that_fails(self, tmp_path, monkeypatch, error, there):
        """Also one that has appeared already, and was not made durable."""
        write_secret, written = share.write_secret, []

        def write(path: Path, text: str) -> None:
            if there or len(written) < 2:
                write_secret(path, text)
            written.append(path)
            if len(written) == 3:
                raise error

        monkeypatch.setattr(share, "write_secret", write)
        assert self.made(tmp_path).code != 0
        assert len(written) == 3
        assert list(tmp_path.iterdir()) == []

    def test_the_file_among_the_shares(self, tmp_path):
        made = Run("keygen", "--split", "2/3", "--shares", tmp_path / "s", "-o", tmp_path / "s" / "k")
        assert made.code == 0
        assert len(list((tmp_path / "s").iterdir())) == 4


class TestCombine:
    def test_too_few(self, tmp_path):
        Run("keygen", "--split", "3/4", "--shares", tmp_path / "s")
        pages = sorted((tmp_path / "s").iterdir())
        done = Run("key", "combine", *pages[:2], "-o", tmp_path / "k")
        assert done.code == 1
        assert "2 different shares given, 3 needed" in done.err
        assert not (tmp_path / "k").exists()

    def test_under_a_passphrase(self, folder):
        Run("keygen", "--split", "2/2", "--shares", folder / "s")
        done = Run(
            "key", "combine", *(folder / "s").iterdir(), "-o", folder / "k", "--passphrase-file", folder / "words"
        )
        assert done.code == 0
        assert "iomtsk1" not in (folder / "k").read_text()
        assert Run("key", "check", folder / "k", "--passphrase-file", folder / "words").code == 0

    def test_never_overwrites(self, tmp_path):
        Run("keygen", "--split", "2/2", "--shares", tmp_path / "s")
        (tmp_path / "k").write_text("precious")
        done = Run("key", "combine", *(tmp_path / "s").iterdir(), "-o", tmp_path / "k")
        assert done.code == 1
        assert "exists already" in done.err
        assert (tmp_path / "k").read_text() == "precious"


class TestInfo:
    def test_transcript(self, tmp_path, identity):
        write_identity(tmp_path / "k", identity)
        done = Run("key", "info", tmp_path / "k")
        assert done.code == 0
        fingerprint = fingerprint_text(identity.fingerprint)
        assert re.fullmatch(
            rf".*k, line 6: identity\n  kind +hpke\n  fingerprint +{fingerprint}\n"
            r"  created +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n  recipient +iomtpk1[a-z2-7]{33}\.\.\.\n",
            done.out,
        )

    def test_several(self, folder):
        done = Run("key", "info", folder / "pair.pem", folder / "cert.pem", folder / "none", "--json")
        assert done.code == 1
        pair, certificate, none = done.lines()
        assert (pair["role"], pair["locked"]) == ("identity", True)
        assert pair["fingerprint"] == certificate["fingerprint"]
        assert none["state"] == "failed"

    def test_a_text(self, identity):
        [info] = Run("key", "info", identity.recipient, "--json").lines()
        assert (info["role"], info["fingerprint"]) == ("recipient", fingerprint_text(identity.fingerprint))

    def test_problems_are_failures(self, tmp_path, identity):
        write_identity(tmp_path / "k", identity)
        (tmp_path / "k").chmod(0o640)
        done = Run("key", "info", tmp_path / "k")
        assert done.code == 1
        assert "others may read it (mode 0640)" in done.out


class TestCheck:
    def test_transcript(self, folder, identity):
        write_identity(folder / "k", identity)
        done = Run("key", "check", folder / "k", folder / "cert.pem", f"passphrase:{folder / 'words'}")
        assert done.code == 0, done.said
        own, certificate, passphrase = done.out.splitlines()
        assert own == f"{folder / 'k'}, line 6: identity {fingerprint_text(identity.fingerprint)} works"
        assert re.search(r"cert\.pem, line 1: recipient [0-9a-f-]{19} works$", certificate)
        assert passphrase.endswith("works")

    def test_failures(self, folder, identity):
        (folder / "bad").write_text(f"{identity.recipient}\niomtpk1aaaa\n")
        done = Run("key", "check", folder / "bad", folder / "none", "vault:key", "--json")
        assert done.code == 1
        assert [line["state"] for line in done.lines()] == ["done", "failed", "failed", "failed"]
        assert all(line["hint"] for line in done.lines()[1:2] + done.lines()[3:])
        plain = Run("key", "check", folder / "bad")
        assert "error: " in plain.err
        assert "hint: copy the whole line" in plain.err

    def test_locked_without_a_terminal(self, folder):
        done = Run("key", "check", folder / "pair.pem")
        assert done.code == 1
        assert "hint: --passphrase-file FILE" in done.err
        assert Run("key", "check", folder / "pair.pem", "--passphrase-file", folder / "sesame").code == 0

    def test_only_as_recipients(self, folder):
        (folder / "team").write_text(f"passphrase:{folder / 'words'}\n")
        [result] = Run("key", "check", "--recipients", folder / "team", "--json").lines()
        assert (result["role"], result["state"]) == ("recipient", "done")


class TestExportRecipient:
    def test_texts(self, folder, identity):
        write_identity(folder / "k", identity)
        with (folder / "k").open("a") as out:
            out.write(X25519Identity.generate().secret_text() + "\n")
        done = Run("key", "export-recipient", folder / "k")
        assert done.code == 0
        assert load_recipients(done.out.splitlines())[0].fingerprint == identity.fingerprint
        assert len(done.out.splitlines()) == 2

    def test_certificate(self, folder, certified):
        done = Run("key", "export-recipient", folder / "pair.pem", "--passphrase-file", folder / "sesame")
        assert done.out.strip() in (folder / "pair.pem").read_text()
        assert done.out.startswith("-----BEGIN CERTIFICATE-----")
        alone = Run("key", "export-recipient", folder / "key.pem", "--json")
        assert alone.lines()[0]["recipient"].strip() == (folder / "public.pem").read_text().strip()

    def test_none(self, folder):
        done = Run("key", "export-recipient", f"passphrase:{folder / 'words'}")
        assert (done.code, done.out) == (1, "")
        assert "has no recipient text" in done.err


def test_a_secret_in_place_of_a_file_is_not_repeated(folder, identity):
    """It was in the argument vector already; logs of terminals and schedulers need not have it too."""
    for secret in (identity.secret_text(), X25519Identity.generate().secret_text()):
        for text in (secret, secret.upper(), secret[3:]):
            for command in (
                ["key", "info", text],
                ["key", "check", text],
                ["key", "check", text, "--json"],
                ["key", "export-recipient", text],
                ["encrypt", "-r", text, folder / "image.dcm", "-o", folder / "out"],
                ["decrypt", "-i", text, folder / "image.dcm", "-o", folder / "out"],
                ["verify", "-i", text, folder / "image.dcm"],
            ):
                done = Run(*command)
                assert done.code == 1
                assert secret[20:40] not in done.said.lower()
    assert not (folder / "out").exists()


def test_a_passphrase_in_place_of_a_file_is_not_repeated(folder):
    text = f"passphrase:{PASSPHRASE.decode()}"
    for command in (
        ["key", "check", text],
        ["key", "info", text],
        ["encrypt", "-r", text, folder / "image.dcm", "-o", folder / "out"],
        ["decrypt", "-i", text, folder / "image.dcm", "-o", folder / "out"],
    ):
        done = Run(*command)
        assert done.code == (0 if "info" in command else 1)
        assert PASSPHRASE.decode() not in done.said


def typed(folder: Path, answers: list[bytes], *arguments: str) -> tuple[int, bytes]:
    """Exit code and output of a run at a terminal, where each prompt gets the next answer."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-m", "iomt_crypt", *arguments])
    said = b""
    pending = list(answers)
    while True:
        try:
            said += os.read(terminal, 4096)
        except OSError:  # the terminal is closed when the process ends
            break
        if pending and said.endswith(b": "):
            os.write(terminal, pending.pop(0) + b"\n")
            said += b"\n"
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), said


class TestTerminal:
    def test_a_new_passphrase_is_asked_for_twice(self, folder):
        options = ("encrypt", "-r", "passphrase:", "image.dcm", "-o", "out")
        slip = [PASSPHRASE, PASSPHRASE[:-1], PASSPHRASE, PASSPHRASE]
        code, said = typed(folder, slip, *options)
        assert code == 0, said
        assert b"do not match" in said
        assert PASSPHRASE not in said
        done = Run("decrypt", "-i", f"passphrase:{folder / 'words'}", folder / "out", "-o", folder / "back")
        assert done.code == 0, done.said
        assert (folder / "back" / "image.dcm").read_bytes() == RAW

    @pytest.mark.parametrize(
        ("what", "twice"),
        [("passphrase", True), ("team: passphrase", True), ("PIN of token x", False), ("k.key", False)],
    )
    def test_what_is_confirmed(self, what, twice, monkeypatch):
        """A new passphrase, also in a list of recipients; not a PIN, which is there already."""
        asked = []
        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
        monkeypatch.setattr("typer.prompt", lambda label, **options: asked.append((label, options)) or "secret")
        assert asker(None, confirm=True)(what) == b"secret"
        [(label, options)] = asked
        assert (options["confirmation_prompt"], options["hide_input"]) == (twice, True)
        assert what in label
        assert not asker(None)(what) or asked[1][1]["confirmation_prompt"] is False

    def test_the_prompt_names_the_file(self, folder):
        code, said = typed(folder, [b"open sesame"], "key", "check", "pair.pem")
        assert code == 0, said
        assert b"passphrase (pair.pem: private key): " in said
