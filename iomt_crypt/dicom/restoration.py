"""What a way back gave."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Restored:
    """What was restored.

    changed
        names of the clear header's elements that were changed since encryption, as far as it was compared
    applied
        whether patient- and study-level changes were carried into the restored object
    compared
        whether all of the clear header was compared with what was written; never with ``headers="original"``
    remark
        what could not be compared or applied, and why, without values; else empty
    from_copy
        whether a copy of the record opened it, because its own was missing, damaged or did not open
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    origin: str
    suite: str
    changed: tuple[str, ...]
    applied: bool
    compared: bool = True
    remark: str = ""
    from_copy: bool = False
