"""One operation over a tree in this process: outcomes, resumption after a kill, results that meet."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from object_tree import files, write_objects
from pydicom import dcmread
from synthetic import file, image

from iomt_crypt.archive import each
from iomt_crypt.archive.batch import MAX_BATCH, Pace, batches
from iomt_crypt.archive.decryption import Decryption
from iomt_crypt.archive.key import KeySource, SiteKey
from iomt_crypt.archive.operation import Item, Outcome
from iomt_crypt.archive.result import Results
from iomt_crypt.archive.verification import Verification
from iomt_crypt.errors import ConfigurationError, KeyMaterialError
from iomt_crypt.seal import write_identity

PROGRAM = [sys.executable, "-m", "iomt_crypt"]


def test_there_and_back(tree, tmp_path, key, encryption, told):
    summary = told.run(encryption(tmp_path / "out", tree), tree)
    assert (summary.done, summary.skipped, summary.failed, summary.before) == (30, 0, 0, 0)
    assert [o.location for o in told.outcomes] == [str(tree / f) for f in files(tree)]
    keys = KeySource.identities_of([str(key)], lambda _: b"")
    assert told.run(Verification(keys), tmp_path / "out").done == 30
    assert {o.detail["verdict"] for o in told.outcomes} == {"authentic"}
    back = Decryption(keys, Results(str(tmp_path / "back"), (str(tmp_path / "out"),)))
    assert told.run(back, tmp_path / "out").done == 30
    assert all((tmp_path / "back" / n).read_bytes() == (tree / n).read_bytes() for n in files(tree))


def test_mixed_trees(tree, tmp_path, encryption, told, key):
    (tree / "DICOMDIR").write_bytes(file({0x00041130: ("CS", b"DISC")}))
    (tree / "notes.txt").write_text("call back on Monday, please, and bring the films" * 4)
    (tree / "s000" / "i00001.dcm").write_bytes(file(image())[:-10])
    summary = told.run(encryption(tmp_path / "out", tree), tree)
    assert (summary.done, summary.skipped, summary.failed) == (29, 2, 1)
    states = told.states()
    assert (states["DICOMDIR"], states["notes.txt"], states["i00001.dcm"]) == ("skipped", "skipped", "failed")
    assert len(files(tmp_path / "out")) == 29
    (tmp_path / "out" / "DICOMDIR").write_bytes((tree / "DICOMDIR").read_bytes())
    keys = KeySource.identities_of([str(key)], lambda _: b"")
    back = told.run(Decryption(keys, Results(str(tmp_path / "back"), ())), tmp_path / "out")
    assert (back.done, back.skipped, back.failed) == (29, 1, 0)


def test_results_below_the_source(tree, encryption, told):
    out = tree / "out"
    assert told.run(encryption(out, tree), tree, exclude=[str(out)]).done == 30
    assert told.run(encryption(out, tree, resume=True), tree, exclude=[str(out)]).skipped == 30


def test_dry_run(tree, tmp_path, encryption, told, key):
    summary = told.run(encryption(tmp_path / "out", tree, dry_run=True), tree)
    assert summary.done == 30
    assert not (tmp_path / "out").exists()
    told.run(encryption(tmp_path / "out", tree), tree)
    assert told.run(encryption(tmp_path / "out", tree, dry_run=True), tree).failed == 30, "they exist already"
    keys = KeySource.identities_of([str(key)], lambda _: b"")
    back = Decryption(keys, Results(str(tmp_path / "back"), ()), dry_run=True)
    assert told.run(back, tmp_path / "out").done == 30
    assert not (tmp_path / "back").exists()


class TestResultsThatMeet:
    @pytest.fixture
    def two(self, tmp_path) -> tuple[Path, Path]:
        for name, start in (("a", 0), ("b", 50)):
            (tmp_path / name).mkdir()
            for i in range(3):
                (tmp_path / name / f"{i}.dcm").write_bytes(file(image(uid=f"1.2.{start + i}")))
            (tmp_path / name / "README").write_text("no image, but in both of them" * 9)
        return tmp_path / "a", tmp_path / "b"

    @pytest.mark.parametrize("options", [{}, {"overwrite": True}])
    def test_the_first_source_wins(self, two, tmp_path, encryption, told, options):
        summary = told.run(encryption(tmp_path / "out", *two, **options), *two)
        assert (summary.done, summary.skipped, summary.failed) == (3, 2, 3)
        failed = [o for o in told.outcomes if o.state == "failed"]
        assert all(f"the result of {two[0]}" in o.reason for o in failed)
        assert all(Path(o.location).parent == two[1] for o in failed)

    def test_what_is_no_object_has_no_result(self, two, tmp_path, encryption, told):
        (two[0] / "1.dcm").write_text("an empty page" * 20)
        summary = told.run(encryption(tmp_path / "out", *two), *two)
        assert (summary.done, summary.failed) == (3, 2)
        assert told.states()["1.dcm"] == "done"

    def test_named_files(self, two, tmp_path, encryption, told):
        named = [two[0] / "0.dcm", two[1] / "1.dcm", two[1] / "0.dcm"]
        summary = told.run(encryption(tmp_path / "out", *named), *named)
        assert (summary.done, summary.failed) == (2, 1)
        assert told.outcomes[2].state == "failed"


class TestJournal:
    def test_the_same_again(self, tree, tmp_path, encryption, told):
        operation, journal = encryption(tmp_path / "out", tree), tmp_path / "j"
        assert told.run(operation, tree, journal=journal).done == 30
        again = told.run(operation, tree, journal=journal)
        assert (again.done, again.before, told.outcomes) == (0, 30, [])
        write_objects(tree, 2, start=30)
        assert told.run(operation, tree, journal=journal).done == 2

    def test_nothing_is_opened_for_nothing(self, tree, tmp_path, told):
        class Opened(TestFaults.Broken):
            times = 0

            def open(self):
                Opened.times += 1
                return super().open()

        (tree / "s000" / "i00001.dcm").unlink()
        operation, journal = Opened(RuntimeError()), tmp_path / "j"
        for _ in range(2):
            assert told.run(operation, tree, journal=journal).failed == 0
        assert Opened.times == 1

    def test_failures_are_tried_again(self, tree, tmp_path, encryption, told):
        broken = tree / "s000" / "i00001.dcm"
        whole = broken.read_bytes()
        broken.write_bytes(whole[:-10])
        operation, journal = encryption(tmp_path / "out", tree), tmp_path / "j"
        assert told.run(operation, tree, journal=journal).failed == 1
        broken.write_bytes(whole)
        summary = told.run(operation, tree, journal=journal)
        assert (summary.done, summary.before, summary.failed) == (1, 29, 0)

    def test_in_the_source(self, tree, tmp_path, encryption, told):
        told.run(encryption(tmp_path / "out", tree), tree, journal=tree / "j")
        assert set(told.states().values()) == {"done"}

    def test_others_results_are_not_taken_for_ours(self, tree, tmp_path, encryption, told):
        target = tmp_path / "out" / "s000" / "i00003.dcm"
        target.parent.mkdir(parents=True)
        target.write_text("somebody's")
        operation, journal = encryption(tmp_path / "out", tree), tmp_path / "j"
        for _ in range(2):
            assert told.run(operation, tree, journal=journal).failed == 1
            assert told.states()["i00003.dcm"] == "failed"
        assert target.read_text() == "somebody's"

    def test_stopped_by_the_user(self, tree, tmp_path, encryption, told):
        """Ctrl-C after some outcomes: these are in the journal."""
        operation, journal = encryption(tmp_path / "out", tree), tmp_path / "j"
        seen = []

        def stop(outcome: Outcome) -> None:
            seen.append(outcome)
            if len(seen) == 7:
                raise KeyboardInterrupt

        from iomt_crypt.archive.runner import run_tree

        with pytest.raises(KeyboardInterrupt):
            run_tree([str(tree)], operation, journal=journal, report=stop)
        summary = told.run(operation, tree, journal=journal)
        assert summary.before >= 7
        assert summary.done + summary.skipped + summary.before == 30
        assert summary.failed == 0
        assert len(files(tmp_path / "out")) == 30

    def test_killed_at_any_moment(self, tmp_path, key, identity, told):
        """kill -9, several times, each time gone on with: all done once, nothing damaged, nothing left over."""
        source, out = tmp_path / "in", tmp_path / "out"
        write_objects(source, 150)
        command = [*PROGRAM, "encrypt", "-r", str(identity.recipient), str(source), "-o", str(out), "--journal",
                   str(tmp_path / "j"), "--site-key", str(tmp_path / "site"), "--json"]  # fmt: skip
        chance = random.Random(7)
        for _ in range(3):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for _ in range(chance.randrange(1, 60)):
                assert process.stdout is not None
                if not process.stdout.readline():
                    break
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            for name in files(out):
                if not name.endswith(".part"):
                    assert dcmread(out / name).PixelData
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        whole = [n for n in files(out) if not n.endswith(".part")]
        assert whole == files(source)
        keys = KeySource.identities_of([str(key)], lambda _: b"")
        assert told.run(Verification(keys), out).done == 150
        originals = [dcmread(source / n).SOPInstanceUID for n in files(source)]
        assert len({dcmread(out / n).SOPInstanceUID for n in whole}) == len(originals)


class TestFaults:
    class Broken:
        name = "test"

        def __init__(self, error: Exception) -> None:
            self._error = error

        def fingerprint(self) -> str:
            return ""

        def open(self):
            return each.EachWorker(self._work)

        def _work(self, item: Item) -> Outcome:
            if "i00001" in item.location:
                raise self._error
            return Outcome(item.location, "done")

    def test_a_fault_of_ours_stops_nothing(self, tree, told, caplog):
        summary = told.run(self.Broken(RuntimeError("boom")), tree)
        assert (summary.done, summary.failed) == (29, 1)
        [failed] = [o for o in told.outcomes if o.state == "failed"]
        assert failed.reason == "internal error (RuntimeError)"
        assert "RuntimeError" in caplog.text

    def test_the_user_stops_everything(self, tree, told):
        with pytest.raises(KeyboardInterrupt):
            told.run(self.Broken(KeyboardInterrupt()), tree)  # type: ignore[arg-type]

    @pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 2, "scheduler": "tcp://x:1"}])
    def test_options_that_cannot_be(self, tree, told, options):
        with pytest.raises(ConfigurationError):
            told.run(self.Broken(ValueError()), tree, **options)


class TestPace:
    def test_sizes_follow_the_work(self):
        pace = Pace()
        assert pace.size == 4
        for _ in range(20):
            pace.observe(pace.size, pace.size * 0.001)
        assert pace.size == 300
        pace.observe(300, 300.0)
        assert pace.size == 1
        for _ in range(20):
            pace.observe(pace.size, 0.0)
        assert pace.size == MAX_BATCH

    def test_growth_is_bounded(self):
        pace = Pace()
        pace.observe(1, 1e-9)
        assert pace.size == 8

    def test_batches_take_what_fits_now(self):
        pace = Pace()
        stream = batches(iter(range(20)), pace)  # type: ignore[arg-type]
        assert len(next(stream)) == 4
        pace.size = 10
        assert [len(b) for b in stream] == [10, 6]


class TestKeys:
    def test_asked_once_and_hidden(self, tmp_path, identity, monkeypatch):
        import pickle

        from iomt_crypt.seal import passphrase as locked

        monkeypatch.setattr(locked, "_LOG2_N", 4)
        write_identity(tmp_path / "k", identity, passphrase=b"correct horse")
        asked: list[str] = []

        def ask(what: str) -> bytes:
            asked.append(what)
            return b"correct horse"

        keys = KeySource.identities_of([str(tmp_path / "k")], ask)
        assert len(asked) == 1
        assert keys.secret
        assert "correct" not in repr(keys) + repr(Decryption(keys, Results("o", ())))
        travelled = pickle.loads(pickle.dumps(keys))
        assert travelled.loaded == ()
        assert [i.fingerprint for i in travelled.identities()] == [identity.fingerprint]
        assert len(asked) == 1

    def test_paths_mean_the_same_everywhere(self, tmp_path, key, monkeypatch):
        monkeypatch.chdir(tmp_path)
        keys = KeySource.identities_of([key.name], lambda _: b"")
        monkeypatch.chdir("/")
        assert len(keys.identities()) == 1
        assert keys.values == (str(key),)

    def test_the_site_key_is_the_same_everywhere(self, tmp_path):
        site = SiteKey.at(tmp_path / "site")
        assert len(site.load()) == 32
        (tmp_path / "site").unlink()
        with pytest.raises(KeyMaterialError, match="is not there"):
            site.load()
        assert not (tmp_path / "site").exists()
        SiteKey.at(tmp_path / "site")
        with pytest.raises(KeyMaterialError, match="another site key"):
            site.load()

    def test_other_recipients_are_another_run(self, tmp_path, encryption):
        from iomt_crypt.seal import HpkeIdentity

        one = encryption(tmp_path / "out")
        other = KeySource.recipients_of([str(HpkeIdentity.generate().recipient)], lambda _: b"")
        assert one.fingerprint() == encryption(tmp_path / "out", overwrite=True).fingerprint()
        import dataclasses

        assert one.fingerprint() != dataclasses.replace(one, recipients=other).fingerprint()
        assert one.fingerprint() != encryption(tmp_path / "out", suite="chaos-cnn-1").fingerprint()
        assert one.fingerprint() != encryption(tmp_path / "elsewhere").fingerprint()
