"""The quick way of a rewrap: for objects of an epoch that was opened before, whose record is as we write them.

What all objects of an epoch share, the stanzas and its number, is one piece of the record's bytes. It is taken out and
another put in its place, with the data key wrapped anew; nothing is parsed into objects. As on the long way
(`iomt_crypt.seal.record`) the old record is authenticated before, and the new one read back.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import NamedTuple

import cbor2
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from iomt_crypt.errors import AuthenticationError
from iomt_crypt.seal.container import DIGEST_BYTES, HEAD_BYTES, contain, contained_bytes
from iomt_crypt.seal.epoch import Epoch, Keyring
from iomt_crypt.seal.recipient import Stanza
from iomt_crypt.seal.record import MAC_BYTES, WRAPPED_KEY_BYTES, Record, body_of, mac_of
from iomt_crypt.seal.schedule import KEY_BYTES, OBJECT_ID_BYTES, derived
from iomt_crypt.seal.span import Spans, spans_finder

_MOST_EPOCHS = 256
_EPOCH_ID = b"\x68epoch_id\x50"  # name and head (RFC 8949 3) of what stands behind the stanzas
_REST = HEAD_BYTES + 7 + MAC_BYTES  # the map's head, the name of the MAC and its head have 7 bytes
_MAC = _REST - MAC_BYTES


class Known(NamedTuple):
    """An epoch that was opened: its key, number, and the fingerprints that its stanzas name, in order."""

    key: bytes
    id: bytes
    recipients: list[bytes]

    def __repr__(self) -> str:
        return f"<Known {self.id.hex()}>"


class OpenSpans(NamedTuple):
    """An authenticated container, where its parts are, and the keys of its object."""

    container: bytes
    at: Spans
    data_key: bytes
    mac_key: bytes
    epoch: Known

    def __repr__(self) -> str:
        return f"<OpenSpans of {self.epoch}>"


class _Made(NamedTuple):
    """A container for an epoch, of which ``section`` holds stanzas and number, and its MAC."""

    container: bytes
    mac: bytes
    section: bytes


class Rewrapper:
    """Re-wraps records of epochs that it was told, some at a time. For one thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}
        self._spans = spans_finder()
        self._last: Known | None = None
        self._last_section = b""
        self._new: Epoch | None = None
        self._new_section = b""
        self._parsed: Epoch | None = None

    def learn(self, record: Record, keyring: Keyring) -> bool:
        """Remember the epoch of ``record``, which ``keyring`` opens; whether it was unknown."""
        section = _section(record.stanzas, record.epoch_id)
        if section in self._known:
            return False
        if len(self._known) >= _MOST_EPOCHS:
            self._known.clear()
        key = keyring.epoch_key(record.epoch_id, record.stanzas)
        recipients = sorted(stanza.recipient for stanza in record.stanzas)
        self._known[section] = Known(key, record.epoch_id, recipients)
        return True

    def open(self, containers: Sequence[bytes]) -> list[OpenSpans | None]:
        """The records with their keys, where they are authentic and of an epoch that is known; None for all others."""
        found = self._spans(containers)
        return [self._open(c, at) if at.end else None for c, at in zip(containers, found, strict=True)]

    def _open(self, container: bytes, at: Spans) -> OpenSpans | None:
        stanzas, epoch_id, object_id, wrapped, end = at
        section = container[stanzas:epoch_id]
        epoch = self._last if section == self._last_section else self._known.get(section)
        if epoch is None or hashlib.sha256(container[:end]).digest() != container[end : end + DIGEST_BYTES]:
            return None
        try:
            data_key = aes_key_unwrap(epoch.key, container[wrapped : wrapped + WRAPPED_KEY_BYTES])
        except (InvalidUnwrap, ValueError):
            return None
        if len(data_key) != KEY_BYTES:
            return None
        mac_key = derived(data_key, container[object_id : object_id + OBJECT_ID_BYTES], "record/mac")
        if not hmac.compare_digest(mac_of(mac_key, container[_REST:end]), container[_MAC:_REST]):
            return None
        self._last, self._last_section = epoch, section  # a dictionary's hash of 2 kB takes longer than to compare them
        return OpenSpans(container, at, data_key, mac_key, epoch)

    def rewrapped(self, old: Sequence[OpenSpans], epochs: Sequence[Epoch]) -> list[bytes | None]:
        """Each container for the recipients of its epoch, of the same size; None where that is too small.

        Raises
        ------
        AuthenticationError
            What was made does not open again: a defect.
        """
        made = [self._made(o, epoch) for o, epoch in zip(old, epochs, strict=True)]
        found = self._spans([m.container if m is not None else b"" for m in made])
        return [self._checked(*each) for each in zip(old, made, found, epochs, strict=True)]

    def _made(self, old: OpenSpans, epoch: Epoch) -> _Made | None:
        if epoch is not self._new:
            self._new, self._new_section = epoch, _section(epoch.stanzas, epoch.id)
        section, container, at = self._new_section, old.container, old.at
        rest = b"".join(
            (
                container[_REST : at.stanzas],
                section,
                container[at.epoch_id : at.wrapped_key],
                epoch.wrap(old.data_key),
                container[at.wrapped_key + WRAPPED_KEY_BYTES : at.end],
            )
        )
        mac = mac_of(old.mac_key, rest)
        body = body_of(mac, rest)
        if contained_bytes(body) > len(container):
            return None
        return _Made(contain(body, size=len(container)), mac, section)

    def _checked(self, old: OpenSpans, made: _Made | None, at: Spans, epoch: Epoch) -> bytes | None:
        if made is None:
            return None
        # The first record of an epoch is parsed in full; to the others its section is compared.
        known = epoch is self._parsed or Record.unpack(made.container).stanzas == epoch.stanzas
        if not known or not _is_rewrapped(old, made, at, epoch):
            raise AuthenticationError
        self._parsed = epoch
        return made.container


def _is_rewrapped(old: OpenSpans, made: _Made, at: Spans, epoch: Epoch) -> bool:
    """Whether a container is what it should be: the old one but for the epoch, the wrapped key and the MAC."""
    (container, was, data_key, *_), (new, mac, section) = old, made
    return (
        at.end > 0
        and hashlib.sha256(new[: at.end]).digest() == new[at.end : at.end + DIGEST_BYTES]
        and new[_MAC:_REST] == mac
        and new[_REST : at.stanzas] == container[_REST : was.stanzas]
        and new[at.stanzas : at.epoch_id] == section
        and new[at.epoch_id : at.wrapped_key] == container[was.epoch_id : was.wrapped_key]
        and new[at.wrapped_key + WRAPPED_KEY_BYTES : at.end] == container[was.wrapped_key + WRAPPED_KEY_BYTES : was.end]
        and epoch.unwrap(new[at.wrapped_key : at.wrapped_key + WRAPPED_KEY_BYTES]) == data_key
    )


def _section(stanzas: Sequence[Stanza], epoch_id: bytes) -> bytes:
    """The bytes of a record from its list of stanzas to the end of its epoch's number."""
    encoded = cbor2.dumps([(s.kind, s.recipient, s.body) for s in stanzas])
    return encoded + _EPOCH_ID + epoch_id
