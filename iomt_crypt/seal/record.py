"""The sealed record: everything that is needed to open an object, but the identity.

Container, in one byte string::

    magic "IOMTCRPT" (8) | version u16 | body length u32 | body | SHA-256 of all before (32) | zero bytes (slack)

(big endian). The body is deterministic CBOR (RFC 8949, 4.2.1). The plain digest tells damage from a wrong key without
any key; against an adversary the keyed ``mac`` in the body decides. The slack is room for further recipients, so that
re-wrapping can be done in place.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Any

import cbor2

from iomt_crypt.errors import AuthenticationError
from iomt_crypt.seal.encoding import encode_map
from iomt_crypt.seal.epoch import EPOCH_ID_BYTES, MAX_RECIPIENTS
from iomt_crypt.seal.recipient import FINGERPRINT_BYTES, Stanza
from iomt_crypt.seal.schedule import OBJECT_ID_BYTES, ObjectKey
from iomt_crypt.seal.suite import SUITES, Layout

MAGIC = b"IOMTCRPT"
VERSION = 1
FORMS = ("native", "carrier", "header")
MAX_CONTAINER_BYTES = 1 << 28
MAX_FRAMES = 1 << 24

_HEAD_BYTES = len(MAGIC) + 2 + 4
_DIGEST_BYTES = 32
_MAC_BYTES = 32
_WRAPPED_KEY_BYTES = 40
_SLACK_BYTES = 2560  # two more HPKE recipients (1.2 kB each)
_STEP_BYTES = 256


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
    mac: bytes = bytes(_MAC_BYTES)

    def authenticated(self, key: ObjectKey) -> Record:
        """The same record with its MAC."""
        return replace(self, mac=self._compute_mac(key))

    def check(self, key: ObjectKey) -> None:
        """Raise AuthenticationError unless the MAC fits."""
        if not hmac.compare_digest(self._compute_mac(key), self.mac):
            raise AuthenticationError

    def _compute_mac(self, key: ObjectKey) -> bytes:
        return hmac.digest(key.derive("record/mac"), _encode(self, mac=b""), "sha256")

    def tag(self, index: int) -> bytes:
        """Tag of unit ``index``."""
        size = SUITES[self.suite].tag_bytes
        return self.tags[index * size : (index + 1) * size]

    def pack(self, *, slack: bool = True) -> bytes:
        """The container. Its size depends on the sizes of the fields only, and is even."""
        body = _encode(self)
        container = MAGIC + VERSION.to_bytes(2, "big") + len(body).to_bytes(4, "big") + body
        container += hashlib.sha256(container).digest()
        size = len(container) + (_SLACK_BYTES if slack else 0)
        step = _STEP_BYTES if slack else 2
        return container.ljust(-(-size // step) * step, b"\0")

    @classmethod
    def unpack(cls, container: bytes) -> Record:
        """Parse strictly: what is returned serialises to the very bytes that were parsed.

        Raises
        ------
        AuthenticationError
            Anything at all is wrong with it. One error on purpose: see `AuthenticationError`.
        """
        body_bytes = int.from_bytes(container[len(MAGIC) + 2 : _HEAD_BYTES], "big")
        end = _HEAD_BYTES + body_bytes
        body, digest = bytes(container[_HEAD_BYTES:end]), container[end : end + _DIGEST_BYTES]
        if (
            len(container) > MAX_CONTAINER_BYTES
            or not container.startswith(MAGIC + VERSION.to_bytes(2, "big"))
            or hashlib.sha256(container[:end]).digest() != digest
            or any(container[end + _DIGEST_BYTES :])
        ):
            raise AuthenticationError
        record = _decode(body)
        if _encode(record) != body:
            raise AuthenticationError
        return record


def _encode(record: Record, **changed: bytes) -> bytes:
    fields: dict[str, Any] = vars(record) | changed
    fields["layout"] = vars(record.layout)
    fields["stanzas"] = [[s.kind, s.recipient, s.body] for s in record.stanzas]
    return encode_map(fields)


def _decode(body: bytes) -> Record:
    try:
        fields = cbor2.loads(
            body, allow_indefinite=False, allow_duplicate_keys=False, max_depth=4, strict_hashable_types=True
        )
        stanzas = tuple(Stanza(*stanza) for stanza in fields.pop("stanzas"))
        record = Record(stanzas=stanzas, layout=Layout(**fields.pop("layout")), **fields)
        well_formed = _well_formed(record)
    except Exception:  # noqa: BLE001 - whatever a hostile record makes the decoder raise, it is one error
        raise AuthenticationError from None
    if not well_formed:
        raise AuthenticationError
    return record


def _well_formed(record: Record) -> bool:
    layout = record.layout
    numbers = (record.pixel_tag, layout.n_frames, layout.frame_bytes, layout.word_bits, layout.row_length)
    texts = (record.suite, record.form, record.sop_instance_uid, record.software)
    byte_strings = (record.tags, record.sealed)
    return (
        all(type(n) is int and 0 <= n < 1 << 48 for n in numbers)
        and all(type(t) is str and len(t) <= 64 for t in texts)
        and all(type(b) is bytes for b in byte_strings)
        and record.suite in SUITES
        and record.form in FORMS
        and layout.word_bits in (8, 16)
        and layout.frame_bytes % (layout.word_bits // 8) == 0
        and layout.n_frames <= MAX_FRAMES
        and len(record.tags) == layout.n_frames * SUITES[record.suite].tag_bytes
        and (record.form == "header") == (layout.n_frames == 0)
        and _sized(record.object_id, OBJECT_ID_BYTES)
        and _sized(record.epoch_id, EPOCH_ID_BYTES)
        and _sized(record.wrapped_key, _WRAPPED_KEY_BYTES)
        and _sized(record.mac, _MAC_BYTES)
        and 1 <= len(record.stanzas) <= MAX_RECIPIENTS
        and all(_stanza_well_formed(s) for s in record.stanzas)
    )


def _stanza_well_formed(stanza: Stanza) -> bool:
    return (
        type(stanza.kind) is str
        and 0 < len(stanza.kind) <= 64
        and _sized(stanza.recipient, FINGERPRINT_BYTES)
        and type(stanza.body) is bytes
        and len(stanza.body) <= 1 << 16
    )


def _sized(value: object, size: int) -> bool:
    return type(value) is bytes and len(value) == size
