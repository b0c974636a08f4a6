"""What the receiver finds in the spool when it starts after a crash."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from iomt_crypt.errors import StorageError
from iomt_crypt.node.entry import NewEntry
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.spool import Spool

_log = logging.getLogger(__name__)


def adopt(spool: Spool, journal: Journal) -> int:
    """Remove half-written files, and enter complete ones the journal does not know; return how many were entered.

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
        entry = _read_entry(spool.path(name))
        if entry is not None:
            journal.add(entry)
            n_adopted += 1
    if n_removed or n_adopted:
        _log.warning("recovered n_half_written_removed=%d n_objects_adopted=%d", n_removed, n_adopted)
    return n_adopted


def _read_entry(path: Path) -> NewEntry | None:
    """Read from the object itself what its row needs; None when the forwarder has just delivered it."""
    try:
        status = path.stat()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"])
    except FileNotFoundError:
        return None
    except (OSError, InvalidDicomError) as error:
        raise StorageError(
            f"spool file {path} cannot be read: {type(error).__name__}", hint="move it away and start the node again"
        ) from None
    return NewEntry(
        spool_name=path.name,
        sop_class_uid=str(dataset.file_meta.MediaStorageSOPClassUID),
        sop_instance_uid=str(dataset.file_meta.MediaStorageSOPInstanceUID),
        study_instance_uid=str(dataset.get("StudyInstanceUID", "")) or None,
        series_instance_uid=str(dataset.get("SeriesInstanceUID", "")) or None,
        size_bytes=status.st_size,
        # The name begins with the time of reception in nanoseconds.
        received_at=int(path.name.partition("-")[0]) / 1e9,
        sha256=digest,
    )
