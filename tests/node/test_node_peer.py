from __future__ import annotations

import pytest

from iomt_crypt.errors import ConfigurationError
from iomt_crypt.node.backoff import Backoff
from iomt_crypt.node.peer import Peer, is_ae_title


@pytest.mark.parametrize("text", ["ARCHIVE@10.0.0.5:104", "A B@pacs.example:11112", "X@[::1]:4242"])
def test_peer_survives_parse_and_print(text):
    assert str(Peer.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "ARCHIVE", "ARCHIVE@host", "@host:104", "A@:104", "A@host:0", "A@host:65536", "A\\B@host:104", " @h:1"]
)
def test_other_forms_are_refused_with_an_example(text):
    with pytest.raises(ConfigurationError) as caught:
        Peer.parse(text)
    assert "AET@HOST:PORT" in caught.value.hint


@pytest.mark.parametrize(("text", "good"), [("A" * 16, True), ("A" * 17, False), ("   ", False), ("Ä", False)])
def test_ae_titles(text, good):
    assert is_ae_title(text) is good


def test_backoff_doubles_up_to_its_limit():
    backoff = Backoff(1.0, 10.0, jitter=0.5)
    assert [backoff.delay_s(n, uniform=lambda: 0.0) for n in (1, 2, 3, 4, 5, 2000)] == [1, 2, 4, 8, 10, 10]
    assert [backoff.delay_s(n, uniform=lambda: 1.0) for n in (1, 2, 3, 4, 5)] == [0.5, 1, 2, 4, 5]


def test_backoff_is_random_so_that_nodes_do_not_return_together():
    assert len({Backoff(1.0, 10.0).delay_s(1) for _ in range(20)}) > 1
