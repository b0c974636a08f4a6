"""The quarantine: whole files that could not be encrypted as images, sealed to the recipients.

What lies here was answered with success, so it is durable before the answer. It goes another way than images do: plain
AES-256-GCM over the bytes as they are, so that whatever failed before does not fail again. One file::

    magic "IOMTQUAR" (8) | version u16 | length of head u32 | head | chunks

The head is a CBOR map and no secret: epoch id, wrapped data key, stanzas, object id, size, time, reason. Chunks are
1 MiB of the file each, with a tag of 16 bytes; the nonce is the chunk's number and whether it is the last, the
associated data is the SHA-256 of all before the chunks.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from iomt_crypt.durable import make_folder, new_file, remove_leftovers, sync_folder
from iomt_crypt.errors import AuthenticationError, KnownAnswerError, StorageError
from iomt_crypt.seal import Epoch, Keyring, ObjectKey, Stanza, encode_map

CHUNK_BYTES = 1 << 20
SUFFIX = ".sealed"

_MAGIC = b"IOMTQUAR\x00\x01"
_MAX_HEAD_BYTES = 1 << 20
_TAG_BYTES = 16
_NAME = re.compile(r"[0-9]{20}-[0-9a-f]{16}\.sealed")


@dataclass(frozen=True)
class Entry:
    """One sealed file, as it says of itself without a key.

    received_at
        Unix time in seconds
    reason
        why it is here; never a patient's value
    size_bytes
        of the original file
    """

    path: Path
    received_at: int
    reason: str
    size_bytes: int
    epoch_id: bytes
    wrapped_key: bytes
    stanzas: tuple[Stanza, ...]
    object_id: bytes
    offset: int
    binding: bytes


def create(folder: Path) -> None:
    """Make the folder, mode 0700, durably, and remove drafts that a dead process left.

    Raises
    ------
    StorageError
        It cannot be made or is not writable.
    """
    try:
        make_folder(folder, mode=0o700)
        for draft in folder.glob("*.draft"):  # of older versions
            draft.unlink(missing_ok=True)
        remove_leftovers(folder)
        sync_folder(folder)
    except OSError as error:
        raise StorageError(f"quarantine {folder}: {error.strerror}", hint="a folder that Orthanc may write") from None


def put(folder: Path, data: bytes | bytearray, *, epoch: Epoch, reason: str) -> str:
    """Seal ``data`` into a new file, mode 0600; return its name once file and folder are on the disk.

    Raises
    ------
    KnownAnswerError
        What was written is plain, or does not open as ``data``.
    OSError
        The disk does not take it (ENOSPC, EIO).
        Nothing of it is left in the folder after either.
    """
    # Random, so that two processes, and two receptions of one instance, never share a name.
    name = f"{time.time_ns():020d}-{secrets.token_hex(8)}{SUFFIX}"
    with new_file(folder / name, mode=0o600) as file:
        for part in _sealed(data, epoch, reason):
            file.write(part)
        file.flush()
        _vouch(Path(f"/proc/self/fd/{file.fileno()}"), data, epoch)
    return name


def _vouch(draft: Path, data: bytes | bytearray, epoch: Epoch) -> None:
    """What `iomt_crypt.checks.vouch` does for objects: what was written is opened, and held against ``data``."""
    what = ""
    try:
        entry = read(draft)
        if open_entry(entry, Keyring.of_epoch(epoch)) != data:
            what = "it gives other bytes"
        elif _is_plain(entry, data):
            what = "it is plain"
    except AuthenticationError:
        what = "it does not open"
    if what:
        raise KnownAnswerError(
            f"read-back of a file in the quarantine failed: {what}",
            hint="encrypt nothing on this machine until it is mended; the file was not taken",
        )


def _is_plain(entry: Entry, data: bytes | bytearray) -> bool:
    from iomt_crypt.checks.likeness import is_untouched  # loads NumPy, which recovery does without

    view = memoryview(data)
    with entry.path.open("rb") as file:
        file.seek(entry.offset)
        starts = range(0, len(data), CHUNK_BYTES)
        return any(is_untouched(file.read(CHUNK_BYTES + _TAG_BYTES), view[at : at + CHUNK_BYTES]) for at in starts)


def _sealed(data: bytes | bytearray, epoch: Epoch, reason: str) -> Iterator[bytes]:
    key = ObjectKey.generate()
    head = encode_map(
        {
            1: epoch.id,
            2: epoch.wrap(key.data_key),
            3: [[stanza.kind, stanza.recipient, stanza.body] for stanza in epoch.stanzas],
            4: key.object_id,
            5: len(data),
            6: int(time.time()),
            7: reason,
        }
    )
    start = _MAGIC + len(head).to_bytes(4, "big") + head
    yield start
    gcm, binding = AESGCM(key.derive("quarantine")), hashlib.sha256(start).digest()
    view = memoryview(data)
    n_chunks = _n_chunks(len(data))
    for index in range(n_chunks):
        chunk = view[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
        yield gcm.encrypt(_nonce(index, n_chunks), chunk, binding)


def _n_chunks(size_bytes: int) -> int:
    return max(1, -(-size_bytes // CHUNK_BYTES))


def _nonce(index: int, n_chunks: int) -> bytes:
    """Fresh for each chunk: the key is this file's own, and the number is in it (RFC 5116, 3.1)."""
    return bytes([index == n_chunks - 1, 0, 0, 0]) + index.to_bytes(8, "big")


def names(folder: Path) -> list[str]:
    """Names of the sealed files, oldest first; empty when there is no such folder."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if _NAME.fullmatch(entry.name))
    return []


def read(path: Path) -> Entry:
    """What a sealed file says of itself.

    Raises
    ------
    AuthenticationError
        It is not one, or damaged.
    OSError
        It cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(len(_MAGIC) + 4)
        length = int.from_bytes(start[len(_MAGIC) :], "big")
        if not start.startswith(_MAGIC) or len(start) != len(_MAGIC) + 4 or length > _MAX_HEAD_BYTES:
            raise AuthenticationError
        head = file.read(length)
    try:
        fields: dict[int, Any] = cbor2.loads(head)
        stanzas = tuple(Stanza(str(kind), bytes(recipient), bytes(body)) for kind, recipient, body in fields[3])
        entry = Entry(
            path=path,
            epoch_id=bytes(fields[1]),
            wrapped_key=bytes(fields[2]),
            stanzas=stanzas,
            object_id=bytes(fields[4]),
            size_bytes=int(fields[5]),
            received_at=int(fields[6]),
            reason=str(fields[7]),
            offset=len(start) + length,
            binding=hashlib.sha256(start + head).digest(),
        )
    except (KeyError, TypeError, ValueError, cbor2.CBORDecodeError):
        raise AuthenticationError from None
    return entry


def open_entry(entry: Entry, keyring: Keyring) -> bytes:
    """The original file's bytes, once all of them are authenticated.

    Raises
    ------
    NoMatchingIdentityError, AuthenticationError
    """
    key = ObjectKey(keyring.unwrap(entry.wrapped_key, entry.epoch_id, entry.stanzas), entry.object_id)
    gcm, n_chunks = AESGCM(key.derive("quarantine")), _n_chunks(entry.size_bytes)
    with entry.path.open("rb") as file:
        file.seek(entry.offset)
        data = b"".join(_opened(file, gcm, n_chunks, entry.binding))
        if len(data) != entry.size_bytes or file.read(1):
            raise AuthenticationError
    return data


def _opened(file: BinaryIO, gcm: AESGCM, n_chunks: int, binding: bytes) -> Iterator[bytes]:
    for index in range(n_chunks):
        try:
            yield gcm.decrypt(_nonce(index, n_chunks), file.read(CHUNK_BYTES + _TAG_BYTES), binding)
        except (InvalidTag, ValueError):
            raise AuthenticationError from None
