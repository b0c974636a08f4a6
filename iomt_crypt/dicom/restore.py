"""The way back: encrypted object in, the original out. Nothing leaves before it is authenticated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np

from iomt_crypt.dicom import block
from iomt_crypt.dicom.drift import Drift, find_drift, merge
from iomt_crypt.dicom.meta import file_meta
from iomt_crypt.dicom.original import Original
from iomt_crypt.dicom.source import Source, read_file
from iomt_crypt.dicom.uid import SOP_INSTANCE
from iomt_crypt.errors import (
    AuthenticationError,
    ConfigurationError,
    HeaderDriftError,
    NotEncryptedError,
    UnsupportedError,
)
from iomt_crypt.seal import SUITES, Keyring, ObjectKey, Record, open_header

Headers = Literal["merged", "original", "strict"]


@dataclass(frozen=True)
class Restored:
    """What was restored.

    changed
        names of the clear header's elements that were changed since encryption
    applied
        whether patient- and study-level changes were carried into the restored object
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    origin: str
    suite: str
    changed: tuple[str, ...]
    applied: bool


@dataclass(frozen=True)
class Opened:
    """An encrypted object whose record and header have been authenticated; its frames not yet."""

    source: Source
    record: Record
    key: ObjectKey
    original: Original
    drift: Drift


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


def open_object(source: Source, keyring: Keyring) -> Opened:
    """Authenticate record and header of an encrypted object.

    Raises
    ------
    NotEncryptedError, NoMatchingIdentityError, AuthenticationError
    """
    record = read_record(source)
    key = ObjectKey(keyring.unwrap(record.wrapped_key, record.epoch_id, record.stanzas), record.object_id)
    record.check(key)
    original = Original.unpack(open_header(key, record.sealed))
    _check_pixel_element(source, record)
    return Opened(source, record, key, original, find_drift(original, source))


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
    record, source = opened.record, opened.source
    if source.pixel is None:
        return
    suite = SUITES[record.suite](opened.key, record.layout, record.sop_instance_uid.encode("ascii"))
    buffer = memoryview(bytearray(record.layout.frame_bytes))
    for index in range(record.layout.n_frames):
        source.stream.seek(source.pixel.offset + index * record.layout.frame_bytes)
        if source.stream.readinto(buffer) != len(buffer):  # type: ignore[attr-defined]
            raise AuthenticationError
        if not source.encoding.little_endian:
            swap_words(source, buffer)
        suite.open(index, buffer, record.tag(index))
        yield buffer


def swap_words(source: Source, buffer: memoryview) -> None:
    """An archive that converted the object to big endian swapped OW, OF and OD values (PS3.5 7.3)."""
    bits = {0x7FE00008: 32, 0x7FE00009: 64}.get(source.pixel.tag if source.pixel else 0) or source.number(0x00280100)
    if bits and bits > 8:
        word = 2 if source.pixel and source.pixel.tag == 0x7FE00010 else bits // 8
        np.frombuffer(buffer, dtype=f"u{word}").byteswap(inplace=True)


def restore(stream: BinaryIO, sink: BinaryIO, *, keyring: Keyring, headers: Headers = "merged") -> Restored:
    """Decrypt the file ``stream`` into ``sink``; see `restore_source`."""
    return restore_source(read_file(stream), sink, keyring=keyring, headers=headers)


def restore_source(source: Source, sink: BinaryIO, *, keyring: Keyring, headers: Headers = "merged") -> Restored:
    """Decrypt ``source`` into ``sink``.

    ``headers``: ``"merged"`` carries patient- and study-level corrections that an archive made into the restored
    object, ``"original"`` ignores all changes, ``"strict"`` refuses any. A file comes back as the file it was; an
    object from the network as a Part 10 file around its data set as sent.

    Raises
    ------
    NotEncryptedError, NoMatchingIdentityError, AuthenticationError, UnsupportedError
    HeaderDriftError
        ``strict`` and something changed; ``merged`` and the SOP Instance UID changed.
        Whatever is in the sink after an error is incomplete; throw it away.
    """
    if headers not in ("merged", "original", "strict"):
        raise ConfigurationError(f"headers {headers!r} is unknown", hint="one of: merged, original, strict")
    opened = open_object(source, keyring)
    original, drift = opened.original, opened.drift
    head = _head(opened, headers)
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
        drift.changed,
        head != original.head,
    )


def _head(opened: Opened, headers: Headers) -> bytes:
    drift, original = opened.drift, opened.original
    if headers == "original" or not drift.changed:
        return original.head
    if headers == "strict":
        raise HeaderDriftError(
            f"the clear header was changed since encryption: {', '.join(drift.changed)}",
            hint="--headers original restores the object as it was",
        )
    if opened.source.text(SOP_INSTANCE) != opened.record.sop_instance_uid:
        # The clear header may be another object's: its patient must not be put on this image.
        raise HeaderDriftError(
            f"the clear header says SOP Instance UID {opened.source.text(SOP_INSTANCE)}, "
            f"the record belongs to {opened.record.sop_instance_uid}",
            hint="--headers original restores the object as it was",
        )
    return merge(original, drift) if drift.corrections else original.head
