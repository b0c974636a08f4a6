"""What an object says about itself without a key, and whether what it says is true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from iomt_crypt.dicom.file import as_keyring, open_input
from iomt_crypt.dicom.restore import frames, open_object, read_record
from iomt_crypt.dicom.salvage import read_sealed
from iomt_crypt.dicom.source import Source
from iomt_crypt.dicom.uid import SERIES, SOP_INSTANCE, STUDY
from iomt_crypt.errors import NotEncryptedError
from iomt_crypt.seal import Identity, Keyring, Record, fingerprint_text

_IDENTITY_REMOVED = 0x00120062
_DE_IDENTIFICATION_METHODS = (0x00120063, 0x00120064)  # as text and as codes


@dataclass(frozen=True)
class RecipientInfo:
    """A recipient as named in a stanza. The name is a hint; only opening the stanza proves it."""

    kind: str
    fingerprint: str


@dataclass(frozen=True)
class EncryptionInfo:
    """The public part of a sealed record."""

    suite: str
    form: str
    software: str
    object_id: str
    epoch_id: str
    n_units: int
    unit_bytes: int
    recipients: tuple[RecipientInfo, ...]


@dataclass(frozen=True)
class Inspection:
    """What an object says about itself; nothing here is authenticated.

    encryption
        None for a plain object
    warnings
        what should worry whoever passes the object on
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    pixel_bytes: int
    encryption: EncryptionInfo | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verification:
    """Verdict on one object.

    state
        ``"authentic"``: record, header and every frame authenticated with an identity; ``"consistent"``: encrypted,
        and sound as far as can be seen without a key; ``"plain"``: not encrypted
    n_units
        frames authenticated
    changed
        elements of the clear header that were changed since encryption (known with an identity only)
    remark
        what of the clear header could not be compared, and why; else empty
    from_copy
        whether a copy of the record opened it; its own is missing, damaged or does not open
    """

    state: Literal["authentic", "consistent", "plain"]
    sop_instance_uid: str
    n_units: int
    changed: tuple[str, ...]
    remark: str = ""
    from_copy: bool = False


def inspect_file(path: str | Path) -> Inspection:
    """Read what an object says about itself; no key is needed.

    Raises
    ------
    InputError
        Not a readable DICOM object.
    AuthenticationError
        There is a record, and it is damaged.
    """
    with open_input(path) as stream:
        source = read_sealed(stream)
        try:
            encryption = _encryption(read_record(source))
        except NotEncryptedError:
            encryption = None
        return _inspection(source, encryption)


def _inspection(source: Source, encryption: EncryptionInfo | None) -> Inspection:
    return Inspection(
        source.text(0x00080016),
        source.text(SOP_INSTANCE),
        source.text(STUDY),
        source.text(SERIES),
        source.transfer_syntax_uid,
        source.pixel.size if source.pixel else 0,
        encryption,
        () if encryption is None else _warnings(source),
    )


def _warnings(source: Source) -> tuple[str, ...]:
    """Of an encrypted object. Anonymizers keep private blocks, and ours holds the original header (PS3.15 E.1)."""
    removed = source.text(_IDENTITY_REMOVED).upper() == "YES"
    if not removed and not any(tag in source.header for tag in _DE_IDENTIFICATION_METHODS):
        return ()
    return (
        "the object says that it is de-identified, and holds its sealed original: if it was de-identified after it "
        "was encrypted, the holders of a key can still read who the patient is",
    )


def _encryption(record: Record) -> EncryptionInfo:
    return EncryptionInfo(
        record.suite,
        record.form,
        record.software,
        record.object_id.hex(),
        record.epoch_id.hex(),
        record.layout.n_frames,
        record.layout.frame_bytes,
        tuple(RecipientInfo(s.kind, fingerprint_text(s.recipient)) for s in record.stanzas),
    )


def verify_file(path: str | Path, *, identities: Sequence[Identity] | Keyring = ()) -> Verification:
    """Check an object: its structure and, with an identity, record, header and every frame. Writes nothing.

    Raises
    ------
    AuthenticationError, NoMatchingIdentityError, InputError
    """
    with open_input(path) as stream:
        return verify_stream(stream, identities=identities)


def verify_stream(
    stream: BinaryIO,
    *,
    identities: Sequence[Identity] | Keyring = (),
    records_of: Callable[[str], Sequence[bytes]] = lambda uid: (),
) -> Verification:
    """`verify_file` for an object that is open already (readable, seekable).

    ``records_of`` gives copies of the record by SOP Instance UID; see `open_object`.
    """
    keyed = isinstance(identities, Keyring) or len(identities) > 0
    source = read_sealed(stream)
    uid = source.text(SOP_INSTANCE)
    copies = records_of(uid)
    try:
        if not keyed:
            read_record(source)
            return Verification("consistent", uid, 0, ())
        opened = open_object(source, as_keyring(identities), copies)
    except NotEncryptedError:
        return Verification("plain", uid, 0, ())
    n_units = sum(1 for _ in frames(opened))
    drift = opened.drift()
    return Verification("authentic", uid, n_units, drift.changed, drift.obstacle, opened.from_copy)
