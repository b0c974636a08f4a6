#!/usr/bin/env bash
# dcmjs loses the private values that it has no name for, and moves a creator of group 7FDF to group 7F00.
#
# Seen with dcmjs 0.52.2 (Node.js 20), on 2026-12-01. naturalizeDataset, then denaturalizeDataset, then write:
# (7FDF,0010) "EXAMPLE BLOCK" is (7F00,0010) afterwards, and (7FDF,1001) is gone. DicomMessage.readFile and write alone
# keep both, and rewrite Specific Character Set as ISO_IR 192.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pydicom==3.0.2
npm init -y >/dev/null
npm install --silent dcmjs@0.52.2 >/dev/null 2>&1
cat > make.py <<'PY'
from pydicom import dcmread
from pydicom.data import get_testdata_file

d = dcmread(get_testdata_file("CT_small.dcm"))
for element in [e for e in d if e.tag.is_private]:
    del d[element.tag]
d.SpecificCharacterSet = "ISO_IR 100"
d.private_block(0x7FDF, "EXAMPLE BLOCK", create=True).add_new(0x01, "OB", bytes(range(64)))
d.save_as("object.dcm")
PY
cat > run.mjs <<'JS'
import dcmjs from "dcmjs";
import fs from "fs";
const { DicomMessage, DicomMetaDictionary, DicomDict } = dcmjs.data;
const bytes = fs.readFileSync("object.dcm");
const read = DicomMessage.readFile(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
fs.writeFileSync("as-read.dcm", Buffer.from(read.write()));
const back = new DicomDict(read.meta);
back.dict = DicomMetaDictionary.denaturalizeDataset(DicomMetaDictionary.naturalizeDataset(read.dict));
fs.writeFileSync("naturalized.dcm", Buffer.from(back.write()));
JS
cat > look.py <<'PY'
from pydicom import dcmread

seen = {}
for name in ("as-read.dcm", "naturalized.dcm"):
    d = dcmread(name)
    seen[name] = [t for t in (0x7FDF0010, 0x7FDF1001, 0x7F000010) if t in d]
    print(name, [f"{t:08X}" for t in seen[name]], d.get("SpecificCharacterSet"))
assert seen == {"as-read.dcm": [0x7FDF0010, 0x7FDF1001], "naturalized.dcm": [0x7F000010]}
assert dcmread("as-read.dcm").SpecificCharacterSet == "ISO_IR 192"
PY
venv/bin/python make.py
node run.mjs >/dev/null 2>&1
venv/bin/python look.py
