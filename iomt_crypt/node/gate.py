"""What may leave: the guard, the site's routes, and the digest of the file, right before an object is sent."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from iomt_crypt.foreign_text import shown_uid
from iomt_crypt.node.entry import Entry
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.route import Routes

if TYPE_CHECKING:
    from iomt_crypt.checks import Guard

_log = logging.getLogger(__name__)


class Gate:
    """Decides about one object after the other, and enters into the journal what it holds.

    ``guard`` looks at each object; None: nobody does, and only its digest is compared.
    """

    def __init__(self, journal: Journal, *, guard: Guard | None, routes: Routes) -> None:
        self._journal = journal
        self._guard = guard
        self._routes = routes

    def lets_pass(self, entry: Entry, path: Path) -> bool:
        """Ask guard and routes, right before the object is sent: what they have read is what the archive gets."""
        if not path.exists():
            return True
        # The guard that holds says so itself. Whoever warns, or lets something go, means looks, never other bytes.
        # A person who released a file that the guard had found damaged knew that it was.
        holds = self._guard is not None and self._guard.policy.action == "block" and not entry.cleared
        is_known = entry.cleared and (entry.alarm or "").startswith("digest")
        if not holds and not is_known and (damage := _damage(path, entry.sha256)):
            self._journal.failed(entry.id, reason=damage)
            _log.error("failed id=%d sop_instance_uid=%s: %s", entry.id, shown_uid(entry.sop_instance_uid), damage)
            return False
        if entry.cleared:
            return True
        # The guard first: whoever releases what a route has turned down knows that the guard had seen it.
        if not self._is_encrypted(entry, path):
            return False
        if refusal := self._routes.refusal(path):
            self._journal.blocked(entry.id, reason=refusal)
            _log.warning("HELD id=%d sop_instance_uid=%s: %s", entry.id, shown_uid(entry.sop_instance_uid), refusal)
            return False
        return True

    def _is_encrypted(self, entry: Entry, path: Path) -> bool:
        """Ask the guard; what it says no to is held, or noted where the policy is to warn."""
        if self._guard is None:
            return True
        verdict = self._guard.check(path, sha256=entry.sha256)
        _log.debug("guard id=%d cost_ms=%.1f", entry.id, verdict.cost_s * 1000)
        if verdict.passed:
            return True
        reason = str(verdict)
        if self._guard.policy.action == "warn":
            if entry.alarm != reason:  # once, and not at every attempt
                self._journal.warned(entry.id, reason=reason)
                uid = shown_uid(entry.sop_instance_uid)
                _log.warning("ALARM, sent all the same id=%d sop_instance_uid=%s: %s", entry.id, uid, reason)
            return True
        self._journal.blocked(entry.id, reason=reason)
        uid = shown_uid(entry.sop_instance_uid)
        _log.error("HELD by the guard id=%d sop_instance_uid=%s: %s", entry.id, uid, reason)
        return False


def _damage(path: Path, sha256: bytes | None) -> str:
    """What is wrong with a file of the spool; empty when it is what was written, as far as is known."""
    if sha256 is None:
        return ""
    try:
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").digest() == sha256
    except OSError as error:
        return f"its file in the spool cannot be read: {error.strerror}"
    return "" if same else "its file in the spool is damaged: another digest than when it was written"
