from __future__ import annotations

from iomt_crypt.node.epoch import EpochSource


def test_epoch_changes_by_count_and_by_time(identity):
    now = [0.0]
    source = EpochSource([identity.recipient], n_objects=3, hours=1, clock=lambda: now[0])
    first = [source.current().id for _ in range(3)]
    assert len(set(first)) == 1
    second = source.current().id
    assert second not in first
    now[0] = 3599.0
    assert source.current().id == second
    now[0] = 3600.0
    assert source.current().id != second
