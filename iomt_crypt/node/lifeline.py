"""How a part of the node knows that it is to stop, or to read its keys again."""

from __future__ import annotations

import os
import signal
import threading

from iomt_crypt.node.wake import Wake

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What a part handles in its own way. Blocked while it is forked, until its lifeline has taken them over."""

RELOAD = b"r"


class Lifeline:
    """Ends at SIGTERM, or when the supervisor is gone. ``wake`` is called then.

    ``descriptor`` is the reading end of a pipe whose other end the supervisor alone has: it ends with the supervisor,
    whatever ended that. A byte on it means that the keys are to be read again.
    """

    def __init__(self, descriptor: int, wake: Wake) -> None:
        # A plain flag and a pipe, no threading.Event: its lock is not safe in a signal handler.
        self._ended = False
        self._at_work = False
        self._reload = False
        self._descriptor = descriptor
        self._wake = wake
        wake.on_signal()
        signal.signal(signal.SIGTERM, lambda *_: self._end())
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Ctrl-C and the end of a terminal go to the whole process group; the supervisor decides what they mean.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def begin(self) -> None:
        """From now on there may be something in hand; before it, a signal ends the process where it is."""
        self._at_work = True

    def ended(self) -> bool:
        """Whether it is time to stop."""
        return self._ended

    def reload_wanted(self) -> bool:
        """Whether the supervisor has asked since the last call that keys are read again."""
        wanted, self._reload = self._reload, False
        return wanted

    def _watch(self) -> None:
        while os.read(self._descriptor, 1):
            self._reload = True
            self._wake.call()
        self._end()

    def _end(self) -> None:
        if not self._at_work:
            os._exit(0)
        self._ended = True
        self._wake.call()
