"""What is accepted always opens again: ``python -m benchmarks.trust_property --cases 20000 --seed 0``.

Objects of any nesting and damage (`trust_object`) are refused with nothing left, or open byte for byte: as they were
written, and as archives convert them (`trust_conversion`; dcmconv for each 50th). Anything else ends the run with the
seed that shows it again.
"""

from __future__ import annotations

import argparse
import io
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from benchmarks.trust_conversion import FORMS, converted
from benchmarks.trust_object import Case, make
from iomt_crypt import encrypt_file
from iomt_crypt.dicom import Policy, protect, read_file, restore
from iomt_crypt.dicom.inspection import verify_stream
from iomt_crypt.dicom.rekey import rotate
from iomt_crypt.errors import HeaderDriftError, InputError
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring

DCMCONV = {
    "implicit": ("+ti",),
    "big endian": ("+tb",),
    "undefined lengths": ("+te", "-e"),
    "group lengths": ("+te", "+g"),
    "utf-8": ("+te", "+U8"),
}
_DCMCONV_STEP, _FILE_STEP, _ROTATE_STEP = 50, 25, 10


class BrokenPromiseError(Exception):
    """An object was accepted, and does not come back as it was."""


class Trial:
    """Keys, and counts of what happened."""

    def __init__(self, dcmconv: str | None = None) -> None:
        identity = HpkeIdentity.generate()
        self.epoch, self.keyring = Epoch.create([identity.recipient]), Keyring([identity])
        self.policy = Policy(site_key=bytes(32))
        self.dcmconv = dcmconv
        self.counts: Counter[str] = Counter()

    def run(self, seed: int, *, n_conversions: int = 2, dcmconv: str = "") -> None:
        """Try the object of ``seed``; ``dcmconv``: also as that program stores it. Raises BrokenPromiseError."""
        case = make(seed)
        try:
            self._try(case, n_conversions, dcmconv)
        except BrokenPromiseError:
            raise
        except Exception as error:
            raise BrokenPromiseError(f"seed {seed} ({case.kind}): {type(error).__name__}: {error}") from error

    def _try(self, case: Case, n_conversions: int, dcmconv: str) -> None:
        sink = io.BytesIO()
        try:
            protect(read_file(io.BytesIO(case.data)), sink, epoch=self.epoch, policy=self.policy)
        except InputError as error:
            self.counts[f"{case.kind}: refused"] += 1
            self.counts[f"refused: {type(error).__name__}"] += 1
            if case.seed % _FILE_STEP == 0:
                self._nothing_left(case)
            return
        self.counts[f"{case.kind}: taken"] += 1
        data = sink.getvalue()
        self._opens(case, data, "untouched")
        self._strictly(case, data)
        if case.seed % _ROTATE_STEP == 0:
            self._rotates(case, data)
        chance = random.Random(case.seed)
        for name in chance.sample(sorted(FORMS), n_conversions):
            self._opens(case, converted(data, FORMS[name]), name)
        if dcmconv:
            self._by_dcmconv(case, data, dcmconv)

    def _opens(self, case: Case, data: bytes, how: str) -> None:
        for headers in ("original", "merged"):
            sink = io.BytesIO()
            done = restore(io.BytesIO(data), sink, keyring=self.keyring, headers=headers)
            if sink.getvalue() != case.data:
                raise BrokenPromiseError(f"seed {case.seed} ({case.kind}): {how}, {headers}: other bytes come back")
        self.counts[f"opened: {how}"] += 1
        self.counts[f"not compared in full: {how}"] += not done.compared
        self.counts[f"called changed: {how}"] += bool(done.changed)

    def _strictly(self, case: Case, data: bytes) -> None:
        """What was not touched may not be called changed; what cannot be compared may be refused."""
        sink = io.BytesIO()
        try:
            restore(io.BytesIO(data), sink, keyring=self.keyring, headers="strict")
        except HeaderDriftError as error:
            if "not compared" not in str(error):
                raise BrokenPromiseError(f"seed {case.seed}: untouched, strict: {error}") from error
            self.counts["strict: refused"] += 1
            return
        if sink.getvalue() != case.data:
            raise BrokenPromiseError(f"seed {case.seed}: strict: other bytes come back")
        if verify_stream(io.BytesIO(data), identities=self.keyring).state != "authentic":
            raise BrokenPromiseError(f"seed {case.seed}: verify: not authentic")

    def _rotates(self, case: Case, data: bytes) -> None:
        sink = io.BytesIO()
        rotate(io.BytesIO(data), sink, keyring=self.keyring, epoch=self.epoch)
        self._opens(case, sink.getvalue(), "rotated")

    def _nothing_left(self, case: Case) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "in").write_bytes(case.data)
            try:
                encrypt_file(f"{folder}/in", f"{folder}/out/a.dcm", recipients=self.epoch, policy=self.policy)
            except InputError:
                left = [path.name for path in Path(folder).rglob("*") if path.is_file()]
                if left != ["in"]:
                    raise BrokenPromiseError(f"seed {case.seed}: {left} is left") from None
                self.counts["refused by encrypt_file: nothing left"] += 1

    def _by_dcmconv(self, case: Case, data: bytes, how: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            before, behind = Path(folder) / "before.dcm", Path(folder) / "behind.dcm"
            before.write_bytes(data)
            command = [self.dcmconv or "dcmconv", *DCMCONV[how], str(before), str(behind)]
            done = subprocess.run(command, capture_output=True, timeout=60, check=False)
            if done.returncode:
                self.counts[f"refused by dcmconv: {how}"] += 1
                return
            self._opens(case, behind.read_bytes(), f"dcmconv {how}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the others count up from it")
    parser.add_argument("--dcmconv", default="dcmconv", help="DCMTK's program")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # pydicom's, about the values
    trial, started = Trial(arguments.dcmconv), time.monotonic()
    seeds = range(arguments.seed, arguments.seed + arguments.cases)
    for seed in seeds:
        how = sorted(DCMCONV)[seed // _DCMCONV_STEP % len(DCMCONV)] if seed % _DCMCONV_STEP == 0 else ""
        trial.run(seed, n_conversions=3, dcmconv=how)
        if (seed + 1) % 1000 == 0:
            print(f"{seed + 1 - arguments.seed} cases, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(f"{len(seeds)} cases from seed {arguments.seed}, {time.monotonic() - started:.0f} s, no promise broken")
    for what, count in sorted(trial.counts.items()):
        if count:
            print(f"{count:8} {what}")


if __name__ == "__main__":
    main()
