"""Commands over trees, as a user runs them: journal, report, processes, stores, Ctrl-C, progress."""

from __future__ import annotations

import json
import os
import pty
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from object_tree import files, write_objects
from rekey_harness import write_tree
from typer.testing import CliRunner

from iomt_crypt.cli.app import app
from iomt_crypt.errors import StorageError
from iomt_crypt.seal import write_identity

PROGRAM = [sys.executable, "-m", "iomt_crypt"]


def run(*arguments: object) -> tuple[int, str, str]:
    made = CliRunner().invoke(app, [str(a) for a in arguments])
    if made.exception is not None and not isinstance(made.exception, SystemExit):
        raise made.exception
    return made.exit_code, made.stdout, made.stderr


@pytest.fixture
def encrypt(tree, tmp_path, identity) -> list[str]:
    site = str(tmp_path / "site.key")
    return ["encrypt", "-r", str(identity.recipient), str(tree), "-o", str(tmp_path / "out"), "--site-key", site]


def test_journal_and_report(encrypt, tree, tmp_path):
    (tree / "broken.dcm").write_bytes((tree / "s000" / "i00000.dcm").read_bytes()[:-10])
    (tree / "notes.txt").write_text("call back on Monday, please, and bring the films" * 4)
    options = ["--journal", tmp_path / "j", "--report", tmp_path / "r.json"]
    code, out, err = run(*encrypt, *options)
    assert (code, out) == (1, "")
    assert err.endswith("encrypted: 30, 1 skipped, 1 failed\n")
    report = json.loads((tmp_path / "r.json").read_text())
    assert stat.S_IMODE((tmp_path / "r.json").stat().st_mode) == 0o600
    assert {k: report[k] for k in ("command", "done", "skipped", "failed", "before", "complete")} == {
        "command": "encrypt", "done": 30, "skipped": 1, "failed": 1, "before": 0, "complete": True,
    }  # fmt: skip
    assert report["objects_per_second"] > 0
    assert 0 < report["vouch_seconds"] < report["seconds"]
    assert [(Path(o["source"]).name, o["state"]) for o in report["objects"]] == [
        ("broken.dcm", "failed"),
        ("notes.txt", "skipped"),
    ]
    assert all(o["error"] for o in report["objects"])
    (tree / "broken.dcm").unlink()
    code, _, err = run(*encrypt, *options)
    assert code == 0
    assert err.endswith("encrypted: 0, 30 before, 1 skipped\n")
    code, _, err = run(*encrypt, *options, "--json")
    assert (code, json.loads((tmp_path / "r.json").read_text())["before"]) == (0, 30)


def test_what_vouching_cost_is_said_of_each_object(encrypt, tree):
    code, out, _ = run(*encrypt, "--json")
    assert code == 0
    assert all(0 < json.loads(line)["vouch_seconds"] < 60 for line in out.splitlines())


def test_a_report_in_the_tree_is_no_object(encrypt, tree):
    for options in ([], ["--overwrite"]):
        assert run(*encrypt, "--report", tree / "r.json", *options)[2] == "encrypted: 30\n"
    assert json.loads((tree / "r.json").read_text())["done"] == 30
    assert run("verify", tree / "s000", "--report", tree / "s000" / "r.json")[2].endswith("verified: 0, 10 failed\n")


class TestReportsReplaceNothingElse:
    def test_an_object(self, encrypt, tree, tmp_path, key, identity):
        assert run(*encrypt)[0] == 0
        victim = tmp_path / "out" / "s000" / "i00003.dcm"
        before = {name: (tmp_path / "out" / name).read_bytes() for name in files(tmp_path / "out")}
        rekey = ["rekey", "-i", key, "-r", identity.recipient, tmp_path / "out"]
        others = ["verify", tmp_path / "out"], ["key", "usage", tmp_path / "out"], [*encrypt, "--overwrite"]
        for command in (rekey, [*rekey, "--dry-run"], *others):
            code, out, err = run(*command, "--report", victim)
            assert (code, out) == (2, "")
            assert "--report" in err
            assert "choose another file" in err
        assert {name: (tmp_path / "out" / name).read_bytes() for name in files(tmp_path / "out")} == before

    @pytest.mark.parametrize("text", ["", "{}", '{"command": "x"}', "words"])
    def test_other_files(self, encrypt, tmp_path, text):
        (tmp_path / "r").write_text(text)
        assert run(*encrypt, "--report", tmp_path / "r")[0] == 2
        assert (tmp_path / "r").read_text() == text
        assert not (tmp_path / "out").exists()

    def test_what_is_no_file(self, encrypt, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "link").symlink_to("nothing")
        for path in (tmp_path / "pipe", tmp_path / "link", tmp_path):
            assert run(*encrypt, "--report", path)[0] == 2
        assert (tmp_path / "link").is_symlink()

    @pytest.mark.parametrize("command", [["encrypt"], ["verify"], ["key", "usage"]])
    def test_reports_of_any_command_are_replaced(self, encrypt, tree, tmp_path, command):
        assert run("verify", tree, "--report", tmp_path / "r")[0] == 1
        arguments = encrypt if command == ["encrypt"] else [*command, tree]
        run(*arguments, "--report", tmp_path / "r")
        assert json.loads((tmp_path / "r").read_text())["command"] == " ".join(command)
        assert run(*encrypt, "--overwrite", "--report", tmp_path / "r")[0] == 0

    def test_a_result_that_came_meanwhile(self, encrypt, tmp_path):
        with pytest.raises(StorageError, match="something else was put there meanwhile; the report is") as caught:
            run(*encrypt, "--report", make(tmp_path / "out" / "s000") / "i00003.dcm")
        assert (tmp_path / "out" / "s000" / "i00003.dcm").read_bytes()[128:132] == b"DICM"
        assert json.loads(Path(str(caught.value).rpartition(" is ")[2]).read_text())["done"] == 30


class TestCutOffReKeying:
    """An object that a killed re-keying left half written looks damaged, and can be completed."""

    @pytest.fixture
    def keys(self, tmp_path, old, new) -> list[object]:
        write_identity(tmp_path / "old.key", old)
        write_identity(tmp_path / "new.key", new[0])
        return ["-i", tmp_path / "old.key", "-i", tmp_path / "new.key"]

    @pytest.fixture
    def torn(self, tmp_path, old, new, keys) -> Path:
        """Killed in the middle of the first record that it wrote; the redo file lies two folders above."""
        tree = write_tree(tmp_path / "an archive", 2, [old], folders=1)
        code = (
            "import os, signal\n"
            "write = os.pwrite\n"
            "def half(descriptor, data, offset):\n"
            "    write(descriptor, data[: len(data) // 4], offset)\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "os.pwrite = half\n"
            "from iomt_crypt.cli import main\n"
            "main()"
        )
        arguments = ["rekey", *map(str, keys), "-r", str(new[0].recipient), str(tree.folder)]
        killed = subprocess.run([sys.executable, "-c", code, *arguments], timeout=120, check=False)
        assert killed.returncode == -signal.SIGKILL
        [path] = [tree.folder / name for name in tree.before if not tree.untouched(name)]
        return path

    def test_all_commands_say_so(self, torn, keys, tmp_path, new):
        archive = torn.parent.parent
        advice = f"a re-keying was cut off here, unless it is running: iomt-crypt rekey --recover '{archive}'"
        rekey = ["rekey", "--dry-run", *keys, "-r", new[0].recipient, archive]
        for command in (
            ["verify", archive],
            ["verify", *keys, torn],
            ["decrypt", *keys, torn.parent, "-o", tmp_path / "back"],
            ["inspect", torn],
            rekey,
        ):
            code, _, err = run(*command)
            assert code == 1
            assert err.count(advice) == 1, command
        out = run("verify", *keys, archive, "--json", "--report", tmp_path / "r")[1]
        hints = [line["hint"] for line in map(json.loads, out.splitlines()) if line["state"] == "failed"]
        assert [hint.endswith(advice) for hint in hints] == [True]
        assert json.loads((tmp_path / "r").read_text())["objects"][0]["hint"] == hints[0]
        assert run("rekey", "--recover", archive)[0] == 0
        assert run("verify", *keys, archive)[0] == 0

    def test_damage_alone_is_damage(self, torn, keys):
        archive = torn.parent.parent
        assert run("rekey", "--recover", archive)[0] == 0
        data = bytearray(torn.read_bytes())
        data[-1] ^= 1
        torn.write_bytes(data)
        code, _, err = run("verify", *keys, archive)
        assert code == 1
        assert "authentication failed\nhint: the object was damaged or changed after encryption" in err
        assert "cut off" not in err

    def test_other_failures_are_not_looked_into(self, torn):
        """No look at folders for what did not fail to authenticate."""
        (torn.parent / "00002.dcm").write_bytes(torn.read_bytes()[:900])
        torn.unlink()
        code, _, err = run("verify", torn.parent)
        assert code == 1
        assert "1 failed" in err
        assert "cut off here" not in err


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_dry_run(encrypt, tmp_path):
    assert run(*encrypt, "--dry-run") == (0, "", "would encrypt: 30\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--dry-run", "--journal", "j"],
        ["--workers", "0"],
        ["--workers", "2", "--scheduler", "tcp://127.0.0.1:1"],
        ["--scheduler", "127.0.0.1:1"],
        ["--scheduler", "tls://127.0.0.1:1"],
        ["--scheduler", "tcp://127.0.0.1:1", "--tls-ca", "x"],
    ],
)
def test_usage(encrypt, options, tmp_path):
    code, _, err = run(*encrypt, *options)
    assert code == 2
    assert options[-2] in err or options[0] in err
    assert not (tmp_path / "out").exists()


def test_stores(encrypt, tree, tmp_path, key, s3):
    encrypt[encrypt.index("-o") + 1] = f"{s3}/cli"
    assert run(*encrypt)[2] == "encrypted: 30\n"
    code, out, err = run("verify", "-i", key, f"{s3}/cli")
    assert (code, out.count(": authentic:"), err) == (0, 30, "verified: 30\n")
    assert run("decrypt", "-i", key, f"{s3}/cli", "-o", tmp_path / "back")[2] == "decrypted: 30\n"
    assert all((tmp_path / "back" / n).read_bytes() == (tree / n).read_bytes() for n in files(tree))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c(encrypt, tree, tmp_path, workers):
    """Everything in the terminal's process group gets it, as from a keyboard: two lines, and the next run goes on."""
    write_objects(tree, 250)
    command = [*PROGRAM, *encrypt, "--workers", workers, "--journal", str(tmp_path / "j"), "--json"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run in the background of a shell, it is ignored; and so it would be in the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    for _ in range(10):
        assert process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    hint = "hint: what was reported as done is done; the same command goes on"
    assert err.splitlines() == ["error: interrupted", hint]
    told = 10 + len(out.splitlines())
    code, again, err = run(*encrypt, "--journal", tmp_path / "j", "--json")
    assert (code, err) == (0, "")
    assert len(again.splitlines()) <= 250 - told
    assert [n for n in files(tmp_path / "out") if not n.endswith(".part")] == files(tree)


def test_progress_on_a_terminal(encrypt, tmp_path):
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb") as terminal:
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
        process = subprocess.Popen([*PROGRAM, *encrypt], stderr=theirs, env=environment)
        os.close(theirs)
        shown = b""
        try:
            while block := terminal.read1(4096):
                shown += block
        except OSError:  # the other end was closed
            pass
        assert process.wait() == 0
    text = shown.decode()
    assert "encrypting" in text
    assert "30/30" in text
    assert "/s" in text
    assert text.rstrip().endswith("encrypted: 30")
