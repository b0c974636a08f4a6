"""UIDs of encrypted objects: the same everywhere, in every reference; what names no stored instance stays."""

from __future__ import annotations

import hashlib
import hmac
import io
from dataclasses import replace

import pytest
from corpus import ENCRYPTED, SHARED
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from synthetic import SECONDARY_CAPTURE, element, file, image, item

from iomt_crypt.dicom import protect, read_file
from iomt_crypt.dicom.uid import UidMap
from iomt_crypt.errors import ConfigurationError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
KEY = bytes(range(32))


def derived(uid: str) -> str:
    """The rule, written a second time: HMAC-SHA-256, the first 128 bits as a UUID of version 8."""
    digest = int.from_bytes(hmac.digest(KEY, b"iomt-crypt/1/uid\0" + uid.encode(), hashlib.sha256)[:16], "big")
    digest &= ~(0xF << 76) & ~(0x3 << 62)
    return f"2.25.{digest | 8 << 76 | 2 << 62}"


@pytest.fixture
def clear(epoch, policy):
    def make(raw: bytes, **changes):
        sink = io.BytesIO()
        protect(read_file(io.BytesIO(raw)), sink, epoch=epoch, policy=replace(policy, **changes))
        return dcmread(io.BytesIO(sink.getvalue()))

    return make


def reference(sop_class: str, instance: str) -> bytes:
    return item(element(0x00081150, "UI", sop_class.encode()) + element(0x00081155, "UI", instance.encode()))


@given(st.from_regex(r"[0-2](\.(0|[1-9][0-9]{0,9})){1,5}", fullmatch=True))
def test_rule(uid):
    assert UidMap(KEY).derive(uid) == derived(uid)
    assert len(derived(uid)) <= 64


def test_what_is_kept():
    uids = UidMap(KEY, keep=frozenset(("1.2.3",)))
    assert uids.derive("") == ""
    assert uids.derive("1.2.3") == "1.2.3"
    assert uids.derive("1.2.840.10008.1.5.1") == "1.2.840.10008.1.5.1"
    assert UidMap(None).derive("1.2") == "1.2"
    assert UidMap(bytes(32)).derive("1.2") != uids.derive("1.2")


def test_top_level(clear):
    ds = clear(file(image()))
    assert (ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID) == (
        derived("1.2.3.4"),
        derived("1.2.3.5"),
        "1.2.3",
    )
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    ds = clear(file(image()), uids="keep", site_key=None)
    assert (ds.SOPInstanceUID, ds.SeriesInstanceUID) == ("1.2.3.4", "1.2.3.5")


@pytest.mark.parametrize(
    ("sop_class", "follows"),
    [
        (SECONDARY_CAPTURE, True),
        ("1.2.840.10008.5.1.4.1.1.88.11", True),  # structured report
        ("1.2.840.10008.5.1.4.34.7", True),  # RT Beams Delivery Instruction Storage
        ("1.2.3.4.5", True),  # a private class
        ("1.2.840.10008.3.1.2.3.1", False),  # detached study management, retired
        ("1.2.840.10008.3.1.2.3.3", False),  # Modality Performed Procedure Step
        ("1.2.840.10008.3.1.2.1.1", False),  # detached patient management, retired
        ("1.2.840.10008.5.1.4.34.6.1", False),  # Unified Procedure Step
        ("1.2.840.10008.5.1.4.32.2", False),  # General Purpose Scheduled Procedure Step, retired
    ],
)
def test_references_by_class(sop_class, follows, clear):
    ds = clear(file(image(more={0x00081140: ("SQ", reference(sop_class, "1.2.77"))})))
    assert ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID == (derived("1.2.77") if follows else "1.2.77")


@pytest.mark.parametrize("vr", ["SQ", "UN"])
def test_nested_references(vr, clear):
    """Series and instances in a hierarchy of sequences, also in one that was labelled UN."""
    series = element(0x00081199, "SQ", reference(SECONDARY_CAPTURE, "1.2.77")) + element(0x0020000E, "UI", b"1.2.78")
    study = element(0x00081115, "SQ", item(series)) + element(0x0020000D, "UI", b"1.2.79")
    ds = clear(file(image(more={0x0040A375: (vr, item(study))})))
    study = ds.CurrentRequestedProcedureEvidenceSequence[0]
    assert study.StudyInstanceUID == "1.2.79"
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == derived("1.2.78")
    assert study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == derived("1.2.77")


def test_several_values(clear):
    ds = clear(file(image(more={0x00080058: ("UI", b"1.2.5\\1.2.840.10008.1.5\\1.2.6")})))
    assert list(ds.FailedSOPInstanceUIDList) == [derived("1.2.5"), "1.2.840.10008.1.5", derived("1.2.6")]


def test_standard_instances(clear):
    ds = clear(file(image(more={0x00081140: ("SQ", reference("1.2.840.10008.5.1.4.39.1", "1.2.840.10008.1.5.1"))})))
    assert ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.840.10008.1.5.1"


OTHER = (
    "FrameOfReferenceUID",
    "SynchronizationFrameOfReferenceUID",
    "SOPClassUID",
    "ReferencedSOPClassUID",
    "StudyInstanceUID",
)


@pytest.mark.parametrize("modality", ["SR", "KO", "PR", "SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "MR", "ANN"])
def test_real_objects(modality, clear):
    """Every reference in real objects follows the same map, and the other UIDs stay."""
    followed = 0
    for case in ENCRYPTED:
        raw = dcmread(case.path, force=True, stop_before_pixels=True, specific_tags=["Modality"])
        if raw.get("Modality") != modality or (modality == "MR" and case.path.stat().st_size > 20_000):
            continue
        raw = dcmread(case.path, force=True)
        after = {(e.tag, v) for e in clear(case.read()).iterall() if e.VR == "UI" for v in _values(e)}
        for found in raw.iterall():
            if found.keyword == "SOPInstanceUID" or (found.keyword == "SeriesInstanceUID" and found.tag.group == 0x20):
                for value in _values(found):
                    if not value.startswith("1.2.840.10008."):
                        assert (found.tag, derived(value)) in after
                        followed += 1
            elif found.keyword in OTHER:
                assert all((found.tag, value) in after for value in _values(found))
    assert followed or not SHARED.exists()


def _values(found) -> list[str]:
    values = [found.value] if isinstance(found.value, str) else list(found.value or [])
    return [str(value) for value in values if value]


def test_two_objects_agree(clear):
    """A reference in one object points at the other one, after both were encrypted."""
    ds = clear(file(image(uid="1.2.77")))
    pointing = clear(file(image(more={0x00081140: ("SQ", reference(SECONDARY_CAPTURE, "1.2.77"))})))
    assert pointing.ReferencedImageSequence[0].ReferencedSOPInstanceUID == ds.SOPInstanceUID


def test_policy_values(policy):
    for wrong in (
        {"suite": "rot13"},
        {"uids": "none"},
        {"site_key": b"short"},
        {"max_pixel_bytes": 0},
        {"max_pixel_bytes": 1 << 32},
    ):
        with pytest.raises(ConfigurationError) as caught:
            replace(policy, **wrong)
        assert "short" not in str(caught.value)
