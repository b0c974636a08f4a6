"""Checks of single vectors: each takes one case of a file of `tests/vectors/` and raises `Mismatch` if it is wrong."""

from collections.abc import Callable, Mapping
from hashlib import sha256, shake_256
from typing import Any

from . import cipher
from .aes import AuthenticationError
from .suite import Suite

Case = Mapping[str, Any]


class Mismatch(Exception):
    """A value is not the one of the vector."""


def agree(what: str, found: object, expected: object) -> None:
    """Raise `Mismatch` unless both are equal."""
    if found != expected:
        raise Mismatch(f"{what}: another value than the vector's")


def plain_bytes(case: Case) -> bytes:
    """The plain words of a cipher case: as they are, or by the rule that stands for a long frame."""
    if "plain" in case:
        return bytes.fromhex(case["plain"])
    size = case["n"] * case["w"] // 8
    rule, _, label = case["plain_rule"].partition(" ")
    if rule == "shake":
        data = shake_256(label.encode("ascii")).digest(size)
    elif rule == "ramp":
        data = cipher.to_bytes([i % 2 ** case["w"] for i in range(case["n"])], case["w"])
    else:
        data = {"zero": b"\x00", "max": b"\xff"}[rule] * size
    agree("SHA-256 of the plain words", sha256(data).hexdigest(), case["plain_sha256"])
    return data


def check_cipher(case: Case) -> None:
    """Plain words give the cipher words, and those the plain ones."""
    w = case["w"]
    options = {
        "w": w,
        "key": bytes.fromhex(case["key"]),
        "tweak": bytes.fromhex(case["tweak"]),
        "row_length": case["row_length"],
    }
    plain = cipher.to_words(plain_bytes(case), w)
    agree("n", len(plain), case["n"])
    secret = cipher.encrypt(plain, **options)
    data = cipher.to_bytes(secret, w)
    if "cipher" in case:
        agree("cipher words", data.hex(), case["cipher"])
    else:
        agree("SHA-256 of the cipher words", sha256(data).hexdigest(), case["cipher_sha256"])
    agree("decrypted words", cipher.decrypt(secret, **options), plain)


def check_stage(case: Case) -> None:
    """Every value on the way of one frame."""
    w = case["w"]
    plain = cipher.to_words(bytes.fromhex(case["plain"]), w)
    key, tweak = bytes.fromhex(case["key"]), bytes.fromhex(case["tweak"])
    plan = cipher.schedule(key, tweak, w=w, n=len(plain), row_length=case["row_length"])
    _check_schedule(case["schedule"], plan)
    m = len(plain) // 2
    halves = [plain[:m], plain[m:]]
    for r, expected in enumerate(case["rounds"]):
        if r == 2:
            halves = _check_move(case["move"], halves, plan)
        _check_round(expected, halves, r, plan)
    agree("number of rounds", len(case["rounds"]), 4)


def _check_schedule(expected: Case, plan: cipher.Schedule) -> None:
    agree("effective row length", plan.row, expected["row_length"])
    agree("round keys", [key.hex() for key in plan.round_keys], expected["round_keys"])
    agree("key of the repositioning", plan.move_key.hex(), expected["move_key"])
    agree("A", plan.K[160:1188].hex(), expected["A"])
    agree("B", plan.K[1188:2216].hex(), expected["B"])
    agree("weight", [[list(f.weight) for f in pair] for pair in plan.filters], expected["weight"])
    agree("bias", [[f.bias for f in pair] for pair in plan.filters], expected["bias"])
    agree("V+", [[f.v_plus for f in pair] for pair in plan.filters], expected["V+"])
    agree("V-", [[f.v_minus for f in pair] for pair in plan.filters], expected["V-"])


def _check_round(expected: Case, halves: list[list[int]], r: int, plan: cipher.Schedule) -> None:
    """Check round r and put its result into `halves`."""
    changed = 1 if r % 2 == 0 else 0
    S, T = halves[1 - changed], halves[changed]
    seeds = cipher.round_seeds(S, r, plan)
    features = b"".join(cipher.le64(h_0) + cipher.le64(h_1) for h_0, h_1 in cipher.features(S, plan))
    agree(f"features of round {r}", features.hex(), expected["features"])
    agree(f"seeds of round {r}", seeds.hex(), expected["seeds"])
    mixed = cipher.stream(seeds, len(T), plan.w)
    agree(f"stream of round {r}", cipher.to_bytes(mixed, plan.w).hex(), expected["stream"])
    added = cipher.cnn(S, len(T), plan.filters[r], w=plan.w, row=plan.row)
    agree(f"cnn of round {r}", cipher.to_bytes(added, plan.w).hex(), expected["cnn"])
    halves[changed] = cipher.forward(S, T, r, plan)
    agree(f"L after round {r}", cipher.to_bytes(halves[0], plan.w).hex(), expected["L"])
    agree(f"R after round {r}", cipher.to_bytes(halves[1], plan.w).hex(), expected["R"])


def _check_move(expected: Case, halves: list[list[int]], plan: cipher.Schedule) -> list[list[int]]:
    run, *orders = cipher.move_orders(plan)
    agree("seeds of the repositioning", cipher.move_seeds(plan).hex(), expected["seeds"])
    agree("run", run, expected["run"])
    agree("order of L", orders[0], expected["order_L"])
    agree("order of R", orders[1], expected["order_R"])
    moved = [cipher.move(half, run, order) for half, order in zip(halves, orders, strict=True)]
    agree("L after the repositioning", cipher.to_bytes(moved[0], plan.w).hex(), expected["L"])
    agree("R after the repositioning", cipher.to_bytes(moved[1], plan.w).hex(), expected["R"])
    return moved


def suite_of(case: Case) -> Suite:
    """The object that a suite or reject case describes."""
    return Suite(
        suite=case["suite"],
        data_key=bytes.fromhex(case["data_key"]),
        object_id=bytes.fromhex(case["object_id"]),
        uid=case["uid"],
        N=case["N"],
        unit_size=case["unit_size"],
        w=case["w"],
        row_length=case["row_length"],
    )


def check_suite(case: Case) -> None:
    """Keys, associated data, stored bytes and tags of all units, and the units back."""
    made = suite_of(case)
    agree("image key", made.key("image").hex(), case["image_key"])
    agree("tag key", made.key("tag").hex(), case["tag_key"])
    agree("N", len(case["units"]), case["N"])
    for i, expected in enumerate(case["units"]):
        unit = bytes.fromhex(expected["unit"])
        agree(f"AD({i})", made.associated_data(i).hex(), expected["AD"])
        stored, tag = made.seal(i, unit)
        agree(f"stored bytes of unit {i}", stored.hex(), expected["stored"])
        agree(f"tag of unit {i}", tag.hex(), expected["tag"])
        agree(f"opened unit {i}", made.open(i, stored, tag), unit)


def outcome(action: Callable[[], object]) -> str:
    """How `action` ends, in the words of reject.json."""
    try:
        action()
    except AuthenticationError:
        return "authentication failed"
    except ValueError:
        return "value error"
    return "accepted"


def check_reject(case: Case) -> None:
    """Refused, in the way that the vector says."""
    if case["kind"] == "suite":
        actions = [lambda: suite_of(case).open(case["i"], bytes.fromhex(case["stored"]), bytes.fromhex(case["tag"]))]
    else:
        w, key, tweak = case["w"], bytes.fromhex(case["key"]), bytes.fromhex(case["tweak"])
        words = cipher.to_words(bytes.fromhex(case["words"]), w)
        actions = [
            lambda run=run: run(words, w=w, key=key, tweak=tweak, row_length=case["row_length"])
            for run in (cipher.encrypt, cipher.decrypt)
        ]
    for action in actions:
        agree("outcome", outcome(action), case["outcome"])


CHECKS: dict[str, Callable[[Case], None]] = {
    "cipher.json": check_cipher,
    "stage.json": check_stage,
    "suite.json": check_suite,
    "reject.json": check_reject,
}
