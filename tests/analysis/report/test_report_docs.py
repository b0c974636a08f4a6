"""docs/REPORT.md says what the code computes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from iomt_crypt.analysis.metric import critical_range, entropy_range, ideal_entropy, npcr_level
from iomt_crypt.analysis.metric.entropy import LOCAL_BLOCKS, LOCAL_SIDE, MINIMUM_SAMPLES

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "REPORT.md").read_text()
ROWS = [
    tuple(map(float, re.findall(r"[\d.]+", line))) for line in TEXT.splitlines() if re.match(r"\| (8|16) \| \d", line)
]


def test_the_table_is_there():
    assert [(row[0], row[1]) for row in ROWS] == [(b, 4**k) for b in (8, 16) for k in (8, 9, 10)]


@pytest.mark.parametrize("row", ROWS)
def test_ideal_values(row):
    word_bits, n_samples, entropy, npcr, low, high = row
    limits = critical_range(int(n_samples), int(word_bits), exact=True)
    assert round(ideal_entropy(int(n_samples), int(word_bits)).mean, 5) == entropy
    assert (round(limits.npcr_minimum, 4), round(limits.uaci_minimum, 4), round(limits.uaci_maximum, 4)) == (
        npcr,
        low,
        high,
    )


def test_numbers_in_the_text():
    block = LOCAL_SIDE * LOCAL_SIDE
    for word_bits, digits in ((8, 6), (16, 6)):
        assert f"{ideal_entropy(block, word_bits).mean:.{digits}f} for {word_bits}" in TEXT
    lower, upper = entropy_range(block, 8, n_blocks=LOCAL_BLOCKS)
    assert f"{lower:.6f} to\n  {upper:.6f}" in TEXT
    assert f"{100 * npcr_level(262144, 16):.1f} % at 512 x 512" in TEXT
    assert f"Frames of fewer than {MINIMUM_SAMPLES} words" in TEXT


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (Path(__file__).resolve().parents[3] / "docs" / target).exists(), target
