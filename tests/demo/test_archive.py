"""Both archives of the demo behave alike: what is stored can be found and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from demo import archive, orthanc
from demo.header import Series, pixels, start


def instance(patient: str, series: int, number: int, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    place = Series(patient, "OT", series, "test", "CHEST", SecondaryCaptureImageStorage, syntax)
    ds = start(place, number)
    ds.ConversionType = "SYN"
    pixels(ds, np.full((4, 6), number, np.uint8), 8, "MONOCHROME2")
    return ds


def on_the_wire(ds: Dataset) -> bytes:
    syntax = ds.file_meta.TransferSyntaxUID
    encoded = encode(ds, syntax.is_implicit_VR, syntax.is_little_endian)
    assert encoded is not None
    return encoded


INSTANCES = [
    instance("A", 1, 1),
    instance("A", 1, 2),
    instance("A", 2, 1, ImplicitVRLittleEndian),
    instance("B[*]", 1, 1),
]


@pytest.fixture(params=["embedded", pytest.param("orthanc", marks=pytest.mark.peer)])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[archive.Archive]:
    kinds: dict[str, AbstractContextManager[Any]] = {
        "embedded": archive.start(tmp_path / "archive"),
        "orthanc": orthanc.start(tmp_path / "archive"),
    }
    with kinds[request.param] as node:
        yield node


def associate(node: archive.Archive, *, handlers: list[Any] | None = None, ae_title: str = "STORESCU") -> Any:
    entity = AE(ae_title=ae_title)
    entity.add_requested_context(Verification)
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        entity.add_requested_context(SecondaryCaptureImageStorage, syntax)
    roles = [build_role(SecondaryCaptureImageStorage, scp_role=True, scu_role=True)]
    return entity.associate(node.host, node.port, ae_title=node.ae_title, ext_neg=roles, evt_handlers=handlers or [])


def store_all(node: archive.Archive) -> None:
    link = associate(node)
    assert link.is_established
    assert link.send_c_echo().Status == 0x0000
    assert [link.send_c_store(ds).Status for ds in INSTANCES] == [0x0000] * len(INSTANCES)
    link.release()


def query(node: archive.Archive, **keys: Any) -> list[Dataset]:
    identifier = Dataset()
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    link = associate(node)
    assert link.is_established
    answers = list(link.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind))
    link.release()
    assert answers[-1][0].Status == 0x0000
    return [answer for _, answer in answers[:-1]]


def test_stored_instances_are_listed_found_and_returned(running: archive.Archive) -> None:
    store_all(running)
    assert running.sop_instance_uids() == {ds.SOPInstanceUID for ds in INSTANCES}
    assert running.count() == len(INSTANCES)
    assert running.dataset(INSTANCES[1].SOPInstanceUID).PixelData == INSTANCES[1].PixelData

    studies = query(running, QueryRetrieveLevel="STUDY", StudyInstanceUID="", PatientID="", PatientName="PHANTOM*")
    assert {(ds.StudyInstanceUID, ds.PatientID) for ds in studies} == {
        (ds.StudyInstanceUID, ds.PatientID) for ds in INSTANCES
    }
    study = INSTANCES[0].StudyInstanceUID
    series = query(running, QueryRetrieveLevel="SERIES", StudyInstanceUID=study, SeriesInstanceUID="", Modality="")
    assert {ds.SeriesInstanceUID for ds in series} == {ds.SeriesInstanceUID for ds in INSTANCES[:3]}
    images = query(
        running,
        QueryRetrieveLevel="IMAGE",
        StudyInstanceUID=study,
        SeriesInstanceUID=INSTANCES[0].SeriesInstanceUID,
        SOPInstanceUID="",
    )
    assert {ds.SOPInstanceUID for ds in images} == {ds.SOPInstanceUID for ds in INSTANCES[:2]}
    one = query(
        running,
        QueryRetrieveLevel="IMAGE",
        StudyInstanceUID=study,
        SeriesInstanceUID=INSTANCES[0].SeriesInstanceUID,
        SOPInstanceUID=[INSTANCES[1].SOPInstanceUID, "2.25.1"],
    )
    assert [ds.SOPInstanceUID for ds in one] == [INSTANCES[1].SOPInstanceUID]


def test_get_returns_the_study_as_it_was_sent(running: archive.Archive) -> None:
    store_all(running)
    received: dict[str, bytes] = {}

    def keep(event: evt.Event) -> int:
        received[event.request.AffectedSOPInstanceUID] = event.request.DataSet.getvalue()
        return 0x0000

    sent: dict[str, bytes] = {}
    link = associate(running, handlers=[(evt.EVT_C_STORE, keep)])
    for ds in INSTANCES[:3]:
        sent[ds.SOPInstanceUID] = on_the_wire(ds)
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", INSTANCES[0].StudyInstanceUID
    statuses = [status.Status for status, _ in link.send_c_get(identifier, StudyRootQueryRetrieveInformationModelGet)]
    link.release()
    assert statuses[-1] == 0x0000
    assert set(received) == set(sent)
    # Orthanc may convert what came as implicit VR; the embedded archive keeps the syntax an instance came in.
    explicit = [ds.SOPInstanceUID for ds in INSTANCES[:2]]
    assert {uid: received[uid] for uid in explicit} == {uid: sent[uid] for uid in explicit}
    if running.name != "Orthanc":
        assert received == sent


def test_embedded_archive_keeps_the_bytes_and_starts_again_from_them(tmp_path: Path) -> None:
    with archive.start(tmp_path) as node:
        store_all(node)
        stored = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(stored) == {f"{ds.SOPInstanceUID}.dcm" for ds in INSTANCES}
    for ds in INSTANCES:
        file = stored[f"{ds.SOPInstanceUID}.dcm"]
        assert file[128:132] == b"DICM"
        assert file.endswith(on_the_wire(ds))
    with archive.start(tmp_path) as node:
        assert node.sop_instance_uids() == {ds.SOPInstanceUID for ds in INSTANCES}
        assert len(query(node, QueryRetrieveLevel="STUDY", PatientName="PHANTOM^B[[]*")) == 0
        assert len(query(node, QueryRetrieveLevel="STUDY", PatientName="PHANTOM^B[*]")) == 1
        assert len(query(node, QueryRetrieveLevel="STUDY", StudyDate="20260101-20260131")) == 2
        counts = query(node, QueryRetrieveLevel="STUDY", PatientID="PHANTOM-A", NumberOfStudyRelatedInstances="")
        assert [ds.NumberOfStudyRelatedInstances for ds in counts] == [3]


def test_embedded_archive_refuses_an_unknown_level(tmp_path: Path) -> None:
    with archive.start(tmp_path) as node:
        identifier = Dataset()
        identifier.QueryRetrieveLevel, identifier.PatientID = "PATIENT", ""
        link = associate(node)
        statuses = [
            status.Status for status, _ in link.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind)
        ]
        link.release()
    assert statuses == [0xC000]


@pytest.mark.peer
def test_orthanc_turns_strangers_away_and_stops(tmp_path: Path) -> None:
    with orthanc.start(tmp_path, ae_titles=("STORESCU",)) as node:
        friend = associate(node)
        assert friend.is_established
        friend.release()
        stranger = associate(node, ae_title="STRANGER")
        assert not stranger.is_established or stranger.send_c_echo().Status != 0x0000
        stranger.abort()
        assert node.get("/system")
    with pytest.raises(OSError, match="refused"):
        node.get("/system")
