"""Bring studies back from an archive and decrypt them: `iomt-crypt fetch` (C-FIND, C-GET or C-MOVE, PS3.4 C)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from iomt_crypt.dicom import Headers
from iomt_crypt.dicom.meta import file_meta
from iomt_crypt.dicom.restore import open_object, restore_source
from iomt_crypt.dicom.source import Source
from iomt_crypt.durable import appear, open_draft, remove_leftovers, sync_folder
from iomt_crypt.errors import IomtCryptError, MalformedError, NetworkError, NotEncryptedError, StorageError
from iomt_crypt.foreign_text import is_uid, shown_uid
from iomt_crypt.node.catalog import Catalog, Instance, Listing
from iomt_crypt.node.client import Client, Timeouts
from iomt_crypt.node.demand import Arrival, Refusal
from iomt_crypt.node.move_listener import MoveTarget
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.retrieval import Retrieval
from iomt_crypt.node.spool import storage_error
from iomt_crypt.seal import Keyring

__all__ = ["Fetched", "Fetcher", "Instance"]


@dataclass(frozen=True)
class Fetched:
    """What became of one object. ``state`` is ``decrypted``, ``plain``, ``failed`` or ``refused``.

    ``sop_instance_uid`` is the one in the archive, ``path`` the file that was written, None when none was. What the
    archive sent and nobody asked for is ``refused``. ``from_copy``: a copy of the record opened it, not its own.
    """

    sop_instance_uid: str
    state: str
    path: Path | None = None
    error: IomtCryptError | None = None
    changed: tuple[str, ...] = ()
    from_copy: bool = False
    remark: str = ""


class Fetcher:
    """Fetches from one archive into one folder.

    plain
        write objects that are not encrypted too, as they are; without it they fail
    records_of
        copies of an object's record by its SOP Instance UID, newest first: for those whose own record was lost
    target
        where a C-MOVE is to send to, for archives without C-GET
    """

    def __init__(
        self,
        peer: Peer,
        *,
        calling_ae_title: str,
        keyring: Keyring,
        output: Path,
        headers: Headers = "merged",
        timeouts: Timeouts | None = None,
        plain: bool = False,
        records_of: Callable[[str], Sequence[bytes]] = lambda uid: (),
        target: MoveTarget | None = None,
    ) -> None:
        client = Client(peer, calling_ae_title=calling_ae_title, timeouts=timeouts)
        self._peer = peer
        self._catalog = Catalog(client)
        self._retrieval = Retrieval(
            client, self._catalog, calling_ae_title=calling_ae_title, take=self._on_arrival, target=target
        )
        self._keyring = keyring
        self._output = output
        self._headers: Headers = headers
        self._plain = plain
        self._records_of = records_of
        self._listed: dict[str, Listing] = {}

    def listing(self, study_instance_uid: str, *, series: Sequence[str] = ()) -> Listing:
        """Ask the archive which objects a study has, or only those ``series`` of it.

        Raises
        ------
        NetworkError
            When the archive cannot be asked at all.
        """
        listing = self._catalog.listing(study_instance_uid, series=series)
        self._listed[study_instance_uid] = listing
        return listing

    def find(self, study_instance_uid: str, *, series: Sequence[str] = ()) -> list[Instance]:
        """`listing`, for an archive that has a complete list.

        Raises
        ------
        NetworkError
            When the archive cannot be asked or answers with a failure.
        """
        found = self.listing(study_instance_uid, series=series)
        for error in found.unlisted.values():
            raise error
        return [*found.instances]

    def fetch(self, wanted: Listing | Sequence[Instance]) -> Iterator[Fetched]:
        """Get the objects of one study, decrypt each as it arrives, and yield every one exactly once.

        Objects that do not arrive are yielded at the end, as failed.
        """
        self._output.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self._output)  # of a fetch that was killed: they are in clear
        listing = wanted if isinstance(wanted, Listing) else self._some(wanted)
        for result in self._retrieval.run(listing):
            if isinstance(result, Refusal):
                state = "failed" if result.kind in ("missing", "different") else "refused"
                yield Fetched(result.sop_instance_uid, state, error=result.error)
            else:
                yield result

    def _some(self, wanted: Sequence[Instance]) -> Listing:
        """A listing of some objects of a study."""
        study = wanted[0].study_instance_uid if wanted else ""
        chosen = {instance.sop_instance_uid for instance in wanted}
        listed = self._listed.get(study, Listing(study)).instances
        partial = frozenset(i.series_instance_uid for i in listed if i.sop_instance_uid not in chosen)
        return Listing(study, tuple(wanted), partial=partial)

    def _on_arrival(self, arrival: Arrival, source: Source) -> Fetched:
        try:
            return self._take(arrival, source)
        except IomtCryptError as error:
            return Fetched(shown_uid(arrival.sop_instance_uid), "failed", error=error)
        except OSError as error:
            problem = storage_error(error, str(self._output))
            return Fetched(shown_uid(arrival.sop_instance_uid), "failed", error=problem)

    def _take(self, arrival: Arrival, source: Source) -> Fetched:
        """Decrypt what arrived into a private file, and give that one its name."""
        uid = arrival.sop_instance_uid
        if not is_uid(uid):
            # It becomes a file name, and a peer chose it.
            raise MalformedError("SOP Instance UID (0008,0018) has characters no UID may have (PS3.5 9.1)")
        draft, sink = open_draft(self._output / f"{uid}.dcm", 0o600)
        try:
            with sink:
                fetched, name = self._write(arrival, source, sink)
                sink.flush()
                os.fsync(sink.fileno())
                # The original's UID comes from a device: one that is none must not cost the image, nor become a path.
                path = self._place(draft, name if is_uid(name) else uid)
            return replace(fetched, path=path)
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()

    def _write(self, arrival: Arrival, source: Source, sink: BinaryIO) -> tuple[Fetched, str]:
        """Write the original; return what became of it, and the original's UID."""
        uid = arrival.sop_instance_uid
        records = self._records_of(uid)
        try:
            opened = open_object(source, self._keyring, records)
        except NotEncryptedError as error:
            if not self._plain:
                raise _not_encrypted(error, has_copy=bool(records)) from None
            sink.write(file_meta(arrival.sop_class_uid, uid, arrival.transfer_syntax_uid))
            sink.write(arrival.data)
            return Fetched(uid, "plain"), uid
        if opened.record.sop_instance_uid != uid:
            raise NetworkError(
                f"{self._peer} sent another object under this UID: {opened.record.sop_instance_uid}",
                hint="nothing of it was written; if the archive gives new UIDs, get the file by other means: "
                "'iomt-crypt decrypt --headers original' restores it",
            )
        restored = restore_source(source, sink, keyring=self._keyring, headers=self._headers, records=records)
        fetched = Fetched(
            uid, "decrypted", changed=restored.changed, from_copy=restored.from_copy, remark=restored.remark
        )
        return fetched, restored.sop_instance_uid

    def _place(self, draft: Path, sop_instance_uid: str) -> Path:
        path = self._output / f"{sop_instance_uid}.dcm"
        try:
            appear(draft, path)
        except FileExistsError:
            raise StorageError(
                f"{path} exists already", hint="nothing is overwritten: choose another folder, or move it away"
            ) from None
        sync_folder(self._output)
        return path


def _not_encrypted(error: NotEncryptedError, *, has_copy: bool) -> NotEncryptedError:
    if has_copy:
        return NotEncryptedError(f"{error}; no copy of its record opens it", hint=error.hint)
    return NotEncryptedError(
        str(error),
        hint="--plain writes what was never encrypted; --journal opens it where an archive dropped the record",
    )
