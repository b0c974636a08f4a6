"""What the cryptographic check finds of each way to encrypt badly, beside the looks: the table of docs/CLASSIFIER.md.

    python -m benchmarks.guard_layers [FOLDER...]

Each held-out image becomes an object whose encryption is replaced, where it is done and not where it is undone, by each
way of ``iomt_crypt/checks/training/defect.py``: the image cipher alone under AES-256-GCM ("image"), and all of the unit
("unit"). Then the object is read back as the node does. The known answers are asked for each way too.
"""

from __future__ import annotations

import io
import struct
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
from scipy.stats import binomtest

from iomt_crypt import cipher
from iomt_crypt.checks.answer import check_answers
from iomt_crypt.checks.readback import read_back
from iomt_crypt.checks.training.course import gather
from iomt_crypt.checks.training.defect import BAD, INVISIBLE, Defect
from iomt_crypt.checks.training.recipe import read_recipe
from iomt_crypt.dicom import Policy, protect, read_network
from iomt_crypt.dicom.element import Element
from iomt_crypt.errors import KnownAnswerError
from iomt_crypt.seal import Epoch, HpkeIdentity
from iomt_crypt.seal.suite import Suite

_SYNTAX, _CAPTURE = "1.2.840.10008.1.2.1", "1.2.840.10008.5.1.4.1.1.7"
_MINIMUM_WORDS = 64
WAYS: dict[str, Defect] = {**BAD, **INVISIBLE}
del WAYS["compressed"]  # its streams have no raster: "carried" has them


def _fits(frame: np.ndarray) -> bool:
    """Large enough to be looked at, and Rows and Columns (US) can say its size."""
    return frame.size >= _MINIMUM_WORDS and max(frame.shape) < 1 << 16


def data_set(frame: np.ndarray) -> bytes:
    """An image of these words, as it comes over the network."""
    bits = 8 * frame.dtype.itemsize
    texts = {0x00080016: _CAPTURE, 0x00080018: "2.25.1", 0x0020000D: "2.25.2", 0x0020000E: "2.25.3"}
    numbers = {0x00280002: 1, 0x00280010: frame.shape[0], 0x00280011: frame.shape[1], 0x00280100: bits}
    numbers |= {0x00280101: bits, 0x00280102: bits - 1, 0x00280103: 0}
    elements = [Element(tag, "UI", text.encode() + bytes(len(text) % 2)) for tag, text in texts.items()]
    elements += [Element(tag, "US", struct.pack("<H", number)) for tag, number in numbers.items()]
    elements.append(Element(0x00280004, "CS", b"MONOCHROME2 "))
    data = np.ascontiguousarray(frame.astype(frame.dtype.newbyteorder("<"))).tobytes()
    elements.append(Element(0x7FE00010, "OW", data + bytes(len(data) % 2)))
    return b"".join(each.encode() for each in sorted(elements, key=lambda each: each.tag))


@contextmanager
def replaced(way: Defect, depth: str, rng: np.random.Generator) -> Iterator[None]:
    """Encryption is ``way``; decryption stays as it is."""

    def bad(words: np.ndarray, row_length: int) -> np.ndarray:
        frame = words.reshape(-1, row_length) if words.size % row_length == 0 else words.reshape(1, -1)
        return way([frame], rng)[0].reshape(-1)

    if depth == "image":

        def encrypt_into(samples, out, key, *, tweak, row_length):  # type: ignore[no-untyped-def]
            out[:] = bad(samples.copy(), row_length)

        with patch.object(cipher, "encrypt_into", encrypt_into):
            yield
        return
    seal: Callable[..., bytes] = Suite.seal

    def bad_seal(self: Suite, index: int, frame: memoryview) -> bytes:
        layout = self._layout
        words = np.frombuffer(bytes(frame), "<u2" if layout.word_bits == 16 else np.uint8)
        found = bad(words.astype(words.dtype.newbyteorder("=")), layout.row_length)
        tag = seal(self, index, frame)
        frame[:] = found.astype(words.dtype).tobytes()
        return tag

    with patch.object(Suite, "seal", bad_seal):
        yield


def caught(way: Defect, depth: str, received: bytes, rng: np.random.Generator, epoch: Epoch) -> bool:
    """Whether the object is refused when it is read back."""
    sink = io.BytesIO()
    source = read_network(received, transfer_syntax_uid=_SYNTAX)
    with replaced(way, depth, rng):
        protect(source, sink, epoch=epoch, policy=Policy(site_key=bytes(32)))
    try:
        read_back(sink, io.BytesIO(received), origin="network", epoch=epoch)
    except KnownAnswerError:
        return True
    return False


def answers_catch(way: Defect, depth: str, rng: np.random.Generator) -> bool:
    """Whether the node would not start."""
    try:
        with replaced(way, depth, rng):
            check_answers("hybrid-1")
    except KnownAnswerError:
        return True
    return False


def main(folders: list[str]) -> int:
    """Print the table."""
    rng = np.random.default_rng(1)
    plains = gather([Path(folder) for folder in folders], read_recipe(), 1).evaluation
    frames = [f for p in plains if p.form == "native" for f in p.frames[:1] if _fits(f)]
    epoch = Epoch.create([HpkeIdentity.generate().recipient])
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for frame in frames:
        received = data_set(frame)
        for name, way in WAYS.items():
            for depth in ("image", "unit"):
                found[name, depth].append(caught(way, depth, received, rng, epoch))
    print("| way | known answers | read-back, image cipher bad | read-back, unit bad | 95 % interval |")
    print("|---|---|---|---|---|")
    for name, way in WAYS.items():
        known = "yes" if all(answers_catch(way, depth, rng) for depth in ("image", "unit")) else "no"
        image, unit = found[name, "image"], found[name, "unit"]
        both = binomtest(sum(image) + sum(unit), len(image) + len(unit)).proportion_ci(method="exact")
        cells = " | ".join(f"{sum(one)} of {len(one)}" for one in (image, unit))
        print(f"| {name} | {known} | {cells} | {100 * both.low:.2f} to {100 * both.high:.2f} % |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
