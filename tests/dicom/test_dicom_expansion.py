"""What an object costs is bounded by its own size: memory, disk and time, whatever it declares."""

from __future__ import annotations

import io
import tracemalloc
import zlib

import pytest
from corpus import ENCRYPTED
from pydicom import dcmread
from synthetic import DEFLATED, data_set, file, image, preamble, us

from iomt_crypt import encrypt_dataset, encrypt_file
from iomt_crypt.dicom import Policy, protect, read_file, uid
from iomt_crypt.dicom.original import Original
from iomt_crypt.dicom.pixel import plan_pixels
from iomt_crypt.errors import AuthenticationError, ConfigurationError, MalformedError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
JPEG_2000 = "1.2.840.10008.1.2.4.90"
FRAGMENT = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0" + (64).to_bytes(4, "little") + bytes(64)
VALUE = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + FRAGMENT + b"\xfe\xff\xdd\xe0\0\0\0\0"


def compressed(*, rows: int, columns: int, bits: int = 8, frames: int | None = None) -> bytes:
    """A file of less than 1 kB whose compressed pixels declare any geometry."""
    elements = image(None, frames=frames) | {0x00280010: us(rows), 0x00280011: us(columns), 0x00280100: us(bits)}
    return preamble(JPEG_2000) + data_set(elements) + VALUE


def deflated(elements: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return preamble(DEFLATED) + packer.compress(elements) + packer.flush()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(compressed(rows=30_000, columns=30_000, bits=16), id="a raster of 1.7 GiB"),
        pytest.param(compressed(rows=1, columns=1, frames=1_000_000), id="a million frames of one byte"),
        pytest.param(compressed(rows=1, columns=1, frames=(1 << 31) - 1), id="2 147 483 647 frames"),
        pytest.param(compressed(rows=8, columns=3, bits=1, frames=1 << 30), id="frames of 3 bytes"),
        pytest.param(compressed(rows=3, columns=3, bits=1, frames=(1 << 31) - 1), id="frames of 9 bits"),
        pytest.param(file(image(bytes(1 << 18), rows=1, columns=1, frames=1 << 18) | {}), id="native frames of a byte"),
        pytest.param(
            deflated(data_set(image(bytes(64)) | {0x00280010: us(65_535), 0x00280011: us(65_535)})), id="deflated"
        ),
    ],
)
def test_small_objects_that_declare_much(raw, epoch, policy):
    """Refused before anything of it is made."""
    few = Policy(site_key=policy.site_key, expansion_allowance_bytes=1 << 24)
    sink = io.BytesIO()
    source = read_file(io.BytesIO(raw))
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError, match=r"for \d+ bytes of pixels, the limit is \d+") as caught:
            protect(source, sink, epoch=epoch, policy=few)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert "max_expansion" in caught.value.hint
    assert not sink.getvalue()


def test_every_door_by_default(tmp_path, epoch, policy):
    raw = compressed(rows=30_000, columns=30_000, bits=16)
    (tmp_path / "a.dcm").write_bytes(raw)
    with pytest.raises(MalformedError, match="the limit is"):
        encrypt_file(tmp_path / "a.dcm", tmp_path / "b.dcm", recipients=epoch, policy=policy)
    assert [path.name for path in tmp_path.iterdir()] == ["a.dcm"]
    with pytest.raises(MalformedError, match="the limit is"):
        encrypt_dataset(dcmread(io.BytesIO(raw)), recipients=epoch, policy=policy)


def test_more_can_be_allowed(policy):
    source = read_file(io.BytesIO(compressed(rows=4096, columns=4096)))
    few = Policy(site_key=policy.site_key, expansion_allowance_bytes=1 << 20)
    with pytest.raises(MalformedError, match="need 16777216 bytes for 88 bytes of pixels"):
        plan_pixels(source, few)
    assert plan_pixels(source, policy).raster.size_bytes == 1 << 24
    assert plan_pixels(source, Policy(site_key=policy.site_key, max_expansion=1 << 20)).form == "carrier"


def test_a_deflated_data_set_has_the_limit_of_the_policy():
    raw = deflated(data_set(image(bytes(1 << 20), rows=1024, columns=1024)))
    with pytest.raises(MalformedError, match=r"larger than \d+ bytes, the limit for \d+ bytes of it"):
        read_file(io.BytesIO(raw), policy=Policy(expansion_allowance_bytes=1 << 16))
    assert read_file(io.BytesIO(raw)).pixel.size == 1 << 20
    with pytest.raises(MalformedError, match="cut off after"):
        read_file(io.BytesIO(raw[:-20]))


@pytest.mark.parametrize("wrong", [{"max_expansion": 0}, {"expansion_allowance_bytes": -1}])
def test_wrong_limits(wrong):
    with pytest.raises(ConfigurationError, match="max_expansion must be 1 or more"):
        Policy(**wrong)


def test_what_is_real_stays_far_below():
    """The defaults leave room: a hundredth of the allowance and a factor of 100 take all real files."""
    tight = Policy(expansion_allowance_bytes=1 << 20)
    for case in ENCRYPTED:
        plan_pixels(read_file(io.BytesIO(case.read()), policy=tight), tight)


def test_many_references(epoch, policy, monkeypatch):
    """A reference of two bytes becomes one of 45."""
    monkeypatch.setattr(uid, "_MAX_REFERENCES", 1000)
    few, many = (file(image(more={0x00080058: ("UI", b"1\\" * n)})) for n in (900, 1000))
    protect(read_file(io.BytesIO(few)), io.BytesIO(), epoch=epoch, policy=policy)
    with pytest.raises(MalformedError, match="refers to more than 1000 instances"):
        protect(read_file(io.BytesIO(many)), io.BytesIO(), epoch=epoch, policy=policy)


def test_a_sealed_header_of_many_values():
    """Whoever has the public key can seal what he likes, and it shrinks to nothing."""
    with pytest.raises(AuthenticationError):
        Original.unpack(b"\xad\x65delta\xba" + (1 << 22).to_bytes(4, "big") + b"\x00\xa0" * (1 << 22))
