"""A small DICOM archive for the demo and the tests: C-STORE, C-ECHO, C-FIND and C-GET on a free port of 127.0.0.1.

What it received is on disk, byte for byte and fsynced, before it answers 0x0000; it starts again from what is there.
It knows no users and no encryption: it plays the archive that is not trusted.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pydicom import dcmread
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt, register_uid
from pynetdicom.events import Event
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from demo.query import answers, in_order, matching

# PS3.7 C and PS3.4 B.2.3, C.4.1.1.4, C.4.3.1.4
_SUCCESS, _PENDING, _CANCEL = 0x0000, 0xFF00, 0xFE00
_INVALID_INSTANCE, _OUT_OF_RESOURCES, _UNABLE_TO_PROCESS = 0x0117, 0xA700, 0xC000


class Archive(Protocol):
    """What the demo and the tests need to know of a running archive."""

    name: str
    host: str
    port: int
    ae_title: str

    def count(self) -> int:
        """Number of instances stored."""

    def sop_instance_uids(self) -> set[str]:
        """SOP Instance UIDs of everything stored."""

    def dataset(self, sop_instance_uid: str) -> Dataset:
        """One stored instance, with its file meta."""


class EmbeddedArchive:
    """The store behind the network handlers; use `start`."""

    name = "embedded archive"
    host = "127.0.0.1"

    def __init__(self, folder: Path, ae_title: str) -> None:
        self.folder = folder
        self.ae_title = ae_title
        self.port = 0
        self._lock = threading.Lock()
        self._headers: dict[str, Dataset] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.dcm")):
            self._headers[path.stem] = dcmread(path, stop_before_pixels=True)

    def count(self) -> int:
        """Number of instances stored."""
        with self._lock:
            return len(self._headers)

    def sop_instance_uids(self) -> set[str]:
        """SOP Instance UIDs of everything stored."""
        with self._lock:
            return set(self._headers)

    def path(self, sop_instance_uid: str) -> Path:
        """File of one instance."""
        return self.folder / f"{sop_instance_uid}.dcm"

    def dataset(self, sop_instance_uid: str) -> Dataset:
        """One stored instance, with its file meta."""
        return dcmread(self.path(sop_instance_uid))

    def store(self, event: Event) -> int:
        """C-STORE: the data set's bytes as received, durable before the answer."""
        uid = UID(str(getattr(event.request, "AffectedSOPInstanceUID", "")))
        if not uid.is_valid:  # it becomes a file name
            return _INVALID_INSTANCE
        final = self.path(uid)
        part = final.with_suffix(f".{threading.get_ident()}.part")
        try:
            with part.open("wb") as file:
                file.write(event.encoded_dataset())
                file.flush()
                os.fsync(file.fileno())
            header = dcmread(part, stop_before_pixels=True)
            part.replace(final)
            _fsync_folder(self.folder)
        except OSError:
            part.unlink(missing_ok=True)
            return _OUT_OF_RESOURCES
        with self._lock:
            self._headers[str(uid)] = header
        return _SUCCESS

    def find(self, event: Event) -> Iterator[tuple[int, Dataset | None]]:
        """C-FIND, Study Root."""
        with self._lock:
            headers = list(self._headers.values())
        try:
            found = answers(event.identifier, headers, self.ae_title)
        except ValueError:
            yield _UNABLE_TO_PROCESS, None
            return
        for answer in found:
            if event.is_cancelled:
                yield _CANCEL, None
                return
            yield _PENDING, answer

    def get(self, event: Event) -> Iterator[int | tuple[int, Dataset | None]]:
        """C-GET, Study Root: the number of instances, then each of them."""
        with self._lock:
            headers = list(self._headers.values())
        found = in_order(matching(event.identifier, headers))
        yield len(found)
        for header in found:
            if event.is_cancelled:
                yield _CANCEL, None
                return
            yield _PENDING, dcmread(self.path(header.SOPInstanceUID))


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage_classes() -> list[str]:
    """Every storage SOP class, the retired image classes included: old studies stay in archives."""
    known = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    for uid, (name, kind, _, _, keyword) in UID_dictionary.items():
        if kind == "SOP Class" and "Image Storage" in name and uid not in known:
            register_uid(uid, keyword or f"Storage{uid.replace('.', '_')}", StorageServiceClass)
            known.add(uid)
    return sorted(known)


@contextmanager
def start(folder: Path, *, ae_title: str = "ARCHIVE") -> Iterator[EmbeddedArchive]:
    """Run an archive over ``folder`` (made if missing) until the block ends.

    Yields
    ------
    EmbeddedArchive
        With the ``port`` it listens on.
    """
    archive = EmbeddedArchive(folder, ae_title)
    entity = AE(ae_title=ae_title)
    entity.maximum_associations = 64
    entity.maximum_pdu_size = 0
    for sop_class in storage_classes():
        # Both roles: with C-GET it is the requestor who stores (PS3.7 D.3.3.4).
        entity.add_supported_context(sop_class, list(ALL_TRANSFER_SYNTAXES), scu_role=True, scp_role=True)
    for service in (
        Verification,
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelGet,
    ):
        entity.add_supported_context(service)
    handlers = [(evt.EVT_C_STORE, archive.store), (evt.EVT_C_FIND, archive.find), (evt.EVT_C_GET, archive.get)]
    server = entity.start_server((archive.host, 0), block=False, evt_handlers=handlers)  # type: ignore[arg-type]
    if server is None:
        raise RuntimeError("pynetdicom did not start a server")
    archive.port = server.server_address[1]
    try:
        yield archive
    finally:
        server.shutdown()
