#!/usr/bin/env bash
# Orthanc stores an object of a SOP class that it does not know, and cannot give it back by C-GET.
#
# Seen with Debian 12's Orthanc 1.10.1+dfsg-2+deb12u1 and pynetdicom 3.0.4, on 2026-12-01, with Label Map Segmentation
# Storage (1.2.840.10008.5.1.4.1.1.66.7, in the standard since 2024): the C-STORE is answered 0x0000, the C-GET 0xA702,
# though the requestor proposes the class and the SCP role for it ("UnknownSopClassAccepted": true). A CT image comes back.
# A C-MOVE of the same object works.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for package in orthanc; do
  dpkg -s "$package" >/dev/null 2>&1 || RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$package" >/dev/null
done
dpkg-query -W -f '${Package} ${Version}\n' orthanc
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pydicom==3.0.2 pynetdicom==3.0.4
cat > run.py <<'PY'
import json, os, socket, subprocess, threading, time
from urllib.request import Request, urlopen

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_role, evt

LABEL_MAP, CT, GET = "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.2.2.3"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


received = []


def on_store(event):
    received.append(str(event.request.AffectedSOPClassUID))
    return 0


entity = AE("REQUESTOR")
listener = AE("LISTENER")
for uid in (LABEL_MAP, CT):
    listener.add_supported_context(uid, ExplicitVRLittleEndian)
scp = listener.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
http, dicom = free_port(), free_port()
with open("orthanc.json", "w") as file:
    json.dump({"HttpPort": http, "DicomPort": dicom, "StorageDirectory": "db", "IndexDirectory": "db",
               "DicomAlwaysAllowStore": True, "DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True, "UnknownSopClassAccepted": True,
               "DicomModalities": {"listener": ["LISTENER", "127.0.0.1", scp.server_address[1]]}}, file)
server = subprocess.Popen(["Orthanc", "orthanc.json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          env=os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin"})


def retrieve(model, study, uid):
    entity.requested_contexts = []
    entity.add_requested_context(model)
    if model == GET:
        entity.add_requested_context(uid, ExplicitVRLittleEndian)
    roles = [build_role(uid, scp_role=True)] if model == GET else None
    association = entity.associate("127.0.0.1", dicom, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study
    if model == GET:
        answers = association.send_c_get(query, model)
    else:
        answers = association.send_c_move(query, "LISTENER", model)
    status = [answer.Status for answer, _ in answers][-1]
    association.release()
    return status


try:
    for _ in range(300):
        try:
            urlopen(f"http://127.0.0.1:{http}/system")
            break
        except OSError:
            time.sleep(0.1)
    seen = {}
    for uid in (CT, LABEL_MAP):
        d = dcmread(get_testdata_file("CT_small.dcm"))
        d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = uid
        d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        d.StudyInstanceUID, d.SeriesInstanceUID = generate_uid(), generate_uid()
        entity.requested_contexts = []
        entity.add_requested_context(uid, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", dicom)
        stored = association.send_c_store(d).Status
        association.release()
        got = retrieve(GET, d.StudyInstanceUID, uid)
        n_before = len(received)
        moved = retrieve(MOVE, d.StudyInstanceUID, uid)
        seen[uid] = stored, got, moved, received[n_before:] == [uid]
        print(f"{uid}: C-STORE 0x{stored:04X}, C-GET 0x{got:04X}, C-MOVE 0x{moved:04X}, moved: {seen[uid][3]}")
finally:
    server.terminate()
    server.wait()
    scp.shutdown()
assert seen == {CT: (0, 0, 0, True), LABEL_MAP: (0, 0xA702, 0, True)}, seen
PY
venv/bin/python run.py
