"""Whether an encrypted object or image is whole: what can be seen without a key, and with one what is authentic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from iomt_crypt.checks.transform.seal import open_image
from iomt_crypt.checks.transform.word import Raw
from iomt_crypt.dicom import Policy, Source
from iomt_crypt.dicom.file import open_input
from iomt_crypt.dicom.pixel import plan_pixels
from iomt_crypt.dicom.restore import frames, open_object, read_record
from iomt_crypt.dicom.salvage import read_sealed
from iomt_crypt.dicom.uid import SOP_INSTANCE
from iomt_crypt.errors import IomtCryptError, NotEncryptedError
from iomt_crypt.seal import Keyring, Layout, Record

_NO_LAYOUT = Layout(0, 0, 8, 1)
# What was encrypted was limited then; nothing of this size is read here.
_LARGEST = Policy(max_pixel_bytes=0xFFFFFFFE, expansion_allowance_bytes=1 << 48)


@dataclass(frozen=True)
class Integrity:
    """Finding of `CheckIntegrity` on one object or image.

    state
        ``"authentic"``: record, header and every frame authenticated with a key; ``"consistent"``: encrypted, and sound
        as far as can be seen without a key; ``"plain"``: not encrypted; ``"faulty"``: see ``problems``
    problems
        what is wrong, without values of the header
    changed
        names of the clear header's elements that were changed since encryption (known with a key only)
    n_frames
        frames that the record speaks of
    sop_instance_uid
        of an object as its header says, empty for an image
    remark
        what of the clear header could not be compared, and why; else empty
    """

    state: Literal["authentic", "consistent", "plain", "faulty"]
    problems: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    n_frames: int = 0
    sop_instance_uid: str = ""
    remark: str = ""

    @property
    def passed(self) -> bool:
        """Encrypted, and nothing wrong with it. Changes of the clear header do not count: archives make them."""
        return self.state in ("authentic", "consistent")


def check_object(obj: str | Path | BinaryIO, keyring: Keyring | None) -> Integrity:
    """Check an object; a stream stays open and is left at its beginning. What is wrong is reported, not raised."""
    source: Source | None = None
    try:
        with _open(obj) as stream:
            source = read_sealed(stream)
            record = read_record(source)
            problems = tuple(_contradictions(source, record))
            if problems:
                return _faulty(source, problems, record.layout.n_frames)
            if keyring is None:
                return Integrity("consistent", (), (), record.layout.n_frames, source.text(SOP_INSTANCE))
            opened = open_object(source, keyring)
            n_frames = sum(1 for _ in frames(opened))
            drift = opened.drift()
            uid = source.text(SOP_INSTANCE)
            return Integrity("authentic", (), drift.changed, n_frames, uid, drift.obstacle)
    except NotEncryptedError:
        return Integrity("plain", sop_instance_uid=source.text(SOP_INSTANCE) if source else "")
    except IomtCryptError as error:
        return _faulty(source, (str(error),), 0)


def check_image(raw: Raw, seal: bytes | None, keyring: Keyring | None) -> Integrity:
    """Check an image and its record; the bytes of ``raw`` are of no use afterwards."""
    if seal is None:
        return Integrity("plain")
    try:
        record = Record.unpack(seal)
        if record.layout != raw.layout():
            problem = f"the record is of {_text(record.layout)}, the image has {_text(raw.layout())}"
            return Integrity("faulty", (problem,), (), record.layout.n_frames)
        if keyring is not None:
            open_image(raw, seal, keyring)
    except IomtCryptError as error:
        return Integrity("faulty", (str(error),))
    return Integrity("consistent" if keyring is None else "authentic", n_frames=record.layout.n_frames)


def _contradictions(source: Source, record: Record) -> Iterator[str]:
    """What in the clear header and the pixel element does not fit the record."""
    if source.text(SOP_INSTANCE) != record.sop_instance_uid:
        yield f"the record belongs to another object, SOP Instance UID {record.sop_instance_uid}"
    if source.pixel is not None and source.pixel.encapsulated:
        yield f"the pixels were compressed after encryption (transfer syntax {source.transfer_syntax_uid})"
        return
    tag = source.pixel.tag if source.pixel else 0
    if tag != record.pixel_tag:
        yield f"the pixel element is {_tag(tag)}, the record is of {_tag(record.pixel_tag)}"
    plan = plan_pixels(source, _LARGEST)
    layout = plan.raster.layout() if plan else _NO_LAYOUT
    n_frames, frame_bytes = record.layout.n_frames, record.layout.frame_bytes
    if (layout.n_frames, layout.frame_bytes) != (n_frames, frame_bytes) and record.form != "header":
        yield f"the record is of {_text(record.layout)}, the header declares {_text(layout)}"
    size, there = n_frames * frame_bytes, source.pixel.size if source.pixel else 0
    if there not in (size, size + (size & 1)):
        yield f"the pixel element has {there} bytes, the frames of the record need {size}"
    elif len({record.tag(index) for index in range(n_frames)}) != n_frames:
        yield "two frames have the same authentication tag"


def _text(layout: Layout) -> str:
    return f"{layout.n_frames} frames of {layout.frame_bytes} bytes"


def _tag(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})" if tag else "missing"


def _faulty(source: Source | None, problems: tuple[str, ...], n_frames: int) -> Integrity:
    return Integrity("faulty", problems, (), n_frames, source.text(SOP_INSTANCE) if source else "")


@contextmanager
def _open(obj: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(obj, str | Path):
        with open_input(obj) as stream:
            yield stream
        return
    try:
        yield obj
    finally:
        obj.seek(0)
