"""What a worker does with a received file: encrypt it, let it pass, seal it into the quarantine, or say no."""

from __future__ import annotations

import io
import logging
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zstandard

from iomt_crypt.checks.vouch import encrypt_source
from iomt_crypt.dicom import Policy, Source, read_file
from iomt_crypt.dicom.block import find_record
from iomt_crypt.errors import InputError, IomtCryptError, KnownAnswerError, NotDicomError, UnsupportedError
from iomt_crypt.node.epoch import EpochSource
from iomt_crypt.seal import Record
from iomt_crypt_orthanc import alarm, quarantine

_log = logging.getLogger(__name__)

Verdict = Literal["encrypted", "kept", "quarantined", "refused"]

# Noise does not shrink; the least compressible plain images do by far more than this.
_PROBE_BYTES = 1 << 18
_NOISE_RATIO = 0.985
_PROBE_FLOOR_BYTES = 256


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    reason
        why it is not encrypted; never a patient's value
    data
        what is to be stored in place of the file; empty unless the verdict is ``"encrypted"``
    """

    verdict: Verdict
    reason: str = ""
    data: bytes = b""


class Protector:
    """Keys and policy at hand. ``folder`` holds ``quarantine/``."""

    def __init__(
        self, *, epochs: EpochSource, policy: Policy, folder: Path, on_failure: Literal["quarantine", "refuse"]
    ) -> None:
        self._epochs = epochs
        self._policy = policy
        self._folder = folder
        self._on_failure = on_failure

    def take(self, data: bytes | bytearray) -> Outcome:
        """Encrypt one file. Raises nothing: whatever goes wrong, the outcome is one that keeps plain bytes away."""
        try:
            return self.encrypt(data)
        except NotDicomError as error:
            return Outcome("refused", str(error))  # Orthanc would not take it either
        except KnownAnswerError as error:
            return Outcome("refused", said(error))  # on a machine that cannot encrypt the quarantine is no safer
        except Exception as error:  # noqa: BLE001 - the host must get an answer
            reason = said(error)
        if self._on_failure == "refuse":
            return Outcome("refused", reason)
        return self.set_aside(data, reason)

    def encrypt(self, data: bytes | bytearray) -> Outcome:
        """Encrypt one file, or let an encrypted one pass; `take` without a net.

        Raises
        ------
        InputError, AuthenticationError
            It cannot be encrypted; or it holds a record, and is not what the record speaks of.
        KnownAnswerError
            The cipher does not work here, or what it made does not open as ``data``; see `iomt_crypt.checks.vouch`.
        """
        stream = io.BytesIO(data)
        source = read_file(stream, policy=self._policy)
        if find_record(source.header) is not None:
            check_encrypted(source)
            return Outcome("kept")
        sink = io.BytesIO()
        encrypt_source(source, sink, original=stream, epoch=self._epochs.current(), policy=self._policy)
        return Outcome("encrypted", data=sink.getvalue())

    def set_aside(self, data: bytes | bytearray, reason: str) -> Outcome:
        """Seal a file into the quarantine, durably; ``"refused"`` when even that fails."""
        try:
            name = quarantine.put(self._folder / "quarantine", data, epoch=self._epochs.current(), reason=reason)
        except Exception as error:  # noqa: BLE001 - see take
            return Outcome("refused", f"{reason}; quarantine: {said(error)}")
        alarm.update(self._folder, reason)
        return Outcome("quarantined", f"{reason} ({name})")


def check_encrypted(source: Source) -> None:
    """Check an object that holds a record: it is ours in full, and not plain pixels with somebody else's record.

    Without a key nothing can be authenticated here. What can be seen is that the record parses, that the pixel value
    is the one it speaks of, and that it is noise.

    Raises
    ------
    AuthenticationError
        The record is damaged.
    UnsupportedError
        The pixels are not those of the record.
    """
    found = find_record(source.header)
    record = Record.unpack(found[1] if found else b"")
    size = record.layout.n_frames * record.layout.frame_bytes
    pixel = source.pixel
    if pixel is None:
        if record.pixel_tag:
            raise UnsupportedError("the object holds a record, and its pixels are gone")
        return
    if pixel.encapsulated or pixel.tag != record.pixel_tag or pixel.size not in (size, size + (size & 1)):
        raise UnsupportedError(
            "the object holds a record, and pixels that it does not speak of",
            hint="an archive compressed or replaced the encrypted pixels",
        )
    source.stream.seek(pixel.offset)
    probe = source.stream.read(min(size, _PROBE_BYTES))
    if len(probe) >= _PROBE_FLOOR_BYTES and len(zstandard.compress(probe)) < _NOISE_RATIO * len(probe):
        raise UnsupportedError("the object holds a record, and its pixels are not noise")


def said(error: Exception) -> str:
    """An error in words that never hold a patient's value; where it came from goes to the log."""
    if isinstance(error, IomtCryptError):
        if not isinstance(error, InputError):
            _log.error("%s", error)
        return str(error)
    frames = "".join(traceback.format_tb(error.__traceback__))
    _log.error("unexpected %s; its message is not logged, it may hold patient data\n%s", type(error).__name__, frames)
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return f"unexpected {type(error).__name__}"
