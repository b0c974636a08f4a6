"""Bytes that are nearly right: what tests, and the long fuzz in benchmarks/record_fuzz.py, change about a record."""

from __future__ import annotations

import hashlib
import random

from iomt_crypt.seal.container import MAGIC

#: Heads of CBOR (RFC 8949 3) that announce more than follows, or what a record has none of.
MARKS = b"\x00\x17\x18\x1f\x3b\x5b\x5f\x7f\x9b\x9f\xbb\xbf\xc1\xd8\xdb\xf9\xfb\xff"
_HEAD_BYTES = 14


def contained(body: bytes, version: int = 1, slack: int = 0) -> bytes:
    """What anybody can make: any body, with a digest that fits."""
    head = MAGIC + version.to_bytes(2, "big") + len(body).to_bytes(4, "big") + body
    return head + hashlib.sha256(head).digest() + bytes(slack)


def body_of(container: bytes) -> bytes:
    return container[_HEAD_BYTES : _HEAD_BYTES + int.from_bytes(container[10:14], "big")]


def changed(data: bytes, chance: random.Random) -> bytes:
    """``data`` with one to four small changes, of bits, bytes and lengths; it may come out as it was."""
    found = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(found))
        kind = chance.randrange(5)
        if kind == 0:
            found[at] = chance.randrange(256)
        elif kind == 1:
            del found[at : at + chance.randrange(1, 9)]
        elif kind == 2:
            found[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 3:
            found[at] ^= 1 << chance.randrange(8)
        else:
            found[at] = chance.choice(MARKS)
    return bytes(found)
