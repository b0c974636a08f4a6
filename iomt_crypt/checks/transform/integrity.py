"""Whether an encrypted object or array is whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Integrity:
    """Finding of `CheckIntegrity` on one object or array.

    state
        ``"authentic"``: record, header and every frame authenticated with a key; ``"consistent"``: encrypted, and sound
        as far as can be seen without a key; ``"plain"``: not encrypted; ``"faulty"``: see ``problems``
    problems
        what is wrong, in sentences without values of the header
    changed
        names of the clear header's elements that were changed since encryption (known with a key only)
    n_frames
        frames whose tags were looked at
    sop_instance_uid
        of an object, empty for an array
    """

    state: Literal["authentic", "consistent", "plain", "faulty"]
    problems: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    n_frames: int = 0
    sop_instance_uid: str = ""

    @property
    def passed(self) -> bool:
        """Encrypted, and nothing wrong with it. Changes of the clear header do not count: archives make them."""
        return self.state in ("authentic", "consistent")
