"""What is done with associations from outside of their own threads."""

from types import SimpleNamespace

import pytest
from pynetdicom.fsm import TRANSITION_TABLE

from iomt_crypt.node.transport import abort_if_open

STATES = sorted({state for _, state in TRANSITION_TABLE})


@pytest.mark.parametrize("state", STATES)
def test_only_an_association_in_data_transfer_is_aborted(state):
    aborts = []
    dul = SimpleNamespace(state_machine=SimpleNamespace(current_state=state))
    abort_if_open(SimpleNamespace(dul=dul, abort=lambda: aborts.append(state)))
    assert aborts == (["Sta6"] if state == "Sta6" else [])
    assert ("Evt15", "Sta6") in TRANSITION_TABLE
    assert ("Evt15", "Sta13") not in TRANSITION_TABLE
