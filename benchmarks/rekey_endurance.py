"""kill -9 in the middle of a re-keying, again and again: ``python -m benchmarks.rekey_endurance [OBJECTS [KILLS]]``.

20,000 objects and 20 kills unless told otherwise. Every run is a process of its own, killed at a random moment after
its first batch; the next one goes on. At the end every object is looked at: done, once, undamaged, all other bytes the
same, closed to the old identity and open to both new ones.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from iomt_crypt.dicom.locate import Location, locate_record
from iomt_crypt.errors import AuthenticationError
from iomt_crypt.seal import HpkeIdentity, Record, write_identity
from tests.archive.rekey_harness import Tree, check_rekeyed, state_files, write_tree

_COMMAND = (
    "import sys; from iomt_crypt.archive import rekey_batch, rekey_worker; "
    "rekey_batch._MOST_OBJECTS = int(sys.argv.pop(1)); rekey_worker._MANY = int(sys.argv.pop(1)); "
    "from iomt_crypt.cli.app import main; main()"
)


@dataclass
class Endurance:
    """One tree, and the kills it went through.

    many
        objects from which on a run goes the quick way
    torn
        records that a kill left half written
    settled
        containers of the objects that were seen to be done after a kill
    """

    folder: Path
    n_objects: int
    batch: int = 512
    many: int = 1
    options: tuple[str, ...] = ()
    kills: int = 0
    torn: int = 0
    settled: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.old, self.new = HpkeIdentity.generate(), [HpkeIdentity.generate() for _ in range(2)]
        self.told = self.folder / "told.txt"
        self.key, self.recipients = self.folder / "old.key", self.folder / "new.txt"
        write_identity(self.key, self.old)
        self.recipients.write_text("".join(f"{identity.recipient}\n" for identity in self.new))
        self.tree: Tree = write_tree(self.folder / "tree", self.n_objects, [self.old], folders=50)

    def start(self) -> subprocess.Popen[bytes]:
        arguments = ["rekey", "-i", self.key, "-r", self.recipients, *self.options, self.tree.folder]
        command = [sys.executable, "-c", _COMMAND, str(self.batch), str(self.many), *map(str, arguments)]
        # To a file, as a pipe that nobody reads would stop it after some hundred objects.
        with self.told.open("wb") as told:
            return subprocess.Popen(command, stdout=told, stderr=told, start_new_session=True)

    def kill_one(self, chance: random.Random, *, batches: int, seconds: float) -> bool:
        """Start a run and kill it a random number of batches and a random time later; False when it was done before."""
        process, redo, seen = self.start(), self.tree.folder / ".iomt-crypt" / "redo", set[str]()
        left = names(redo)
        wanted = chance.randint(1, batches)
        while process.poll() is None and len(seen - left) < wanted:
            seen |= names(redo)
            time.sleep(0.0003)
        time.sleep(chance.uniform(0, seconds))
        done = process.poll() is not None
        if not done:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.kills += not done
        self._look()
        return not done

    def _look(self) -> None:
        """What is done must never change again."""
        new = sorted(identity.fingerprint for identity in self.new)
        for name in self.tree.before:
            container = self._locate(name).container
            try:
                done = sorted(s.recipient for s in Record.unpack(container).stanzas) == new
            except AuthenticationError:
                self.torn += 1
                continue
            if done:
                assert self.settled.setdefault(name, container) == container, f"{name} was done twice"

    def _locate(self, name: str) -> Location:
        descriptor = os.open(self.tree.folder / name, os.O_RDONLY)
        try:
            found = locate_record(descriptor)
        finally:
            os.close(descriptor)
        assert found is not None
        return found

    def finish(self) -> None:
        """The last run, to the end; then everything is checked."""
        process = self.start()
        assert process.wait() == 0, self.told.read_text()[-2000:]
        self._look()
        assert len(self.settled) == self.n_objects
        for name in self.tree.before:
            check_rekeyed(self.tree, name, self.old, self.new)
        assert state_files(self.tree.folder) == []


def names(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except FileNotFoundError:  # a run removes it where it is empty, at any moment
        return set()


def main() -> None:
    n_objects = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    n_kills = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    chance = random.Random(seed := random.SystemRandom().randrange(1 << 32))
    print(f"{n_objects} objects, {n_kills} kills, seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        # Small batches, so that there is something left to do after so many kills.
        endurance = Endurance(Path(folder), n_objects, batch=max(1, n_objects // (n_kills * 16)))
        print("encrypted")
        while endurance.kills < n_kills:
            assert endurance.kill_one(chance, batches=10, seconds=0.02), "done before the last kill"
            print(f"kill {endurance.kills}: {len(endurance.settled)} done, {endurance.torn} torn so far", flush=True)
        endurance.finish()
    print(f"all {n_objects} done once, none damaged; {endurance.torn} records were torn and completed")


if __name__ == "__main__":
    main()
