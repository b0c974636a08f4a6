"""The bytes around a record: what says where it ends, and that it is whole.

::

    magic "IOMTCRPT" (8) | version u16 | body length u32 | body | SHA-256 of all before (32) | zero bytes (slack)

(big endian). The plain digest tells damage from a wrong key without any key; it is no protection against an adversary.
The slack is room for further recipients, so that re-wrapping can be done in place.
"""

from __future__ import annotations

import hashlib

from iomt_crypt.errors import AuthenticationError

MAGIC = b"IOMTCRPT"
VERSION = 1
MAX_CONTAINER_BYTES = 1 << 28

START = MAGIC + VERSION.to_bytes(2, "big")
HEAD_BYTES = len(START) + 4
DIGEST_BYTES = 32
_SLACK_BYTES = 2560  # two more HPKE recipients (1.2 kB each)
_STEP_BYTES = 256


def contained_bytes(body: bytes) -> int:
    """Size of the container of ``body`` without slack."""
    return HEAD_BYTES + len(body) + DIGEST_BYTES


def contain(body: bytes, *, slack: bool = True, size: int | None = None) -> bytes:
    """The container of ``body``: with the usual slack, with none (of even size), or of exactly ``size`` bytes.

    Raises
    ------
    ValueError
        It needs more than ``size`` bytes.
    """
    container = START + len(body).to_bytes(4, "big") + body
    container += hashlib.sha256(container).digest()
    if size is None:
        step = _STEP_BYTES if slack else 2
        size = -(-(len(container) + (_SLACK_BYTES if slack else 0)) // step) * step
    if len(container) > size:
        raise ValueError(f"the record needs {len(container)} bytes, {size} are there")
    return container.ljust(size, b"\0")


def content(container: bytes) -> bytes:
    """The body of a container. Raises AuthenticationError if anything at all is wrong with it."""
    end = HEAD_BYTES + int.from_bytes(container[len(START) : HEAD_BYTES], "big")
    slack = end + DIGEST_BYTES
    if (
        len(container) > MAX_CONTAINER_BYTES
        or not container.startswith(START)
        or hashlib.sha256(container[:end]).digest() != container[end:slack]
        or container.count(0, slack) != len(container) - slack
    ):
        raise AuthenticationError
    return container[HEAD_BYTES:end]


def without_slack(container: bytes) -> bytes:
    """A container that was parsed or made, to the end of its digest."""
    return container[: HEAD_BYTES + int.from_bytes(container[len(START) : HEAD_BYTES], "big") + DIGEST_BYTES]
