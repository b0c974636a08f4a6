#!/usr/bin/env bash
# Three anonymizers keep a private block whose creator they do not know. One of them sets Patient Identity Removed to YES.
#
# Seen with dcm-anonymizer 0.5.0, dicognito 0.19.0, deid 0.4.13 (recipe "dicom"), pydicom 3.0.2, on 2026-12-01:
# the patient's name is replaced in the header, and the 64 bytes of (7FDF,1001) under the creator EXAMPLE BLOCK are
# the same afterwards. PS3.15 E.1-1 has X for private attributes. Whatever names the patient inside such a block, an
# encrypted copy of the header among it, travels with the copy that is called anonymous.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  pydicom==3.0.2 numpy==2.3.5 dcm-anonymizer==0.5.0 dicognito==0.19.0 deid==0.4.13
mkdir in
cat > make.py <<'PY'
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

d = Dataset()
d.file_meta = FileMetaDataset()
d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
d.SOPClassUID = SecondaryCaptureImageStorage
d.SOPInstanceUID = generate_uid()
d.StudyDate = "20260101"
d.StudyTime = "120000"
d.AccessionNumber = "1"
d.Modality = "OT"
d.ConversionType = "SYN"
d.PatientName = "Example^Patient"
d.PatientID = "4711"
d.PatientBirthDate = "19700101"
d.PatientSex = "O"
d.StudyInstanceUID = generate_uid()
d.SeriesInstanceUID = generate_uid()
d.StudyID = "1"
d.SeriesNumber = d.InstanceNumber = 1
d.SamplesPerPixel = 1
d.PhotometricInterpretation = "MONOCHROME2"
d.Rows = d.Columns = 16
d.BitsAllocated = d.BitsStored = 8
d.HighBit = 7
d.PixelRepresentation = 0
d.PixelData = bytes(256)
d["PixelData"].VR = "OB"
d.private_block(0x7FDF, "EXAMPLE BLOCK", create=True).add_new(0x01, "OB", bytes(range(64)))
d.save_as("in/object.dcm", enforce_file_format=True)
PY
cat > look.py <<'PY'
import sys
from pathlib import Path
from pydicom import dcmread

(path,) = [p for p in Path(sys.argv[1]).rglob("*") if p.suffix in (".dcm", "")  and p.is_file()]
d = dcmread(path, force=True)
kept = (0x7FDF, 0x1001) in d and bytes(d[0x7FDF, 0x1001].value) == bytes(range(64))
print(f"{sys.argv[1]:16} name replaced: {str(d.get('PatientName', '')) != 'Example^Patient'}  block kept: {kept}  "
      f"Patient Identity Removed: {d.get('PatientIdentityRemoved', '(absent)')}")
sys.exit(not (kept and str(d.get("PatientName", "")) != "Example^Patient"))
PY
cat > deid_it.py <<'PY'
from deid.config import DeidRecipe
from deid.dicom import get_identifiers, replace_identifiers

files = ["in/object.dcm"]
replace_identifiers(dicom_files=files, deid=DeidRecipe(deid="dicom"), ids=get_identifiers(files), save=True,
                    output_folder="deid", overwrite=True)
PY
venv/bin/python make.py
venv/bin/dcm-anon in dcm-anonymizer --salt example --quiet >/dev/null 2>&1
venv/bin/python -c 'from dicognito.__main__ import main; main(["--output-directory", "dicognito", "in"])' >/dev/null
mkdir deid && venv/bin/python deid_it.py >/dev/null 2>&1
for tool in dcm-anonymizer dicognito deid; do venv/bin/python look.py "$tool"; done
