"""Send DICOM files to a peer exactly as they are: `iomt-crypt send`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from iomt_crypt.dicom import FileParts, split_file
from iomt_crypt.errors import InputError, IomtCryptError, MalformedError, NetworkError, NotDicomError
from iomt_crypt.node import status
from iomt_crypt.node.client import Client, Timeouts
from iomt_crypt.node.context import MAX_CONTEXTS, Context
from iomt_crypt.node.peer import Peer

_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage: PS3.10 8.6


@dataclass(frozen=True)
class Sent:
    """What the peer answered: it has the object. ``warning`` is its remark, empty with status 0x0000.

    ``transfer_syntax_uid`` is the one it was sent in: the file's own, or Implicit VR Little Endian.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    warning: str


class Sender:
    """Sends the data set bytes of ``paths`` in each file's own transfer syntax.

    Where the peer does not take Explicit VR Little Endian, the header goes in Implicit VR (`implicit_dataset`).

    The files are looked at beforehand, so that an association is negotiated for many of them at a time (127 contexts,
    PS3.8 9.3.2.2). It is opened again after it was lost.
    """

    def __init__(
        self, paths: Sequence[Path], peer: Peer, *, calling_ae_title: str, timeouts: Timeouts | None = None
    ) -> None:
        self._peer = peer
        self._client = Client(peer, calling_ae_title=calling_ae_title, timeouts=timeouts)
        self._unreachable: NetworkError | None = None
        self._coming: dict[Path, Context] = {}
        for path in paths:
            try:
                self._coming[path] = _context(_examine(path))
            except IomtCryptError:
                continue  # reported when its turn comes

    def close(self) -> None:
        """Release the association."""
        self._client.release()

    def send(self, path: Path) -> Sent:
        """Send one file.

        Raises
        ------
        NotDicomError, MalformedError, InputError
            When it cannot be sent.
        NetworkError
            When the peer cannot be reached, refuses, or answers with a failure.
        """
        parts = _examine(path)
        context = _context(parts)
        self._open(path, context)
        try:
            used = self._client.context_for(context) or context
            code, comment = self._client.store(path, parts)
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}") from error
        remark = f"0x{code:04X} ({status.meaning(code)})" + (f": {comment}" if comment else "")
        verdict = status.judge(code)
        if verdict is not status.Verdict.DELIVERED:
            raise NetworkError(f"{self._peer} answered {remark}", hint=_hint(code, verdict))
        warning = "" if code == status.SUCCESS else remark
        return Sent(parts.sop_class_uid, parts.sop_instance_uid, used[1], warning)

    def _open(self, path: Path, context: Context) -> None:
        if self._unreachable is not None:
            raise self._unreachable
        if self._client.has(context):
            self._coming.pop(path, None)
            return
        wanted = {context: None}
        for coming in self._coming.values():
            if len(wanted) == MAX_CONTEXTS - 1:
                break
            wanted[coming] = None
        self._coming.pop(path, None)
        try:
            self._client.open(wanted)
        except NetworkError as error:
            # Waiting for the time-out once more with each of a thousand files would help nobody.
            self._unreachable = error
            raise


def _hint(code: int, verdict: status.Verdict) -> str:
    if verdict is status.Verdict.TRANSIENT:
        return "the peer has no room at the moment: send it again later"
    if code == status.DUPLICATE:
        return "the peer keeps what it has under this SOP Instance UID: fetch it to see whether it is this very object"
    return ""


def _examine(path: Path) -> FileParts:
    try:
        with path.open("rb") as stream:
            parts = split_file(stream)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}") from error
    if parts.sop_class_uid == _DIRECTORY:
        raise NotDicomError("a DICOMDIR is a table of contents, not an object to store")
    if not parts.sop_class_uid or not parts.sop_instance_uid:
        raise MalformedError("SOP Class UID (0008,0016) or SOP Instance UID (0008,0018) is missing")
    return parts


def _context(parts: FileParts) -> Context:
    return (parts.sop_class_uid, parts.transfer_syntax_uid)
