"""kill -9 at random moments of a transfer of 300 objects."""

from __future__ import annotations

import os
import random
import signal
import threading

import pytest
from node_harness import dataset, opened, uid, wait_until, write_object

from iomt_crypt.errors import InputError, IomtCryptError, NetworkError
from iomt_crypt.node.client import Timeouts
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.sender import Sender
from iomt_crypt.node.transport import configure_pynetdicom

configure_pynetdicom()

N_OBJECTS = 300
SEED = 20260731


class _Modality:
    """Sends every object until it was answered with success, on whatever port the node has."""

    def __init__(self, folder) -> None:
        self.paths = [write_object(folder, number) for number in range(N_OBJECTS)]
        self.waiting = list(range(N_OBJECTS))
        self.answered: list[int] = []
        self.port = 0
        self.may_send = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while self.waiting:
            self.may_send.wait()
            number = self.waiting[0]
            sender = Sender(
                [self.paths[number]],
                Peer("IOMTCRYPT", "127.0.0.1", self.port),
                calling_ae_title="MODALITY",
                timeouts=Timeouts(5.0, 30.0),
            )
            try:
                while self.waiting:
                    sender.send(self.paths[self.waiting[0]])
                    self.answered.append(self.waiting.pop(0))
            except InputError as error:
                raise AssertionError("the node refused a good object") from error
            except NetworkError:
                # The node is away; this object was not answered, so it goes again.
                threading.Event().wait(0.01)
            except IomtCryptError as error:
                raise AssertionError("the sender failed") from error
            finally:
                sender.close()


@pytest.mark.parametrize(
    ("victims", "n_kills"), [(["node"], 50), (["receiver", "forwarder"], 10)], ids=["whole node", "one process"]
)
def test_what_was_answered_arrives_whatever_dies(victims, n_kills, tmp_path, archive, make_config, run_node, identity):
    """Every answered object arrives whole, and nothing half-written is ever sent."""
    chance = random.Random(SEED)
    config = make_config(archive.port)
    modality = _Modality(tmp_path)
    modality.thread.start()
    node = run_node(config)
    for n_kill in range(n_kills):
        # Wait for the sender to get on, so that the kills are spread over the whole transfer.
        modality.port = node.port
        modality.may_send.set()
        wanted = N_OBJECTS * n_kill // (n_kills + 1)
        wait_until(lambda wanted=wanted: len(modality.answered) >= wanted)
        threading.Event().wait(chance.uniform(0.0, 0.05))
        victim = chance.choice(victims)
        children = node.children()
        if victim == "node" or victim not in children:
            modality.may_send.clear()
            node.kill()
            node = run_node(config)
        else:
            os.kill(children[victim], signal.SIGKILL)
    modality.port = node.port
    modality.may_send.set()
    modality.thread.join(120)
    assert sorted(modality.answered) == list(range(N_OBJECTS))
    archive.wait(lambda: len({stored.sop_instance_uid for stored in archive.stored}) == N_OBJECTS)
    # Every single thing the archive was sent is whole and opens to the original: duplicates included.
    originals = {uid(number): dataset(number) for number in range(N_OBJECTS)}
    for stored in archive.stored:
        name, plain = opened(stored, identity)
        assert plain == originals[name]
    assert {opened(stored, identity)[0] for stored in archive.stored} == originals.keys()
    wait_until(lambda: not list((tmp_path / "spool" / "objects").iterdir()))
    assert node.stop() == 0
