"""Entry point of the node's processes: ``python -m iomt_crypt.node.child ROLE READ_FD WRITE_FD PULSE_FD``.

``ROLE`` is receiver or forwarder.

The first line on stdin is the configuration as JSON. After it stdin is a lifeline: when it ends, the supervisor is
gone, and so goes the child; a byte on it means that keys are to be read again. The first two descriptors are the ends
of the pipe by which the receiver wakes the forwarder, the third is where the child says that it makes progress.
"""

from __future__ import annotations

import faulthandler
import importlib
import logging
import os
import signal
import sys
import threading
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from iomt_crypt.errors import ConfigurationError, IomtCryptError, KeyMaterialError, KnownAnswerError
from iomt_crypt.node.config import NodeConfig
from iomt_crypt.node.log_output import configure_logging, end_when_thread_fails, leave, log_unexpected
from iomt_crypt.node.pulse import Pulse
from iomt_crypt.node.spool import Spool
from iomt_crypt.node.wake import Wake

if TYPE_CHECKING:
    from iomt_crypt.checks import Guard
    from iomt_crypt.node.epoch import EpochFacts, EpochSource
    from iomt_crypt.node.journal import Journal

# Not __name__: the module runs as __main__.
_log = logging.getLogger("iomt_crypt.node.child")

EXIT_CANNOT_START = 3
"""The cause is in the configuration or the machine: starting again would not help."""

_LOOP_S = 60.0  # the receiver's main thread looks around this often
_STALL_S = 120.0


_MODULES = {"receiver": ("receiver", "intake", "recipient", "recovery"), "forwarder": ("forwarder",)}


class Lifeline:
    """Knows when to stop: at SIGTERM, or when the supervisor is gone. ``wake`` is called then."""

    def __init__(self, wake: Wake) -> None:
        # A plain flag and a pipe, no threading.Event: its lock is not safe in a signal handler.
        self._ended = False
        self._at_work = False
        self._reload = False
        self._wake = wake
        wake.on_signal()
        signal.signal(signal.SIGTERM, lambda *_: self._on_stop())
        # Ctrl-C and the end of a terminal go to the whole process group; the supervisor decides what they mean.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def begin(self) -> None:
        """From now on there may be something in hand; before it, a signal ends the process where it is."""
        self._at_work = True

    def _on_stop(self) -> None:
        if not self._at_work:
            os._exit(0)
        self._end()

    def ended(self) -> bool:
        """Whether it is time to stop."""
        return self._ended

    def reload_wanted(self) -> bool:
        """Whether the supervisor has asked since the last call that keys are read again."""
        wanted, self._reload = self._reload, False
        return wanted

    def read_config(self) -> NodeConfig:
        """Read the configuration from stdin, and watch stdin from then on."""
        line = bytearray()
        while not line.endswith(b"\n"):
            # In chunks, since nothing ever follows the line.
            chunk = os.read(0, 65536)
            if not chunk:
                raise ConfigurationError("no configuration on stdin", hint="this is a part of 'iomt-crypt node run'")
            line += chunk
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()
        return NodeConfig.model_validate_json(bytes(line))

    def _watch(self) -> None:
        while os.read(0, 1):
            self._reload = True
            self._wake.call()
        if not self._at_work:
            os._exit(0)
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._wake.call()


def receive(config: NodeConfig, lifeline: Lifeline, own: Wake, forwarder: Wake, pulse: Pulse) -> None:
    """Run the receiver until the lifeline ends; ``forwarder`` is called after each object."""
    from iomt_crypt.checks.answer import check_answers
    from iomt_crypt.cipher import warm_up
    from iomt_crypt.dicom import Policy
    from iomt_crypt.node.epoch import EpochSource
    from iomt_crypt.node.intake import Intake
    from iomt_crypt.node.receiver import Receiver
    from iomt_crypt.node.recipient import RecipientList, escrow_advice
    from iomt_crypt.node.recovery import adopt
    from iomt_crypt.node.site_key import load_site_key

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
    from iomt_crypt.node.epoch import LOOK_S

    while True:
        asked = reload.wait(LOOK_S)
        if asked:
            reload.clear()
        epochs.look(reload=asked)


def forward(config: NodeConfig, lifeline: Lifeline, wake: Wake, pulse: Pulse) -> None:
    """Run the forwarder until the lifeline ends."""
    from iomt_crypt.node.forwarder import Forwarder
    from iomt_crypt.node.transport import configure_pynetdicom

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
    from iomt_crypt.node.journal import Journal

    return Journal(_spool(config).journal_path)


def main(role: str, shared: Wake, pulse: Pulse) -> int:
    """Run one of the two processes; return its exit status."""
    # The supervisor asks a process that hangs where it is, before it ends it.
    faulthandler.register(signal.SIGUSR1, chain=False)
    end_when_thread_fails("keys", "lifeline", "listener")
    own = Wake.create() if role == "receiver" else shared
    lifeline = Lifeline(own)
    # The slow imports come before the configuration is read: the supervisor prepares the journal meanwhile.
    for name in _MODULES[role]:
        importlib.import_module(f"iomt_crypt.node.{name}")
    try:
        config = lifeline.read_config()
        configure_logging(config.node.log_level)
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


if __name__ == "__main__":
    # Not sys.exit: a reactor thread of an association that hangs in the kernel must not keep the process.
    leave(main(sys.argv[1], Wake(int(sys.argv[2]), int(sys.argv[3])), Pulse(int(sys.argv[4]))))
