"""Bring studies back from an archive and decrypt them: `iomt-crypt fetch` (C-FIND and C-GET, PS3.4 C)."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import StoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_context, build_role

from iomt_crypt.dicom import Headers, restore
from iomt_crypt.dicom.meta import file_meta
from iomt_crypt.errors import IomtCryptError, MalformedError, NetworkError, NotEncryptedError, StorageError
from iomt_crypt.node import status
from iomt_crypt.node.client import Client, Timeouts
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.spool import storage_error
from iomt_crypt.seal import Keyring

# Study Root Query/Retrieve Information Model: PS3.4 C.6.2
_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_GET = "1.2.840.10008.5.1.4.1.2.2.3"
_PENDING = frozenset({0xFF00, 0xFF01})  # PS3.4 C.4.1.1.4 and C.4.3.1.4
_UID = re.compile(r"[0-9][0-9.]{0,63}")
# One pair of contexts for each class: the archive may send an object only as it has it, and we take both.
_MAX_CLASSES = 60


@dataclass(frozen=True)
class Instance:
    """An object the archive says it has."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str


@dataclass(frozen=True)
class Fetched:
    """What became of one object. ``state`` is ``decrypted``, ``plain`` or ``failed``.

    ``sop_instance_uid`` is the one in the archive, ``path`` the file that was written, None when it failed.
    """

    sop_instance_uid: str
    state: str
    path: Path | None = None
    error: IomtCryptError | None = None
    changed: tuple[str, ...] = ()
    remark: str = ""


@dataclass
class _Run:
    """One fetch: what arrived, what of it was not passed on yet, and what the archive complained of."""

    arrived: set[str] = field(default_factory=set)
    results: list[Fetched] = field(default_factory=list)
    problem: NetworkError | None = None

    def drain(self) -> list[Fetched]:
        """Take the results that came since the last call."""
        results, self.results = self.results, []
        return results


class Fetcher:
    """Fetches from one archive into one folder."""

    def __init__(
        self,
        peer: Peer,
        *,
        calling_ae_title: str,
        keyring: Keyring,
        output: Path,
        headers: Headers = "merged",
        timeouts: Timeouts | None = None,
    ) -> None:
        self._peer = peer
        self._client = Client(peer, calling_ae_title=calling_ae_title, timeouts=timeouts)
        self._keyring = keyring
        self._output = output
        self._headers: Headers = headers

    def find(self, study_instance_uid: str, *, series: Sequence[str] = ()) -> list[Instance]:
        """Ask the archive which objects a study has, or only those ``series`` of it.

        Raises
        ------
        NetworkError
            When the archive cannot be asked or answers with a failure.
        """
        association = self._client.associate([build_context(_FIND, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])])
        try:
            wanted = list(series) or [
                str(found.SeriesInstanceUID)
                for found in self._query(association, _identifier("SERIES", study_instance_uid))
                if "SeriesInstanceUID" in found
            ]
            return [
                Instance(study_instance_uid, uid, str(found.SOPInstanceUID), str(found.get("SOPClassUID", "")))
                for uid in wanted
                for found in self._query(association, _identifier("IMAGE", study_instance_uid, uid))
                if "SOPInstanceUID" in found
            ]
        finally:
            association.release()

    def _query(self, association: Association, identifier: Dataset) -> list[Dataset]:
        found: list[Dataset] = []
        for answer, match in association.send_c_find(identifier, _FIND):
            if "Status" not in answer:
                raise NetworkError(f"{self._peer} gave no answer to the C-FIND")
            if answer.Status in _PENDING and match is not None:
                found.append(match)
            elif answer.Status not in _PENDING and answer.Status != status.SUCCESS:
                raise NetworkError(f"{self._peer} answered the C-FIND with status 0x{answer.Status:04X}")
        return found

    def fetch(self, instances: Sequence[Instance]) -> Iterator[Fetched]:
        """Get the objects of one study, decrypt each as it arrives, and yield every one exactly once.

        Objects that do not arrive are yielded at the end, as failed.
        """
        self._output.mkdir(parents=True, exist_ok=True)
        run = _Run()
        classes = _storage_classes(instances)
        for start in range(0, len(classes), _MAX_CLASSES):
            try:
                yield from self._get(instances, classes[start : start + _MAX_CLASSES], run)
            except NetworkError as error:
                run.problem = error
            yield from run.drain()
        missing = run.problem or NetworkError(
            f"{self._peer} did not send the object", hint="the archive's own log says why"
        )
        for instance in instances:
            if instance.sop_instance_uid not in run.arrived:
                yield Fetched(instance.sop_instance_uid, "failed", error=missing)

    def _get(self, instances: Sequence[Instance], classes: Sequence[str], run: _Run) -> Iterator[Fetched]:
        contexts = [build_context(_GET)]
        roles: list[SCP_SCU_RoleSelectionNegotiation] = []
        for uid in classes:
            contexts.append(build_context(uid, [ExplicitVRLittleEndian]))
            contexts.append(build_context(uid, [ImplicitVRLittleEndian, ExplicitVRBigEndian]))
            roles.append(build_role(uid, scp_role=True))
        association = self._client.associate(contexts, roles=roles, handlers=[(evt.EVT_C_STORE, self._on_store, [run])])
        try:
            for series in dict.fromkeys(instance.series_instance_uid for instance in instances):
                identifier = _identifier("SERIES", instances[0].study_instance_uid, series)
                for answer, _ in association.send_c_get(identifier, _GET):
                    run.problem = self._problem(answer) or run.problem
                    yield from run.drain()
                if not association.is_established:
                    break
        finally:
            association.release()

    def _problem(self, answer: Dataset) -> NetworkError | None:
        if "Status" not in answer:
            return NetworkError(f"{self._peer} gave no answer to the C-GET: association lost or time-out")
        # 0xB000: some sub-operations failed (PS3.4 C.4.3.1.4); the objects that are missing say which.
        if answer.Status in _PENDING or answer.Status in (status.SUCCESS, 0xB000):
            return None
        text = f"{self._peer} answered the C-GET with status 0x{answer.Status:04X}"
        return NetworkError(f"{text}: {answer.ErrorComment}" if answer.get("ErrorComment") else text)

    def _on_store(self, event: evt.Event, run: _Run) -> int:
        request = cast(C_STORE, event.request)
        uid = str(request.AffectedSOPInstanceUID)
        data = request.DataSet.getvalue() if request.DataSet is not None else b""
        try:
            result = self._take(uid, str(request.AffectedSOPClassUID), str(event.context.transfer_syntax), data)
        except IomtCryptError as error:
            result = Fetched(uid, "failed", error=error)
        except OSError as error:
            result = Fetched(uid, "failed", error=storage_error(error, str(self._output)))
        if uid not in run.arrived:
            run.arrived.add(uid)
            run.results.append(result)
        # The archive did its part, whatever we made of the object.
        return status.SUCCESS

    def _take(self, uid: str, sop_class_uid: str, transfer_syntax_uid: str, data: bytes) -> Fetched:
        """Write what arrived to a private file, decrypt it into another, and give that one its name."""
        token = secrets.token_hex(8)
        received, draft = self._output / f".{token}.received", self._output / f".{token}.part"
        try:
            with _private(received) as encrypted, _private(draft) as plain:
                encrypted.write(file_meta(sop_class_uid, uid, transfer_syntax_uid))
                encrypted.write(data)
                encrypted.seek(0)
                try:
                    restored = restore(encrypted, plain, keyring=self._keyring, headers=self._headers)
                    name, state, changed = restored.sop_instance_uid, "decrypted", restored.changed
                    remark = restored.remark
                except NotEncryptedError:
                    encrypted.seek(0)
                    shutil.copyfileobj(encrypted, plain, 1 << 20)
                    name, state, changed, remark = uid, "plain", (), ""
                plain.flush()
                os.fsync(plain.fileno())
            # The original's UID comes from a device: one that is none must not cost the image, nor become a path.
            path = self._place(draft, name if _UID.fullmatch(name) else uid)
            return Fetched(uid, state, path=path, changed=changed, remark=remark)
        finally:
            for leftover in (received, draft):
                with suppress(FileNotFoundError):
                    leftover.unlink()

    def _place(self, draft: Path, sop_instance_uid: str) -> Path:
        if not _UID.fullmatch(sop_instance_uid):
            # It becomes a file name, and a peer chose it.
            raise MalformedError("SOP Instance UID (0008,0018) has characters no UID may have (PS3.5 9.1)")
        path = self._output / f"{sop_instance_uid}.dcm"
        try:
            os.link(draft, path)  # fails when the name is taken, which a rename does not
        except FileExistsError:
            raise StorageError(
                f"{path} exists already", hint="nothing is overwritten: choose another folder, or move it away"
            ) from None
        return path


def _storage_classes(instances: Sequence[Instance]) -> list[str]:
    """SOP classes to negotiate: those of the objects; the common ones besides, when the archive does not name all."""
    classes = {instance.sop_class_uid for instance in instances}
    if "" in classes:
        common = [str(context.abstract_syntax) for context in StoragePresentationContexts]
        classes |= set(common[:_MAX_CLASSES])
    return sorted(classes - {""})


def _private(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "w+b")


def _identifier(level: str, study: str, series: str = "") -> Dataset:
    """Make the identifier of a Study Root query (PS3.4 C.6.2.1): unique keys above the level, empty keys to return."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    identifier.StudyInstanceUID = study
    identifier.SeriesInstanceUID = series
    if level == "IMAGE":
        identifier.SOPInstanceUID = ""
        identifier.SOPClassUID = ""
    return identifier
