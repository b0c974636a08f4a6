"""New keys for one encrypted object: for other recipients (rewrap), or all of it (rotate)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO

from iomt_crypt import __version__
from iomt_crypt.dicom.locate import Location, locate_in
from iomt_crypt.dicom.restore import Opened, frames, open_object, swap, swapped_word
from iomt_crypt.dicom.salvage import read_sealed
from iomt_crypt.errors import AuthenticationError, MalformedError, NotEncryptedError
from iomt_crypt.seal import SUITES, Epoch, Keyring, ObjectKey, Record, open_header, seal_header

_PIECE_BYTES = 1 << 20
Look = Callable[[memoryview, memoryview], None]


@dataclass(frozen=True)
class Patch:
    """Bytes that replace others of a file: ``data`` in the place of ``size`` bytes at ``offset``."""

    offset: int
    size: int
    data: bytes


def patches(location: Location, container: bytes) -> list[Patch]:
    """What of a file changes when the container at ``location`` becomes ``container``, of any even size."""
    grown = len(container) - len(location.container)
    changed = [Patch(location.offset, len(location.container), container)]
    if grown:
        length = len(container).to_bytes(4, location.byte_order)
        changed.insert(0, Patch(location.offset - 4, 4, length))
    if grown and location.group_length:
        size = int.from_bytes(location.group_length[1], location.byte_order) + grown
        group_length = (size % (1 << 32)).to_bytes(4, location.byte_order)
        changed.insert(0, Patch(location.group_length[0], 4, group_length))
    return changed


def copy_patched(source: int, sink: int, changed: list[Patch]) -> None:
    """Copy the file ``source`` to the empty file ``sink`` (descriptors), with ``changed`` (in order) applied.

    The bytes between are copied in the kernel where the file system can (copy_file_range).

    Raises
    ------
    MalformedError
        The file became shorter meanwhile.
    OSError
    """
    position = 0
    for patch in changed:
        _copy(source, sink, position, patch.offset)
        _write(sink, patch.data)
        position = patch.offset + patch.size
    _copy(source, sink, position, os.fstat(source).st_size)


def _copy(source: int, sink: int, begin: int, end: int) -> None:
    while begin < end:
        try:
            n_copied = os.copy_file_range(source, sink, end - begin, begin)
        except OSError:  # another file system, or one that cannot: some say so by EXDEV, some by EINVAL or ENOTSUP
            n_copied = _write(sink, os.pread(source, min(_PIECE_BYTES, end - begin), begin))
        if n_copied == 0:
            raise MalformedError(f"the file ends {end - begin} bytes early: it changed while it was read")
        begin += n_copied


def _write(sink: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(sink, view) :]
    return len(data)


def rotate(
    stream: BinaryIO, sink: BinaryIO, *, keyring: Keyring, epoch: Epoch, look: Look = lambda stored, plain: None
) -> None:
    """Encrypt the object in ``stream`` anew into ``sink`` (empty, readable, seekable): a new data key, new tags.

    The clear header stays as it is now, with what an archive corrected in it; so do the UIDs, the sealed original and
    the bytes between and behind. Memory: two frames. Before it returns, the result is read back and compared with the
    original, frame by frame; ``look`` is shown each frame as it was written, and decrypted.

    A step of `iomt_crypt.checks.vouch.rotate_object`, which tries the cipher before.

    Raises
    ------
    NotEncryptedError, NoMatchingIdentityError, AuthenticationError, UnsupportedError, MalformedError
        Of the original. What is in the sink by then is no object; throw it away.
    AuthenticationError
        Also when the result is not what it should be: a defect.
    """
    opened = open_object(read_sealed(stream), keyring)
    location = locate_in(opened.source)
    if location is None:
        raise NotEncryptedError("not encrypted by iomt-crypt")
    key = ObjectKey.generate()
    record = _fresh_record(opened, key, epoch)
    size = len(location.container)
    container = _pack(record, size)
    pixels = opened.source.pixel
    stream.seek(0)
    for patch in patches(location, container):
        _pass_on(stream, sink, patch.offset)
        sink.write(patch.data)
        stream.seek(patch.offset + patch.size)
    container_offset = sink.tell() - len(container)
    before = hashlib.sha256()
    if pixels is not None:
        _pass_on(stream, sink, pixels.offset)
        record = _encrypt_frames(opened, record, key, sink, before)
        stream.seek(pixels.offset + record.layout.n_frames * record.layout.frame_bytes)
    _pass_on(stream, sink, None)
    sink.seek(container_offset)
    sink.write(_pack(record.authenticated(key), size))
    sink.flush()
    _compare(opened, sink, epoch, before.digest(), look)


def authenticate(stream: BinaryIO, keyring: Keyring) -> None:
    """Open record, header and every frame, as `rotate` does before it encrypts them anew; the same errors."""
    for _ in frames(open_object(read_sealed(stream), keyring)):
        pass


def _pack(record: Record, size: int) -> bytes:
    """The container, of the old one's size where that is enough, so that nothing else moves."""
    return record.pack(size=size) if len(record.pack(slack=False)) <= size else record.pack()


def _fresh_record(opened: Opened, key: ObjectKey, epoch: Epoch) -> Record:
    """The record for ``key``, with zeros for tags and MAC: it has its final size."""
    old = opened.record
    return replace(
        old,
        object_id=key.object_id,
        tags=bytes(len(old.tags)),
        epoch_id=epoch.id,
        wrapped_key=epoch.wrap(key.data_key),
        stanzas=epoch.stanzas,
        sealed=seal_header(key, open_header(opened.key, old.sealed)),
        software=__version__,
        mac=bytes(len(old.mac)),
    )


def _encrypt_frames(opened: Opened, record: Record, key: ObjectKey, sink: BinaryIO, plain: hashlib._Hash) -> Record:
    suite = SUITES[record.suite](key, record.layout, record.sop_instance_uid.encode("ascii"))
    word_bytes = swapped_word(opened)
    tags = []
    for index, frame in enumerate(frames(opened)):
        plain.update(frame)
        tags.append(suite.seal(index, frame))
        swap(frame, word_bytes)
        sink.write(frame)
    return replace(record, tags=b"".join(tags))


def _pass_on(stream: BinaryIO, sink: BinaryIO, end: int | None) -> None:
    """Copy from where ``stream`` is to ``end``, or all of the rest."""
    while end is None or stream.tell() < end:
        piece = stream.read(_PIECE_BYTES if end is None else min(_PIECE_BYTES, end - stream.tell()))
        if not piece and end is None:
            return
        if not piece:
            raise MalformedError("the file ends early: it changed while it was read")
        sink.write(piece)


def _compare(opened: Opened, sink: BinaryIO, epoch: Epoch, before: bytes, look: Look) -> None:
    """Raise AuthenticationError unless the object in ``sink`` opens by ``epoch`` to what ``opened`` is."""
    again = open_object(read_sealed(sink), Keyring.of_epoch(epoch))
    after = hashlib.sha256()
    word_bytes = swapped_word(again)
    for index, frame in enumerate(frames(again)):
        after.update(frame)
        look(_stored(again, index, word_bytes), frame)
    if after.digest() != before or again.original != opened.original:
        raise AuthenticationError


def _stored(opened: Opened, index: int, word_bytes: int) -> memoryview:
    """An encrypted frame as it stands in the file, in the byte order of the original."""
    source, size = opened.source, opened.record.layout.frame_bytes
    source.stream.seek((source.pixel.offset if source.pixel else 0) + index * size)
    frame = memoryview(bytearray(source.stream.read(size)))
    swap(frame, word_bytes)
    return frame
