"""Objects a second into Orthanc by storescu: plain, with a plug-in that does nothing, and with ours, turn by turn.

Run by hand: ``python -m benchmarks.orthanc_plugin [OBJECTS] [ROUNDS]``. Only the ratios within one run count.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests" / folder) for folder in ("plugins", "node")]

from node_harness import write_object  # noqa: E402
from orthanc_harness import LIBRARIES, PACKAGE, ROOT, SCRIPT, Plugged, start  # noqa: E402

from iomt_crypt.seal import HpkeIdentity  # noqa: E402

ASSOCIATIONS = (1, 2, 4)
_IDLE = """
import orthanc
orthanc.RegisterReceivedInstanceCallback(lambda data, origin: (orthanc.ReceivedInstanceAction.KEEP_AS_IS, b""))
"""


def variants(folder: Path) -> dict[str, dict[str, Any]]:
    """Orthanc's options for each thing to compare."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={PACKAGE}:{ROOT} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (folder / "idle.py").write_text(_IDLE)
    loaded = {"Plugins": [str(LIBRARIES / "libOrthancPython.so")]}
    section = {
        "Recipients": [str(HpkeIdentity.generate().recipient)],
        "Folder": str(folder / "state"),
        "Python": str(python),
    }
    return {
        "plain": {},
        "idle": loaded | {"PythonScript": str(folder / "idle.py")},
        "iomt-crypt": loaded | {"PythonScript": str(SCRIPT), "IomtCrypt": section},
    }


def send(server: Plugged, files: list[Path], n_associations: int) -> float:
    """Objects a second; all must be accepted, and stored."""
    before = server.count()
    command = ["/usr/bin/storescu", "-aet", "STORESCU", "-aec", server.ae_title, server.host, str(server.port)]
    started = time.perf_counter()
    senders = [
        subprocess.Popen([*command, *map(str, files[i::n_associations])], env={**os.environ, "TCP_NODELAY": "1"})
        for i in range(n_associations)
    ]
    codes = [sender.wait() for sender in senders]
    seconds = time.perf_counter() - started
    assert codes == [0] * n_associations, codes
    assert server.count() - before == len(files)
    return len(files) / seconds


def main(n_objects: int = 300, n_rounds: int = 3) -> None:
    """Print the table: medians over the rounds, and the ratio to plain."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "in").mkdir()
        os.environ["PYTHONPATH"] = f"{PACKAGE}:{ROOT}"
        found = variants(folder)
        servers = {each: stack.enter_context(start(folder / each, found[each])) for each in found}
        rates: dict[tuple[str, int], list[float]] = {}
        n_sent = 0
        for _ in range(n_rounds):
            for n in ASSOCIATIONS:
                files = [write_object(folder / "in", n_sent + i, size=512) for i in range(n_objects)]
                n_sent += n_objects
                for each, server in servers.items():
                    rates.setdefault((each, n), []).append(send(server, files, n))
                for file in files:
                    file.unlink()
        print(f"{n_objects} objects of 525 kB, medians of {n_rounds} rounds, objects/s (ratio to plain)")
        for n in ASSOCIATIONS:
            plain = statistics.median(rates["plain", n])
            row = [statistics.median(rates[each, n]) for each in servers]
            print(f"{n} associations:", *(f"{e} {r:.0f} ({r / plain:.2f})" for e, r in zip(servers, row, strict=True)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
