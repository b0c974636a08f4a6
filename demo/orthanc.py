"""A real Orthanc for the demo and the tests: a fresh one in a folder, on free ports, for as long as a block lasts.

Its REST interface answers this machine only. Its DICOM port cannot be bound to one address, so it accepts only the AE
titles it was told of, from 127.0.0.1.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/orthanc/bin")
_READY_S = 30.0
_STOP_S = 15.0
# A port that was free may be taken by somebody else before Orthanc binds it.
_ATTEMPTS = 4

# Who may call by default: the gateway, its fetch command and the usual test tools.
AE_TITLES = ("IOMTCRYPT", "IOMTFETCH", "STORESCU", "ECHOSCU", "FINDSCU", "GETSCU", "PYNETDICOM")


def binary() -> str | None:
    """Path of the Orthanc executable, or None where it is not installed."""
    found = shutil.which("Orthanc")
    return found or next((f"{place}/Orthanc" for place in _PLACES if Path(place, "Orthanc").is_file()), None)


class Orthanc:
    """A running Orthanc; use `start`."""

    name = "Orthanc"
    host = "127.0.0.1"

    def __init__(self, folder: Path, ae_title: str, ae_titles: tuple[str, ...]) -> None:
        self.folder = folder
        self.log = folder / "orthanc.log"
        self.ae_title = ae_title
        self.ae_titles = ae_titles
        self.port, self.http_port = _free_ports()

    def get(self, path: str) -> bytes:
        """Body of ``GET path`` from the REST interface.

        Raises
        ------
        OSError
            Orthanc does not answer, or not with 200.
        """
        connection = HTTPConnection(self.host, self.http_port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        except HTTPException as error:
            raise ConnectionError(f"Orthanc broke off GET {path}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise OSError(f"Orthanc answered {response.status} to GET {path}")
        return body

    def count(self) -> int:
        """Number of instances stored."""
        return int(json.loads(self.get("/statistics"))["CountInstances"])

    def sop_instance_uids(self) -> set[str]:
        """SOP Instance UIDs of everything stored."""
        return set(self._instances())

    def dataset(self, sop_instance_uid: str) -> Dataset:
        """One stored instance, with its file meta."""
        return dcmread(BytesIO(self.get(f"/instances/{self._instances()[sop_instance_uid]}/file")))

    def _instances(self) -> dict[str, str]:
        """Orthanc's own identifier by SOP Instance UID."""
        listing = json.loads(self.get("/instances?expand"))
        return {instance["MainDicomTags"]["SOPInstanceUID"]: instance["ID"] for instance in listing}

    def configuration(self) -> dict[str, Any]:
        """The options that differ from Orthanc's own defaults."""
        allow = {f"Allow{what}": True for what in ("Echo", "Find", "Get", "Move", "Store", "FindWorklist")}
        return {
            "Name": self.ae_title,
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            # Bytes as received, so that they can be looked at on the disk.
            "StorageCompression": False,
            # ... and nothing that is no longer there is served from memory.
            "MaximumStorageCacheSize": 0,
            "Plugins": [],
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "SslEnabled": False,
            "DicomServerEnabled": True,
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "DicomCheckCalledAet": False,
            "DicomCheckModalityHost": True,
            **{f"DicomAlwaysAllow{what}": False for what in ("Echo", "Find", "Get", "Move", "Store")},
            "DicomModalities": {
                title: {"AET": title, "Host": self.host, "Port": 104, **allow} for title in self.ae_titles
            },
            "UnknownSopClassAccepted": True,
            "AcceptedTransferSyntaxes": ["1.2.840.10008.1.*"],
            "OverwriteInstances": True,
            "StableAge": 1,
        }

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """True when Orthanc answers, False when it has ended or does not answer in time."""
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                self.get("/system")
            except OSError:
                time.sleep(0.05)
            else:
                # Another Orthanc may hold the port that ours lost.
                return process.poll() is None and json.loads(self.get("/system"))["DicomPort"] == self.port
        return False


def _free_ports() -> tuple[int, int]:
    """Two ports that nobody listens on at this moment."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("", 0))
        second.bind(("", 0))
        return int(first.getsockname()[1]), int(second.getsockname()[1])


def _launch(orthanc: Orthanc, executable: str) -> subprocess.Popen[bytes]:
    config = orthanc.folder / "orthanc.json"
    config.write_text(json.dumps(orthanc.configuration(), indent=1))
    with orthanc.log.open("wb") as log:
        return subprocess.Popen([executable, str(config)], stdout=log, stderr=log, cwd=orthanc.folder)  # noqa: S603


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def start(folder: Path, *, ae_title: str = "ARCHIVE", ae_titles: tuple[str, ...] = AE_TITLES) -> Iterator[Orthanc]:
    """Run Orthanc in ``folder`` (made if missing; what it stored before is there again) until the block ends.

    Parameters
    ----------
    ae_titles
        The AE titles that may call.

    Raises
    ------
    FileNotFoundError
        Orthanc is not installed.
    RuntimeError
        It did not become ready; the message names its log.
    """
    executable = binary()
    if executable is None:
        raise FileNotFoundError("no Orthanc on the PATH")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(_ATTEMPTS):
        orthanc = Orthanc(folder, ae_title, ae_titles)
        process = _launch(orthanc, executable)
        try:
            if orthanc.wait_until_ready(process):
                yield orthanc
                return
        finally:
            _stop(process)
    raise RuntimeError(f"Orthanc did not start, see {folder / 'orthanc.log'}")
