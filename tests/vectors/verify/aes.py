"""AES-256 (FIPS 197) in Galois/Counter Mode (NIST SP 800-38D) on Python integers; GCM needs the forward cipher only."""

from collections.abc import Iterator
from hmac import compare_digest
from itertools import count
from operator import xor

KEY_BYTES = 32
NONCE_BYTES = 12
ROUNDS = 14
GCM_POLYNOMIAL = 0xE1 << 120


class AuthenticationError(Exception):
    """The tag does not belong to what it came with."""


def double(x: int) -> int:
    """`x` times {02} in GF(2^8), FIPS 197 section 4.3."""
    x <<= 1
    return x ^ 0x11B if x & 0x100 else x


def product(x: int, y: int) -> int:
    """`x` times `y` in GF(2^8)."""
    result = 0
    while y:
        if y & 1:
            result ^= x
        x = double(x)
        y >>= 1
    return result


def _substitution() -> bytes:
    """S-box: multiplicative inverse, then the affine map, FIPS 197 section 5.1.1."""
    box = []
    for x in range(256):
        inverse = next((y for y in range(256) if product(x, y) == 1), 0)
        rotated = inverse
        for _ in range(4):
            inverse = (inverse << 1 | inverse >> 7) & 0xFF
            rotated ^= inverse
        box.append(rotated ^ 0x63)
    return bytes(box)


SBOX = _substitution()
TWICE = bytes(double(x) for x in range(256))
# ShiftRows on a state in column order: byte 4 c + r comes from column c + r of row r.
SHIFT = tuple((4 * (c + r) + r) % 16 for c in range(4) for r in range(4))


def expand(key: bytes) -> list[bytes]:
    """The 15 round keys of AES-256, FIPS 197 section 5.2."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"the AES key has {len(key)} bytes, not {KEY_BYTES}")
    words = [key[4 * i : 4 * i + 4] for i in range(8)]
    constant = 1
    for i in range(8, 4 * (ROUNDS + 1)):
        word = words[i - 1]
        if i % 8 == 0:
            word = (word[1:] + word[:1]).translate(SBOX)
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = double(constant)
        elif i % 8 == 4:
            word = word.translate(SBOX)
        words.append(bytes(map(xor, words[i - 8], word)))
    return [b"".join(words[i : i + 4]) for i in range(0, len(words), 4)]


def encrypt_block(round_keys: list[bytes], block: bytes) -> bytes:
    """One block of 16 bytes, FIPS 197 section 5.1."""
    state = bytes(map(xor, block, round_keys[0]))
    for r in range(1, ROUNDS + 1):
        state = state.translate(SBOX)
        state = bytes(state[i] for i in SHIFT)
        if r < ROUNDS:
            state = b"".join(_mix_column(*state[i : i + 4]) for i in range(0, 16, 4))
        state = bytes(map(xor, state, round_keys[r]))
    return state


def _mix_column(a: int, b: int, c: int, d: int) -> bytes:
    every = a ^ b ^ c ^ d
    return bytes(
        (
            a ^ every ^ TWICE[a ^ b],
            b ^ every ^ TWICE[b ^ c],
            c ^ every ^ TWICE[c ^ d],
            d ^ every ^ TWICE[d ^ a],
        )
    )


def _multiply(x: int, y: int) -> int:
    """Product in GF(2^128), SP 800-38D algorithm 1; bit 0 of the standard is the highest of the integer."""
    result = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            result ^= y
        y = y >> 1 ^ GCM_POLYNOMIAL if y & 1 else y >> 1
    return result


def _ghash(H: int, data: bytes) -> int:
    result = 0
    for start in range(0, len(data), 16):
        result = _multiply(result ^ int.from_bytes(data[start : start + 16], "big"), H)
    return result


def _counter_blocks(round_keys: list[bytes], nonce: bytes, first: int) -> Iterator[bytes]:
    for counter in count(first):
        yield encrypt_block(round_keys, nonce + (counter % 2**32).to_bytes(4, "big"))


def _apply(round_keys: list[bytes], nonce: bytes, data: bytes) -> bytes:
    pieces = [data[start : start + 16] for start in range(0, len(data), 16)]
    keys = _counter_blocks(round_keys, nonce, 2)
    # A last piece that is short takes the first bytes of its block: map() ends with the shorter.
    return b"".join(bytes(map(xor, piece, block)) for piece, block in zip(pieces, keys, strict=False))


def _tag(round_keys: list[bytes], nonce: bytes, cipher: bytes, associated: bytes) -> bytes:
    H = int.from_bytes(encrypt_block(round_keys, bytes(16)), "big")
    lengths = (8 * len(associated)).to_bytes(8, "big") + (8 * len(cipher)).to_bytes(8, "big")
    hashed = _ghash(H, associated + bytes(-len(associated) % 16) + cipher + bytes(-len(cipher) % 16) + lengths)
    first = next(_counter_blocks(round_keys, nonce, 1))
    return (hashed ^ int.from_bytes(first, "big")).to_bytes(16, "big")


def gcm_encrypt(key: bytes, nonce: bytes, plain: bytes, associated: bytes) -> tuple[bytes, bytes]:
    """AES-256-GCM with a nonce of 12 bytes: ciphertext and tag of 16 bytes."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"the nonce has {len(nonce)} bytes, not {NONCE_BYTES}")
    round_keys = expand(key)
    cipher = _apply(round_keys, nonce, plain)
    return cipher, _tag(round_keys, nonce, cipher, associated)


def gcm_decrypt(key: bytes, nonce: bytes, cipher: bytes, associated: bytes, tag: bytes) -> bytes:
    """Plaintext, after the tag was found right."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"the nonce has {len(nonce)} bytes, not {NONCE_BYTES}")
    round_keys = expand(key)
    if not compare_digest(_tag(round_keys, nonce, cipher, associated), tag):
        raise AuthenticationError("authentication failed")
    return _apply(round_keys, nonce, cipher)
