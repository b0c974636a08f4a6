"""The encodings a data set can have (PS3.5 A), and the one we write."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from iomt_crypt.dicom.policy import Policy
from iomt_crypt.errors import MalformedError, UnsupportedError

GE_PRIVATE = "1.2.840.113619.5.2"  # implicit VR little endian header, big endian pixels
# MPEG-2, MPEG-4, HEVC: PS3.5 A.4.5 to A.4.7 and A.4.9; SMPTE ST 2110: A.6 and A.7
_VIDEO = frozenset(f"1.2.840.10008.1.2.4.{n}{s}" for n in range(100, 109) for s in ("", ".1"))
_REFERENCED = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (94, 95, 204, 205))  # JPIP, A.6 and A.8

_PIECE_BYTES = 1 << 16


@dataclass(frozen=True)
class Encoding:
    """How the elements of a data set are encoded."""

    implicit: bool
    little_endian: bool

    @property
    def byteorder(self) -> str:
        return "<" if self.little_endian else ">"


EXPLICIT_LE = Encoding(implicit=False, little_endian=True)


def encoding_of(transfer_syntax_uid: str | None, start: bytes) -> Encoding:
    """Encoding of a data set that begins with the bytes ``start`` (6 or more).

    Whether VRs are explicit is read from the data itself: there are files whose transfer syntax is missing or wrong.
    """
    if transfer_syntax_uid == ExplicitVRBigEndian:
        return Encoding(implicit=False, little_endian=False)
    explicit = len(start) >= 6 and start[4:6].isalpha() and start[4:6].isupper()
    if transfer_syntax_uid is None and explicit and start[0] == 0 and start[1] != 0:
        return Encoding(implicit=False, little_endian=False)  # group 00xx, high byte first
    return Encoding(implicit=not explicit, little_endian=True)


def is_deflated(transfer_syntax_uid: str | None) -> bool:
    return transfer_syntax_uid == DeflatedExplicitVRLittleEndian


def default_transfer_syntax(encoding: Encoding) -> str:
    """For data sets that do not say theirs."""
    if encoding.implicit:
        return str(ImplicitVRLittleEndian)
    return "1.2.840.10008.1.2.1" if encoding.little_endian else str(ExplicitVRBigEndian)


def refuse_unsupported(transfer_syntax_uid: str) -> None:
    """Raise UnsupportedError for transfer syntaxes whose pixels cannot be carried yet."""
    if transfer_syntax_uid in _VIDEO or transfer_syntax_uid.startswith("1.2.840.10008.1.2.7."):
        raise UnsupportedError(f"video (transfer syntax {transfer_syntax_uid}) is not handled yet")
    if transfer_syntax_uid in _REFERENCED:
        raise UnsupportedError(f"transfer syntax {transfer_syntax_uid} keeps its pixels on another server")


def inflate(stream: bytes | memoryview, limit: int | None = None) -> bytes:
    """The data set of a deflated stream (PS3.5 A.5; RFC 1951), of at most ``limit`` bytes.

    Without a limit, that of the default policy: deflate packs up to 1032 to 1, so that 1 MB could cost a gigabyte.

    Raises
    ------
    MalformedError
        It is damaged, cut off, or larger. No more than the limit is inflated for the answer.
    """
    limit = Policy().allowed_bytes(len(stream)) if limit is None else limit
    inflater, plain = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO()
    view = memoryview(stream)
    for begin in range(0, len(view), _PIECE_BYTES):
        waiting: bytes | memoryview = view[begin : begin + _PIECE_BYTES]
        while waiting and not inflater.eof:
            try:
                plain.write(inflater.decompress(waiting, _PIECE_BYTES))
            except zlib.error as error:
                raise MalformedError(f"the deflated data set is damaged ({error})") from error
            if plain.tell() > limit:
                raise MalformedError(
                    f"the deflated data set is larger than {limit} bytes, the limit for {len(view)} bytes of it",
                    hint="where that is what it should be: encrypt --max-expansion; of the node: policy.max_expansion",
                )
            waiting = inflater.unconsumed_tail
        if inflater.eof:
            return plain.getvalue()
    plain.write(inflater.flush())
    if inflater.eof and plain.tell() <= limit:
        return plain.getvalue()
    raise MalformedError(f"the deflated data set is cut off after {len(view)} bytes")
