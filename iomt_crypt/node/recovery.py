"""What the receiver finds in the spool when it starts after a crash."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from pydicom import dcmread

from iomt_crypt.errors import StorageError
from iomt_crypt.node.entry import NewEntry
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.spool import Spool

_log = logging.getLogger(__name__)


def adopt(spool: Spool, journal: Journal) -> int:
    """Remove half-written files, and enter complete ones the journal does not know; return how many were entered.

    A file that cannot be read is set aside, logged and counted by ``node status``: it must not keep the others.

    Only for a moment when nothing is being received. An object without a row was durable but not yet answered, or its
    row was lost with the journal: both are forwarded, since one delivery too many harms nothing.
    """
    n_removed = spool.clear_incoming()
    names = spool.names()
    known = journal.known(names)
    n_adopted = 0
    for name in names:
        if name in known:
            continue
        try:
            entry = _read_entry(spool.path(name))
        except StorageError as error:
            path = spool.set_aside(name)
            _log.error(
                "SET ASIDE %s: %s; it is in no archive yet, and its sender was told that it is safe", path, error
            )
            continue
        if entry is not None:
            journal.add(entry)
            n_adopted += 1
    if n_removed or n_adopted:
        _log.warning("recovered n_half_written_removed=%d n_objects_adopted=%d", n_removed, n_adopted)
    return n_adopted


def _read_entry(path: Path) -> NewEntry | None:
    """Read from the object itself what its row needs; None when the forwarder has just delivered it.

    Raises StorageError when it cannot be read.
    """
    try:
        status = path.stat()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"])
        sop_class_uid = str(dataset.file_meta.MediaStorageSOPClassUID)
        sop_instance_uid = str(dataset.file_meta.MediaStorageSOPInstanceUID)
        study, series = (str(dataset.get(name, "")) or None for name in ("StudyInstanceUID", "SeriesInstanceUID"))
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001 - pydicom raises whatever damaged bytes lead to
        raise StorageError(f"cannot be read ({type(error).__name__})") from None
    return NewEntry(
        spool_name=path.name,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        study_instance_uid=study,
        series_instance_uid=series,
        size_bytes=status.st_size,
        # The name begins with the time of reception in nanoseconds.
        received_at=int(path.name.partition("-")[0]) / 1e9,
        sha256=digest,
    )
