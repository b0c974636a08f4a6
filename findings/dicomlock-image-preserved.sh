#!/usr/bin/env bash
# dicomlock removes private blocks of creators that it does not know and reports "image_preserved".
#
# Seen with dicomlock 0.8.0, pydicom 3.0.2, on 2026-12-01, on an object without a finding (14 checks passed):
# {"action": "disarmed", "changes": ["stripped 2 unknown/suspicious private tag(s); ...", ...], "image_preserved": true}.
# The pixels are equal, and what is needed to read them again (a sealed key, a modality's calibration) is gone.
# Its command line leaves a file alone in which it found nothing; the function does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pydicom==3.0.2 numpy==2.3.5 dicomlock==0.8.0
cat > run.py <<'PY'
from pydicom import dcmread
from pydicom.data import get_testdata_file
from scanner.pipeline import disarm_or_quarantine

d = dcmread(get_testdata_file("CT_small.dcm"))
for element in [e for e in d if e.tag.is_private]:
    del d[element.tag]
d.private_block(0x7FDF, "EXAMPLE BLOCK", create=True).add_new(0x01, "OB", bytes(range(64)))
d.save_as("object.dcm")
result = disarm_or_quarantine("object.dcm")
after = dcmread(result["output"])
print(result["action"], "| image_preserved:", result["image_preserved"], "| block there:", (0x7FDF, 0x1001) in after)
assert result["action"] == "disarmed" and result["image_preserved"] is True
assert (0x7FDF, 0x1001) not in after and after.PixelData == d.PixelData
PY
venv/bin/python run.py
