"""What is sealed with every object: the bytes around the pixel value, and how the clear header was made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cbor2

from iomt_crypt.dicom.element import Element
from iomt_crypt.errors import AuthenticationError
from iomt_crypt.seal import encode_map, require_few

_MAX_VALUES = 1 << 20  # an element that was changed is four; whoever has a public key can seal what he likes


@dataclass(frozen=True)
class Original:
    """The plan of the way back.

    origin
        ``"file"``: head begins with preamble and file meta information where the file had them;
        ``"network"``: head is the data set as the sender put it on the wire
    head, excess, tail
        bytes before the pixel value, of it behind the last frame, and after it
    payload_bytes
        bytes of the pixel value (or of the deflated data set) in the raster
    deflated
        the payload is a whole deflated data set (PS3.5 A.5) rather than a pixel value
    dataset_offset
        where the data set begins in head
    elements
        the encoded elements of the header without the pixel element, where they are not a part of head and tail
        (deflated objects, bytes behind the pixel value that are no elements); else empty
    pixel_header_bytes
        size of the pixel element's own header at the end of head
    delta
        tag -> element as written to the clear header, None where it was dropped
    """

    origin: Literal["file", "network"]
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    head: bytes
    excess: bytes
    tail: bytes
    payload_bytes: int
    deflated: bool
    dataset_offset: int
    elements: bytes
    pixel_header_bytes: int
    delta: dict[int, Element | None]

    def header_elements(self) -> bytes:
        """The encoded elements of the original header, without the pixel element."""
        if self.elements:
            return self.elements
        return self.head[self.dataset_offset : len(self.head) - self.pixel_header_bytes] + self.tail

    def pack(self) -> bytes:
        """Deterministic CBOR (RFC 8949, 4.2.1)."""
        fields: dict[str, Any] = dict(vars(self))
        fields["delta"] = {tag: e if e is None else [e.vr, e.value] for tag, e in self.delta.items()}
        return encode_map(fields)

    @classmethod
    def unpack(cls, packed: bytes) -> Original:
        """Inverse of `pack`; the bytes were authenticated before, so that an error here is a defect of the writer."""
        try:
            require_few(packed, _MAX_VALUES)
            fields = cbor2.loads(packed, allow_indefinite=False, allow_duplicate_keys=False, max_depth=4)
            delta = {t: e if e is None else Element(t, e[0], e[1]) for t, e in fields.pop("delta").items()}
            return cls(delta=delta, **fields)
        except (cbor2.CBORDecodeError, TypeError, AttributeError, IndexError, ValueError):
            raise AuthenticationError from None
