"""A worker process: has the keys, and does one request after the other until its channel closes.

Started by `Pool` as ``python -m iomt_crypt_orthanc.worker DESCRIPTOR``. Its log goes to stderr, which is Orthanc's.
"""

from __future__ import annotations

import io
import logging
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from iomt_crypt.checks.answer import check_answers
from iomt_crypt.dicom import Headers, Policy, restore
from iomt_crypt.dicom.block import find_record
from iomt_crypt.dicom.element import Element
from iomt_crypt.dicom.meta import file_meta
from iomt_crypt.dicom.salvage import read_sealed
from iomt_crypt.node.epoch import EpochSource
from iomt_crypt.node.recipient import RecipientList
from iomt_crypt.seal import Keyring, fingerprint_text, load_identities, load_or_create_site_key
from iomt_crypt_orthanc import channel, quarantine
from iomt_crypt_orthanc.protector import Protector, said

_log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any], bytearray], tuple[dict[str, Any], bytes]]

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


class ProtectRole:
    """Encrypts; has no secret but the site key."""

    def __init__(self, settings: dict[str, Any]) -> None:
        folder = Path(settings["folder"])
        quarantine.create(folder / "quarantine")
        policy = Policy(
            suite=settings["suite"],
            uids=settings["uids"],
            site_key=load_or_create_site_key(Path(settings["site_key"])),
        )
        self._epochs = EpochSource(
            RecipientList(settings["recipients"]),
            n_objects=settings["epoch_objects"],
            hours=settings["epoch_hours"],
            self_test=partial(check_answers, policy.suite),
        )
        self._protector = Protector(
            epochs=self._epochs, policy=policy, folder=folder, on_failure=settings["on_failure"]
        )
        self._try()

    def facts(self) -> dict[str, Any]:
        facts = self._epochs.facts()
        return {"recipients": list(facts.recipients), "problem": facts.problem}

    def handle(self, head: dict[str, Any], body: bytearray) -> tuple[dict[str, Any], bytes]:
        if head["do"] == "set aside":
            outcome = self._protector.set_aside(body, str(head["reason"]))
        else:
            outcome = self._protector.take(body)
        return {"verdict": outcome.verdict, "reason": outcome.reason} | self.facts(), outcome.data

    def _try(self) -> None:
        """Encrypt something small before the first object: it compiles the kernels, and shows that all is there."""
        self._protector.encrypt(_test_object())


class ReleaseRole:
    """Decrypts; has the identities."""

    def __init__(self, settings: dict[str, Any]) -> None:
        identities = load_identities(settings["identities"])
        self._keyring = Keyring(identities)
        self._headers: Headers = settings["headers"]

    def facts(self) -> dict[str, Any]:
        return {"identities": sorted(fingerprint_text(each) for each in self._keyring.fingerprints)}

    def handle(self, head: dict[str, Any], body: bytearray) -> tuple[dict[str, Any], bytes]:
        del head
        try:
            source = read_sealed(io.BytesIO(body))
            uid = source.text(0x00080018)
            if find_record(source.header) is None:
                return {"verdict": "plain", "sop_instance_uid": uid}, b""
            sink = io.BytesIO()
            restored = restore(io.BytesIO(body), sink, keyring=self._keyring, headers=self._headers)
        except Exception as error:  # noqa: BLE001 - the host must get an answer
            return {"verdict": "failed", "reason": said(error)}, b""
        if restored.remark:
            _log.warning("decrypted as it was encrypted: %s", restored.remark)
        return {"verdict": "decrypted", "sop_instance_uid": restored.sop_instance_uid}, sink.getvalue()


_ROLES: dict[str, Callable[[dict[str, Any]], ProtectRole | ReleaseRole]] = {
    "protect": ProtectRole,
    "release": ReleaseRole,
}


def serve(end: socket.socket) -> None:
    """Take the settings, say whether they will do, then answer requests until the other end closes."""
    settings, _ = _take(end)
    try:
        role = _ROLES[settings["role"]](settings)
    except Exception as error:  # noqa: BLE001 - the host says it, and starts nothing
        hint = getattr(error, "hint", "")
        channel.send(end, {"error": said(error) + (f" (hint: {hint})" if hint else "")})
        return
    channel.send(end, role.facts())
    while True:
        try:
            head, body = _take(end)
        except EOFError:
            return
        channel.send(end, *role.handle(head, body))


def _take(end: socket.socket) -> tuple[dict[str, Any], bytearray]:
    message = channel.receive(end)
    channel.say_taken(end)
    return message


def _test_object() -> bytes:
    uid = b"2.25.1"
    elements = [
        Element(0x00080016, "UI", _SECONDARY_CAPTURE.encode("ascii")),
        Element(0x00080018, "UI", uid),
        Element(0x0020000D, "UI", uid),
        Element(0x0020000E, "UI", uid),
        Element(0x00280002, "US", b"\1\0"),
        Element(0x00280004, "CS", b"MONOCHROME2"),
        *(Element(tag, "US", b"\x10\0") for tag in (0x00280010, 0x00280011, 0x00280100, 0x00280101)),
        Element(0x00280102, "US", b"\x0f\0"),
        Element(0x00280103, "US", b"\0\0"),
        Element(0x7FE00010, "OW", bytes(512)),
    ]
    return file_meta(_SECONDARY_CAPTURE, uid.decode()) + b"".join(element.encode() for element in elements)


def main() -> None:
    """Serve the channel whose descriptor is the only argument."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the end of the channel is what ends it, after the work in hand
    logging.basicConfig(level=logging.WARNING, format="iomt-crypt worker %(levelname)s %(message)s")
    with socket.socket(fileno=int(sys.argv[1])) as end:
        channel.tune(end)
        try:
            serve(end)
        except (OSError, EOFError):
            return  # Orthanc is gone


if __name__ == "__main__":
    main()
