"""Getting objects out of the quarantine: encrypted into Orthanc or a folder, or as they were."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from iomt_crypt.dicom import output_file
from iomt_crypt.errors import ConfigurationError, NetworkError
from iomt_crypt.seal import Keyring
from iomt_crypt_orthanc import alarm, quarantine
from iomt_crypt_orthanc.protector import Protector, said

_TIMEOUT_S = 60.0

#: Where the bytes called ``name`` go; it returns when they are safe there, and raises otherwise.
Destination = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Recovered:
    """What became of one sealed file; ``error`` is empty when it is no longer in the quarantine."""

    name: str
    error: str = ""


def retry(folder: Path, keyring: Keyring, protector: Protector, deliver: Destination) -> Iterator[Recovered]:
    """Encrypt each object anew and deliver it; what was delivered leaves the quarantine."""

    def encrypted(data: bytes) -> bytes:
        outcome = protector.encrypt(data)
        return data if outcome.verdict == "kept" else outcome.data

    return _each(folder, keyring, lambda name, data: deliver(name, encrypted(data)))


def export(folder: Path, keyring: Keyring, deliver: Destination) -> Iterator[Recovered]:
    """Deliver each original, plain; it leaves the quarantine."""
    return _each(folder, keyring, deliver)


def _each(folder: Path, keyring: Keyring, deliver: Destination) -> Iterator[Recovered]:
    for name in quarantine.names(folder / "quarantine"):
        path = folder / "quarantine" / name
        try:
            deliver(name.removesuffix(quarantine.SUFFIX), quarantine.open_entry(quarantine.read(path), keyring))
            path.unlink(missing_ok=True)
        except Exception as error:  # noqa: BLE001 - one bad object must not keep the others
            yield Recovered(name, said(error))
        else:
            yield Recovered(name)
    alarm.update(folder)


def to_folder(folder: Path) -> Destination:
    """Files ``NAME.dcm`` in ``folder``, mode as the umask says, never overwritten, durable."""

    def deliver(name: str, data: bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with output_file(folder / f"{name}.dcm", overwrite=False) as sink:
            sink.write(data)

    return deliver


def to_orthanc(url: str, *, user: bytes = b"") -> Destination:
    """POST to ``url``/instances; ``user`` is ``name:password``.

    Raises
    ------
    ConfigurationError
        ``url`` is not one of HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{url}: not an address of Orthanc", hint="http://127.0.0.1:8042")
    headers = {"Authorization": "Basic " + base64.b64encode(user).decode("ascii")} if user else {}

    def connect() -> HTTPConnection:
        if parts.scheme == "https":
            context = ssl.create_default_context()
            return HTTPSConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_S, context=context)
        return HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)

    def deliver(name: str, data: bytes) -> None:
        del name
        try:
            with closing(connect()) as connection:
                connection.request("POST", f"{parts.path.rstrip('/')}/instances", data, headers)
                answer = connection.getresponse()
                body = answer.read()
        except HTTPException as error:
            raise NetworkError(f"{url}: broke off ({type(error).__name__})") from None
        if answer.status != 200:
            raise NetworkError(f"{url}: HTTP status {answer.status}")
        if json.loads(body).get("Status") not in ("Success", "AlreadyStored"):
            # "FilteredOut": it went back into the quarantine, or another plug-in threw it away.
            raise NetworkError(f"{url}: Orthanc did not store the object")

    return deliver
