"""Image cipher `chaos-cnn-1`: sections 2 to 8 of docs/SPEC.md, stage by stage, on lists of Python integers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import shake_256
from itertools import islice
from math import isqrt
from operator import mul
from struct import pack, unpack, unpack_from

KEY_BYTES = 32
LANES = 128
VEIL_LANES = 32
PARTS = 1024
BLOCK_BYTES = 2048
SEED_BYTES = 3 * 4 * LANES
SCHEDULE_BYTES = 2408
MASK32 = 2**32 - 1
MASK64 = 2**64 - 1
FORMAT = {8: "B", 16: "H"}


@dataclass(frozen=True)
class Filter:
    """One filter of one round, every number below 2^w."""

    weight: tuple[int, ...]
    bias: int
    v_plus: int
    v_minus: int


@dataclass(frozen=True)
class Schedule:
    """What section 4 derives; `filters[r][c]` is filter c of round r."""

    K: bytes
    w: int
    n: int
    row: int
    round_keys: tuple[bytes, ...]
    move_key: bytes
    A: tuple[int, ...]
    B: tuple[int, ...]
    filters: tuple[tuple[Filter, ...], ...]


def le64(x: int) -> bytes:
    """`x` in 8 bytes, little-endian."""
    return pack("<Q", x)


def to_bytes(words: Sequence[int], w: int) -> bytes:
    """Words of w bits as little-endian bytes."""
    return pack(f"<{len(words)}{FORMAT[w]}", *words)


def to_words(data: bytes, w: int) -> list[int]:
    """Little-endian bytes as words of w bits."""
    return list(unpack(f"<{len(data) * 8 // w}{FORMAT[w]}", data))


# Sections 3 and 4


def effective_row_length(n: int, row_length: int) -> int:
    """Row length that the cipher uses for a frame of n words."""
    m = n // 2
    return row_length if 1 <= row_length < m else max(1, isqrt(m))


def schedule(key: bytes, tweak: bytes, *, w: int, n: int, row_length: int) -> Schedule:
    """Round keys, pool keys and filters of a frame of n words of w bits."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key has {len(key)} bytes, not {KEY_BYTES}")
    if w not in FORMAT:
        raise ValueError(f"words have {w} bits, not 8 or 16")
    row = effective_row_length(n, row_length)
    message = b"chaos-cnn-1/keys" + key + le64(n) + le64(row) + pack("B", w) + le64(len(tweak)) + tweak
    K = shake_256(message).digest(SCHEDULE_BYTES)
    return Schedule(
        K=K,
        w=w,
        n=n,
        row=row,
        round_keys=tuple(K[32 * r : 32 * r + 32] for r in range(4)),
        move_key=K[128:160],
        A=unpack("<257I", K[160:1188]),
        B=unpack("<257I", K[1188:2216]),
        filters=_filters(K, w),
    )


def _filters(K: bytes, w: int) -> tuple[tuple[Filter, ...], ...]:
    mask = 2**w - 1
    taps = unpack("<80H", K[2216:2376])
    outputs = unpack("<16H", K[2376:2408])
    rounds = []
    for r in range(4):
        pair = []
        for c in range(2):
            place = 2 * r + c
            first = taps[10 * place : 10 * place + 10]
            v_plus = outputs[2 * place] | 1
            v_minus = (outputs[2 * place + 1] | 1) & ~2 | v_plus & 2
            pair.append(Filter(tuple(v & mask for v in first[:9]), first[9] & mask, v_plus & mask, v_minus & mask))
        rounds.append(tuple(pair))
    return tuple(rounds)


# Section 6


def lane_words(seeds: bytes) -> Iterator[int]:
    """stream_0, stream_1, ... without end; a word is worked out when it is asked for."""
    seed = unpack(f"<{3 * LANES}I", seeds)
    x = seed[:LANES]
    W = seed[LANES : 2 * LANES]
    c = [v | 1 for v in seed[2 * LANES :]]
    p_before: list[int] = []
    while True:
        W = [(W_l + c_l) & MASK32 for W_l, c_l in zip(W, c, strict=True)]
        p = [x_l * (MASK32 - x_l) for x_l in x]
        if p_before:
            # The veil of lane l is that of lane l - 32, or of lane l + 96 one step earlier.
            veiling = p_before[LANES - VEIL_LANES :] + p[: LANES - VEIL_LANES]
            yield from (p_l >> 8 & MASK32 ^ W_l ^ q >> 24 & MASK32 for p_l, W_l, q in zip(p, W, veiling, strict=True))
        x = [(p[lane ^ 1] >> 30) + W_l & MASK32 for lane, W_l in enumerate(W)]
        p_before = p


# Section 5


def cnn(S: Sequence[int], length: int, filters: Sequence[Filter], *, w: int, row: int) -> list[int]:
    """Output of the two filters over S, for `length` words of T."""
    s = len(S)
    if s == 0:
        return [0] * length
    mask = 2**w - 1
    sign = 1 << (w - 1)
    offsets = [(k // 3 - 1) * row + (k % 3 - 1) for k in range(9)]
    result = []
    for i in range(length):
        taps = [S[(i + offset) % s] for offset in offsets]
        total = 0
        for f in filters:
            h = (f.bias + sum(map(mul, f.weight, taps))) & mask
            p = 0 if h & sign else h
            n = (p - h) & mask
            total += f.v_plus * p + f.v_minus * n
        result.append(total & mask)
    return result


def features(S: Sequence[int], plan: Schedule) -> list[tuple[int, int]]:
    """(h_0, h_1) of every 2048 bytes of S."""
    data = to_bytes(S, plan.w)
    data += bytes(-len(data) % BLOCK_BYTES)
    result = []
    for start in range(0, len(data), BLOCK_BYTES):
        u = unpack_from("<512I", data, start)
        h = []
        for t in (0, 1):
            four = zip(u[:256], u[256:], plan.A[t : t + 256], plan.B[t : t + 256], strict=True)
            h.append(sum([((x + a) & MASK32) * ((y + b) & MASK32) for x, y, a, b in four]) & MASK64)
        result.append((h[0], h[1]))
    return result


def round_seeds(S: Sequence[int], r: int, plan: Schedule) -> bytes:
    """Seeds of the lanes of round r."""
    message = b"chaos-cnn-1/seed" + plan.round_keys[r] + le64(len(S))
    message += b"".join(le64(h_0) + le64(h_1) for h_0, h_1 in features(S, plan))
    return shake_256(message).digest(SEED_BYTES)


def stream(seeds: bytes, length: int, w: int) -> list[int]:
    """First `length` words of w bits that the lanes give."""
    n_bytes = length * w // 8
    count = -(-n_bytes // 4)
    data = pack(f"<{count}I", *islice(lane_words(seeds), count))
    return to_words(data[:n_bytes], w)


def forward(S: Sequence[int], T: Sequence[int], r: int, plan: Schedule) -> list[int]:
    """T' of round r."""
    mask = 2**plan.w - 1
    added = cnn(S, len(T), plan.filters[r], w=plan.w, row=plan.row)
    mixed = stream(round_seeds(S, r, plan), len(T), plan.w)
    return [(t + a) & mask ^ k for t, a, k in zip(T, added, mixed, strict=True)]


def backward(S: Sequence[int], T: Sequence[int], r: int, plan: Schedule) -> list[int]:
    """T of round r from T'."""
    mask = 2**plan.w - 1
    added = cnn(S, len(T), plan.filters[r], w=plan.w, row=plan.row)
    mixed = stream(round_seeds(S, r, plan), len(T), plan.w)
    return [(t ^ k) - a & mask for t, a, k in zip(T, added, mixed, strict=True)]


# Section 7


def move_seeds(plan: Schedule) -> bytes:
    """Seeds of the lanes that draw the orders."""
    return shake_256(b"chaos-cnn-1/move" + plan.move_key).digest(SEED_BYTES)


def move_orders(plan: Schedule) -> tuple[int, list[int], list[int]]:
    """Length of a run, order of the runs of L and order of those of R."""
    run = max(1, -(-plan.n // PARTS))
    draws = lane_words(move_seeds(plan))
    # R goes on with the draw after the last of L.
    orders = [_order(words // run, draws) for words in (plan.n // 2, plan.n - plan.n // 2)]
    return run, orders[0], orders[1]


def _order(parts: int, draws: Iterator[int]) -> list[int]:
    order = list(range(parts))
    for i in range(parts - 1, 0, -1):
        chosen = next(draws) * (i + 1) >> 32
        order[i], order[chosen] = order[chosen], order[i]
    return order


def move(half: Sequence[int], run: int, order: Sequence[int]) -> list[int]:
    """Run k of the result is run order[k] of the half."""
    result = list(half)
    for k, source in enumerate(order):
        result[k * run : (k + 1) * run] = half[source * run : (source + 1) * run]
    return result


def move_back(half: Sequence[int], run: int, order: Sequence[int]) -> list[int]:
    """Undo `move`."""
    result = list(half)
    for k, source in enumerate(order):
        result[source * run : (source + 1) * run] = half[k * run : (k + 1) * run]
    return result


# Section 5, the whole


def _check_words(samples: Sequence[int], w: int) -> None:
    if min(samples) < 0 or max(samples) >= 2**w:
        raise ValueError(f"a word is not in 0 to {2**w - 1}")


def encrypt(samples: Sequence[int], *, w: int, key: bytes, tweak: bytes = b"", row_length: int = 0) -> list[int]:
    """Cipher words of a frame of plain words, each 0 to 2^w - 1."""
    plan = schedule(key, tweak, w=w, n=len(samples), row_length=row_length)
    if not samples:
        return []
    _check_words(samples, w)
    m = len(samples) // 2
    L, R = samples[:m], samples[m:]
    R = forward(L, R, 0, plan)
    L = forward(R, L, 1, plan)
    run, order_L, order_R = move_orders(plan)
    L, R = move(L, run, order_L), move(R, run, order_R)
    R = forward(L, R, 2, plan)
    L = forward(R, L, 3, plan)
    return [*L, *R]


def decrypt(samples: Sequence[int], *, w: int, key: bytes, tweak: bytes = b"", row_length: int = 0) -> list[int]:
    """Plain words of a frame of cipher words."""
    plan = schedule(key, tweak, w=w, n=len(samples), row_length=row_length)
    if not samples:
        return []
    _check_words(samples, w)
    m = len(samples) // 2
    L, R = samples[:m], samples[m:]
    L = backward(R, L, 3, plan)
    R = backward(L, R, 2, plan)
    run, order_L, order_R = move_orders(plan)
    L, R = move_back(L, run, order_L), move_back(R, run, order_R)
    L = backward(R, L, 1, plan)
    R = backward(L, R, 0, plan)
    return [*L, *R]
