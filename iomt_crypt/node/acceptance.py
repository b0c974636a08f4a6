"""Which storage contexts a destination takes: what `iomt-crypt node check` tries beside the C-ECHO."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from iomt_crypt.errors import ConfigurationError, StorageError
from iomt_crypt.node.client import Client, shown_name
from iomt_crypt.node.history import sop_classes
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.spool import Spool

# What hospitals send most: PS3.4 B.5. Whether an archive lacks one of these is worth knowing before the first object.
LIKELY = (
    "1.2.840.10008.5.1.4.1.1.1",  # CR
    "1.2.840.10008.5.1.4.1.1.1.1",  # DX, for presentation
    "1.2.840.10008.5.1.4.1.1.1.2",  # mammography, for presentation
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.2.1",  # enhanced CT
    "1.2.840.10008.5.1.4.1.1.4",  # MR
    "1.2.840.10008.5.1.4.1.1.4.1",  # enhanced MR
    "1.2.840.10008.5.1.4.1.1.3.1",  # ultrasound, multi-frame
    "1.2.840.10008.5.1.4.1.1.6.1",  # ultrasound
    "1.2.840.10008.5.1.4.1.1.7",  # secondary capture
    "1.2.840.10008.5.1.4.1.1.12.1",  # XA
    "1.2.840.10008.5.1.4.1.1.20",  # NM
    "1.2.840.10008.5.1.4.1.1.128",  # PET
    "1.2.840.10008.5.1.4.1.1.77.1.6",  # whole slide microscopy
)
_CLASSES_AT_A_TIME = 60  # two contexts each, 128 in an association (PS3.8 9.3.2.2)
_SHOWN = 6


@dataclass(frozen=True)
class Acceptance:
    """SOP Class UIDs by what the destination says to them; ``seen`` of the refused ones are in the journal.

    implicit
        taken in Implicit VR Little Endian alone
    """

    explicit: tuple[str, ...]
    implicit: tuple[str, ...]
    refused: tuple[str, ...]
    seen: tuple[str, ...]

    def __str__(self) -> str:
        n_taken = len(self.explicit) + len(self.implicit)
        text = f"takes {n_taken} of {n_taken + len(self.refused)} storage classes"
        if self.implicit:
            text += f", {len(self.implicit)} of them in Implicit VR Little Endian alone"
        if self.refused:
            # Those that objects are known to come in first, so that none of them hides behind the dots.
            names = [shown_name(uid) for uid in dict.fromkeys((*self.seen, *self.refused))]
            n_shown = max(_SHOWN, len(self.seen))
            text += f"; not: {', '.join(names[:n_shown])}" + (", ..." if len(names) > n_shown else "")
        return text


def try_storage(client: Client, spool: Spool) -> Acceptance:
    """Propose the storage classes that objects came in, and the likely ones. Raises NetworkError."""
    seen = _seen(spool)
    classes = list(dict.fromkeys((*seen, *LIKELY)))
    taken: dict[str, str] = {}
    for start in range(0, len(classes), _CLASSES_AT_A_TIME):
        contexts = [(uid, str(ExplicitVRLittleEndian)) for uid in classes[start : start + _CLASSES_AT_A_TIME]]
        client.release()
        client.open(contexts)
        taken |= {context[0]: used[1] for context in contexts if (used := client.context_for(context))}
    implicit = tuple(uid for uid in classes if taken.get(uid) == ImplicitVRLittleEndian)
    refused = tuple(uid for uid in classes if uid not in taken)
    return Acceptance(
        explicit=tuple(uid for uid in classes if taken.get(uid) == ExplicitVRLittleEndian),
        implicit=implicit,
        refused=refused,
        seen=tuple(uid for uid in refused if uid in seen),
    )


def _seen(spool: Spool) -> list[str]:
    if not spool.journal_path.exists():
        return []
    journal = Journal(spool.journal_path)
    try:
        journal.require_version()
        return journal.ask(sop_classes)
    except (ConfigurationError, StorageError):
        return []  # the node itself says what is wrong with it when it starts
    finally:
        journal.close()
