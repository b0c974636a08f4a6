#!/usr/bin/env bash
# Orthanc cannot list a series of which one file is gone, when it is asked for the SOP classes; without them it can.
#
# Seen with Debian 12's Orthanc 1.10.1+dfsg-2+deb12u1 and DCMTK 3.6.7's findscu, on 2026-12-01: three instances, the
# file of one removed from Orthanc's storage. An IMAGE-level C-FIND with SOP Class UID (0008,0016) as return key is
# answered with 0xC000 and not one match: that key is read from the files. Without it all three are listed. A C-GET of
# the series ends with 0xC000 as well, at the file that is gone; what stands behind it is not sent.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for package in orthanc dcmtk; do
  dpkg -s "$package" >/dev/null 2>&1 || RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$package" >/dev/null
done
dpkg-query -W -f '${Package} ${Version}\n' orthanc dcmtk
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pydicom==3.0.2
cat > run.py <<'PY'
import json, os, re, socket, subprocess, time
from pathlib import Path
from urllib.request import Request, urlopen

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


http, dicom = free_port(), free_port()
with open("orthanc.json", "w") as file:
    json.dump({"HttpPort": http, "DicomPort": dicom, "StorageDirectory": "db", "IndexDirectory": "db",
               "MaximumStorageCacheSize": 0, "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True,
               "DicomAlwaysAllowGet": True}, file)
server = subprocess.Popen(["Orthanc", "orthanc.json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          env=os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin"})
url = f"http://127.0.0.1:{http}"


def find(*keys):
    command = ["/usr/bin/findscu", "-v", "-S"]
    for key in ("QueryRetrieveLevel=IMAGE", *keys):
        command += ["-k", key]
    command += ["127.0.0.1", str(dicom)]
    said = subprocess.run(command, capture_output=True, text=True)
    text = said.stdout + said.stderr
    return len(re.findall(r"Find Response \d+ \(Pending\)|Find Response: \d+ \(Pending\)", text)), text


try:
    for _ in range(300):
        try:
            urlopen(url + "/system")
            break
        except OSError:
            time.sleep(0.1)
    d = dcmread(get_testdata_file("CT_small.dcm"))
    for number in range(3):
        d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        d.save_as("object.dcm")
        subprocess.run(["/usr/bin/storescu", "127.0.0.1", str(dicom), "object.dcm"], check=True)
    study, series = f"StudyInstanceUID={d.StudyInstanceUID}", f"SeriesInstanceUID={d.SeriesInstanceUID}"
    before, _ = find(study, series, "SOPInstanceUID", "SOPClassUID")
    instance = json.load(urlopen(url + "/instances"))[1]
    name = json.load(urlopen(f"{url}/instances/{instance}/attachments/dicom/info"))["Uuid"]
    (Path("db") / name[:2] / name[2:4] / name).unlink()
    with_class, text = find(study, series, "SOPInstanceUID", "SOPClassUID")
    without, _ = find(study, series, "SOPInstanceUID")
finally:
    server.terminate()
    server.wait()
print(f"listed before: {before}; a file gone, with SOP Class UID: {with_class}; without: {without}")
print("\n".join(line for line in text.splitlines() if "Response" in line)[-300:])
assert (before, with_class, without) == (3, 0, 3)
PY
venv/bin/python run.py
