"""From the received bytes of one object to an encrypted, durable file in the spool, and the status for the sender."""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from iomt_crypt.checks.vouch import TRIAL, encrypt_source
from iomt_crypt.dicom import Policy, Protected, read_network
from iomt_crypt.errors import IomtCryptError, KnownAnswerError
from iomt_crypt.foreign_text import printable, shown_uid
from iomt_crypt.node import status
from iomt_crypt.node.entry import NewEntry
from iomt_crypt.node.epoch import EpochSource
from iomt_crypt.node.log_output import log_unexpected
from iomt_crypt.node.spool import Draft, Spool

_log = logging.getLogger(__name__)

_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_MAX_REASON = 1000  # characters of one message in the log
_MAX_COMMENT = 64  # Error Comment (0000,0902) is LO: PS3.7 E.1-1, PS3.5 6.2


@dataclass(frozen=True)
class Request:
    """A C-STORE request: the data set's bytes as received, and what the command and the context say of them."""

    data: bytes
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    calling_ae_title: str


@dataclass(frozen=True)
class Answer:
    """What the sender is told: a C-STORE status, and an Error Comment of at most 64 ASCII characters.

    ``reason`` is the comment in full, for the log.
    """

    status: int
    comment: str = ""
    reason: str = ""


class Ledger(Protocol):
    """What an object is entered into: the journal of a node, or whatever stands in its place."""

    def add(self, entry: NewEntry) -> object:
        """Take ``entry``, whose file is in the spool; or raise, and the file goes."""


class Intake:
    """Takes objects in. Thread safe: one call for each association at a time.

    ``wake`` is called after each object, to tell the forwarder.

    Raises
    ------
    KnownAnswerError
        The cipher does not stand a first trial.
    """

    def __init__(
        self, *, spool: Spool, journal: Ledger, epochs: EpochSource, policy: Policy, wake: Callable[[], None]
    ) -> None:
        self._spool = spool
        self._journal = journal
        self._epochs = epochs
        self._policy = policy
        self._wake = wake
        TRIAL.warm_up(policy.suite)

    def accept(self, request: Request) -> Answer:
        """Encrypt and store one object; success only when it is durable. Raises nothing.

        Whatever goes wrong, nothing of the object stays in the spool and the answer is a failure, so that the sender
        keeps it (PS3.4 B.2.3).
        """
        uid = shown_uid(request.sop_instance_uid)
        try:
            answer = self._take(request)
        except Exception as error:  # noqa: BLE001 - the sender must get an answer, and nothing may reach pynetdicom's log
            answer = _failure(error)
            if isinstance(error, KnownAnswerError):
                _log.error("NOT TAKEN sop_instance_uid=%s: %s (%s)", uid, error, error.hint)
            elif answer.status == status.PROCESSING_FAILURE:
                log_unexpected(error)
        if answer.status != status.SUCCESS:
            _log.warning(
                "object refused status=0x%04X sop_instance_uid=%s: %s",
                answer.status,
                uid,
                answer.reason or answer.comment,
            )
            return answer
        self._wake()
        _log.debug("object stored sop_instance_uid=%s", uid)
        return answer

    def _take(self, request: Request) -> Answer:
        self._spool.require_room(len(request.data))
        source = read_network(request.data, transfer_syntax_uid=request.transfer_syntax_uid, policy=self._policy)
        for name, commanded, found in (
            ("SOP Class UID", request.sop_class_uid, source.text(_SOP_CLASS_UID)),
            ("SOP Instance UID", request.sop_instance_uid, source.text(_SOP_INSTANCE_UID)),
        ):
            if commanded != found:
                return Answer(status.MISMATCH, f"{name} differs between command and data set")
        started = time.perf_counter()
        with self._spool.draft() as draft:
            epoch = self._epochs.current()
            received = io.BytesIO(request.data)
            vouched = encrypt_source(source, draft.file, original=received, epoch=epoch, policy=self._policy)
            encrypt_seconds = time.perf_counter() - started - vouched.seconds
            draft.file.seek(0)
            digest = hashlib.file_digest(draft.file, "sha256").digest()  # type: ignore[arg-type]  # has readinto()
            # The encrypted object may be larger than the received one: a compressed image becomes a native raster.
            self._spool.require_room(0)
            path = self._spool.commit(draft)
            entry = _entry(draft, vouched.protected, request, encrypt_seconds, digest)
        self._enter(entry, path)
        return Answer(status.SUCCESS)

    def _enter(self, entry: NewEntry, path: Path) -> None:
        try:
            self._journal.add(entry)
        except BaseException:
            # Without its row the sender is told of a failure, so the object must not be forwarded from here.
            path.unlink(missing_ok=True)
            raise


def _entry(draft: Draft, protected: Protected, request: Request, encrypt_seconds: float, digest: bytes) -> NewEntry:
    return NewEntry(
        spool_name=draft.name,
        sop_class_uid=protected.sop_class_uid,
        sop_instance_uid=protected.sop_instance_uid,
        original_sop_instance_uid=protected.original_sop_instance_uid,
        study_instance_uid=protected.study_instance_uid,
        series_instance_uid=protected.series_instance_uid,
        form=protected.form,
        suite=protected.suite,
        n_frames=protected.n_frames,
        size_bytes=protected.size_bytes,
        encrypt_seconds=encrypt_seconds,
        calling_ae_title=request.calling_ae_title,
        received_at=time.time(),
        record=protected.record,
        sha256=digest,
    )


def _failure(error: Exception) -> Answer:
    code = status.answer(error)
    if status.is_disk_full(error):
        comment = "no room in the spool"
    elif isinstance(error, IomtCryptError):
        comment = str(error)
    else:
        # The message of a foreign exception may quote a value of the object.
        comment = f"processing failure: {type(error).__name__}"
    short = comment.encode("ascii", "replace").decode().replace("\\", "/")[:_MAX_COMMENT]
    return Answer(code, short, printable(comment, limit=_MAX_REASON))
