"""Cases of suite.json and reject.json, from `iomt_crypt.seal`. What is random is SHAKE-256 of the case's name."""

from __future__ import annotations

from hashlib import shake_256
from typing import Any

from iomt_crypt.seal import SUITES, Layout, ObjectKey
from iomt_crypt.seal.suite import Suite

Case = dict[str, Any]

LONG_UID = "1.2.826.0.1.3680043.10.1234.5678901234567890.1234567890123456.78"
SHORT_UID = "2.25.1"

# (N, bytes of a unit, w, row length, UID)
LAYOUTS = (
    (3, 64, 16, 8, SHORT_UID),
    (3, 35, 8, 7, LONG_UID),
    (1, 50, 16, 5, LONG_UID),
    (1, 1, 8, 1, SHORT_UID),
    (3, 2, 16, 1, SHORT_UID),
    (1, 2600, 16, 0, LONG_UID),
    (0, 64, 16, 8, SHORT_UID),
)
AUTHENTICATION = "authentication failed"
VALUE = "value error"


def made_from(case: Case) -> Suite:
    """The package's object of a suite or reject case."""
    key = ObjectKey(bytes.fromhex(case["data_key"]), bytes.fromhex(case["object_id"]))
    layout = Layout(case["N"], case["unit_size"], case["w"], case["row_length"])
    return SUITES[case["suite"]](key, layout, case["uid"].encode("ascii"))


def suite_cases() -> list[Case]:
    """All layouts under both suites."""
    return [_suite_case(suite, *layout) for suite in sorted(SUITES, reverse=True) for layout in LAYOUTS]


def _suite_case(suite: str, N: int, unit_size: int, w: int, row_length: int, uid: str) -> Case:
    name = f"{suite} w{w} {N} of {unit_size}"

    def noise(use: str, size: int) -> bytes:
        return shake_256(f"iomt-crypt vector {name} {use}".encode("ascii")).digest(size)

    case: Case = {
        "name": name,
        "suite": suite,
        "data_key": noise("data key", 32).hex(),
        "object_id": noise("object id", 16).hex(),
        "uid": uid,
        "N": N,
        "unit_size": unit_size,
        "w": w,
        "row_length": row_length,
        "units": [],
    }
    key = ObjectKey(bytes.fromhex(case["data_key"]), bytes.fromhex(case["object_id"]))
    case["image_key"] = key.derive(f"{suite}/image").hex()
    case["tag_key"] = key.derive(f"{suite}/tag").hex()
    made = made_from(case)
    for i in range(N):
        unit = noise(f"unit {i}", unit_size)
        buffer = bytearray(unit)
        tag = made.seal(i, memoryview(buffer))
        associated = made._associated_data(i)
        case["units"].append({"AD": associated.hex(), "unit": unit.hex(), "stored": buffer.hex(), "tag": tag.hex()})
    return case


def _flip(data: str, bit: int) -> str:
    """Hexadecimal `data` with one bit changed; negative ones count from the end."""
    changed = bytearray.fromhex(data)
    changed[bit // 8] ^= 1 << bit % 8
    return changed.hex()


def reject_cases() -> list[Case]:
    """One thing changed each."""
    found = []
    for case in suite_cases():
        if case["N"] == 3 and case["w"] == 16 and case["unit_size"] == 64:
            found += _suite_rejects(case)
    return found + _cipher_rejects()


def _suite_rejects(base: Case) -> list[Case]:
    fields = {k: v for k, v in base.items() if k not in ("units", "image_key", "tag_key", "name")}
    first, second = base["units"][0], base["units"][1]
    good = {**fields, "i": 1, "stored": second["stored"], "tag": second["tag"]}
    about = {"kind": "suite", "base": base["name"], "outcome": AUTHENTICATION}
    return [
        {**good, **about, **change, "name": f"{base['suite']} {what}", "changed": sorted(change)}
        for what, change in {**_unit_changes(good, first), **_object_changes(good)}.items()
    ]


def _unit_changes(good: Case, first: Case) -> dict[str, Case]:
    """In what is kept for a unit; `first` is another unit of the object."""
    stored, tag = good["stored"], good["tag"]
    return {
        "stored: first bit": {"stored": _flip(stored, 0)},
        "stored: last bit": {"stored": _flip(stored, -1)},
        "stored: a word less": {"stored": stored[:-4]},
        "stored: a word more": {"stored": stored + "0000"},
        "stored: nothing": {"stored": ""},
        "stored: of unit 0": {"stored": first["stored"]},
        "stored and tag: of unit 0": {"stored": first["stored"], "tag": first["tag"]},
        "tag: first bit": {"tag": _flip(tag, 0)},
        "tag: last bit": {"tag": _flip(tag, -1)},
        "tag: of unit 0": {"tag": first["tag"]},
        "tag: a byte less": {"tag": tag[:-2]},
        "tag: 12 bytes": {"tag": tag[:24]},
        "tag: a byte more": {"tag": tag + "00"},
        "tag: nothing": {"tag": ""},
        "i: 0": {"i": 0},
        "i: 2": {"i": 2},
        "i: N": {"i": 3},
    }


def _object_changes(good: Case) -> dict[str, Case]:
    """In what holds for the whole object."""
    stored, tag, uid = good["stored"], good["tag"], good["uid"]
    moved = uid[-1].encode("ascii").hex() + stored
    other = "chaos-cnn-1" if good["suite"] == "hybrid-1" else "hybrid-1"
    return {
        "N: one less": {"N": 2},
        "N: one more": {"N": 4},
        "N: 0": {"N": 0},
        "unit size: a word less": {"unit_size": 62},
        "unit size and stored: a word less": {"unit_size": 62, "stored": stored[:-4]},
        "unit size and stored: a word more": {"unit_size": 66, "stored": stored + "0000"},
        "w: 8": {"w": 8},
        "row length: one less": {"row_length": 7},
        "row length: 0": {"row_length": 0},
        "object id: a bit": {"object_id": _flip(good["object_id"], 77)},
        "data key: a bit": {"data_key": _flip(good["data_key"], 200)},
        "UID: another digit": {"uid": uid[:-1] + "2"},
        "UID: a digit less": {"uid": uid[:-1]},
        "UID: a digit more": {"uid": uid + "0"},
        "UID: padded": {"uid": uid + "\0"},
        "UID and stored: the last digit moved": {"uid": uid[:-1], "stored": moved},
        "UID, stored and unit size: the last digit moved": {
            "uid": uid[:-1],
            "stored": moved,
            "unit_size": 65,
            "w": 8,
        },
        "suite: the other": {"suite": other},
        "suite and tag: the other, its length": {
            "suite": other,
            "tag": tag.ljust(64, "0")[: 2 * SUITES[other].tag_bytes],
        },
    }


def _cipher_rejects() -> list[Case]:
    found = []
    for w in (8, 16):
        for n in (0, 6):
            for size in (0, 16, 31, 33, 64):
                found.append(
                    {
                        "name": f"cipher w{w} n{n} key of {size}",
                        "kind": "cipher",
                        "w": w,
                        "words": bytes(range(n * w // 8)).hex(),
                        "row_length": 1,
                        "key": bytes(range(size)).hex(),
                        "tweak": "",
                        "outcome": VALUE,
                    }
                )
    return found
