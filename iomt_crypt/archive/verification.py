"""Verify every object of a tree."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from iomt_crypt.archive import store
from iomt_crypt.archive.each import EachWorker
from iomt_crypt.archive.key import KeySource
from iomt_crypt.archive.operation import Item, Outcome, Worker


@dataclass(frozen=True)
class Verification:
    """An `Operation` that writes nothing. Without identities only the structure is looked at."""

    identities: KeySource | None

    @property
    def name(self) -> str:
        return "verify"

    @property
    def secret(self) -> bool:
        """Whether passphrases travel with it."""
        return self.identities is not None and self.identities.secret

    def fingerprint(self) -> str:
        return "keyed" if self.identities else "keyless"

    def open(self) -> Worker:
        return EachWorker(_Verifier(self).work)


class _Verifier:
    def __init__(self, operation: Verification) -> None:
        from iomt_crypt.seal import Keyring

        self._keyring = Keyring(operation.identities.identities()) if operation.identities else ()

    def work(self, item: Item) -> Outcome:
        from iomt_crypt.dicom.inspection import verify_stream

        with store.reading(item.location) as stream:
            found = verify_stream(stream, identities=self._keyring)
        if found.state == "plain":
            # The question is whether everything is encrypted and sound.
            return Outcome(item.location, "failed", "plain: not encrypted", detail={"verdict": "plain"})
        result = asdict(found)
        return Outcome(item.location, "done", detail={"verdict": result.pop("state"), **result})
