"""Encrypted objects that every later version must open: ``python -m tests.format.generate`` adds what is missing.

One that is there is never written again: it is the promise. The keys are for these objects alone, and known to all.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from iomt_crypt.dicom import Policy, protect, read_file, read_network
from iomt_crypt.seal import Epoch, HpkeIdentity
from iomt_crypt.seal.kind.passphrase import PassphraseRecipient
from iomt_crypt.seal.kind.x25519 import X25519Identity
from tests.synthetic import BIG, EXPLICIT, FLOAT_PIXELS, IMPLICIT, data_set, element, file, image, item, preamble

FOLDER = Path(__file__).with_name("object")
KEYS = Path(__file__).with_name("keys.txt")
PASSPHRASE = b"a passphrase that everybody knows"

_DEFLATED = "1.2.840.10008.1.2.1.99"
_JPEG = "1.2.840.10008.1.2.4.50"
_STRUCTURED_REPORT = ("UI", b"1.2.840.10008.5.1.4.1.1.88.11")
_WORDS = bytes(range(128))


def _deflated() -> bytes:
    packer = zlib.compressobj(wbits=-15)
    body = packer.compress(data_set(image())) + packer.flush()
    return preamble(_DEFLATED) + body + b"\0" * (len(body) & 1)


def _encapsulated() -> bytes:
    stream = item(b"") + item(b"\xff\xd8" + bytes(range(250)) + b"\xff\xd9") + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    header = image(None, rows=16, columns=16)
    pixels = struct.pack("<HH2sxxL", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF) + stream
    return preamble(_JPEG) + data_set(header) + pixels


def _with_icon() -> bytes:
    icon = item(data_set(image(bytes(16), rows=4, columns=4)))
    private = {0x00090010: ("LO", b"ACME"), 0x00091001: ("OB", bytes(80)), 0x00880200: ("SQ", icon)}
    return file(image(more=private))


#: name -> what is encrypted, and how
OBJECTS: dict[str, tuple[Callable[[], bytes], dict[str, Any]]] = {
    "native-8": (lambda: file(image()), {}),
    "native-16": (lambda: file(image(_WORDS, bits=16, vr="OW")), {}),
    "colour": (lambda: file(image(bytes(192), samples=3, photometric="RGB")), {}),
    "frames": (lambda: file(image(bytes(range(192)), frames=3)), {}),
    "one-bit-frames": (lambda: file(image(bytes(4), rows=3, columns=5, bits=1, frames=2)), {}),
    "float": (lambda: file(image(bytes(256), bits=32, tag=FLOAT_PIXELS, vr="OF")), {}),
    "implicit": (lambda: file(image(), IMPLICIT), {}),
    "big-endian": (lambda: file(image(_WORDS, bits=16, vr="OW"), BIG), {}),
    "deflated": (_deflated, {}),
    "carrier": (_encapsulated, {}),
    "excess": (lambda: file(image(bytes(range(80)))), {}),
    "icon-and-private": (_with_icon, {}),
    "header-only": (lambda: file(image(None) | {0x00080016: _STRUCTURED_REPORT}), {}),
    "tail": (lambda: file(image()) + element(0xFFFCFFFC, "OB", bytes(10)), {}),
    "uids-kept": (lambda: file(image()), {"uids": "keep"}),
    "chaos-cnn-1": (lambda: file(image()), {"suite": "chaos-cnn-1"}),
    "network": (lambda: data_set(image()), {}),
}


def main() -> None:
    """Write what is missing."""
    hpke, x25519 = HpkeIdentity.parse(KEYS.read_text().split()[0]), X25519Identity.parse(KEYS.read_text().split()[1])
    epoch = Epoch.create([hpke.recipient, x25519.recipient, PassphraseRecipient(PASSPHRASE)])
    FOLDER.mkdir(exist_ok=True)
    for name, (make, options) in OBJECTS.items():
        encrypted, original = FOLDER / f"{name}.dcm", FOLDER / f"{name}.original"
        if encrypted.exists():
            continue
        plain, sink = make(), io.BytesIO()
        network = name == "network"
        source = read_network(plain, transfer_syntax_uid=EXPLICIT) if network else read_file(io.BytesIO(plain))
        protect(source, sink, epoch=epoch, policy=Policy(site_key=bytes(32), **options))
        original.write_bytes(plain)
        encrypted.write_bytes(sink.getvalue())


if __name__ == "__main__":
    main()
