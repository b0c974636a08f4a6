"""What the tests of re-keying share: a tree of encrypted objects, and a look at what became of it."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from iomt_crypt import encrypt_file
from iomt_crypt.archive.key import KeySource
from iomt_crypt.archive.operation import Item, Outcome, Summary
from iomt_crypt.archive.rekey import RekeyOperation
from iomt_crypt.archive.rekey_worker import RekeyWorker
from iomt_crypt.archive.runner import run_tree
from iomt_crypt.dicom import Policy, read_file
from iomt_crypt.dicom.locate import Location, locate_in
from iomt_crypt.seal import Epoch, HpkeIdentity, Identity, Keyring, ObjectKey, Record, open_header
from tests import synthetic

POLICY = Policy(site_key=bytes(32))
MTIME_NS = 1_600_000_000_123_456_789


@dataclass(frozen=True)
class Tree:
    """Encrypted objects below ``folder``, and what each file was."""

    folder: Path
    before: dict[str, bytes]

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.before]

    def items(self) -> list[Item]:
        return [Item(str(self.folder / name), name, False, str(self.folder)) for name in self.before]

    def untouched(self, name: str) -> bool:
        return (self.folder / name).read_bytes() == self.before[name]


def located(data: bytes) -> Location:
    found = locate_in(read_file(io.BytesIO(data)))
    assert found is not None
    return found


def write_tree(folder: Path, count: int, recipients: Sequence[HpkeIdentity], *, folders: int = 3) -> Tree:
    """``count`` objects that differ, in ``folders`` folders, all of one epoch."""
    epoch, before = Epoch.create([identity.recipient for identity in recipients]), {}
    plain = folder.parent / "plain.dcm"
    for number in range(count):
        plain.write_bytes(synthetic.file(synthetic.image(bytes([number % 251]) * 64, uid=f"1.2.3.{number}")))
        path = folder / f"study{number % folders}" / f"{number:05}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        encrypt_file(plain, path, recipients=epoch, policy=POLICY)
        os.utime(path, ns=(MTIME_NS, MTIME_NS))
        before[str(path.relative_to(folder))] = path.read_bytes()
    return Tree(folder, before)


def worker(old: Sequence[Identity], new: Sequence[HpkeIdentity], **options) -> RekeyWorker:
    return RekeyWorker(list(old), [identity.recipient for identity in new], **options)


def rekey(tree: Tree, old: Sequence[Identity], new: Sequence[HpkeIdentity], **options) -> list[Outcome]:
    """Re-key all of ``tree`` in this process, in one batch of work."""
    working = worker(old, new, **options)
    try:
        return working.run(tree.items())
    finally:
        working.close()


def operation(key_files: Sequence[Path], new: Sequence[HpkeIdentity], **options) -> RekeyOperation:
    return RekeyOperation(
        KeySource.identities_of([str(path) for path in key_files], lambda _: b""),
        KeySource.recipients_of([str(identity.recipient) for identity in new], lambda _: b""),
        **options,
    )


def run(tree: Tree, work: RekeyOperation, **options) -> tuple[Summary, list[Outcome]]:
    outcomes: list[Outcome] = []
    summary = run_tree([str(tree.folder)], work, report=outcomes.append, **options)
    return summary, outcomes


def check_rekeyed(tree: Tree, name: str, old: HpkeIdentity, new: Sequence[HpkeIdentity]) -> None:
    """The record is for ``new`` and not for ``old``; every other byte, and every other field, is as it was."""
    before, after = tree.before[name], (tree.folder / name).read_bytes()
    was, now = located(before), located(after)
    assert before[: was.offset - 4] == after[: now.offset - 4]
    assert before[was.offset + len(was.container) :] == after[now.offset + len(now.container) :]
    old_record, record = Record.unpack(was.container), Record.unpack(now.container)
    data_key = Keyring([old]).unwrap(old_record.wrapped_key, old_record.epoch_id, old_record.stanzas)
    assert opens(record, old) is None
    for identity in new:
        assert opens(record, identity) == data_key
    key = ObjectKey(data_key, record.object_id)
    record.check(key)
    assert record.sealed == old_record.sealed
    assert record.tags == old_record.tags
    assert open_header(key, record.sealed)


def opens(record: Record, identity: HpkeIdentity) -> bytes | None:
    """The data key as ``identity`` finds it; None when it is not among the recipients."""
    from iomt_crypt.errors import NoMatchingIdentityError

    try:
        return Keyring([identity]).unwrap(record.wrapped_key, record.epoch_id, record.stanzas)
    except NoMatchingIdentityError:
        return None


def state_files(folder: Path) -> list[str]:
    """What is left of our own state that should have gone with the run: redo files and drafts."""
    state = folder / ".iomt-crypt"
    kept = [path for name in ("redo", "drafts") for path in (state / name).glob("*")]
    return sorted(path.name for path in [*kept, *folder.rglob("*.part")])
