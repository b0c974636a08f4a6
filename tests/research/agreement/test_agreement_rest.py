"""The random frames of ``tests/vectors/test_agreement.py`` that are not looked at there."""

from __future__ import annotations

import pytest

from tests.vectors.test_agreement import HERE, SHARDS, check_shard


@pytest.mark.parametrize("shard", range(HERE, SHARDS))
def test_the_rest(shard):
    check_shard(shard)
