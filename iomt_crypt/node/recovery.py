"""What the receiver finds in the spool when it starts after a crash."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from iomt_crypt.dicom import read_file
from iomt_crypt.dicom.block import find_record
from iomt_crypt.dicom.restore import read_record
from iomt_crypt.dicom.uid import SERIES, SOP_INSTANCE, STUDY
from iomt_crypt.errors import IomtCryptError, StorageError
from iomt_crypt.node.entry import NewEntry
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.spool import Spool

_log = logging.getLogger(__name__)

_SOP_CLASS = 0x00080016


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
        with path.open("rb") as file:
            source = read_file(file)  # to its end: a file that was cut is found here
            read_record(source)
            found = find_record(source.header)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot be read ({error.strerror})") from None
    except IomtCryptError as error:
        raise StorageError(f"not an object that this node wrote: {error}") from None
    return NewEntry(
        spool_name=path.name,
        sop_class_uid=source.text(_SOP_CLASS),
        sop_instance_uid=source.text(SOP_INSTANCE),
        study_instance_uid=source.text(STUDY) or None,
        series_instance_uid=source.text(SERIES) or None,
        size_bytes=status.st_size,
        # The name begins with the time of reception in nanoseconds.
        received_at=int(path.name.partition("-")[0]) / 1e9,
        sha256=digest,
        record=found[1] if found else None,
    )
