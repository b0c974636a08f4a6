"""What the two processes of the node do: the receiver and the forwarder.

`main` is called in a process that was forked from the supervisor, and returns its exit status.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import threading
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from iomt_crypt.checks.answer import check_answers
from iomt_crypt.cipher import warm_up
from iomt_crypt.dicom import Policy
from iomt_crypt.errors import ConfigurationError, IomtCryptError, KeyMaterialError, KnownAnswerError
from iomt_crypt.node.config import NodeConfig
from iomt_crypt.node.epoch import LOOK_S, EpochFacts, EpochSource
from iomt_crypt.node.forwarder import Forwarder
from iomt_crypt.node.intake import Intake
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.lifeline import Lifeline
from iomt_crypt.node.log_output import configure_logging, end_when_thread_fails, log_unexpected
from iomt_crypt.node.pulse import Pulse
from iomt_crypt.node.receiver import Receiver
from iomt_crypt.node.recipient import RecipientList, escrow_advice
from iomt_crypt.node.recovery import adopt
from iomt_crypt.node.site_key import load_site_key
from iomt_crypt.node.spool import Spool
from iomt_crypt.node.transport import configure_pynetdicom
from iomt_crypt.node.wake import Wake

if TYPE_CHECKING:
    from iomt_crypt.checks import Guard

_log = logging.getLogger(__name__)

EXIT_CANNOT_START = 3
"""The cause is in the configuration or the machine: starting again would not help."""

_LOOP_S = 60.0  # the receiver's main thread looks around this often
_STALL_S = 120.0


def receive(config: NodeConfig, lifeline: Lifeline, own: Wake, forwarder: Wake, pulse: Pulse) -> None:
    """Run the receiver until the lifeline ends; ``forwarder`` is called after each object."""
    keys, spool, journal = config.keys, _spool(config), _journal(config)
    recipients = RecipientList(keys.recipients)
    epochs = EpochSource(
        recipients,
        n_objects=keys.epoch_objects,
        hours=keys.epoch_hours,
        self_test=partial(check_answers, config.policy.suite),
    )
    if advice := escrow_advice(epochs.recipients):
        _log.warning("%s (hint: %s)", *advice)
    is_used = any(journal.totals().by_state.values())
    site_key = load_site_key(keys.site_key, spool, accept_new=keys.new_site_key, is_used=is_used)
    policy = Policy(**config.policy.model_dump(), site_key=site_key)
    adopt(spool, journal)
    # The first image must not wait for the compiler while its sender's time-out runs.
    warm_up()
    intake = Intake(spool=spool, journal=journal, epochs=epochs, policy=policy, wake=forwarder.call)
    receiver = Receiver(config, intake)
    lifeline.begin()
    port = receiver.start()
    node = config.node

    def announce(facts: EpochFacts) -> None:
        place = {"pid": os.getppid(), "ae_title": node.ae_title, "host": node.host, "port": port}
        try:
            spool.announce(place | asdict(facts))
        except OSError as error:
            # A full disk is a reason to refuse objects, but not this one.
            _log.error("node.json cannot be written: %s", error.strerror)

    epochs.on_change(announce)
    _log.info("node ready ae_title=%s host=%s port=%d", node.ae_title, node.host, port)
    reload = threading.Event()
    threading.Thread(target=_watch_keys, args=(epochs, reload), name="keys", daemon=True).start()
    while not lifeline.ended():
        if lifeline.reload_wanted():
            reload.set()
        pulse.promise(_LOOP_S + _STALL_S)
        own.wait(_LOOP_S)
    pulse.promise(node.grace_seconds + _STALL_S)
    receiver.close(grace_s=node.grace_seconds * 0.8)


def _watch_keys(epochs: EpochSource, reload: threading.Event) -> None:
    """Look at the keys when no object comes too: a broken file should be known before the next one does.

    In a thread, since a key service that does not answer must not keep the node from ending.
    """
    while True:
        asked = reload.wait(LOOK_S)
        if asked:
            reload.clear()
        epochs.look(reload=asked)


def forward(config: NodeConfig, lifeline: Lifeline, wake: Wake, pulse: Pulse) -> None:
    """Run the forwarder until the lifeline ends."""
    configure_pynetdicom()
    guard = _guard(config)
    forwarder = Forwarder(config, spool=_spool(config), journal=_journal(config), guard=guard, promise=pulse.promise)
    lifeline.begin()
    forwarder.recover()
    forwarder.run(stop=lifeline.ended, wait=wake.wait)


def _guard(config: NodeConfig) -> Guard | None:
    if config.checks.policy == "off":
        return None
    # Takes seconds: MONAI and PyTorch.
    from iomt_crypt.checks import Guard

    return Guard(config.checks.guard)


def _spool(config: NodeConfig) -> Spool:
    return Spool(config.spool.folder, reserve_bytes=config.spool.reserve_bytes)


def _journal(config: NodeConfig) -> Journal:
    return Journal(_spool(config).journal_path)


def main(role: str, config: NodeConfig, shared: Wake, lifeline_fd: int, pulse: Pulse) -> int:
    """Run one of the two processes; return its exit status.

    ``shared`` is the pipe by which the receiver wakes the forwarder.
    """
    configure_logging(config.node.log_level)
    # The supervisor asks a process that hangs where it is, before it ends it.
    faulthandler.register(signal.SIGUSR1, chain=False)
    end_when_thread_fails("keys", "lifeline", "listener")
    own = Wake.create() if role == "receiver" else shared
    lifeline = Lifeline(lifeline_fd, own)
    try:
        if role == "receiver":
            receive(config, lifeline, own, shared, pulse)
        else:
            forward(config, lifeline, shared, pulse)
    except (ConfigurationError, KeyMaterialError, KnownAnswerError) as error:
        _report(error)
        return EXIT_CANNOT_START
    except IomtCryptError as error:
        _report(error)
        return 1
    except Exception as error:  # noqa: BLE001 - it ends the process, and the supervisor starts another one
        log_unexpected(error)
        return 1
    return 0


def _report(error: IomtCryptError) -> None:
    _log.error("%s%s", error, f" (hint: {error.hint})" if error.hint else "")
