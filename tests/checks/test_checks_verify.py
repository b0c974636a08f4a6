"""``iomt-crypt verify``: the right verdict on each object of a mixed folder, and the comparison with the truth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom import Dataset, FileDataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage
from typer.testing import CliRunner

from iomt_crypt import encrypt_file
from iomt_crypt.archive.expectation import Expectation
from iomt_crypt.archive.operation import Outcome
from iomt_crypt.cli.app import app
from iomt_crypt.errors import InputError
from iomt_crypt.seal import HpkeIdentity, write_identity

TRUTH = {
    "plain.dcm": "plain",
    "compressed.dcm": "plain",
    "plan.dcm": "plain",
    "sealed.dcm": "encrypted",
    "sealed_plan.dcm": "encrypted",
    "fake.dcm": "looks-plain",
    "lost.dcm": "no-record",
    "torn.dcm": "unreadable",
}


def verify(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["verify", *map(str, arguments)], catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def mixed(tmp_path, epoch, policy) -> Path:
    folder = tmp_path / "mixed"
    folder.mkdir()
    plain = Path(get_testdata_file("CT_small.dcm"))
    (folder / "plain.dcm").write_bytes(plain.read_bytes())
    (folder / "compressed.dcm").write_bytes(Path(get_testdata_file("JPEG2000.dcm")).read_bytes())
    (folder / "plan.dcm").write_bytes(Path(get_testdata_file("rtplan.dcm")).read_bytes())
    encrypt_file(plain, folder / "sealed.dcm", recipients=epoch, policy=policy)
    encrypt_file(folder / "plan.dcm", folder / "sealed_plan.dcm", recipients=epoch, policy=policy)
    dataset = dcmread(folder / "sealed.dcm")
    dataset.PixelData = dcmread(plain).PixelData
    dataset.save_as(folder / "fake.dcm")
    dataset = dcmread(folder / "sealed.dcm")
    for tag in [tag for tag in dataset.keys() if tag.group == 0x7FDF]:  # noqa: SIM118 - values are elements
        del dataset[tag]
    dataset.save_as(folder / "lost.dcm")
    data = (folder / "sealed.dcm").read_bytes()
    (folder / "torn.dcm").write_bytes(data[: len(data) // 2])
    (folder / "note.txt").write_text("no object")
    return folder


def write_truth(path: Path, truth: dict[str, str]) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps({f"mixed/{name}": value for name, value in truth.items()}))
    else:
        path.write_text("path,truth\n" + "".join(f"mixed/{name},{value}\n" for name, value in truth.items()))
    return path


def test_each_object_has_its_verdict(mixed):
    code, out, _ = verify("--no-classifier", "--json", mixed)
    found = {Path(line["source"]).name: line for line in map(json.loads, out.splitlines())}
    assert code == 1
    assert found["note.txt"]["state"] == "skipped"
    for name, truth in TRUTH.items():
        verdict = found[name].get("verdict", "unreadable")
        assert verdict == {"encrypted": "consistent"}.get(truth, truth), name
        assert found[name]["state"] == ("done" if truth == "encrypted" else "failed")


def test_in_words(mixed):
    code, out, err = verify("--no-classifier", mixed)
    assert code == 1
    assert f"{mixed}/sealed.dcm: consistent: encrypted and undamaged" in out
    assert f"error: {mixed}/fake.dcm: looks plain: it says that it is encrypted" in err
    assert f"error: {mixed}/lost.dcm: no record: its pixels look encrypted" in err
    assert "the node's journal has a copy of each record" in err
    assert "verified: 2, 1 skipped, 6 failed" in err


def test_with_an_identity_the_tags_decide(mixed, identity_file):
    """... what is authentic; that pixels look plain is told with and without one."""
    damage(mixed / "sealed.dcm", mixed / "damaged.dcm")
    code, out, _ = verify("--no-classifier", "-i", identity_file, "--json", mixed)
    found = {Path(line["source"]).name: line for line in map(json.loads, out.splitlines())}
    assert code == 1
    assert found["sealed.dcm"]["verdict"] == found["sealed_plan.dcm"]["verdict"] == "authentic"
    assert found["fake.dcm"]["verdict"] == "looks-plain"
    assert found["fake.dcm"]["error"].startswith("authentication failed; looks plain: it says that it is encrypted")
    assert "do not give it away" in found["fake.dcm"]["hint"]
    assert found["fake.dcm"]["sop_instance_uid"] == found["sealed.dcm"]["sop_instance_uid"]
    assert found["lost.dcm"]["verdict"] == "no-record"
    assert found["damaged.dcm"]["error"] == "authentication failed"
    assert "verdict" not in found["damaged.dcm"]


def test_with_the_identity_of_others(mixed, tmp_path):
    write_identity(tmp_path / "other.key", HpkeIdentity.generate())
    code, out, _ = verify("--no-classifier", "-i", tmp_path / "other.key", "--json", mixed)
    found = {Path(line["source"]).name: line for line in map(json.loads, out.splitlines())}
    assert code == 1
    assert found["fake.dcm"]["verdict"] == "looks-plain"
    assert found["fake.dcm"]["error"].startswith("no matching identity; looks plain: ")
    assert found["sealed.dcm"]["error"] == "no matching identity"
    assert "verdict" not in found["sealed.dcm"]


def test_the_truth_agrees_with_a_key_and_without(mixed, tmp_path, identity_file):
    truth = write_truth(tmp_path / "truth.csv", TRUTH)
    for options in ([], ["-i", identity_file]):
        code, _, err = verify("--no-classifier", *options, mixed, "--expect", truth)
        assert (code, err.splitlines()[-1]) == (0, "disagreements: 0")


def test_an_unreadable_geometry_says_no_more(mixed, identity_file):
    """What does not open, and whose pixels cannot be told apart either, is what it was."""
    dataset = dcmread(mixed / "fake.dcm")
    dataset.Rows = 7 * dataset.Rows
    dataset.save_as(mixed / "fake.dcm")
    _, out, _ = verify("--no-classifier", "-i", identity_file, "--json", mixed / "fake.dcm")
    assert json.loads(out)["error"] == "authentication failed"


def damage(source: Path, target: Path) -> None:
    """Change one byte of the pixels."""
    data = bytearray(source.read_bytes())
    data[-1] ^= 1
    target.write_bytes(data)


class TestDicomdir:
    @pytest.fixture
    def medium(self, tmp_path) -> Path:
        """A DICOMDIR as media have it, and the same under another name."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
        meta.MediaStorageSOPInstanceUID = "1.2.3"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        record.ReferencedFileID = "IMAGE1"
        folder = tmp_path / "medium"
        folder.mkdir()
        for name in ("DICOMDIR", "index.dcm"):
            index = FileDataset(str(folder / name), Dataset(), file_meta=meta, preamble=b"\0" * 128)
            index.FileSetID = "DISC"
            index.DirectoryRecordSequence = [record]
            index.save_as(folder / name, enforce_file_format=True)
        return folder

    def test_in_a_folder_it_is_skipped(self, medium, mixed):
        (mixed / "sealed.dcm").rename(medium / "IMAGE1")
        code, out, err = verify("--no-classifier", medium)
        assert code == 0
        assert out.startswith(f"{medium}/IMAGE1: consistent")
        assert f"skipped: {medium}/DICOMDIR: a DICOMDIR is a table of contents" in err
        assert f"skipped: {medium}/index.dcm: a DICOMDIR is a table of contents" in err
        assert err.endswith("verified: 1, 2 skipped\n")

    def test_named_it_is_a_list(self, medium, mixed):
        (mixed / "sealed.dcm").rename(medium / "IMAGE1")
        assert verify("--no-classifier", medium / "DICOMDIR")[2] == "verified: 1\n"
        assert "plain: not encrypted" in verify("--no-classifier", medium / "index.dcm")[2]


def test_the_classifier_is_asked_where_it_is_installed(mixed, monkeypatch):
    from iomt_crypt.checks import classifier

    asked = []
    original = classifier.Classifier.probabilities
    monkeypatch.setattr(
        classifier.Classifier, "probabilities", lambda self, frames: asked.append(1) or original(self, frames)
    )
    assert verify(mixed / "sealed.dcm")[0] == 0
    assert asked
    monkeypatch.setattr(classifier.Classifier, "probabilities", lambda self, frames: original(self, frames) * 0)
    assert "looks plain" in verify(mixed / "sealed.dcm")[2]
    assert verify("--no-classifier", mixed / "sealed.dcm")[0] == 0
    monkeypatch.setitem(__import__("sys").modules, "iomt_crypt.checks.classifier", None)
    assert verify(mixed / "sealed.dcm")[0] == 0, "statistics alone, where PyTorch is not installed"


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_truth_that_is_found(mixed, tmp_path, suffix):
    code, out, err = verify("--no-classifier", mixed, "--expect", write_truth(tmp_path / f"truth.{suffix}", TRUTH))
    assert code == 0
    assert "disagreements: 0" in err
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[-5:]}
    header = next(line for line in out.splitlines() if line.startswith("truth"))
    assert header.split() == ["truth", "\\", "verdict", "consistent", "looks-plain", "no-record", "plain", "unreadable"]
    assert rows["encrypted"] == ["2", "0", "0", "0", "0"]
    assert rows["plain"] == ["0", "0", "0", "3", "0"]


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfpath,truth\r\nmixed/plain.dcm,plain\r\n",
        b"path, truth\nmixed/plain.dcm, plain\n",
        b" path ,truth \n mixed/plain.dcm , plain \n",
        b'"path", "truth"\n"mixed/plain.dcm", "plain"\n',
        b"path;truth\nmixed/plain.dcm;plain\n",
        b"\xef\xbb\xbftruth ; path;note\r\nplain; mixed/plain.dcm ;a, b\r\n;;\r\n\r\n",
        b'\xef\xbb\xbf{"mixed/plain.dcm": "plain"}',
    ],
)
def test_truth_as_spreadsheets_write_it(mixed, tmp_path, text):
    (tmp_path / "truth").write_bytes(text)
    expectation = Expectation.read(tmp_path / "truth")
    expectation.add(Outcome(str(mixed / "plain.dcm"), "failed", detail={"verdict": "plain"}))
    assert expectation.matrix() == {"plain": {"plain": 1}}


def test_a_path_may_hold_the_other_separator(mixed, tmp_path):
    (mixed / "plain.dcm").rename(mixed / "a;b.dcm")
    (tmp_path / "truth").write_text("path,truth\nmixed/a;b.dcm,plain\n")
    expectation = Expectation.read(tmp_path / "truth")
    expectation.add(Outcome(str(mixed / "a;b.dcm"), "failed", detail={"verdict": "plain"}))
    assert expectation.n_disagreements == 0


def test_truth_that_is_not(mixed, tmp_path):
    wrong = TRUTH | {"plain.dcm": "encrypted", "gone.dcm": "plain"}
    del wrong["lost.dcm"]
    code, out, _ = verify("--no-classifier", "--json", mixed, "--expect", write_truth(tmp_path / "truth.csv", wrong))
    assert code == 1
    found = json.loads(out.splitlines()[-1])
    assert found["disagreements"] == 3
    assert found["matrix"]["encrypted"]["plain"] == 1
    assert found["matrix"]["plain"]["not found"] == 1
    assert found["matrix"]["not expected"]["no-record"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,kind\na,plain\n", "the header path,truth is missing"),
        ("path,truth\na,ciphered\n", "'ciphered' is no truth"),
        ("path,truth\na,plain\n./a,plain\n", "./a is there twice"),
        ("path;truth\na,plain\n", "'' is no truth"),
        ("path,truth\na\n", "'' is no truth"),
        ("truth,path\nplain\n", "a line has no path"),
        ("{not json", "not JSON"),
        ("", "the header path,truth is missing"),
    ],
)
def test_files_that_are_no_truth(tmp_path, text, message):
    path = tmp_path / "truth"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Expectation.read(path)
    assert "path,truth" in caught.value.hint
    with pytest.raises(InputError, match="cannot be read"):
        Expectation.read(tmp_path / "none")


def test_addresses_are_compared_as_they_are(tmp_path):
    (tmp_path / "truth.json").write_text('{"s3://bucket/a.dcm": "authentic"}')
    expectation = Expectation.read(tmp_path / "truth.json")
    expectation.add(Outcome("s3://bucket/a.dcm", "done", detail={"verdict": "authentic"}))
    assert expectation.matrix() == {"authentic": {"authentic": 1}}
    assert expectation.n_disagreements == 0


def test_a_journal_cannot_be_compared(mixed, tmp_path):
    truth = write_truth(tmp_path / "truth.csv", TRUTH)
    assert verify(mixed, "--expect", truth, "--journal", tmp_path / "journal")[0] == 2
