"""The way back: encrypted object in, the original out. Nothing leaves before it is authenticated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np

from iomt_crypt.dicom import block
from iomt_crypt.dicom.drift import Drift, compare, merge
from iomt_crypt.dicom.meta import file_meta
from iomt_crypt.dicom.original import Original
from iomt_crypt.dicom.parse import raw_value
from iomt_crypt.dicom.restoration import Restored as Restored
from iomt_crypt.dicom.salvage import read_sealed
from iomt_crypt.dicom.source import Source
from iomt_crypt.dicom.uid import SOP_INSTANCE
from iomt_crypt.errors import (
    AuthenticationError,
    ConfigurationError,
    HeaderDriftError,
    NoMatchingIdentityError,
    NotEncryptedError,
    UnsupportedError,
)
from iomt_crypt.foreign_text import shown_uid
from iomt_crypt.seal import SUITES, Keyring, ObjectKey, Record, Suite, open_header

_WORDS = (2, 1, 4, 8)  # bytes of a word of OW, OB, OF, OD; the most frequent first
Headers = Literal["merged", "original", "strict"]


@dataclass(frozen=True)
class Opened:
    """An encrypted object whose record and header have been authenticated; its frames not yet."""

    source: Source
    record: Record
    key: ObjectKey
    original: Original
    from_copy: bool = False

    def drift(self) -> Drift:
        """What was changed in the clear header, as far as it can be compared. Raises nothing."""
        return compare(self.original, self.source)


def read_record(source: Source) -> Record:
    """The record of an object.

    Raises
    ------
    NotEncryptedError
        There is none.
    AuthenticationError
        There is one, and it is damaged.
    """
    found = block.find_record(source.header)
    if found is None:
        raise NotEncryptedError(
            "not encrypted by iomt-crypt, or its private block was removed",
            hint=f"looked for group {block.GROUP:04X} with the private creator '{block.CREATOR}'",
        )
    return Record.unpack(found[1])


def open_object(source: Source, keyring: Keyring, records: Sequence[bytes] = ()) -> Opened:
    """Authenticate record and header of an encrypted object; of the clear header nothing but these is looked at.

    ``records`` are copies of its record, as the node's journal keeps them. They are tried in this order when the
    object's own is missing, damaged or does not open; what fits the object decides, so nobody has to trust them.

    Raises
    ------
    NotEncryptedError, NoMatchingIdentityError, AuthenticationError
        What is wrong with the object's own record; no copy opens it either.
    """
    try:
        return _open(source, keyring, read_record(source))
    except (NotEncryptedError, NoMatchingIdentityError, AuthenticationError):
        for copy in records:
            with suppress(NoMatchingIdentityError, AuthenticationError):
                return _open_by_copy(source, keyring, copy)
        raise


def _open(source: Source, keyring: Keyring, record: Record, *, from_copy: bool = False) -> Opened:
    key = ObjectKey(keyring.unwrap(record.wrapped_key, record.epoch_id, record.stanzas), record.object_id)
    record.check(key)
    original = Original.unpack(open_header(key, record.sealed))
    _check_pixel_element(source, record)
    return Opened(source, record, key, original, from_copy)


def _open_by_copy(source: Source, keyring: Keyring, copy: bytes) -> Opened:
    """Open with a record from elsewhere. It may be another version's: UID and first frame must be this object's."""
    record = Record.unpack(copy)
    if record.sop_instance_uid != source.text(SOP_INSTANCE):
        raise AuthenticationError
    opened = _open(source, keyring, record, from_copy=True)
    next(frames(opened), None)
    return opened


def _check_pixel_element(source: Source, record: Record) -> None:
    if source.pixel is not None and source.pixel.encapsulated:
        raise UnsupportedError(
            f"the archive compressed the encrypted pixels (transfer syntax {source.transfer_syntax_uid})",
            hint="decompress it first, e.g. with gdcmconv --raw; lossy compression cannot be undone",
        )
    size = record.layout.n_frames * record.layout.frame_bytes
    tag, there = (source.pixel.tag, source.pixel.size) if source.pixel else (0, 0)
    if tag != record.pixel_tag or there not in (size, size + (size & 1)):
        raise AuthenticationError


def frames(opened: Opened) -> Iterator[memoryview]:
    """Decrypted units, each in the same buffer. Raises AuthenticationError before the first byte of a false one."""
    word_bytes = swapped_word(opened)
    suite = _suite(opened)
    buffer = memoryview(bytearray(opened.record.layout.frame_bytes))
    for index in range(opened.record.layout.n_frames):
        _open_frame(opened, suite, index, buffer, word_bytes)
        yield buffer


def _suite(opened: Opened) -> Suite:
    record = opened.record
    return SUITES[record.suite](opened.key, record.layout, record.sop_instance_uid.encode("ascii"))


def _open_frame(opened: Opened, suite: Suite, index: int, buffer: memoryview, word_bytes: int) -> None:
    source = opened.source
    if source.pixel is None:
        raise AuthenticationError
    source.stream.seek(source.pixel.offset + index * len(buffer))
    if source.stream.readinto(buffer) != len(buffer):  # type: ignore[attr-defined]
        raise AuthenticationError
    swap(buffer, word_bytes)
    suite.open(index, buffer, opened.record.tag(index))


def swapped_word(opened: Opened) -> int:
    """Size in bytes of the words that an archive swapped when it converted the pixels to big endian (PS3.5 7.3).

    1 where nothing was swapped. Which VR the archive took them for (OB, OW, OF, OD) is asked of the first frame
    itself: the header of the converted object is in nobody's trust.
    """
    layout = opened.record.layout
    if opened.source.encoding.little_endian or not layout.n_frames:
        return 1
    suite, buffer = _suite(opened), memoryview(bytearray(layout.frame_bytes))
    for word_bytes in _WORDS:
        if layout.frame_bytes % word_bytes == 0:
            with suppress(AuthenticationError):
                _open_frame(opened, suite, 0, buffer, word_bytes)
                return word_bytes
    raise AuthenticationError


def swap(buffer: memoryview, word_bytes: int) -> None:
    """Swap the bytes of each word of ``buffer``, in place."""
    if word_bytes > 1:
        np.frombuffer(buffer, dtype=f"u{word_bytes}").byteswap(inplace=True)


def restore(
    stream: BinaryIO,
    sink: BinaryIO,
    *,
    keyring: Keyring,
    headers: Headers = "merged",
    records_of: Callable[[str], Sequence[bytes]] = lambda uid: (),
) -> Restored:
    """Decrypt the file ``stream`` into ``sink``; see `restore_source`.

    ``records_of`` gives copies of the record by SOP Instance UID; see `open_object`.
    """
    source = read_sealed(stream)
    records = records_of(source.text(SOP_INSTANCE))
    return restore_source(source, sink, keyring=keyring, headers=headers, records=records)


def restore_source(
    source: Source, sink: BinaryIO, *, keyring: Keyring, headers: Headers = "merged", records: Sequence[bytes] = ()
) -> Restored:
    """Decrypt ``source`` into ``sink``.

    ``headers``: ``"merged"`` carries patient- and study-level corrections that an archive made into the restored
    object, all of them or none, ``"original"`` looks at no change, ``"strict"`` refuses any. A clear header that cannot
    be compared, or corrections that cannot be written, are a remark on the restored original; only ``"strict"`` refuses
    them. A file comes back as the file it was; an object from the network as a Part 10 file around its data set.
    ``records``: see `open_object`.

    Raises
    ------
    NotEncryptedError, NoMatchingIdentityError, AuthenticationError, UnsupportedError
    HeaderDriftError
        ``strict`` and something changed, or could not be compared; ``merged`` and the clear header is that of another
        SOP instance.
        Whatever is in the sink after an error is incomplete; throw it away.
    """
    if headers not in ("merged", "original", "strict"):
        raise ConfigurationError(f"headers {headers!r} is unknown", hint="one of: merged, original, strict")
    opened = open_object(source, keyring, records)
    original = opened.original
    head, drift, remark = _head(opened, headers)
    if original.origin == "network":
        sink.write(file_meta(original.sop_class_uid, original.sop_instance_uid, original.transfer_syntax_uid))
    sink.write(head)
    remaining = original.payload_bytes
    for frame in frames(opened):
        sink.write(frame[: min(remaining, len(frame))])
        remaining -= min(remaining, len(frame))
    sink.write(original.excess + original.tail)
    return Restored(
        original.sop_class_uid,
        original.sop_instance_uid,
        original.transfer_syntax_uid,
        original.origin,
        opened.record.suite,
        drift.changed if drift else (),
        head != original.head,
        drift is not None and not drift.obstacle,
        remark,
        opened.from_copy,
    )


def _head(opened: Opened, headers: Headers) -> tuple[bytes, Drift | None, str]:
    """The head to restore, the drift where it was looked at, and what could not be compared or applied."""
    original = opened.original
    if headers == "original":
        return original.head, None, ""
    drift = opened.drift()
    if headers == "strict":
        _require_unchanged(drift)
        return original.head, drift, ""
    if foreign := _foreign(opened):
        return original.head, drift, drift.obstacle or f"nothing was applied: {foreign}"
    if not drift.corrections:
        return original.head, drift, drift.obstacle
    try:
        return merge(original, drift), drift, drift.obstacle
    except HeaderDriftError as error:
        remark = str(error)
    except Exception as error:  # noqa: BLE001 - pydicom raises whatever the bytes lead to
        remark = type(error).__name__
    return original.head, drift, f"no correction was applied: {remark}"


def _require_unchanged(drift: Drift) -> None:
    hint = "--headers original restores the object as it was"
    if drift.changed:
        raise HeaderDriftError(f"the clear header was changed since encryption: {', '.join(drift.changed)}", hint=hint)
    if drift.obstacle:
        raise HeaderDriftError(drift.obstacle, hint=hint)


def _foreign(opened: Opened) -> str:
    """Why the clear header may be another object's, whose patient must not be put on this image; empty when it is not.

    The header is nobody's proof: it cannot keep anybody from the original either, which is restored as it was.
    """
    value, expected = raw_value(opened.source.header, SOP_INSTANCE), opened.record.sop_instance_uid
    found = value.decode("ascii", "replace").strip(" \0")
    if not found or opened.source.damage:
        return "the clear header has no SOP Instance UID"
    if found != expected:
        return f"the clear header says SOP Instance UID {shown_uid(found)}, the record belongs to {expected}"
    return ""
