#!/usr/bin/env bash
# Orthanc that transcodes what it receives to JPEG-LS Lossless damages small images of noise and answers success.
#
# Seen with Debian 12's Orthanc 1.10.1+dfsg-2+deb12u1 (DCMTK 3.6.7), "IngestTranscoding": "1.2.840.10008.1.2.4.80", on
# 2026-12-01: of 40 images of 48 x 48 and 80 x 80 with 8 and 16 bit, 13 to 22 in each run are stored as a stream that
# neither DCMTK nor GDCM decodes; C-STORE is answered 0x0000 for all. Only streams of odd length, larger than the
# image, are affected: one byte in their middle becomes zero. Which ones differs from run to run. DCMTK's own dcmcjpls
# encodes the same images to streams that decode to the same pixels. Real images compress and were never affected.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for package in orthanc dcmtk libgdcm-tools; do
  dpkg -s "$package" >/dev/null 2>&1 || RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$package" >/dev/null
done
dpkg-query -W -f '${Package} ${Version}\n' orthanc dcmtk libgdcm-tools
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pydicom==3.0.2 numpy==2.3.5
cat > run.py <<'PY'
import io, json, os, socket, subprocess, time
from urllib.request import Request, urlopen

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid


def noise(path, size, bits, seed):
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.SOPClassUID, d.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    d.StudyInstanceUID, d.SeriesInstanceUID, d.PatientID, d.Modality = generate_uid(), generate_uid(), "1", "OT"
    d.Rows = d.Columns = size
    d.SamplesPerPixel, d.PhotometricInterpretation, d.PixelRepresentation = 1, "MONOCHROME2", 0
    d.BitsAllocated = d.BitsStored = bits
    d.HighBit = bits - 1
    d.PixelData = np.random.default_rng(seed).integers(0, 1 << bits, (size, size), dtype=f"u{bits // 8}").tobytes()
    d["PixelData"].VR = "OW" if bits == 16 else "OB"
    d.save_as(path, enforce_file_format=True)
    return d


def decodes(compressed, pixels):
    """Whether DCMTK or GDCM makes the same pixels of it."""
    for command in (["dcmdjpls", compressed, "raw.dcm"], ["gdcmconv", "--raw", compressed, "raw.dcm"]):
        if os.path.exists("raw.dcm"):
            os.unlink("raw.dcm")
        subprocess.run(command, capture_output=True)
        if os.path.exists("raw.dcm") and dcmread("raw.dcm").PixelData == pixels:
            return True
    return False


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


http, dicom = free_port(), free_port()
with open("orthanc.json", "w") as file:
    json.dump({"HttpPort": http, "DicomPort": dicom, "StorageDirectory": "db", "IndexDirectory": "db",
               "IngestTranscoding": "1.2.840.10008.1.2.4.80", "DicomAlwaysAllowStore": True}, file)
server = subprocess.Popen(["Orthanc", "orthanc.json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          env=os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin"})
url = f"http://127.0.0.1:{http}"
try:
    for _ in range(300):
        try:
            urlopen(url + "/system")
            break
        except OSError:
            time.sleep(0.1)
    n_images = n_damaged = n_by_dcmtk = 0
    for size in (48, 80):
        for bits in (8, 16):
            for seed in range(10):
                d = noise("noise.dcm", size, bits, seed)
                subprocess.run(["/usr/bin/storescu", "127.0.0.1", str(dicom), "noise.dcm"], check=True)  # success
                query = json.dumps({"Level": "Instance", "Query": {"SOPInstanceUID": d.SOPInstanceUID}}).encode()
                (found,) = json.load(urlopen(Request(url + "/tools/find", query)))
                with open("stored.dcm", "wb") as file:
                    file.write(urlopen(f"{url}/instances/{found}/file").read())
                subprocess.run(["dcmcjpls", "noise.dcm", "dcmtk.dcm"], check=True)
                n_images += 1
                n_damaged += not decodes("stored.dcm", d.PixelData)
                n_by_dcmtk += not decodes("dcmtk.dcm", d.PixelData)
finally:
    server.terminate()
    server.wait()
print(f"{n_images} stored with success, {n_damaged} cannot be decoded; encoded by dcmcjpls: {n_by_dcmtk}")
assert n_images == 40 and n_damaged > 0 and n_by_dcmtk == 0
PY
venv/bin/python run.py
