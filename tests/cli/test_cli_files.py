"""Transcripts of keygen, encrypt, decrypt, inspect and verify: what is said, the exit code, what is on disk."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread
from synthetic import element, file, image
from typer.testing import CliRunner

import iomt_crypt
from iomt_crypt.cli.app import app, main
from iomt_crypt.errors import IomtCryptError
from iomt_crypt.seal import HpkeIdentity, load_identities, write_identity
from iomt_crypt.seal import passphrase as locked

runner = CliRunner()


class Result:
    """One run of the command line."""

    def __init__(self, *arguments: object) -> None:
        made = runner.invoke(app, [str(a) for a in arguments])
        error = made.exception
        self.code, self.out, self.err = made.exit_code, made.stdout, made.stderr
        if isinstance(error, IomtCryptError):  # what `main` does with it
            self.code, self.err = 1, f"{self.err}error: {error}\n" + (f"hint: {error.hint}\n" if error.hint else "")
        elif error is not None and not isinstance(error, SystemExit):
            raise error

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]


def tree(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) if folder.exists() else []


@pytest.fixture
def key(tmp_path, identity) -> Path:
    path = tmp_path / "identity.key"
    write_identity(path, identity)
    return path


@pytest.fixture
def recipient(identity) -> str:
    return str(identity.recipient)


@pytest.fixture
def studies(tmp_path) -> Path:
    """Two patients with files of equal names, a text file, a link and an empty folder."""
    for n, patient in enumerate(("a", "b")):
        folder = tmp_path / "in" / patient
        folder.mkdir(parents=True)
        for i in range(2):
            raw = file(image(bytes([n * 2 + i]) * 64, uid=f"1.2.3.{n}.{i}"))
            (folder / f"image{i}.dcm").write_bytes(raw)
    (tmp_path / "in" / "a" / "notes.txt").write_text("call back on Monday, please, and bring the films")
    (tmp_path / "in" / "link.dcm").symlink_to(tmp_path / "in" / "a" / "image0.dcm")
    (tmp_path / "in" / "empty").mkdir()
    return tmp_path / "in"


IMAGES = ["a/image0.dcm", "a/image1.dcm", "b/image0.dcm", "b/image1.dcm"]


class TestKeygen:
    def test_transcript(self, tmp_path):
        done = Result("keygen", "-o", tmp_path / "k")
        assert done.code == 0
        assert re.fullmatch(r"iomtpk1[a-z2-7]+\n", done.out)
        assert re.fullmatch(
            r"identity ([0-9a-f]{4}-){3}[0-9a-f]{4} written to .*k; without it nothing can be decrypted\n", done.err
        )
        assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
        assert str(load_identities([tmp_path / "k"])[0].recipient) == done.out.strip()
        assert load_identities([tmp_path / "k"])[0].secret_text() not in done.out + done.err

    def test_json(self, tmp_path):
        [line] = Result("keygen", "-o", tmp_path / "k", "--json").lines()
        assert set(line) == {"identity", "fingerprint", "recipient"}

    def test_never_overwrites(self, key):
        before = key.read_bytes()
        done = Result("keygen", "-o", key)
        assert done.code == 1
        assert (
            done.err
            == f"error: {key}: exists already\nhint: a key file is never overwritten; choose another name with -o\n"
        )
        assert done.out == ""
        assert key.read_bytes() == before

    def test_no_such_folder(self, tmp_path):
        done = Result("keygen", "-o", tmp_path / "none" / "k")
        assert (done.code, done.out) == (1, "")
        assert "cannot be written" in done.err

    def test_passphrase_file(self, tmp_path, monkeypatch, studies):
        monkeypatch.setattr(locked, "_LOG2_N", 4)
        (tmp_path / "pass").write_bytes(b"correct horse\nsecond line\n")
        (tmp_path / "wrong").write_bytes(b"battery staple\n")
        for name in ("pass", "wrong"):
            (tmp_path / name).chmod(0o600)
        made = Result("keygen", "-o", tmp_path / "k", "--passphrase-file", tmp_path / "pass")
        assert made.code == 0
        assert "iomtsk1" not in (tmp_path / "k").read_text()
        assert Result("encrypt", "-r", made.out.strip(), studies / "b", "-o", tmp_path / "out").code == 0
        asked = Result("decrypt", "-i", tmp_path / "k", tmp_path / "out", "-o", tmp_path / "back")
        assert asked.code == 1
        assert "hint: --passphrase-file FILE" in asked.err
        refused = Result(
            "decrypt",
            "-i",
            tmp_path / "k",
            tmp_path / "out",
            "-o",
            tmp_path / "back",
            "--passphrase-file",
            tmp_path / "wrong",
        )
        assert (refused.code, refused.err) == (1, f"error: {tmp_path / 'k'}, line 6: wrong passphrase\n")
        assert tree(tmp_path / "back") == []
        done = Result(
            "decrypt",
            "-i",
            tmp_path / "k",
            tmp_path / "out",
            "-o",
            tmp_path / "back",
            "--passphrase-file",
            tmp_path / "pass",
        )
        assert done.code == 0
        assert len(tree(tmp_path / "back")) == 2

    @pytest.mark.parametrize("content", [b"", b"\n"])
    def test_empty_passphrase(self, content, tmp_path):
        (tmp_path / "pass").write_bytes(content)
        done = Result("keygen", "-o", tmp_path / "k", "--passphrase-file", tmp_path / "pass")
        assert done.code == 1
        assert done.err.startswith("error: ")
        assert not (tmp_path / "k").exists()


class TestFolders:
    def test_there_and_back(self, studies, key, recipient, tmp_path):
        done = Result("encrypt", "-r", recipient, studies, "-o", tmp_path / "out")
        assert done.code == 0
        assert done.out == ""
        assert done.err == (
            f"skipped: {studies}/a/notes.txt: not a DICOM file: neither 'DICM' at offset 128 nor a data element at the "
            "beginning\nencrypted: 4, 1 skipped\n"
        )
        assert tree(tmp_path / "out") == IMAGES
        for name in IMAGES:
            plain, sealed = dcmread(studies / name), dcmread(tmp_path / "out" / name)
            assert plain.PixelData != sealed.PixelData
            assert sealed.SOPInstanceUID.startswith("2.25.")
        done = Result("decrypt", "-i", key, tmp_path / "out", "-o", tmp_path / "back")
        assert (done.code, done.out, done.err) == (0, "", "decrypted: 4\n")
        assert tree(tmp_path / "back") == IMAGES
        assert all((tmp_path / "back" / n).read_bytes() == (studies / n).read_bytes() for n in IMAGES)

    def test_json(self, studies, key, recipient, tmp_path):
        done = Result("encrypt", "-r", recipient, studies, "-o", tmp_path / "out", "--json")
        assert [line["state"] for line in done.lines()] == ["done", "done", "skipped", "done", "done"]
        assert {line.get("form") for line in done.lines()} == {"native", None}
        assert all(Path(line["output"]).stat().st_size == line["size_bytes"] for line in done.lines() if "form" in line)
        done = Result("decrypt", "-i", key, tmp_path / "out", "-o", tmp_path / "back", "--json")
        assert [line["sop_instance_uid"] for line in done.lines()] == [
            "1.2.3.0.0",
            "1.2.3.0.1",
            "1.2.3.1.0",
            "1.2.3.1.1",
        ]
        assert all(line["changed"] == [] and line["corrections_applied"] is False for line in done.lines())

    def test_resume_and_overwrite(self, studies, key, recipient, tmp_path):
        out = tmp_path / "out"
        assert Result("encrypt", "-r", recipient, studies / "a", "-o", out / "a").code == 0
        before = {n: (out / n).read_bytes() for n in tree(out)}
        again = Result("encrypt", "-r", recipient, studies, "-o", out)
        assert again.code == 1
        assert again.err.count("exists already") == 2
        assert "hint: nothing is overwritten unless --overwrite is given" in again.err
        assert tree(out) == IMAGES, "a failed input does not stop the others"
        assert {n: (out / n).read_bytes() for n in before} == before
        resumed = Result("encrypt", "-r", recipient, studies, "-o", out, "--resume")
        assert resumed.code == 0
        assert resumed.err.endswith("encrypted: 0, 5 skipped\n")
        assert {n: (out / n).read_bytes() for n in before} == before
        assert Result("encrypt", "-r", recipient, studies, "-o", out, "--overwrite").code == 0
        assert all((out / n).read_bytes() != data for n, data in before.items())

    @pytest.mark.parametrize("option", ["--overwrite", "--resume", "--json"])
    def test_two_inputs_never_become_one_output(self, option, studies, recipient, tmp_path):
        done = Result("encrypt", "-r", recipient, studies / "a", studies / "b", "-o", tmp_path / "out", option)
        assert done.code == 1
        assert done.err.count(f"{tmp_path}/out/image0.dcm: the result of {studies}/a/image0.dcm is there") == 1
        uids = {dcmread(tmp_path / "out" / n).SOPInstanceUID for n in tree(tmp_path / "out")}
        assert len(uids) == 2

    def test_nothing_to_do(self, studies, recipient, tmp_path):
        done = Result("encrypt", "-r", recipient, studies / "empty", "-o", tmp_path / "out")
        assert done.code == 1
        assert "error: no files found" in done.err

    def test_a_named_file_that_is_not_dicom_is_a_failure(self, studies, recipient, tmp_path):
        done = Result("encrypt", "-r", recipient, studies / "a" / "notes.txt", "-o", tmp_path / "out")
        assert done.code == 1
        assert done.err.startswith(f"error: {studies}/a/notes.txt: not a DICOM file")
        assert tree(tmp_path / "out") == []

    def test_policies(self, studies, key, recipient, tmp_path):
        done = Result(
            "encrypt",
            "-r",
            recipient,
            studies,
            "-o",
            tmp_path / "out",
            "--suite",
            "chaos-cnn-1",
            "--uids",
            "keep",
            "--json",
        )
        assert done.code == 0
        lines = [line for line in done.lines() if line["state"] == "done"]
        assert {line["suite"] for line in lines} == {"chaos-cnn-1"}
        assert [line["sop_instance_uid"] for line in lines] == ["1.2.3.0.0", "1.2.3.0.1", "1.2.3.1.0", "1.2.3.1.1"]

    def test_site_key(self, studies, recipient, tmp_path):
        uids = []
        for n, site in enumerate(("s1", "s1", "s2")):
            Result("encrypt", "-r", recipient, studies / "a", "-o", tmp_path / f"o{n}", "--site-key", tmp_path / site)
            uids.append(dcmread(tmp_path / f"o{n}" / "image0.dcm").SOPInstanceUID)
        assert uids[0] == uids[1] != uids[2]
        assert stat.S_IMODE((tmp_path / "s1").stat().st_mode) == 0o600


class TestFailures:
    @pytest.fixture
    def sealed(self, studies, recipient, tmp_path) -> Path:
        assert Result("encrypt", "-r", recipient, studies / "a", "-o", tmp_path / "sealed").code == 0
        return tmp_path / "sealed"

    def test_wrong_identity(self, sealed, tmp_path):
        write_identity(tmp_path / "other", HpkeIdentity.generate())
        done = Result("decrypt", "-i", tmp_path / "other", sealed / "image0.dcm", "-o", tmp_path / "back")
        assert done.code == 1
        assert done.err == (
            f"error: {sealed}/image0.dcm: no matching identity\n"
            "hint: 'iomt-crypt inspect' lists the fingerprints of the recipients it was encrypted to\n"
            "decrypted: 0, 1 failed\n"
        )
        assert tree(tmp_path / "back") == []

    def test_damaged(self, sealed, key, tmp_path):
        raw = bytearray((sealed / "image0.dcm").read_bytes())
        raw[-1] ^= 1
        (sealed / "image0.dcm").write_bytes(raw)
        done = Result("decrypt", "-i", key, sealed, "-o", tmp_path / "back")
        assert done.code == 1
        assert f"error: {sealed}/image0.dcm: authentication failed\n" in done.err
        assert done.err.endswith("decrypted: 1, 1 failed\n")
        assert tree(tmp_path / "back") == ["image1.dcm"]
        checked = Result("verify", "-i", key, sealed, "--json")
        assert checked.code == 1
        assert [line["state"] for line in checked.lines()] == ["failed", "done"]
        assert Result("verify", sealed).code == 0, "no key, no verdict on pixels"

    def test_plain_input(self, studies, key, tmp_path):
        done = Result("decrypt", "-i", key, studies / "b" / "image0.dcm", "-o", tmp_path / "back")
        assert done.code == 1
        assert "not encrypted by iomt-crypt" in done.err
        assert tree(tmp_path / "back") == []

    def test_encrypted_input(self, sealed, recipient, tmp_path):
        done = Result("encrypt", "-r", recipient, sealed / "image0.dcm", "-o", tmp_path / "twice")
        assert done.code == 1
        assert "encrypted already" in done.err
        assert tree(tmp_path / "twice") == []

    @pytest.mark.parametrize("headers", ["merged", "original", "strict"])
    def test_headers(self, headers, sealed, studies, key, tmp_path):
        ds = dcmread(sealed / "image0.dcm")
        ds.PatientName = "Roe^Jane"
        ds.save_as(sealed / "image0.dcm")
        done = Result("decrypt", "-i", key, sealed / "image0.dcm", "-o", tmp_path / "back", "--headers", headers)
        assert done.code == (1 if headers == "strict" else 0)
        assert ("PatientName (0010,0010)" in done.err) == (headers != "original")  # which compares nothing
        assert "Roe" not in done.err + done.out
        assert "Doe" not in done.err + done.out
        if headers == "strict":
            assert tree(tmp_path / "back") == []
        else:
            name = dcmread(tmp_path / "back" / "image0.dcm").PatientName
            assert name == ("Roe^Jane" if headers == "merged" else "Doe^John")

    def test_a_clear_header_that_cannot_be_parsed(self, sealed, studies, key, tmp_path):
        """Record and pixels are there: the original comes back, and nobody says that the header is unchanged."""
        path = sealed / "image0.dcm"
        data = path.read_bytes()
        name = element(0x00100010, "PN", b"Doe^John")
        assert data.count(name) == 1
        path.write_bytes(data.replace(name, b"\x10\0\x10\0UN\0\0\xf0\xff\xff\x7f"))
        said = "the clear header was not compared: "
        done = Result("decrypt", "-i", key, path, "-o", tmp_path / "back")
        assert done.code == 0
        assert f"remark: {path}: {said}" in done.err
        assert (tmp_path / "back" / "image0.dcm").read_bytes() == (studies / "a" / "image0.dcm").read_bytes()
        line = Result("decrypt", "-i", key, path, "-o", tmp_path / "again", "--json").lines()[0]
        assert line["remark"].startswith(said)
        assert (line["changed"], line["compared"], line["corrections_applied"]) == ([], False, False)
        line = Result("decrypt", "-i", key, path, "-o", tmp_path / "dry", "--json", "--dry-run").lines()[0]
        assert (line["compared"], line["remark"].startswith(said)) == (False, True)
        found = Result("verify", "-i", key, path)
        assert found.code == 0
        assert said in found.out
        assert Result("verify", "-i", key, path, "--json").lines()[0]["remark"].startswith(said)
        assert Result("verify", path).code == 1, "without a key, plain pixels could stand in the damage"
        strict = Result("decrypt", "-i", key, path, "-o", tmp_path / "strict", "--headers", "strict")
        assert (strict.code, tree(tmp_path / "strict")) == (1, [])
        assert said in strict.err

    def test_outputs_that_cannot_be(self, studies, recipient, key, tmp_path):
        for output in (key, key / "below", Path("/proc/none")):
            done = Result("encrypt", "-r", recipient, studies / "a" / "image0.dcm", "-o", output)
            assert done.code == 1
            assert "cannot be written" in done.err
        assert load_identities([key])

    @pytest.mark.parametrize("name", ["nothing.dcm", "a" * 300])
    def test_inputs_that_are_not_there(self, name, recipient, key, tmp_path):
        for arguments in (("encrypt", "-r", recipient), ("decrypt", "-i", key)):
            done = Result(*arguments, tmp_path / name, "-o", tmp_path / "out")
            assert done.code == 1
            assert done.err.startswith("error: ")
        for command in ("inspect", "verify"):
            assert Result(command, tmp_path / name).code == 1

    def test_keys_that_are_none(self, studies, key, tmp_path):
        (tmp_path / "noise").write_bytes(os.urandom(100))
        for text in ("garbage", "iomtpk1aaaa", tmp_path / "noise", key):
            done = Result("encrypt", "-r", text, studies, "-o", tmp_path / "out")
            assert done.code == 1
            assert done.err.startswith("error: ")
        key.chmod(0o644)
        done = Result("decrypt", "-i", key, studies, "-o", tmp_path / "out")
        assert done.code == 1
        assert f"hint: chmod 600 {key}" in done.err
        assert tree(tmp_path / "out") == []

    def test_recipient_twice(self, studies, recipient, tmp_path):
        done = Result("encrypt", "-r", recipient, "-r", recipient, studies, "-o", tmp_path / "out")
        assert (done.code, done.err) == (1, "error: the same recipient is given twice\n")


class TestInspectAndVerify:
    def test_inspect(self, studies, recipient, identity, tmp_path):
        Result("encrypt", "-r", recipient, studies / "a" / "image0.dcm", "-o", tmp_path / "out")
        done = Result("inspect", tmp_path / "out" / "image0.dcm")
        assert done.code == 0
        assert "yes, hybrid-1, by iomt-crypt" in done.out
        fingerprint = "-".join(re.findall("....", identity.fingerprint.hex()))
        assert fingerprint in done.out
        assert "Doe" not in done.out
        [line] = Result("inspect", "--json", tmp_path / "out" / "image0.dcm").lines()
        assert line["encryption"]["recipients"] == [{"fingerprint": fingerprint, "kind": "hpke-mlkem768-x25519"}]
        assert (line["encryption"]["form"], line["encryption"]["n_units"], line["pixel_bytes"]) == ("native", 1, 64)
        [line] = Result("inspect", "--json", studies / "a" / "image0.dcm").lines()
        assert line["encryption"] is None

    def test_research_suite_says_so(self, studies, recipient, tmp_path):
        Result(
            "encrypt", "-r", recipient, studies / "a" / "image0.dcm", "-o", tmp_path / "out", "--suite", "chaos-cnn-1"
        )
        assert "RESEARCH" in Result("inspect", tmp_path / "out" / "image0.dcm").out

    def test_verify(self, studies, key, recipient, tmp_path):
        Result("encrypt", "-r", recipient, studies, "-o", tmp_path / "out")
        assert Result("verify", tmp_path / "out").out.count(": consistent:") == 4
        done = Result("verify", "-i", key, tmp_path / "out")
        assert (done.code, done.err) == (0, "verified: 4\n")
        assert done.out.count(": authentic:") == 4
        mixed = Result("verify", studies)
        assert mixed.code == 1
        assert mixed.err.count("plain: not encrypted") == 4
        assert "4 failed" in mixed.err


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["nonsense"],
            ["encrypt"],
            ["encrypt", "x"],
            ["decrypt", "-i", "k", "x"],
            ["encrypt", "-r", "r", "x", "-o", "d", "--suite", "rot13"],
            ["encrypt", "-r", "r", "x", "-o", "d", "--uids", "some"],
            ["decrypt", "-i", "k", "x", "-o", "d", "--headers", "all"],
            ["keygen", "--nonsense"],
        ],
    )
    def test_exit_code_2(self, arguments, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert Result(*arguments).code == 2
        assert list(tmp_path.iterdir()) == []

    def test_version_and_help(self):
        assert Result("--version").out == f"iomt-crypt {iomt_crypt.__version__}\n"
        for command in ("keygen", "encrypt", "decrypt", "inspect", "verify"):
            assert Result(command, "--help").code == 0


def program(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "iomt_crypt", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL, **options
    )


class TestProgram:
    """The real thing, in a process of its own."""

    def test_there_and_back(self, studies, tmp_path):
        made = program("keygen", "-o", tmp_path / "k")
        done = program("encrypt", "-r", made.stdout.strip(), studies, "-o", tmp_path / "out")
        assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "encrypted: 4, 1 skipped")
        done = program("decrypt", "-i", tmp_path / "k", tmp_path / "out", "-o", tmp_path / "back")
        assert (done.returncode, done.stderr) == (0, "decrypted: 4\n")
        assert all((tmp_path / "back" / n).read_bytes() == (studies / n).read_bytes() for n in IMAGES)

    def test_errors_are_two_lines(self, key):
        done = program("keygen", "-o", key)
        assert done.returncode == 1
        assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]

    def test_a_passphrase_is_not_asked_for_without_a_terminal(self, tmp_path):
        done = program("keygen", "-o", tmp_path / "k", "--passphrase")
        assert done.returncode == 1
        assert "there is no terminal" in done.stderr
        assert not (tmp_path / "k").exists()

    def test_a_crash_shows_no_values(self, key, studies, identity, tmp_path):
        """A traceback, should there ever be one, shows code and no variables."""
        code = (
            "import sys, iomt_crypt.dicom as d\n"
            "def broken(*a, **k): raise RuntimeError('boom')\n"
            "d.decrypt_file = broken\n"
            "from iomt_crypt.cli import main\n"
            "sys.argv[0] = 'iomt-crypt'\nmain()"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, "decrypt", "-i", str(key), str(studies / "a"), "-o", str(tmp_path / "out")],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "boom" in done.stderr
        assert "iomtsk1" not in done.stderr
        assert identity.secret_text()[10:30] not in done.stderr
        assert "Doe" not in done.stderr

    def test_no_option_takes_a_secret(self):
        """Secrets in argument vectors are seen by everybody on the machine."""
        for command in ("keygen", "decrypt", "verify"):
            shown = program(command, "--help").stdout
            assert "--passphrase-file" in shown
            assert not re.search(r"--(passphrase|identity|key)\s+TEXT", shown)

    def test_interrupted(self, monkeypatch, capsys):
        def stop() -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("iomt_crypt.cli.app.app", stop)
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 130
        assert "--resume" in capsys.readouterr().err


def test_names_from_outside_are_shown_on_one_line(studies, recipient, key, tmp_path):
    """A file's name may hold line breaks, escape codes, and bytes that are no text."""
    names = {"new\nline": r"new\nline", "\x1b[31mred": r"\x1b[31mred", os.fsdecode(b"latin\xe9"): r"latin\xe9"}
    for name, shown in names.items():
        raw = (studies / "a" / "image0.dcm").read_bytes()
        (tmp_path / name).write_bytes(raw)
        assert Result("encrypt", "-r", recipient, tmp_path / name, "-o", tmp_path / "out").code == 0
        again = Result("encrypt", "-r", recipient, tmp_path / name, "-o", tmp_path / "out")
        assert again.err.splitlines()[0] == f"error: {tmp_path}/{shown}: {tmp_path}/out/{shown}: exists already"
        assert Result("inspect", tmp_path / "out" / name).out.splitlines()[0] == f"{tmp_path}/out/{shown}"
        assert Result("verify", "-i", key, tmp_path / "out" / name).code == 0
        assert Result("decrypt", "-i", key, tmp_path / "out" / name, "-o", tmp_path / "back").code == 0
        assert (tmp_path / "back" / name).read_bytes() == raw
