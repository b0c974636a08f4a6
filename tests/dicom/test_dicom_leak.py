"""Nothing that shows the pixels stays readable: not the pixel value, no icon, no overlay."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from corpus import ENCRYPTED, SHARED, Case, batches, find
from pydicom import dcmread
from pydicom.dataset import Dataset
from synthetic import EXPLICIT, IMPLICIT, element, file, image, item

from iomt_crypt.dicom import protect, read_file

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
WINDOW = 16
DISTINCT = 6  # windows of fewer different bytes are runs of background; those occur by chance, in headers too


def encrypted(raw: bytes, epoch, policy) -> bytes:
    sink = io.BytesIO()
    protect(read_file(io.BytesIO(raw)), sink, epoch=epoch, policy=policy)
    return sink.getvalue()


def words(data: bytes, step: int) -> np.ndarray:
    """The 8 bytes at every ``step``-th offset, as integers."""
    count = (len(data) - 8) // step + 1 if len(data) >= 8 else 0
    return np.ndarray((count,), "<u8", bytes(data), strides=(step,))


def slots(values: np.ndarray) -> np.ndarray:
    return ((values * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)).astype(np.int64)


def leaks(plain: bytes, data: bytes, known: bytes = b"") -> set[bytes]:
    """Windows of ``plain`` that occur in ``data``, those that are in ``known`` too left out.

    Any window of 16 bytes holds an aligned word of 8 bytes: looking for the aligned words of ``plain`` at every offset
    of ``data`` misses none.
    """
    aligned = np.unique(words(plain, 8))
    marked = np.zeros(1 << 24, bool)
    marked[slots(aligned)] = True
    found = set()
    for start in range(0, len(data), 1 << 22):
        everywhere = words(data[start : start + (1 << 22) + 7], 1)
        near = np.flatnonzero(marked[slots(everywhere)])
        near = near[np.isin(everywhere[near], aligned)]
        for at in (near + start).tolist():
            for begin in range(max(0, at - 8), at + 1):
                window = data[begin : begin + WINDOW]
                fresh = len(set(window)) >= DISTINCT and len(window) == WINDOW and window not in found
                if fresh and window in plain and window not in known:
                    found.add(window)
    return found


def secrets(ds: Dataset) -> Iterator[tuple[str, bytes]]:
    """Pixel values, icons and overlays at any depth."""
    for found in ds.iterall():
        overlay = found.tag.group & 0xFF00 == 0x6000 and found.tag.elem == 0x3000
        if overlay or found.tag in (0x7FE00008, 0x7FE00009, 0x7FE00010):
            yield str(found.tag), found.value


def test_the_search_finds_what_is_there():
    plain = bytes(range(100, 140))
    assert leaks(plain, b"-" * 33 + plain[5:21] + b"+") == {plain[5:21]}
    assert leaks(plain, b"-" * 33 + plain[5:20] + b"+") == set()
    assert leaks(plain[:15], plain) == set()
    assert leaks(plain[:16], plain) == {plain[:16]}
    assert leaks(plain[:16], plain, known=plain) == set()
    assert leaks(bytes(500), bytes(500)) == set()


def tables(ds: Dataset) -> bytes:
    """Look-up tables: they stay, and an image may hold the same ramp."""
    return b"".join(
        bytes(e.value) if isinstance(e.value, bytes) else np.array(e.value, "<u2").tobytes()
        for e in ds.iterall()
        if e.keyword == "LUTData" or "PaletteColorLookupTableData" in e.keyword
    )


def check(case: Case, data: bytes) -> int:
    """Number of secret bytes that were looked for."""
    ds = dcmread(case.path, force=True)
    found = list(secrets(ds))
    for where, plain in found:
        assert leaks(plain, data, tables(ds)) == set(), f"{case.name}: {where}"
    return sum(len(plain) for _, plain in found)


@pytest.mark.parametrize("cases", batches(ENCRYPTED, 8), ids=lambda cases: f"{len(cases)} files")
def test_corpora(cases, epoch, policy):
    n_secret = sum(check(case, encrypted(case.read(), epoch, policy)) for case in cases)
    assert n_secret > sum(case.path.stat().st_size for case in cases) / 2, "most bytes of these files are pixels"


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("examples_overlay.dcm", 2),
        ("suyashkumar-dicom/1.dcm", 2),
        ("JPEGwithIcon.dcm", 2),
        ("ovly_p01.dcm", 1),  # overlays in the unused bits of the pixel cells
    ],
)
@pytest.mark.parametrize(
    "changes", [{"suite": "chaos-cnn-1"}, {"uids": "keep", "site_key": None}], ids=["chaos", "keep"]
)
def test_icons_and_overlays(name, count, changes, epoch, policy):
    case = find(f"/{name}")
    if case is None:
        assert not SHARED.exists()
        return
    assert len(list(secrets(dcmread(case.path)))) >= count
    data = encrypted(case.read(), epoch, replace(policy, **changes))
    assert check(case, data) > 0
    assert len(list(secrets(dcmread(io.BytesIO(data))))) == 1, "nothing but the noise"


SECRET = b"these bytes show the picture, 16 by 4 of them, in eight bits....."[:64]


@pytest.mark.parametrize(
    ("tag", "vr"),
    [
        (0x60003000, "OW"),  # overlay
        (0x601E3000, "OB"),
        (0x50003000, "OW"),  # curve
        (0x7F000010, "OW"),  # variable pixel data, retired
        (0x7F020010, "OB"),
        (0x00280106, "OW"),  # smallest and largest value: here with a value that a search can see
        (0x00280107, "OW"),
        (0x00280120, "OW"),
        (0x7FE00001, "OV"),
        (0xFFFCFFFC, "OB"),
        (0x7FE10010, "OB"),  # behind the pixels
    ],
)
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_elements(tag, vr, syntax, epoch, policy):
    raw = file(image(more={tag: (vr, SECRET)}), syntax)
    assert SECRET in raw
    assert SECRET not in encrypted(raw, epoch, policy)


@pytest.mark.parametrize(
    ("tag", "vr"),
    [
        (0x00880200, "OB"),
        *((tag, vr) for tag in (0x00880200, 0x00081140, 0x00400555, 0x00091010) for vr in ("SQ", "UN")),
    ],
)
def test_images_in_sequences(tag, vr, epoch, policy):
    """Icons, and pixels in any other sequence, however the sequence was labelled."""
    syntax = IMPLICIT if vr == "UN" else EXPLICIT
    parts = {0x00280010: ("US", b"\4\0"), 0x7FE00010: ("OB", SECRET * 20)}
    inner = b"".join(element(t, *v, syntax) for t, v in parts.items())
    more = {0x00090010: ("LO", b"MINE"), tag: (vr, item(inner))}
    data = encrypted(file(image(more=more)), epoch, policy)
    assert SECRET not in data


def test_nested_image(epoch, policy):
    icon = element(0x00880200, "SQ", item(element(0x7FE00010, "OB", SECRET)))
    raw = file(image(more={0x00081115: ("SQ", item(element(0x00081199, "SQ", item(icon))))}))
    assert SECRET in raw
    data = encrypted(raw, epoch, policy)
    assert SECRET not in data
    assert "ReferencedSeriesSequence" in dcmread(io.BytesIO(data))


def test_private_binary_values(epoch, policy):
    more = {0x00090010: ("LO", b"MINE"), 0x00091001: ("OB", SECRET * 17), 0x00091002: ("UN", SECRET * 17)}
    assert SECRET not in encrypted(file(image(more=more)), epoch, policy)


def test_bytes_behind_the_declared_frames(epoch, policy):
    raw = file(image(bytes(64) + SECRET))
    assert SECRET in raw
    assert SECRET not in encrypted(raw, epoch, policy)


def test_equal_frames_of_equal_objects_look_different(epoch, policy):
    """Probabilistic: no frame says whether it equals another, in the same object or in the next one."""
    raw = file(image(bytes(64) * 4, frames=4))
    values = []
    for _ in range(3):
        pixels = dcmread(io.BytesIO(encrypted(raw, epoch, policy))).PixelData
        values += [pixels[at : at + 64] for at in range(0, 256, 64)]
    assert len(set(values)) == 12
