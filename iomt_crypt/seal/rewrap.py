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
from iomt_crypt.seal.span import spans_finder

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
    """An authenticated container, where its parts are (see `Spans`), and the keys of its object."""

    container: bytes
    stanzas: int
    epoch_id: int
    wrapped_key: int
    end: int
    data_key: bytes
    mac_key: bytes
    epoch: Known

    def __repr__(self) -> str:
        return f"<OpenSpans of {self.epoch}>"


class Rewrapper:
    """Re-wraps records of epochs that it was told. For one thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}
        self._spans = spans_finder()
        self._last: Known | None = None
        self._last_section = b""
        self._epoch: Epoch | None = None
        self._section = b""

    def learn(self, record: Record, keyring: Keyring) -> None:
        """Remember the epoch of ``record``, which ``keyring`` opens."""
        if len(self._known) >= _MOST_EPOCHS:
            self._known.clear()
        key = keyring.epoch_key(record.epoch_id, record.stanzas)
        recipients = sorted(stanza.recipient for stanza in record.stanzas)
        self._known[_section(record.stanzas, record.epoch_id)] = Known(key, record.epoch_id, recipients)

    def open(self, container: bytes) -> OpenSpans | None:
        """The record with its keys, when it is authentic and of an epoch that is known; None for all others."""
        stanzas, epoch_id, object_id, wrapped, end = self._spans(container)
        if not end:
            return None
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
        return OpenSpans(container, stanzas, epoch_id, wrapped, end, data_key, mac_key, epoch)

    def rewrapped(self, old: OpenSpans, epoch: Epoch) -> bytes | None:
        """The container for the recipients of ``epoch``, of the same size; None where that is too small.

        Raises
        ------
        AuthenticationError
            What was made does not open again: a defect, and the object must stay as it is.
        """
        section = self._section if epoch is self._epoch else _section(epoch.stanzas, epoch.id)
        container = old.container
        behind = old.wrapped_key + WRAPPED_KEY_BYTES
        rest = b"".join(
            (
                container[_REST : old.stanzas],
                section,
                container[old.epoch_id : old.wrapped_key],
                epoch.wrap(old.data_key),
                container[behind : old.end],
            )
        )
        mac = mac_of(old.mac_key, rest)
        body = body_of(mac, rest)
        if contained_bytes(body) > len(container):
            return None
        new = contain(body, size=len(container))
        # The first record of an epoch is parsed in full; to the others its section is compared.
        known = epoch is self._epoch or Record.unpack(new).stanzas == epoch.stanzas
        if not known or not self._is_rewrapped(old, new, epoch, section, mac):
            raise AuthenticationError
        self._epoch, self._section = epoch, section
        return new

    def _is_rewrapped(self, old: OpenSpans, new: bytes, epoch: Epoch, section: bytes, mac: bytes) -> bool:
        """Whether ``new`` is ``old`` but for the epoch, the wrapped key and the MAC."""
        container = old.container
        stanzas, epoch_id, _, wrapped, end = self._spans(new)
        return (
            end > 0
            and new[_MAC:_REST] == mac
            and new[_REST:stanzas] == container[_REST : old.stanzas]
            and new[stanzas:epoch_id] == section
            and new[epoch_id:wrapped] == container[old.epoch_id : old.wrapped_key]
            and new[wrapped + WRAPPED_KEY_BYTES : end] == container[old.wrapped_key + WRAPPED_KEY_BYTES : old.end]
            and epoch.unwrap(new[wrapped : wrapped + WRAPPED_KEY_BYTES]) == old.data_key
        )


def _section(stanzas: Sequence[Stanza], epoch_id: bytes) -> bytes:
    """The bytes of a record from its list of stanzas to the end of its epoch's number."""
    encoded = cbor2.dumps([(s.kind, s.recipient, s.body) for s in stanzas])
    return encoded + _EPOCH_ID + epoch_id
