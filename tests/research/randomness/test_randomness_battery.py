"""ent and dieharder: what they really write, and what is no output of theirs."""

import itertools
import json

import numpy as np
import pytest

from iomt_crypt.analysis.randomness import dieharder, ent, run_dieharder, run_ent
from iomt_crypt.analysis.randomness.program import run_program
from iomt_crypt.errors import ConfigurationError

ENT = """0,File-bytes,Entropy,Chi-square,Mean,Monte-Carlo-Pi,Serial-Correlation
1,1000000,7.999802,275.148288,127.468638,3.145717,-0.000954
"""
DIEHARDER = """#=============================================================================#
#            dieharder version 3.31.1 Copyright 2003 Robert G. Brown          #
#=============================================================================#
   diehard_birthdays,   0,        50,       4,0.85202279,  PASSED
          sts_serial,  16,    100000,     100,0.99999509,   WEAK

"""


def words(seed):
    rng = np.random.default_rng(seed)
    return (rng.bytes(1 << 20) for _ in itertools.count())


def test_ent_on_random_bytes(peer):
    peer("ent")
    data = np.random.default_rng(1).integers(0, 256, 600_000, np.uint8)
    report = run_ent([data[:100].tobytes(), data[100:].tobytes()])
    assert report.n_bytes == 600_000
    assert report.mean == pytest.approx(data.mean(), abs=1e-6)
    counts = np.bincount(data, minlength=256)
    assert report.chi_square == pytest.approx(((counts - 600_000 / 256) ** 2).sum() / (600_000 / 256), abs=1e-5)
    shares = counts / counts.sum()
    assert report.entropy == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-6)
    assert report.serial_correlation == pytest.approx(np.corrcoef(data, np.roll(data, -1))[0, 1], abs=2e-6)
    assert set(report.p_values) == {"chi-square", "mean", "Monte Carlo pi", "serial correlation"}
    assert min(report.p_values.values()) > 0.001


@pytest.mark.parametrize(
    ("data", "suspect"),
    [
        (bytes(60_000), {"chi-square", "mean", "Monte Carlo pi"}),
        (bytes(range(256)) * 300, {"Monte Carlo pi", "serial correlation"}),
    ],
)
def test_ent_on_poor_bytes(peer, data, suspect):
    peer("ent")
    assert {name for name, value in run_ent([data]).p_values.items() if value < 1e-6} >= suspect


def test_ent_json():
    report = ent.parse_ent(ENT)
    found = json.loads(json.dumps(report.to_dict()))
    assert (found["n_bytes"], found["entropy"], found["serial_correlation"]) == (1_000_000, 7.999802, -0.000954)
    # ent prints 18.43 % for this chi-square
    assert found["p_values"]["chi-square"] == pytest.approx(0.1843, abs=5e-5)
    assert found["p_values"]["serial correlation"] == pytest.approx(0.340, abs=1e-3)


@pytest.mark.parametrize(
    "text",
    ["", ENT.splitlines()[0], ENT + "2,1\n", ENT.replace("Mean", "Average"), ENT.replace("1,1000000", "2,1000000")],
)
def test_what_ent_does_not_write(text):
    with pytest.raises(ValueError, match="ent: unexpected output"):
        ent.parse_ent(text)


def test_ent_needs_a_point(peer):
    peer("ent")
    with pytest.raises(ValueError, match="at least 6 bytes, got 5"):
        run_ent([b"12345"])


def test_dieharder_on_random_words(peer):
    peer("dieharder")
    [row] = run_dieharder(words(1), 100, p_samples=5, t_samples=20_000)
    assert (row.test, row.p_samples, row.t_samples, row.assessment) == ("sts_monobit", 5, 20_000, "PASSED")
    [row] = run_dieharder(words(2), 200, ntuple=3, p_samples=10, t_samples=10_000)
    assert (row.test, row.ntuple, row.p_samples, row.assessment) == ("rgb_bitdist", 3, 10, "PASSED")
    assert 0.005 <= row.p_value <= 0.995
    rows = run_dieharder(words(3), 15, p_samples=5, t_samples=20_000)
    assert [row.test for row in rows] == ["diehard_runs", "diehard_runs"]


def test_dieharder_on_poor_words(peer):
    peer("dieharder")
    small = (np.arange(1 << 18, dtype=np.uint32).tobytes() for _ in itertools.count())
    assert run_dieharder(small, 100, p_samples=10, t_samples=20_000)[0].assessment == "FAILED"


def test_dieharder_says_when_the_stream_is_short(peer):
    peer("dieharder")
    with pytest.raises(ValueError, match="long enough"):
        run_dieharder([bytes(1000)], 0, p_samples=2)


def test_dieharder_rows():
    rows = dieharder.parse_dieharder(DIEHARDER)
    assert [json.loads(json.dumps(row.to_dict())) for row in rows] == [
        {
            "test": "diehard_birthdays",
            "ntuple": 0,
            "t_samples": 50,
            "p_samples": 4,
            "p_value": 0.85202279,
            "assessment": "PASSED",
        },
        {
            "test": "sts_serial",
            "ntuple": 16,
            "t_samples": 100_000,
            "p_samples": 100,
            "p_value": 0.99999509,
            "assessment": "WEAK",
        },
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nothing\n", "no result"),
        ("a, 0, 1, 2, 0.5\n", "unexpected line 'a, 0"),
        ("a, 0, 1, 2, 0.5, GOOD\n", "unexpected line"),
        ("a, 0, 1, 2, 1.5, PASSED\n", "P-value 1.5 of a is not within 0 and 1"),
        ("a, 0, x, 2, 0.5, PASSED\n", "invalid literal"),
    ],
)
def test_what_dieharder_does_not_write(text, message):
    with pytest.raises(ValueError, match=message):
        dieharder.parse_dieharder(text)


def test_a_program_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="the program ent is not installed") as caught:
        run_ent([b"123456"])
    assert caught.value.hint == "on Debian: apt-get install ent"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo one >&2; echo two >&2; exit 3", "ent -t: exit status 3: two"),
        ("exit 4", "exit status 4: no message"),
        ("exec sleep 60", "no end within 0.2 s"),
    ],
)
def test_a_program_that_fails(monkeypatch, tmp_path, script, message):
    program = tmp_path / "ent"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ConfigurationError, match=message):
        run_ent([b"x" * 1000], timeout_s=0.2 if "sleep" in script else 30)


def test_a_program_that_stops_reading_ends_the_stream():
    assert run_program("head", ["-c", "3"], (b"abc" * 100_000 for _ in itertools.count()), timeout_s=30) == "abc"
