"""kill -9 at random moments, small: the long one is ``python -m benchmarks.rekey_endurance``."""

from __future__ import annotations

import random

import pytest

from benchmarks.rekey_endurance import Endurance

QUICK, LONG = 1, 1 << 60


@pytest.mark.parametrize("many", [QUICK, LONG])
def test_killed_and_gone_on_with(many, tmp_path):
    endurance = Endurance(tmp_path, 160, batch=4, many=many)
    chance = random.Random(11)
    while endurance.kills < 3:
        assert endurance.kill_one(chance, batches=6, seconds=0.003)
    assert 0 < len(endurance.settled) < 160
    endurance.finish()


def test_killed_and_gone_on_with_a_journal(tmp_path):
    endurance = Endurance(tmp_path, 80, batch=4, options=("--journal", str(tmp_path / "journal")))
    assert endurance.kill_one(random.Random(12), batches=6, seconds=0.003)
    endurance.finish()
