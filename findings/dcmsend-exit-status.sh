#!/usr/bin/env bash
# dcmsend exits with 0 when the peer refuses every object; storescu does not.
#
# Seen with Debian 12's DCMTK 3.6.7-9~deb12u4 against pynetdicom 3.0.4, on 2026-12-01: the peer answers the C-STORE with
# 0xA700 (out of resources). dcmsend says "with status REFUSED : 1" in its summary and exits with 0; storescu exits with
# 167, the upper byte of the status. A script that believes dcmsend's exit status deletes what nobody has.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
dpkg -s dcmtk >/dev/null 2>&1 || apt-get install -y -qq --no-install-recommends dcmtk >/dev/null
dpkg-query -W -f '${Package} ${Version}\n' dcmtk
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pydicom==3.0.2 pynetdicom==3.0.4
cat > run.py <<'PY'
import subprocess

from pydicom.data import get_testdata_file
from pynetdicom import AE, AllStoragePresentationContexts, evt

entity = AE()
entity.supported_contexts = AllStoragePresentationContexts
server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: 0xA700)])
port = str(server.server_address[1])
path = get_testdata_file("CT_small.dcm")
status = {}
for program in ("dcmsend", "storescu"):
    done = subprocess.run([f"/usr/bin/{program}", "-v", "127.0.0.1", port, str(path)], capture_output=True, text=True)
    status[program] = done.returncode
    print(program, "exit status", done.returncode)
    print("\n".join("   " + s for s in (done.stdout + done.stderr).splitlines()[-6:]))
server.shutdown()
assert status == {"dcmsend": 0, "storescu": 0xA7}, status
PY
venv/bin/python run.py
