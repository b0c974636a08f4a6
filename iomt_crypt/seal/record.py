"""The sealed record: everything that is needed to open an object, but the identity.

What is around it in the file is in `iomt_crypt.seal.container`. The body is deterministic CBOR (RFC 8949, 4.2.1);
against an adversary the keyed ``mac`` in it decides.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cbor2

from iomt_crypt.errors import AuthenticationError
from iomt_crypt.seal.container import contain, contained_bytes, content
from iomt_crypt.seal.encoding import require_few
from iomt_crypt.seal.epoch import EPOCH_ID_BYTES, MAX_RECIPIENTS, Epoch, Keyring
from iomt_crypt.seal.recipient import FINGERPRINT_BYTES, Stanza
from iomt_crypt.seal.schedule import OBJECT_ID_BYTES, ObjectKey
from iomt_crypt.seal.suite import SUITES, Layout

FORMS = ("native", "carrier", "header")
MAX_FRAMES = 1 << 24
MAX_TEXT = 64
MAX_STANZA_BYTES = 1 << 16

_MAX_VALUES = 1 << 10  # of a record with all its recipients: 290
MAC_BYTES = 32
WRAPPED_KEY_BYTES = 40
_SIZES = (OBJECT_ID_BYTES, EPOCH_ID_BYTES, WRAPPED_KEY_BYTES, MAC_BYTES)
# "mac" is the shortest name and stands first in the map (RFC 8949, 4.2.1): these bytes, the MAC, the rest.
_MAC_NAME = b"\xad\x63mac"
_MAC_HEAD = b"\x58\x20"
_EMPTY_MAC = b"\x40"


@dataclass(frozen=True)
class Record:
    """What an encrypted object says about itself.

    suite, form
        names; form is ``"native"`` (frames encrypted where they were), ``"carrier"`` (the whole value in a raster of
        noise) or ``"header"`` (no pixels)
    object_id
        16 random bytes
    sop_instance_uid
        of the encrypted object, as it was written
    pixel_tag
        tag of the element that holds the encrypted frames, 0 for none
    layout
        the units of the pixel value
    tags
        authentication tags of all units, one after another
    epoch_id, wrapped_key, stanzas
        the way to the data key
    sealed
        the original header and the plan of the way back, compressed and encrypted
    software
        version of iomt-crypt that wrote it
    mac
        HMAC-SHA-256 over all of the above, under a key derived from the data key
    """

    suite: str
    form: str
    object_id: bytes
    sop_instance_uid: str
    pixel_tag: int
    layout: Layout
    tags: bytes
    epoch_id: bytes
    wrapped_key: bytes
    stanzas: tuple[Stanza, ...]
    sealed: bytes
    software: str
    mac: bytes = bytes(MAC_BYTES)

    def authenticated(self, key: ObjectKey) -> Record:
        """The same record with its MAC."""
        return replace(self, mac=mac_of(key.derive("record/mac"), _encode_rest(self)))

    def check(self, key: ObjectKey) -> None:
        """Raise AuthenticationError unless the MAC fits."""
        if not hmac.compare_digest(mac_of(key.derive("record/mac"), _encode_rest(self)), self.mac):
            raise AuthenticationError

    def tag(self, index: int) -> bytes:
        """Tag of unit ``index``."""
        size = SUITES[self.suite].tag_bytes
        return self.tags[index * size : (index + 1) * size]

    def pack(self, *, slack: bool = True, size: int | None = None) -> bytes:
        """The container. Its size depends on the sizes of the fields only, and is even.

        With ``size``, exactly so many bytes, filled up with zeros.

        Raises
        ------
        ValueError
            The record needs more than ``size`` bytes.
        """
        return contain(body_of(self.mac, _encode_rest(self)), slack=slack, size=size)

    @classmethod
    def unpack(cls, container: bytes) -> Record:
        """Parse strictly: what is returned serialises to the very bytes that were parsed.

        Raises
        ------
        AuthenticationError
            Anything at all is wrong with it. One error on purpose: see `AuthenticationError`.
        """
        return ParsedRecord.of(container).record


class ParsedRecord(NamedTuple):
    """A record as it was parsed, with the bytes of its body behind the MAC: they need not be encoded anew."""

    record: Record
    rest: bytes

    @classmethod
    def of(cls, container: bytes) -> ParsedRecord:
        """Parse strictly, see `Record.unpack`."""
        body = content(container)
        record = _decode(body)
        rest = _encode_rest(record)
        if body_of(record.mac, rest) != body:
            raise AuthenticationError
        return cls(record, rest)

    def open(self, keyring: Keyring) -> OpenRecord:
        """Unwrap the data key and check the MAC.

        Raises
        ------
        NoMatchingIdentityError, AuthenticationError
        """
        record = self.record
        key = ObjectKey(keyring.unwrap(record.wrapped_key, record.epoch_id, record.stanzas), record.object_id)
        mac_key = key.derive("record/mac")
        if not hmac.compare_digest(mac_of(mac_key, self.rest), record.mac):
            raise AuthenticationError
        return OpenRecord(record, key, mac_key)


class OpenRecord(NamedTuple):
    """An authenticated record and the keys of its object."""

    record: Record
    key: ObjectKey
    mac_key: bytes

    def __repr__(self) -> str:
        return f"<OpenRecord {self.record.sop_instance_uid}>"

    def rewrapped(self, epoch: Epoch, *, size: int | None = None) -> bytes:
        """The container for the recipients of ``epoch``, everything else as it was; read back before it is returned.

        ``size`` keeps the container's size where the new record fits; else, and without, it gets new slack.

        Raises
        ------
        AuthenticationError
            What was written does not open again: a defect, and the object must stay as it is.
        """
        # Not dataclasses.replace() and not ParsedRecord.of(), which take longer than the cryptography.
        changed = {
            "epoch_id": epoch.id,
            "wrapped_key": epoch.wrap(self.key.data_key),
            "stanzas": epoch.stanzas,
        }
        rest = _encode_fields(vars(self.record) | changed)
        mac = mac_of(self.mac_key, rest)
        body = body_of(mac, rest)
        fits = size is not None and contained_bytes(body) <= size
        container = contain(body, size=size if fits else None)
        again = _fields(content(container))
        if (
            again != vars(self.record) | changed | {"mac": mac}
            or epoch.unwrap(again["wrapped_key"]) != self.key.data_key
        ):
            raise AuthenticationError
        return container


def mac_of(mac_key: bytes, rest: bytes) -> bytes:
    """HMAC-SHA-256 over the body with an empty MAC."""
    return hmac.digest(mac_key, _MAC_NAME + _EMPTY_MAC + rest, "sha256")


def body_of(mac: bytes, rest: bytes) -> bytes:
    return _MAC_NAME + _MAC_HEAD + mac + rest


def _encode_rest(record: Record) -> bytes:
    return _encode_fields(vars(record))


def _encode_fields(fields: dict[str, Any]) -> bytes:
    """The body behind the MAC: deterministic CBOR of all other fields, without the map's own head (one byte).

    The names stand in the order of their encoded bytes (RFC 8949, 4.2.1): to sort them takes longer than to encode.
    """
    layout = fields["layout"]
    ordered = {
        "form": fields["form"],
        "tags": fields["tags"],
        "suite": fields["suite"],
        "layout": {
            "n_frames": layout.n_frames,
            "word_bits": layout.word_bits,
            "row_length": layout.row_length,
            "frame_bytes": layout.frame_bytes,
        },
        "sealed": fields["sealed"],
        "stanzas": [(s.kind, s.recipient, s.body) for s in fields["stanzas"]],
        "epoch_id": fields["epoch_id"],
        "software": fields["software"],
        "object_id": fields["object_id"],
        "pixel_tag": fields["pixel_tag"],
        "wrapped_key": fields["wrapped_key"],
        "sop_instance_uid": fields["sop_instance_uid"],
    }
    return cbor2.dumps(ordered)[1:]


def _fields(body: bytes) -> dict[str, Any]:
    """The fields of a record as CBOR has them; raises whatever a hostile body leads to."""
    require_few(body, _MAX_VALUES)
    fields: dict[str, Any] = cbor2.loads(
        body, allow_indefinite=False, allow_duplicate_keys=False, max_depth=4, strict_hashable_types=True
    )
    fields["stanzas"] = tuple([Stanza(*stanza) for stanza in fields["stanzas"]])
    fields["layout"] = Layout(**fields["layout"])
    return fields


def _decode(body: bytes) -> Record:
    try:
        record = Record(**_fields(body))
        well_formed = _well_formed(record)
    except Exception:  # noqa: BLE001 - whatever a hostile record makes the decoder raise, it is one error
        raise AuthenticationError from None
    if not well_formed:
        raise AuthenticationError
    return record


def _well_formed(record: Record) -> bool:
    """Types first, all of a kind at once: this runs twice for every object of an archive that is re-keyed."""
    layout, stanzas = record.layout, record.stanzas
    numbers = (record.pixel_tag, layout.n_frames, layout.frame_bytes, layout.word_bits, layout.row_length)
    texts = [record.suite, record.form, record.sop_instance_uid, record.software, *[s.kind for s in stanzas]]
    sized = (record.object_id, record.epoch_id, record.wrapped_key, record.mac)
    byte_strings = [record.tags, record.sealed, *sized]
    for stanza in stanzas:
        byte_strings += (stanza.recipient, stanza.body)
    return (
        {*map(type, numbers)} == {int}
        and {*map(type, texts)} == {str}
        and {*map(type, byte_strings)} == {bytes}
        and 0 <= min(numbers) <= max(numbers) < 1 << 48
        and max(map(len, texts)) <= MAX_TEXT
        and tuple(map(len, sized)) == _SIZES
        and record.suite in SUITES
        and record.form in FORMS
        and layout.word_bits in (8, 16)
        and layout.frame_bytes % (layout.word_bits // 8) == 0
        and layout.n_frames <= MAX_FRAMES
        and len(record.tags) == layout.n_frames * SUITES[record.suite].tag_bytes
        and (record.form == "header") == (layout.n_frames == 0)
        and 1 <= len(stanzas) <= MAX_RECIPIENTS
        and all(s.kind and len(s.recipient) == FINGERPRINT_BYTES and len(s.body) <= MAX_STANZA_BYTES for s in stanzas)
    )
