"""Known-answer test of cipher, suite, sealed header and wrapped key, before they get an image (as FIPS 140-3, 10.3).

A cipher that is wrong in both directions comes back right from every read-back; only an answer known beforehand shows
it. The answers are those of docs/SPEC.md: its second implementation gives them too. Needs neither MONAI nor PyTorch.
"""

from __future__ import annotations

from hashlib import sha256

import numpy as np

from iomt_crypt import cipher
from iomt_crypt.cipher import Backend
from iomt_crypt.errors import AuthenticationError, KnownAnswerError
from iomt_crypt.seal import SUITES, Epoch, Layout, ObjectKey, open_header, seal_header

_KEY = bytes(range(32))
_OBJECT_ID = bytes(range(32, 48))
_TWEAK = b"known answer"
_BINDING = b"2.25.1"
_LAYOUT = Layout(2, 130, 16, 13)

#: SHA-256 of the cipher words, little-endian, of frames whose word i is i modulo 2^w: word bits, rows, columns. One is
#: smaller than the parts that are repositioned, one larger.
FRAMES = {
    (8, 7, 13): "13d70d8db95e60a6a2583124739fb8977ccaf74ea3fead0f639a4ba64ce6a46e",
    (8, 64, 80): "c96ab26c94f92608d5440fac940c724e5a2c90493ed633aced2f9fb08e931cc8",
    (16, 5, 9): "4a65a34c89324570dcd9b2a4ec85a2e1c5982bc26dbe28202920822b1c0cdb67",
    (16, 48, 64): "defe490cebb637b91e59092c32c946223e3e2222861631a91bad947637fd5373",
}
#: SHA-256 of stored bytes and tag of unit 0, then of unit 1; the units' byte i is i.
UNITS = {
    "hybrid-1": "fbb60ef41b07f4985a28b750a8fc0760ebb4c50f959e50f0a33228dc5dde41fc",
    "chaos-cnn-1": "fb716c21498e80fcbeb6bf426902e5661d0875fd55ebca83b05700c61c38e15c",
}
#: A data key and how it is wrapped under `_KEY`: RFC 3394 4.6.
_WRAPPED = (
    bytes.fromhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F"),
    bytes.fromhex("28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"),
)


def check_answers(suite: str, *, backend: Backend = "auto") -> None:
    """Encrypt what the answers are known of, compare, decrypt and compare again. Takes about 2 ms when compiled.

    Parameters
    ----------
    suite
        Name of the suite that will be used.
    backend
        Of the image cipher; the suites use "auto".

    Raises
    ------
    KnownAnswerError
        Image cipher, suite, or what seals headers and keys gives another answer, does not give back what was plain, or
        takes what was changed.
    """
    for word_bits, rows, columns in FRAMES:
        _check_frame(word_bits, rows, columns, backend)
    _check_units(suite)
    _check_header()
    _check_wrapping()


def _check_frame(word_bits: int, rows: int, columns: int, backend: Backend) -> None:
    plain = np.arange(rows * columns).astype(f"u{word_bits // 8}").reshape(rows, columns)
    what = f"image cipher, frame of {rows} x {columns} words of {word_bits} bits"
    encrypted = cipher.encrypt(plain, _KEY, tweak=_TWEAK, backend=backend)
    little_endian = encrypted.astype(f"<u{word_bits // 8}")
    if sha256(little_endian.tobytes()).hexdigest() != FRAMES[word_bits, rows, columns]:
        raise _wrong(f"{what}: not the known answer")
    if not np.array_equal(cipher.decrypt(encrypted, _KEY, tweak=_TWEAK, backend=backend), plain):
        raise _wrong(f"{what}: decryption does not give the plain words back")


def _check_units(name: str) -> None:
    suite = SUITES[name](ObjectKey(_KEY, _OBJECT_ID), _LAYOUT, _BINDING)
    plain = bytes(range(_LAYOUT.frame_bytes))
    answer, sealed = sha256(), []
    for index in range(_LAYOUT.n_frames):
        unit = bytearray(plain)
        tag = suite.seal(index, memoryview(unit))
        sealed.append((unit, tag))
        answer.update(unit + tag)
    if answer.hexdigest() != UNITS[name]:
        raise _wrong(f"suite {name}: not the known answer")
    unit, tag = sealed[1]
    try:
        suite.open(0, memoryview(bytearray(unit)), tag)
    except AuthenticationError:
        pass
    else:
        raise _wrong(f"suite {name}: it takes a unit for another one")
    try:
        suite.open(1, memoryview(unit), tag)
    except AuthenticationError:
        raise _wrong(f"suite {name}: it refuses what it sealed") from None
    if unit != plain:
        raise _wrong(f"suite {name}: opening does not give the unit back")


def _check_header() -> None:
    """What is sealed beside the pixels is patient data. The sealed bytes depend on zstd: none is known beforehand."""
    key, plain = ObjectKey(_KEY, _OBJECT_ID), sha256(_KEY).digest() * 2
    sealed = seal_header(key, plain)
    if plain[:8] in sealed:
        raise _wrong("sealing of headers: they stay readable")
    try:
        open_header(key, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    except AuthenticationError:
        pass
    else:
        raise _wrong("sealing of headers: it takes a changed header")
    try:
        again = open_header(key, sealed)
    except AuthenticationError:
        raise _wrong("sealing of headers: it refuses what it sealed") from None
    if again != plain:
        raise _wrong("sealing of headers: opening does not give the header back")


def _check_wrapping() -> None:
    """RFC 3394 4.6."""
    epoch = Epoch(_OBJECT_ID, _KEY, ())
    wrapped = epoch.wrap(_WRAPPED[0])
    if wrapped != _WRAPPED[1]:
        raise _wrong("wrapping of data keys: not the known answer")
    if epoch.unwrap(wrapped) != _WRAPPED[0]:
        raise _wrong("wrapping of data keys: unwrapping does not give the key back")


def _wrong(what: str) -> KnownAnswerError:
    return KnownAnswerError(
        f"known-answer test failed: {what}",
        hint="encrypt nothing on this machine: its numba, numpy or cryptography, or the installation, is damaged; "
        "delete __pycache__ in iomt_crypt, install anew, and look at the memory",
    )
