"""Hostile input ends in an InputError, soon and in little memory; what is encrypted can be decrypted again."""

from __future__ import annotations

import io
import random
import signal
import struct
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import contextmanager
from pathlib import Path

import pytest
from corpus import CASES, batches, some
from synthetic import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    data_set,
    element,
    file,
    image,
    item,
    preamble,
    us,
)

from iomt_crypt.dicom import Policy, inspect_file, protect, read_file, restore, split_file, verify_file
from iomt_crypt.errors import (
    InputError,
    IomtCryptError,
    MalformedError,
    NotDicomError,
    UnsupportedError,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
LIMIT_S = 20.0


class TooSlowError(BaseException):
    """Not an Exception: nothing under test may swallow it."""


@contextmanager
def time_limit():
    def stop(*_):
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def there_and_back(raw: bytes, epoch, keyring, policy) -> str:
    """``"refused"`` or ``"same"``; everything else is a failure."""
    with time_limit():
        sink = io.BytesIO()
        try:
            protect(read_file(io.BytesIO(raw)), sink, epoch=epoch, policy=policy)
        except InputError:
            return "refused"
        back = io.BytesIO()
        restore(io.BytesIO(sink.getvalue()), back, keyring=keyring, headers="strict")
        assert back.getvalue() == raw
        return "same"


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """Damage of the kinds that files get: mostly in the header, where it hurts."""
    data = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(128, min(len(data), chance.choice((400, 2500, 1 << 30))))
        kind = chance.randrange(6)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at : at + 4] = chance.choice(
                (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\xfe\xff\xff\xff")
            )
        elif kind == 2:
            del data[at : at + chance.randrange(1, 40)]
        elif kind == 3:
            data[at:at] = chance.randbytes(chance.randrange(1, 40))
        elif kind == 4:
            data[at : at + 8] = chance.choice((b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"\xfe\xff\x00\xe0")) + bytes(
                4
            )
        else:
            source = chance.randrange(128, len(data))
            data[at:at] = data[source : source + chance.randrange(1, 60)]
    return bytes(data)


@pytest.mark.parametrize("cases", batches(some(CASES, 4, 100_000), 6), ids=lambda cases: f"{len(cases)} files")
def test_damaged_files(cases, epoch, keyring, policy):
    results = []
    for case in cases:
        raw = case.read()
        if len(raw) < 300:
            continue
        chance = random.Random(case.name)
        results += [there_and_back(mutated(raw, chance), epoch, keyring, policy) for _ in range(25)]
    assert set(results) == {"refused", "same"}


@pytest.mark.parametrize("case", some(CASES, 60, 4_000), ids=lambda case: case.name)
def test_cut_off_files(case, epoch, keyring, policy):
    raw = case.read()
    sizes = {*range(0, min(len(raw), 400), 7), *range(0, len(raw), 41)}
    results = {there_and_back(raw[:size], epoch, keyring, policy) for size in sizes}
    assert "refused" in results


def test_noise(epoch, keyring, policy):
    chance = random.Random(5)
    for size in (0, 1, 8, 131, 132, 133, 140, 200, 5000):
        for start in (b"", bytes(128) + b"DICM", b"\x08\x00\x05\x00", preamble(), preamble(BIG), preamble(DEFLATED)):
            assert there_and_back(start + chance.randbytes(size), epoch, keyring, policy) == "refused"


def head(syntax: str = EXPLICIT) -> bytes:
    return preamble(syntax) + data_set(image(None), syntax)


def nested(depth: int, *, defined: bool) -> bytes:
    if defined:
        value = b""
        for _ in range(depth):
            value = element(0x00081140, "SQ", item(value))
        return value
    begin = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return begin * depth + (b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)) * depth


def with_sequence(sequence: bytes) -> bytes:
    elements = image()
    low = {tag: value for tag, value in elements.items() if tag < 0x00081140}
    high = {tag: value for tag, value in elements.items() if tag > 0x00081140}
    return preamble() + data_set(low) + sequence + data_set(high)


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("depth", [1, 20, 64, 65, 100, 300, 3_000, 30_000])
def test_nested_sequences(depth, defined, epoch, keyring, policy):
    raw = with_sequence(nested(min(depth, 3_000) if defined else depth, defined=defined))
    assert there_and_back(raw, epoch, keyring, policy) == ("same" if depth <= 64 else "refused")


@pytest.mark.parametrize("depth", [64])
def test_what_is_encrypted_on_a_high_stack_is_decrypted_on_a_deep_one(depth, epoch, keyring, policy):
    raw = with_sequence(nested(depth, defined=False))
    sink, back = io.BytesIO(), io.BytesIO()
    protect(read_file(io.BytesIO(raw)), sink, epoch=epoch, policy=policy)

    def deeper(levels: int) -> None:
        if levels:
            deeper(levels - 1)
        else:
            restore(io.BytesIO(sink.getvalue()), back, keyring=keyring)

    deeper(150)
    assert back.getvalue() == raw


STRAY = b"\xfe\xff\x0d\xe0" + bytes(4)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(file(image()) + element(0x7FE00010, "OB", bytes(64)), "refused", id="pixels twice"),
        pytest.param(file(image()) + element(0x7FE00008, "OF", bytes(64)), "refused", id="pixels and float pixels"),
        pytest.param(head() + STRAY + element(0x7FE00010, "OB", bytes(64)), "same", id="a stray delimiter"),
        pytest.param(head() + STRAY + element(0x00291010, "OB", bytes(64)), "refused", id="data behind the end"),
        pytest.param(head(IMPLICIT) + STRAY + element(0x00291010, "OB", bytes(64), IMPLICIT), "refused", id="implicit"),
        pytest.param(head() + element(0x7FE00010, "OB", b""), "refused", id="empty pixels"),
        pytest.param(head() + element(0x7FE00010, "OB", bytes(63)), "same", id="padded"),
        pytest.param(head() + element(0x7FE00010, "OB", bytes(62)), "refused", id="too short"),
        pytest.param(head() + b"\xe0\x7f\x10\x00US\x02\0\0\0", "refused", id="pixels of VR US"),
        pytest.param(head() + b"\xe0\x7f\x10\x00OB\0\0\xfe\xff\xff\xff", "refused", id="4 GiB of pixels"),
        pytest.param(head() + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff", "refused", id="encapsulated, nothing there"),
        pytest.param(head()[:-8] + b"\x09\0\x10\x10OB\0\0\xff\xff\xff\x7f", "refused", id="2 GiB private"),
        pytest.param(file(image() | {0x00280010: us(0)}), "refused", id="no rows"),
        pytest.param(file(image() | {0x00280100: us(12)}), "refused", id="12 bits allocated"),
        pytest.param(file(image() | {0x00280100: us(0)}), "refused", id="0 bits allocated"),
        pytest.param(file(image() | {0x00280010: us(65535), 0x00280011: us(65535)}), "refused", id="4 gigapixels"),
        pytest.param(file(image() | {0x00280002: us(65535)}), "refused", id="65535 samples"),
        pytest.param(file(image() | {0x00280008: ("IS", b"9" * 12)}), "refused", id="10^12 frames"),
        pytest.param(file(image() | {0x00280008: ("IS", b"9" * 6000)}), "refused", id="a number of 6000 digits"),
        pytest.param(file(image() | {0x00280008: ("IS", b"two")}), "refused", id="two frames"),
        pytest.param(file(image() | {0x00280008: ("IS", b"-1")}), "same", id="-1 frames"),
        pytest.param(file(image() | {0x00080018: ("UI", b"")}), "same", id="no instance UID"),
        pytest.param(file(image() | {0x00080018: ("UI", b"1.2.840.10008." + b"1" * 80)}), "refused", id="a long UID"),
        pytest.param(file(image() | {0x00080018: ("UI", b"\xff\xfe")}), "same", id="a UID that is no text"),
        pytest.param(file(image() | {0x00080016: ("UI", b"")}), "refused", id="no class"),
        pytest.param(file(image() | {0x00100010: ("SQ", b"Doe^John")}), "same", id="a sequence that is none"),
        pytest.param(file(image() | {0x00420011: ("OB", b"%PDF")}), "refused", id="a document"),
        pytest.param(file(image(), "1.2.840.10008.1.2.4.102"), "refused", id="video"),
        pytest.param(file(image(), "1.2.840.10008.1.2.4.94"), "refused", id="pixels elsewhere"),
        pytest.param(file(image(more={0x7FDF0010: ("LO", b"MINE"), 0x7FDF1001: ("OB", b"data")})), "same", id="7FDF"),
        pytest.param(file(image(more={0x7FDF1001: ("OB", b"data")})), "same", id="7FDF, not reserved"),
        pytest.param(
            file(image(more={0x7FDF00FF: ("LO", b"MINE"), 0x7FDFFF01: ("OB", b"da")})), "same", id="7FDF, last"
        ),
        pytest.param(
            file(image(more={0x7FDF0000 | n: ("LO", b"MINE") for n in range(0x10, 0x100)})), "refused", id="7FDF, full"
        ),
        pytest.param(preamble() + data_set(image())[::-1], "refused", id="backwards"),
        pytest.param(
            preamble() + element(0x00100010, "PN", b"Doe^Jane") + data_set(image()), "same", id="a name twice"
        ),
        pytest.param(preamble(DEFLATED) + data_set(image()), "refused", id="deflated, and is not"),
        pytest.param(preamble(DEFLATED) + zlib.compress(data_set(image()))[2:-4], "same", id="deflated"),
        pytest.param(preamble(DEFLATED) + zlib.compress(data_set(image()))[2:-9], "refused", id="deflated, cut off"),
        pytest.param(preamble("9.9.9") + data_set(image()), "same", id="unknown transfer syntax"),
        pytest.param(preamble() + preamble()[132:] + data_set(image()), "same", id="meta twice"),
    ],
)
def test_made_up(raw, expected, epoch, keyring, policy):
    assert there_and_back(raw, epoch, keyring, policy) == expected


def test_the_same_uid_rules_when_uids_are_kept(epoch, keyring):
    keep = Policy(uids="keep")
    assert there_and_back(file(image() | {0x00080018: ("UI", b"1" * 65)}), epoch, keyring, keep) == "refused"
    assert there_and_back(file(image() | {0x00080018: ("UI", b"1" * 64)}), epoch, keyring, keep) == "same"


def test_record_limit(epoch, policy, monkeypatch):
    monkeypatch.setattr(sys.modules["iomt_crypt.dicom.protect"], "_MAX_SEALED_BYTES", 2000)
    raw = file(image(bytes(64) + random.Random(7).randbytes(3000)))
    with pytest.raises(MalformedError, match="the limit is 2000"):
        protect(read_file(io.BytesIO(raw)), io.BytesIO(), epoch=epoch, policy=policy)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", NotDicomError),
        (b"hello, world, this is text", NotDicomError),
        (file(image(), "1.2.840.10008.1.2.4.100"), UnsupportedError),
    ],
)
def test_which_error(raw, error, epoch, policy):
    with pytest.raises(InputError) as caught:
        protect(read_file(io.BytesIO(raw)), io.BytesIO(), epoch=epoch, policy=policy)
    assert type(caught.value) is error


def test_files_that_are_none(tmp_path):
    for path in (tmp_path / "nothing", tmp_path, "a" * 300, "/dev/null"):
        for function in (inspect_file, verify_file):
            with pytest.raises(InputError):
                function(path)


def test_damaged_encrypted_objects(epoch, keyring, policy):
    """On the way back any error of ours may come, and nothing else."""
    sink = io.BytesIO()
    protect(read_file(io.BytesIO(file(image()))), sink, epoch=epoch, policy=policy)
    chance = random.Random(8)
    seen, told = set(), set()
    for _ in range(800):
        damaged = mutated(sink.getvalue(), chance)
        for work in (
            lambda raw: restore(io.BytesIO(raw), io.BytesIO(), keyring=keyring),
            lambda raw: split_file(io.BytesIO(raw)),
        ):
            try:
                with time_limit():
                    work(damaged)
            except IomtCryptError as error:
                seen.add(type(error).__name__)
                told.add(str(error))
    assert {"AuthenticationError", "MalformedError"} <= seen
    assert not [text for text in told if "Doe" in text]


MEASURE = """
import io, re, sys
from pathlib import Path
from iomt_crypt.dicom import Policy, protect, read_file
from iomt_crypt.errors import InputError
from iomt_crypt.seal import Epoch, HpkeIdentity
epoch, policy = Epoch.create([HpkeIdentity.generate().recipient]), Policy(site_key=bytes(32))
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
files = sys.argv[1:]
protect(read_file(open(files[0], "rb")), io.BytesIO(), epoch=epoch, policy=policy)
base = peak()
for name in files[1:]:
    with open(name, "rb") as stream:
        try:
            protect(read_file(stream), io.BytesIO(), epoch=epoch, policy=policy)
        except InputError as error:
            print(name, type(error).__name__, file=sys.stderr)
        else:
            sys.exit(f"{name} was not refused")
print(peak() - base)
"""


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    parts = [packer.compress(data_set(image(None)) + b"\xe0\x7f\x10\x00OB\0\0" + struct.pack("<L", size))]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return preamble(DEFLATED) + b"".join(parts) + packer.flush()


def test_declared_sizes_cost_no_memory(tmp_path: Path):
    files = {
        "good": file(image()),
        "pixels": head() + b"\xe0\x7f\x10\x00OB\0\0\xf0\xff\xff\xff" + bytes(1000),
        "private": head()[:-8] + b"\x09\0\x10\x10OB\0\0\xf0\xff\xff\xff" + bytes(1000),
        "nested": with_sequence(b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xf0\xff\xff\xff" + bytes(100))[
            :900
        ],
        "inner": with_sequence(
            b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff\x09\0\x10\x10OB\0\0\xf0\xff\xff\x7f"
        ),
        "frames": file(image() | {0x00280008: ("IS", b"999999999")}),
        "geometry": file(image() | {0x00280010: us(65535), 0x00280011: us(65535)}),
    }
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
    names = [str(tmp_path / name) for name in files]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *names], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 32 * 1024, "KiB above the base"


def test_deflate_bomb():
    """The limit stops it before it is inflated in full."""
    raw = bomb(64 << 20)
    assert len(raw) < 100_000
    few = Policy(expansion_allowance_bytes=0, max_expansion=50)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError, match=r"larger than \d+ bytes") as caught:
            read_file(io.BytesIO(raw), policy=few)
        assert "max_expansion" in caught.value.hint
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
