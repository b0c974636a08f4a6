"""What was accepted opens again after dcmconv has stored it in another way, whatever was odd in it."""

from __future__ import annotations

import pytest

from benchmarks.trust_property import DCMCONV, Trial

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore::UserWarning:pydicom")]


@pytest.mark.parametrize("how", DCMCONV)
def test_made_objects(how, peer):
    """Eight objects each; dcmconv refuses what it cannot read, which is its right."""
    trial = Trial(peer("dcmconv"))
    first = 100_000 + 1000 * sorted(DCMCONV).index(how)
    for seed in range(first, first + 8):
        trial.run(seed, n_conversions=1, dcmconv=how)
    assert trial.counts[f"opened: dcmconv {how}"] >= 4
