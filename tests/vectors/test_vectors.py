"""The frozen vectors: as the package makes them now, held by every backend and by the second implementation."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from iomt_crypt import cipher
from iomt_crypt.errors import AuthenticationError
from iomt_crypt.seal import SUITES
from tests.vectors import frame, generate, sealed
from tests.vectors.frame import BACKENDS
from tests.vectors.verify import vector

ROOT = generate.FOLDER.parent.parent
FILES = ("cipher.json", "stage.json", "suite.json", "reject.json")
CASES = {name: json.loads((generate.FOLDER / name).read_text())["cases"] for name in FILES}
LARGE = 65536

_make = cache(generate.make)


def named(cases):
    return [pytest.param(case, id=case["name"].replace(" ", "-")) for case in cases]


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_frozen(name):
    """A difference here means that archives of today cannot be read tomorrow."""
    assert (generate.FOLDER / name).read_bytes() == _make()[name]


def test_no_file_is_left_out():
    assert set(FILES) == set(generate.ABOUT) == set(vector.CHECKS) == {p.name for p in generate.FOLDER.glob("*.json")}
    assert sum((generate.FOLDER / name).stat().st_size for name in FILES) < 600_000


@pytest.mark.parametrize("name", FILES)
def test_names_are_unique(name):
    names = [case["name"] for case in CASES[name]]
    assert len(names) == len(set(names)) > 6


@pytest.mark.parametrize("w", [8, 16])
def test_what_the_frames_cover(w):
    """Sizes at every edge of docs/SPEC.md, row lengths at their limits, all kinds of plain words."""
    cases = [case for case in CASES["cipher.json"] if case["w"] == w]
    halves = {case["n"] // 2 * w // 8 for case in cases} | {(case["n"] + 1) // 2 * w // 8 for case in cases}
    word = w // 8
    assert {0, 1, 2, 3, 4, 5, 7, 15, 16, 17, 63, 64, 65, 127, 128, 129} < {case["n"] for case in cases}
    assert {1023, 1024, 1025, 2047, 2048, 2049, 512 * 512} < {case["n"] for case in cases}
    assert {512 - word, 512, 512 + word, 2048 - word, 2048, 2048 + word} < halves
    rows = {(case["row_length"] - case["n"] // 2) for case in cases if case["n"] == 64}
    assert {-2, -1, 0, 1} < rows
    assert min(case["row_length"] for case in cases) < 0
    assert {len(case["tweak"]) // 2 for case in cases} == {0, 1, 8, 62, 63, 64, 300}
    assert {case["plain_rule"].split()[0] for case in cases if "plain_rule" in case} == {"zero", "max", "ramp", "shake"}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", named(CASES["cipher.json"]))
def test_backend(case, backend):
    plain = np.frombuffer(vector.plain_bytes(case), f"<u{case['w'] // 8}")
    native = plain.astype(plain.dtype.newbyteorder("="))
    target = np.empty_like(native)
    options = {
        "key": bytes.fromhex(case["key"]),
        "tweak": bytes.fromhex(case["tweak"]),
        "row_length": case["row_length"],
        "backend": backend,
    }
    cipher.encrypt_into(native, target, **options)
    data = target.astype(plain.dtype).tobytes()
    if "cipher" in case:
        assert data.hex() == case["cipher"]
    else:
        assert vector.sha256(data).hexdigest() == case["cipher_sha256"]
    cipher.decrypt_into(target, target, **options)
    assert np.array_equal(target, native)


@pytest.mark.parametrize("case", named(CASES["suite.json"]))
def test_suite(case):
    made = sealed.made_from(case)
    for i, unit in enumerate(case["units"]):
        buffer = bytearray.fromhex(unit["unit"])
        tag = made.seal(i, memoryview(buffer))
        assert (buffer.hex(), tag.hex()) == (unit["stored"], unit["tag"])
        made.open(i, memoryview(buffer), tag)
        assert buffer.hex() == unit["unit"]


@pytest.mark.parametrize("case", named(c for c in CASES["reject.json"] if c["kind"] == "suite"))
def test_suite_refuses(case):
    assert case["outcome"] == sealed.AUTHENTICATION
    buffer = bytearray.fromhex(case["stored"])
    made = sealed.made_from(case)
    with pytest.raises(AuthenticationError):
        made.open(case["i"], memoryview(buffer), bytes.fromhex(case["tag"]))
    assert buffer == bytes(len(buffer))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", named(c for c in CASES["reject.json"] if c["kind"] == "cipher"))
def test_backend_refuses(case, backend):
    assert case["outcome"] == sealed.VALUE
    words = np.frombuffer(bytes.fromhex(case["words"]), f"<u{case['w'] // 8}")
    native = words.astype(words.dtype.newbyteorder("="))
    for run in (cipher.encrypt_into, cipher.decrypt_into):
        target = np.full_like(native, 0x5A)
        with pytest.raises(ValueError, match="key must be 32 bytes"):
            run(native, target, bytes.fromhex(case["key"]), row_length=case["row_length"], backend=backend)
        assert (target == 0x5A).all()


def test_one_thing_is_changed_in_each():
    """What a reject case changes is what it says, so that nothing else can be why it is refused."""
    bases = {case["name"]: case for case in CASES["suite.json"]}
    for case in CASES["reject.json"]:
        if case["kind"] != "suite":
            continue
        base = bases[case["base"]]
        whole = {**base, "i": 1, "stored": base["units"][1]["stored"], "tag": base["units"][1]["tag"]}
        fields = ("suite", "data_key", "object_id", "uid", "N", "unit_size", "w", "row_length", "i", "stored", "tag")
        assert sorted(f for f in fields if case[f] != whole[f]) == case["changed"], case["name"]
    changed = {(case["suite"], f) for case in CASES["reject.json"] for f in case.get("changed", [])}
    assert {f for suite, f in changed if suite == "hybrid-1"} == set(fields)
    assert {suite for suite, _ in changed} == set(SUITES)


@pytest.fixture(scope="module")
def run_verifier():
    """The second implementation in a bare interpreter: no site packages, no environment."""

    def run(folder: Path = generate.FOLDER) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", "-E", "-s", "-W", "error", "-m", "tests.vectors.verify", str(folder)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)

    return run


def test_second_implementation(run_verifier):
    done = run_verifier()
    expected = [
        f"{name:<12} {'reject' if name == 'reject.json' else 'accept'} {len(CASES[name])} of {len(CASES[name])}"
        for name in FILES
    ]
    assert (done.stdout.splitlines(), done.stderr, done.returncode) == (expected, "", 0)


def _tampered():
    """A file, a case of it and a change that the verifier must see."""
    small = next(case for case in CASES["cipher.json"] if case["name"] == "size w8 n15")
    stage, suite, reject = CASES["stage.json"][3], CASES["suite.json"][0], CASES["reject.json"][0]
    first, *others = suite["units"]
    yield "cipher.json", {**small, "cipher": "00" + small["cipher"][2:]}
    yield "cipher.json", {**small, "tweak": ""}
    yield "stage.json", {**stage, "move": {**stage["move"], "order_R": sorted(stage["move"]["order_R"])}}
    yield "stage.json", {**stage, "rounds": stage["rounds"][:3]}
    yield "suite.json", {**suite, "units": [{**first, "tag": "00" + first["tag"][2:]}, *others]}
    yield "suite.json", {**suite, "units": others}
    yield "reject.json", {**reject, "stored": first["stored"], "tag": first["tag"], "i": 0}
    yield "reject.json", {**reject, "outcome": "value error"}


@pytest.mark.parametrize("number", range(8))
def test_the_verifier_names_what_is_wrong(number, run_verifier, tmp_path):
    name, case = list(_tampered())[number]
    for file in FILES:
        few = [c for c in CASES[file] if c["name"] != case["name"]][:1]
        cases = [*few, case] if file == name else few
        (tmp_path / file).write_text(json.dumps({"cases": cases}))
    done = run_verifier(tmp_path)
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert failed[0].startswith(f"FAILED {name}: {case['name']}: ")


def test_an_empty_file_is_a_failure(run_verifier, tmp_path):
    for file in FILES:
        (tmp_path / file).write_text(json.dumps({"cases": CASES[file][:1] if file != "reject.json" else []}))
    assert run_verifier(tmp_path).returncode == 1


def test_the_verifier_needs_the_standard_library_alone():
    modules = sorted((generate.FOLDER / "verify").glob("*.py"))
    assert len(modules) >= 5
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= sys.stdlib_module_names, module.name
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module.split(".")[0] in sys.stdlib_module_names, module.name


def test_large_frames_are_in():
    assert sum(case["n"] >= LARGE for case in CASES["cipher.json"]) == 2
    assert {recipe.name for recipe in frame.recipes()} == {case["name"] for case in CASES["cipher.json"]}
