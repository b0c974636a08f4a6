"""Makes files appear in a folder, and prints what came of it as JSON: run on file systems that tests mount.

``python appearance_by_hand.py write|kill FOLDER [refuse]``; ``refuse``: neither renameat2 nor link are there.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from iomt_crypt import durable
from iomt_crypt.durable import appearance
from iomt_crypt.errors import StorageError

CONTENT = b"one " * 30_000
OLD = b"what was there"
_CALLS = [(os, n) for n in ("open", "fsync", "link", "unlink", "rename", "replace")] + [(fcntl, "flock")]


def refuse() -> None:
    """As a file system does that has neither links nor an exclusive rename."""

    def link(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def rename(*_: Any) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    os.link, appearance._rename_exclusively = link, rename  # type: ignore[assignment]


def write(folder: Path) -> dict[str, Any]:
    """A new file, the same again, one that replaces, one with a long name; what is left in the folder."""
    answers = []
    for name, replace, n_bytes in (
        ("new", False, 100),
        ("new", False, 200),
        ("new", True, 300),
        ("x" * 255, False, 1),
        ("big", False, 1 << 24),
    ):
        try:
            with durable.appearing_file(folder / name, mode=0o600, replace=replace) as file:
                for _ in range(0, n_bytes, 1 << 16):
                    file.write(b"." * min(n_bytes, 1 << 16))
            answers.append("written")
        except StorageError as error:
            answers.append(f"{type(error).__name__}: {str(error).rpartition('/')[2]}")
    with suppress(StorageError), durable.appearing_folder(folder / "folder") as draft:
        (draft / "in it").touch()
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    return {"answers": answers, "sizes": sizes, "folder": (folder / "folder" / "in it").exists()}


def kill(folder: Path) -> list[dict[str, Any]]:
    """SIGKILL before and after each call to the system, with and without an old file; what is there afterwards."""
    found = []
    for old in (False, True):
        step, killed = 0, True
        while killed:
            target = folder / f"{old}-{step}" / "file"
            target.parent.mkdir()
            if old:
                target.write_bytes(OLD)
            child = os.fork()
            if not child:
                _die_at(step)
                with durable.appearing_file(target, replace=old) as file:
                    file.write(CONTENT)
                os._exit(0)
            killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            there = target.read_bytes() if target.exists() else None
            state = {None: "absent", CONTENT: "whole", OLD: "old"}.get(there, "half")
            others = sorted(path.name for path in target.parent.iterdir() if path != target)
            removed = [path.name for path in durable.remove_leftovers(target.parent)]
            left = sorted(path.name for path in target.parent.iterdir() if path != target)
            found.append(
                {"old": old, "killed": killed, "state": state, "drafts": others, "removed": removed, "left": left}
            )
            step += 1
    return found


def _die_at(step: int) -> None:
    count = 0

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            for now in (True, False):
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
                if now:
                    answer = call(*arguments, **options)
            return answer

        return called

    for module, name in _CALLS:
        setattr(module, name, dying(getattr(module, name)))
    appearance._rename_exclusively = dying(appearance._rename_exclusively)  # type: ignore[assignment]


if __name__ == "__main__":
    work, place = sys.argv[1], Path(sys.argv[2])
    if "refuse" in sys.argv[3:]:
        refuse()
    print(json.dumps({"write": write, "kill": kill}[work](place)))  # type: ignore[operator]
