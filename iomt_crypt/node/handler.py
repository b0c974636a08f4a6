"""A handler of ``evt.EVT_C_STORE`` for pynetdicom servers of other people: encrypted and durable before the answer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, cast

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE

from iomt_crypt.checks.answer import check_answers
from iomt_crypt.dicom import Policy
from iomt_crypt.node import status
from iomt_crypt.node.destination import Destination, Parcel, deliver
from iomt_crypt.node.entry import NewEntry
from iomt_crypt.node.epoch import EpochSource
from iomt_crypt.node.intake import Answer, Intake, Request
from iomt_crypt.node.recipient import RecipientList
from iomt_crypt.node.site_key import load_site_key
from iomt_crypt.node.spool import Spool
from iomt_crypt.seal import DEFAULT_SUITE


@dataclass(frozen=True)
class _Outbox:
    """Stands where `Intake` has a journal: what it does not take is no longer in the folder, and the sender is told."""

    spool: Spool
    destination: Destination | None

    def add(self, entry: NewEntry) -> None:
        if self.destination is None:
            return
        path = self.spool.path(entry.spool_name)
        deliver(self.destination, Parcel(path, entry.sop_class_uid, entry.sop_instance_uid))
        self.spool.remove(entry.spool_name)


class StoreHandler:
    """Mount it with ``evt_handlers=[(evt.EVT_C_STORE, handler)]``; thread safe, one for each server.

    Each object is encrypted in memory, opened again and compared, written, fsynced, and, with a ``destination``,
    delivered; then the sender gets 0x0000. Whatever goes wrong, nothing of the object stays and the sender gets a
    failure, so that it keeps the object (PS3.4 B.2.3). Exceptions never reach the server.

    Parameters
    ----------
    folder
        encrypted objects come to lie in its ``objects/``, named in order of arrival; made when missing, mode 0700
    recipients
        recipient texts, or files of them, which are read again when they change
    site_key
        file of the key that derives UIDs, made when missing; not needed with ``uids="keep"``
    destination
        where objects go instead of staying, one call at a time for each association
    reserve_bytes
        free space that stays free; objects that would touch it get 0xA700

    Raises
    ------
    KeyMaterialError, ConfigurationError
        Recipients or site key cannot be used.
    StorageError
        The folder cannot be used, or another handler or node has it.
    KnownAnswerError
        The cipher does not work on this machine.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        recipients: Sequence[str | Path],
        site_key: str | Path | None = None,
        destination: Destination | None = None,
        suite: str = DEFAULT_SUITE,
        uids: Literal["derive", "keep"] = "derive",
        reserve_bytes: int = 1 << 30,
        epoch_objects: int = 10_000,
        epoch_hours: float = 24.0,
    ) -> None:
        self._spool = Spool(Path(folder), reserve_bytes=reserve_bytes)
        self._spool.create()
        self._lock_fd = self._spool.lock()
        try:
            key = None
            if uids == "derive":
                key = load_site_key(Path(site_key) if site_key else Path(folder) / "site.key", self._spool)
            policy = Policy(suite=suite, uids=uids, site_key=key)
            epochs = EpochSource(
                RecipientList([str(value) for value in recipients]),
                n_objects=epoch_objects,
                hours=epoch_hours,
                self_test=partial(check_answers, suite),
            )
            self._spool.clear_incoming()
            outbox = _Outbox(self._spool, destination)
            self._intake = Intake(spool=self._spool, journal=outbox, epochs=epochs, policy=policy, wake=lambda: None)
        except BaseException:
            self.close()
            raise

    @property
    def folder(self) -> Path:
        """Where the encrypted objects lie."""
        return self._spool.objects

    def __call__(self, event: evt.Event) -> Dataset:
        """Take one object in; the response to it."""
        answer = self._take(event)
        response = Dataset()
        response.Status = answer.status
        if answer.comment:
            response.ErrorComment = answer.comment
        return response

    def close(self) -> None:
        """Let another handler or node have the folder."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _take(self, event: evt.Event) -> Answer:
        if self._lock_fd < 0:
            return Answer(status.PROCESSING_FAILURE, "this server is closing")
        try:
            request, context = cast(C_STORE, event.request), event.context
            if getattr(request, "_dataset_path", None) is not None:
                # _config.STORE_RECV_CHUNKED_DATASET: the object is on a disk in clear already.
                return Answer(status.PROCESSING_FAILURE, "this server keeps received objects in clear")
            received = Request(
                data=request.DataSet.getvalue() if request.DataSet is not None else b"",
                transfer_syntax_uid=str(context.transfer_syntax),
                sop_class_uid=str(request.AffectedSOPClassUID),
                sop_instance_uid=str(request.AffectedSOPInstanceUID),
                calling_ae_title=str(event.assoc.requestor.ae_title).strip(),
            )
        except Exception as error:  # noqa: BLE001 - pynetdicom would log it with what it quotes
            return Answer(status.PROCESSING_FAILURE, f"processing failure: {type(error).__name__}")
        return self._intake.accept(received)
