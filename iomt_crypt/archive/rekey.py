"""Re-keying of trees: every object gets other recipients (rewrap), or a new data key as well (rotate).

Rewrap changes the record alone, in place where the new one fits into the room of the old; the pixels are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from iomt_crypt.archive.batch import Pace
from iomt_crypt.archive.key import KeySource
from iomt_crypt.archive.operation import Item
from iomt_crypt.archive.redo import Recovered, recover
from iomt_crypt.archive.rekey_folder import Folder
from iomt_crypt.archive.rekey_worker import RekeyWorker
from iomt_crypt.archive.store import is_url
from iomt_crypt.archive.tree import STATE_FOLDER
from iomt_crypt.errors import KeyMaterialError, NoMatchingIdentityError
from iomt_crypt.seal import Epoch, Identity, Keyring, Recipient, fingerprint_text


@dataclass(frozen=True)
class RekeyOperation:
    """Re-key to exactly ``recipients`` what one of ``identities`` opens.

    rotate
        encrypt anew under new data keys, and not only wrap these anew
    dry_run
        check every object and write nothing
    """

    identities: KeySource
    recipients: KeySource
    rotate: bool = False
    dry_run: bool = False

    in_place = True

    @property
    def name(self) -> str:
        return "rekey"

    @property
    def secret(self) -> bool:
        return self.identities.secret or self.recipients.secret

    def fingerprint(self) -> str:
        return f"rekey to {self.recipients.fingerprint()}, rotate {self.rotate}, dry run {self.dry_run}"

    def pace(self) -> Pace:
        """Long batches where an object takes no time: at the end of each, the disk is waited for."""
        return Pace() if self.rotate else Pace(target_s=1.5, first=256)

    def open(self) -> RekeyWorker:
        return RekeyWorker(
            self.identities.identities(), self.recipients.recipients(), rotate=self.rotate, dry_run=self.dry_run
        )


def rekey_file(
    path: str | Path,
    *,
    identities: Sequence[Identity],
    recipients: Sequence[Recipient],
    rotate: bool = False,
) -> str:
    """Re-key the encrypted object ``path`` to exactly ``recipients``; see `RekeyOperation` for ``rotate``.

    Returns what was done: ``"in place"``, ``"new file"``, ``"rotated"``, or ``"done before"``.

    Raises
    ------
    NotEncryptedError, NoMatchingIdentityError, AuthenticationError, InputError
        The file is as it was.
    StorageError
        It could not be written; a part of a change that was begun is completed by the next call in its folder.
    """
    worker = RekeyWorker(identities, recipients, rotate=rotate, noted=False)
    location = str(path)
    try:
        outcome = worker.run([Item(location, Path(path).name, True, location)])[0]
        for error in worker.errors.values():
            raise error
    finally:
        worker.close()
    return str(outcome.detail.get("how", "done before"))


def recover_trees(sources: Sequence[str], *, left: bool = False) -> list[Recovered]:
    """Roll forward what earlier runs left in the trees of ``sources``; see `recover`."""
    found: list[Recovered] = []
    local = (Path(source) for source in sources if not is_url(source))
    for tree in dict.fromkeys(path if path.is_dir() else path.parent for path in local):
        if not (tree / STATE_FOLDER).is_dir():
            continue
        folder = Folder(tree)
        try:
            found += recover(folder, left=left)
            folder.leave_state()
        finally:
            folder.close()
    return found


def readable_after(identities: Sequence[Identity], recipients: Sequence[Recipient]) -> bool:
    """Whether one of ``identities`` will open what is re-keyed to ``recipients``: tried, and not only compared.

    Raises
    ------
    KeyMaterialError
        A recipient cannot be used, there is none, or an identity does not open what was wrapped for it.
    """
    epoch = Epoch.create(recipients)
    try:
        Keyring(identities).unwrap(epoch.wrap(bytes(32)), epoch.id, epoch.stanzas)
    except NoMatchingIdentityError:
        both = {i.fingerprint for i in identities} & {r.fingerprint for r in recipients}
        if both:
            raise KeyMaterialError(
                f"identity {fingerprint_text(min(both))} does not open what is wrapped for its own recipient",
                hint="the key files do not belong together",
            ) from None
        return False
    return True
