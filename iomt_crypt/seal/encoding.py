"""Deterministic CBOR (RFC 8949, 4.2.1): equal values give equal bytes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cbor2


def encode_map(fields: dict[Any, Any]) -> bytes:
    """Encode a map of text or whole numbers; maps that are values of it are put in order too, those in lists are not.

    The keys are brought into the order of their encoded bytes here, because cbor2's canonical mode encodes every key
    one by one and takes three times as long; all else that cbor2 writes is the shortest form anyway.
    """
    return cbor2.dumps(_in_order(fields))


def _in_order(fields: dict[Any, Any]) -> dict[Any, Any]:
    ordered = {}
    for key in sorted(fields, key=_encoded_key):
        value = fields[key]
        ordered[key] = _in_order(value) if type(value) is dict else value
    return ordered


@lru_cache(maxsize=4096)
def _encoded_key(key: str | int) -> bytes:
    return cbor2.dumps(key)


_SMALL_BYTES = 1 << 16  # each byte may become an object of 64 bytes: for these it does not matter


def require_few(encoded: bytes, n_most: int) -> None:
    """Raise ValueError when CBOR has more than ``n_most`` values, before they are made.

    An empty map is one byte there, and 64 in memory. What is no CBOR passes: the decoder has its own limits for it.
    """
    if len(encoded) <= _SMALL_BYTES:
        return
    position, n_values = 0, 0
    while position < len(encoded):
        n_values += 1
        if n_values > n_most:
            raise ValueError(f"more than {n_most} values")
        major, argument = encoded[position] >> 5, encoded[position] & 0x1F
        position += 1
        if argument >= 24:
            size = 1 << (argument - 24)
            if size > 8:
                return  # indefinite lengths are not taken
            argument = int.from_bytes(encoded[position : position + size], "big")
            position += size
        if major in (2, 3):  # byte and text strings; of the others the values follow
            position += argument
