"""One object in, its encrypted form out: source -> plan -> clear header -> sealed record -> frames."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from typing import BinaryIO

from iomt_crypt import __version__
from iomt_crypt.dicom import block, bulk
from iomt_crypt.dicom.clear import ClearHeader, clear_header
from iomt_crypt.dicom.meta import file_meta
from iomt_crypt.dicom.original import Original
from iomt_crypt.dicom.parse import MAX_HEADER_BYTES
from iomt_crypt.dicom.pixel import PixelPlan, plan_pixels, units
from iomt_crypt.dicom.policy import Policy
from iomt_crypt.dicom.source import Source
from iomt_crypt.dicom.uid import MAX_UID_CHARACTERS
from iomt_crypt.errors import AlreadyEncryptedError, MalformedError
from iomt_crypt.seal import SUITES, Epoch, Layout, ObjectKey, Record, Suite, seal_header

_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage (PS3.4 annex M)
_DIRECTORY_RECORDS = 0x00041220
_NO_PIXELS = Layout(0, 0, 8, 0)
_MAX_SEALED_BYTES = MAX_HEADER_BYTES - (1 << 20)  # the record is read back as one element; the rest of it is small


@dataclass(frozen=True)
class Protected:
    """What was written.

    form
        ``"native"``, ``"carrier"`` or ``"header"`` (no pixels)
    size_bytes
        of the whole file
    record
        the record without its slack, for a journal: archives may drop private blocks
    """

    sop_class_uid: str
    sop_instance_uid: str
    original_sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    form: str
    suite: str
    n_frames: int
    size_bytes: int
    record: bytes


@dataclass(frozen=True)
class Prepared:
    """An object that is ready to be encrypted: all is decided, and nothing of its pixels has been touched."""

    source: Source
    plan: PixelPlan | None
    clear: ClearHeader
    key: ObjectKey
    record: Record

    def pixel_vr(self) -> str:
        """VR of the encrypted pixel element (PS3.5 8.2 and 8.4)."""
        if self.plan is None or self.plan.raster.bits <= 8:
            return "OB"
        return {0x7FE00008: "OF", 0x7FE00009: "OD"}.get(self.record.pixel_tag, "OW")

    def frames(self, tags: list[bytes]) -> Iterator[memoryview]:
        """Encrypted units, each in the same buffer; their tags are appended to ``tags``."""
        if self.plan is None:
            return
        suite = self._suite()
        buffer = memoryview(bytearray(self.record.layout.frame_bytes))
        for index, frame in enumerate(units(self.source, self.plan, repeat(buffer))):
            tags.append(suite.seal(index, frame))
            yield frame

    def pixel_value(self, tags: list[bytes]) -> bytes:
        """All encrypted units as one value of even length; their tags are appended to ``tags``."""
        if self.plan is None:
            return b""
        layout, suite = self.record.layout, self._suite()
        size = layout.n_frames * layout.frame_bytes
        plain = _payload(self.source, self.plan).ljust(size + (size & 1), b"\0")
        value = io.BytesIO(plain)  # getbuffer() makes the one copy, getvalue() none
        with value.getbuffer() as view:
            for index in range(layout.n_frames):
                start = index * layout.frame_bytes
                with view[start : start + layout.frame_bytes] as frame:
                    tags.append(suite.seal(index, frame))
        return value.getvalue()

    def _suite(self) -> Suite:
        binding = self.record.sop_instance_uid.encode("ascii")
        return SUITES[self.record.suite](self.key, self.record.layout, binding)

    def finished_record(self, tags: list[bytes]) -> Record:
        return replace(self.record, tags=b"".join(tags)).authenticated(self.key)


def prepare(source: Source, *, epoch: Epoch, policy: Policy) -> Prepared:
    """Decide how ``source`` is encrypted; see `protect` for the errors."""
    if block.find_record(source.header) is not None:
        raise AlreadyEncryptedError("the object is encrypted already", hint="'iomt-crypt inspect' shows to whom")
    bulk.refuse_unsupported_bulk(source)
    plan = plan_pixels(source, policy)
    clear = clear_header(source, plan, policy)
    if not clear.sop_instance_uid or not clear.sop_class_uid or clear.sop_class_uid == _DIRECTORY:
        raise MalformedError(
            "SOP Class UID (0008,0016) or SOP Instance UID (0008,0018) is missing", hint=_hint_of_missing(source)
        )
    if len(clear.sop_instance_uid) > MAX_UID_CHARACTERS or not clear.sop_instance_uid.isascii():
        raise MalformedError(
            f"SOP Instance UID (0008,0018) has {len(clear.sop_instance_uid)} characters or characters that are not "
            f"ASCII, the limit is {MAX_UID_CHARACTERS} (PS3.5 9.1)"
        )
    key = ObjectKey.generate()
    record = _record(source, plan, clear, key, epoch, policy)
    size = len(record.sealed) + len(record.tags)
    if size > _MAX_SEALED_BYTES:
        raise MalformedError(f"header and tags need {size} bytes, the limit is {_MAX_SEALED_BYTES}")
    return Prepared(source, plan, clear, key, record)


def _hint_of_missing(source: Source) -> str:
    if source.sop_class_uid == _DIRECTORY or _DIRECTORY_RECORDS in source.header:
        return "a DICOMDIR is an index of a medium, not an object of its own; encrypt the files it names"
    return "neither the data set nor the file meta information says what the object is"


def protect(source: Source, sink: BinaryIO, *, epoch: Epoch, policy: Policy) -> Protected:
    """Encrypt ``source`` into ``sink`` (writable, seekable) as a Part 10 file, Explicit VR Little Endian.

    Nobody has tried the cipher or looked at the result then: what leaves this machine goes through
    `iomt_crypt.checks.vouch`, of which this is a step.

    Memory: one frame of the raster, besides what the source and the sink hold.

    Raises
    ------
    AlreadyEncryptedError, MalformedError, UnsupportedError
        What is in the sink by then is not an object; throw it away.
    """
    return write(prepare(source, epoch=epoch, policy=policy), sink)


def write(prepared: Prepared, sink: BinaryIO) -> Protected:
    """Encrypt what `prepare` has decided; as `protect`, which is both in one."""
    clear = prepared.clear
    sink.write(file_meta(clear.sop_class_uid, clear.sop_instance_uid))
    record_offset = _write_header(sink, prepared)
    record = prepared.finished_record(_write_frames(sink, prepared))
    size_bytes = sink.tell()
    sink.seek(record_offset)
    sink.write(record.pack())
    sink.seek(size_bytes)
    return Protected(
        clear.sop_class_uid,
        clear.sop_instance_uid,
        prepared.source.sop_instance_uid,
        clear.study_instance_uid,
        clear.series_instance_uid,
        record.form,
        record.suite,
        prepared.plan.raster.n_frames if prepared.plan else 0,
        size_bytes,
        record.pack(slack=False),
    )


def _record(
    source: Source, plan: PixelPlan | None, clear: ClearHeader, key: ObjectKey, epoch: Epoch, policy: Policy
) -> Record:
    """The record with zeros for tags and MAC: it has its final size."""
    layout = plan.raster.layout() if plan else _NO_PIXELS
    return Record(
        suite=policy.suite,
        form=plan.form if plan else "header",
        object_id=key.object_id,
        sop_instance_uid=clear.sop_instance_uid,
        pixel_tag=plan.raster.tag if plan else 0,
        layout=layout,
        tags=bytes(layout.n_frames * SUITES[policy.suite].tag_bytes),
        epoch_id=epoch.id,
        wrapped_key=epoch.wrap(key.data_key),
        stanzas=epoch.stanzas,
        sealed=seal_header(key, _original(source, plan, clear).pack()),
        software=__version__,
    )


def _original(source: Source, plan: PixelPlan | None, clear: ClearHeader) -> Original:
    original = Original(
        origin=source.origin,
        transfer_syntax_uid=source.transfer_syntax_uid,
        sop_class_uid=clear.sop_class_uid,
        sop_instance_uid=source.sop_instance_uid,
        head=source.head if plan or source.deflated is None else source.head + source.deflated,
        excess=_excess(source, plan),
        tail=source.tail,
        payload_bytes=plan.payload_bytes if plan else 0,
        deflated=source.deflated is not None,
        dataset_offset=source.dataset_offset,
        elements=b"",
        pixel_header_bytes=source.pixel.header_bytes if source.pixel and source.deflated is None else 0,
        delta=clear.delta,
    )
    same = original.deflated is False and original.header_elements() == source.elements
    return original if same else replace(original, elements=source.elements)


def _excess(source: Source, plan: PixelPlan | None) -> bytes:
    if source.pixel is None or (plan is not None and not plan.excess_bytes):
        return b""
    if plan is None:  # items without content
        source.stream.seek(source.pixel.offset)
        return source.stream.read(source.pixel.size)
    if source.deflated is not None:
        return source.deflated[plan.payload_bytes :]
    source.stream.seek(source.pixel.offset + plan.payload_bytes)
    return source.stream.read(plan.excess_bytes)


def _payload(source: Source, plan: PixelPlan) -> bytes:
    """What stands in the raster, without the zeros behind it; not copied where the source holds just this."""
    if source.pixel is None or source.deflated is not None:
        return (source.deflated or b"")[: plan.payload_bytes]
    source.stream.seek(source.pixel.offset)
    payload = source.stream.read(plan.payload_bytes)
    if len(payload) != plan.payload_bytes:
        raise MalformedError(f"the pixel value ends {plan.payload_bytes - len(payload)} bytes early")
    return payload


def _write_header(sink: BinaryIO, prepared: Prepared) -> int:
    """All elements but the pixel element; returns the offset of the record's container."""
    container = prepared.record.pack()
    creator, holder = block.record_elements(prepared.source.header, container)
    offset = 0
    for element in sorted([*prepared.clear.elements, creator, holder], key=lambda e: e.tag):
        encoded = element.encode()
        if element is holder:
            offset = sink.tell() + len(encoded) - len(container)
        sink.write(encoded)
    return offset


def _write_frames(sink: BinaryIO, prepared: Prepared) -> list[bytes]:
    """The pixel element; returns the tags of its units."""
    tags: list[bytes] = []
    if prepared.plan is None:
        return tags
    tag, layout = prepared.record.pixel_tag, prepared.record.layout
    size = layout.n_frames * layout.frame_bytes
    sink.write(struct.pack("<HH2sxxL", tag >> 16, tag & 0xFFFF, prepared.pixel_vr().encode(), size + (size & 1)))
    for frame in prepared.frames(tags):
        sink.write(frame)
    sink.write(bytes(size & 1))
    return tags
