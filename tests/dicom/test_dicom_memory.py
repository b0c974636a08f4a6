"""Memory: at most the object's size plus two frames above the base; for files, in fact a few frames."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import EXPLICIT, data_set, image, preamble

FRAMES, SIDE = 72, 1024
FRAME_BYTES = SIDE * SIDE * 2
PREPARE = """
import re, sys
from pathlib import Path
from pydicom import dcmread
from iomt_crypt import encrypt_dataset, encrypt_file
from iomt_crypt.dicom import Policy, decrypt_file
from iomt_crypt.seal import Epoch, HpkeIdentity

identity = HpkeIdentity.generate()
epoch, policy = Epoch.create([identity.recipient]), Policy(site_key=bytes(32))


def above_the_base(work):
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    base = status("VmRSS")
    result = work()
    return status("VmHWM") - base


def status(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024


"""
FILES = """
small, large, out, back = map(Path, sys.argv[1:])
encrypt_file(small, out, recipients=epoch, policy=policy)  # what is loaded and compiled once
decrypt_file(out, back, identities=[identity])
back.unlink()
print(above_the_base(lambda: encrypt_file(large, out, recipients=epoch, policy=policy, overwrite=True)))
print(above_the_base(lambda: decrypt_file(out, back, identities=[identity])))
"""
DATA_SETS = """
small, large = map(dcmread, sys.argv[1:])
for ds in (small, large):
    len(ds.PixelData)
encrypt_dataset(small, recipients=epoch, policy=policy)
print(above_the_base(lambda: encrypt_dataset(large, recipients=epoch, policy=policy)))
"""


def measure(script: str, *paths: Path) -> list[int]:
    """Bytes above the base, printed by ``script`` in a process of its own."""
    command = [sys.executable, "-c", PREPARE + script, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


def write_image(path: Path, frames: int, *, encapsulated: bool) -> int:
    """A multi-frame file of noise; the size of its pixel value."""
    chance = np.random.default_rng(9)
    elements = image(None, rows=SIDE, columns=SIDE, bits=16, frames=frames)
    size = frames * FRAME_BYTES
    with path.open("wb") as file:
        if encapsulated:
            file.write(
                preamble("1.2.840.10008.1.2.4.90") + data_set(elements) + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
            )
            file.write(b"\xfe\xff\x00\xe0\0\0\0\0")
        else:
            file.write(preamble(EXPLICIT) + data_set(elements) + b"\xe0\x7f\x10\x00OW\0\0" + size.to_bytes(4, "little"))
        for _ in range(frames):
            body = chance.bytes(FRAME_BYTES - 8 if encapsulated else FRAME_BYTES)
            file.write(b"\xfe\xff\x00\xe0" + len(body).to_bytes(4, "little") if encapsulated else b"")
            file.write(body)
        file.write(b"\xfe\xff\xdd\xe0\0\0\0\0" if encapsulated else b"")
    return path.stat().st_size


@pytest.mark.parametrize("encapsulated", [False, True], ids=["native", "carrier"])
def test_files(encapsulated, tmp_path):
    write_image(tmp_path / "small.dcm", 1, encapsulated=encapsulated)
    size = write_image(tmp_path / "large.dcm", FRAMES, encapsulated=encapsulated)
    assert size > 150_000_000
    names = ("small.dcm", "large.dcm", "out.dcm", "back.dcm")
    encrypting, decrypting = measure(FILES, *(tmp_path / name for name in names))
    # The promise is size + 2 frames; a file is never in memory as a whole
    assert encrypting <= 4 * FRAME_BYTES
    assert decrypting <= 4 * FRAME_BYTES
    with (tmp_path / "large.dcm").open("rb") as one, (tmp_path / "back.dcm").open("rb") as other:
        while block := one.read(1 << 24):
            assert other.read(1 << 24) == block
        assert other.read() == b""


def test_data_sets(tmp_path):
    """The object is in memory before; its encrypted form comes on top of it."""
    write_image(tmp_path / "small.dcm", 1, encapsulated=False)
    write_image(tmp_path / "large.dcm", FRAMES, encapsulated=False)
    (encrypting,) = measure(DATA_SETS, tmp_path / "small.dcm", tmp_path / "large.dcm")
    assert encrypting <= (FRAMES + 2) * FRAME_BYTES
