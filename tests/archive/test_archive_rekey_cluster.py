"""Re-keying by processes of a cluster that was started by hand, one of which is killed."""

from __future__ import annotations

import signal

from rekey_harness import check_rekeyed, operation, rekey, state_files, write_tree

from iomt_crypt.archive.batch import Pace
from iomt_crypt.archive.operation import Outcome
from iomt_crypt.archive.rekey import RekeyOperation, recover_trees
from iomt_crypt.archive.runner import run_tree
from iomt_crypt.seal import HpkeIdentity, write_identity


def test_a_worker_is_killed_in_the_middle(tmp_path, by_hand, monkeypatch):
    """What it had in hand is done by the other, and nothing is lost: all are done once, and none is damaged."""
    monkeypatch.setattr(RekeyOperation, "pace", lambda _: Pace(first=8, target_s=0.05))
    old, new = HpkeIdentity.generate(), [HpkeIdentity.generate() for _ in range(2)]
    write_identity(tmp_path / "old.key", old)
    tree = write_tree(tmp_path / "tree", 400, [old])
    cluster = by_hand()
    victim = cluster.add_worker()
    cluster.add_worker()
    outcomes: list[Outcome] = []

    def report(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 30:
            victim.send_signal(signal.SIGKILL)
            victim.wait()

    work = operation([tmp_path / "old.key"], new)
    summary = run_tree([str(tree.folder)], work, scheduler=cluster.address, report=report)
    assert victim.returncode == -signal.SIGKILL
    assert (summary.failed, summary.done + summary.skipped) == (0, 400)
    assert all(outcome.before for outcome in outcomes if outcome.state == "skipped")
    for name in tree.before:
        check_rekeyed(tree, name, old, new)
    recover_trees([str(tree.folder)])
    assert state_files(tree.folder) == []
    assert {outcome.before for outcome in rekey(tree, [old], new)} == {True}
