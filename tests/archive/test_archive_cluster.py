"""Work in other processes: a cluster of our own, and one that was started by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from object_tree import files, write_objects

from iomt_crypt.archive.decryption import Decryption
from iomt_crypt.archive.each import EachWorker
from iomt_crypt.archive.key import KeySource
from iomt_crypt.archive.operation import Item, Outcome, Worker
from iomt_crypt.archive.result import Results
from iomt_crypt.archive.scheduler import Scheduler
from iomt_crypt.archive.verification import Verification
from iomt_crypt.errors import ConfigurationError, KeyMaterialError, NetworkError
from iomt_crypt.seal import write_identity


def test_our_own_processes(tree, tmp_path, identity, encryption, told, monkeypatch):
    """A passphrase travels to them, for nobody else can listen."""
    from iomt_crypt.seal import passphrase as locked

    monkeypatch.setattr(locked, "_LOG2_N", 4)
    write_identity(tmp_path / "k", identity, passphrase=b"correct horse")
    (tree / "notes.txt").write_text("call back on Monday, please, and bring the films" * 4)
    summary = told.run(encryption(tmp_path / "out", tree), tree)
    assert (summary.done, summary.skipped, summary.failed) == (30, 1, 0)
    keys = KeySource.identities_of([str(tmp_path / "k")], lambda _: b"correct horse")
    back = Decryption(keys, Results(str(tmp_path / "back"), ()))
    assert told.run(back, tmp_path / "out", workers=2, journal=tmp_path / "j").done == 30
    assert told.run(back, tmp_path / "out", journal=tmp_path / "j").before == 30
    assert all((tmp_path / "back" / n).read_bytes() == (tree / n).read_bytes() for n in files(tmp_path / "back"))


def test_started_by_hand_and_a_worker_is_killed(tmp_path, key, encryption, told, by_hand):
    """What the killed worker had in hand is done by the other one, which finds results that are there already."""
    source, out = tmp_path / "in", tmp_path / "out"
    write_objects(source, 400)
    cluster = by_hand()
    victim = cluster.add_worker()
    cluster.add_worker()
    killed = threading.Event()

    def report(outcome: Outcome) -> None:
        told.outcomes.append(outcome)
        if len(told.outcomes) == 20 and not killed.is_set():
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            killed.set()

    from iomt_crypt.archive.runner import run_tree

    told.outcomes = []
    summary = run_tree(
        [str(source)], encryption(out, source), scheduler=cluster.address, journal=tmp_path / "j", report=report
    )
    assert killed.is_set()
    assert summary.failed == 0, [o for o in told.outcomes if o.state == "failed"][:3]
    assert summary.done + summary.skipped == 400
    assert [n for n in files(out) if not n.endswith(".part")] == files(source)
    keys = KeySource.identities_of([str(key)], lambda _: b"")
    assert told.run(Verification(keys), out).done == 400


@dataclass(frozen=True)
class Deadly:
    """An operation whose process dies on one object."""

    name: str = "deadly"

    def fingerprint(self) -> str:
        return ""

    def open(self) -> Worker:
        return EachWorker(_die)


def _die(item: Item) -> Outcome:
    if "i00013" in item.location:
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(item.location, "done")


def test_an_object_that_kills(tree, told):
    """It alone fails, whichever other objects were near it."""
    summary = told.run(Deadly(), tree, workers=2)
    assert (summary.done, summary.failed) == (29, 1)
    [failed] = [o for o in told.outcomes if o.state == "failed"]
    assert "i00013" in failed.location
    assert "was killed" in failed.reason


class TestSecrets:
    def test_passphrases_are_not_sent_in_clear(self, tree, tmp_path, identity, told, monkeypatch):
        from iomt_crypt.seal import passphrase as locked

        monkeypatch.setattr(locked, "_LOG2_N", 4)
        write_identity(tmp_path / "k", identity, passphrase=b"correct horse")
        keys = KeySource.identities_of([str(tmp_path / "k")], lambda _: b"correct horse")
        with pytest.raises(KeyMaterialError, match="would be sent over tcp://") as caught:
            told.run(Verification(keys), tree, scheduler="tcp://127.0.0.1:1")
        assert "tls://" in caught.value.hint

    def test_keys_that_the_workers_cannot_read(self, tree, tmp_path, key, told, by_hand):
        cluster = by_hand()
        cluster.add_worker()
        keys = KeySource.identities_of([str(key)], lambda _: b"")
        key.unlink()
        with pytest.raises(KeyMaterialError, match="cannot be read"):
            told.run(Verification(keys), tree, scheduler=cluster.address)


class TestAddresses:
    @pytest.mark.parametrize(
        "arguments",
        [("127.0.0.1:8786",), ("http://x:1",), ("tls://x:1",), ("tcp://x:1", Path("a"), Path("b"), Path("c"))],
    )
    def test_that_cannot_be(self, arguments):
        with pytest.raises(ConfigurationError):
            Scheduler(*arguments)

    def test_nobody_there(self, tree, told, monkeypatch):
        monkeypatch.setattr("iomt_crypt.archive.cluster._TIMEOUT_S", 1)
        with pytest.raises(NetworkError, match="no answer from a scheduler"):
            told.run(Deadly(), tree, scheduler="tcp://127.0.0.1:1")

    def test_a_scheduler_without_workers(self, tree, told, by_hand, monkeypatch):
        monkeypatch.setattr("iomt_crypt.archive.cluster._TIMEOUT_S", 1)
        with pytest.raises(NetworkError, match="with workers"):
            told.run(Deadly(), tree, scheduler=by_hand().address)


def test_tls(tree, tmp_path, key, encryption, told, by_hand):
    """Certificates by files, and no word to anybody who has none."""
    from distributed.security import Security

    pem = Security.temporary().get_tls_config_for_role("client")
    (tmp_path / "ca.pem").write_text(pem["ca_file"])
    (tmp_path / "cert.pem").write_text(pem["cert"])
    (tmp_path / "key.pem").write_text(pem["key"])
    names = [tmp_path / f"{n}.pem" for n in ("ca", "cert", "key")]
    options = [f"--tls-{o}={n}" for o, n in zip(("ca-file", "cert", "key"), names, strict=True)]
    cluster = by_hand(*options, scheme="tls")
    cluster.add_worker()
    scheduler = Scheduler(cluster.address, *names)
    assert told.run(encryption(tmp_path / "out", tree), tree, scheduler=scheduler).done == 30


def test_the_library_is_missing(tree, told, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigurationError, match="distributed is not installed") as caught:
        told.run(Deadly(), tree, workers=2)
    assert caught.value.hint == "pip install 'iomt-crypt[archive]'"


def test_one_process_needs_no_library(tree, tmp_path, identity):
    code = (
        "import sys\nfrom iomt_crypt.cli.app import app\n"
        f"try: app(['encrypt', '-r', {str(identity.recipient)!r}, {str(tree)!r}, '-o', {str(tmp_path / 'out')!r}])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('dask', 'distributed', 'fsspec', 's3fs', 'boto3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert len(files(tmp_path / "out")) == 30


def test_a_store_of_one_process(tree, told, encryption):
    with pytest.raises(ConfigurationError, match="one process only"):
        told.run(Deadly(), "memory://x", workers=2)
