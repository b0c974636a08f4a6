"""Reading frames: the words are those that the gateway encrypts, whatever the file is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from images import real_images
from pydicom import dcmread
from pydicom.data import get_testdata_file
from skimage.io import imsave
from synthetic import BIG, file, image, us

from iomt_crypt import errors
from iomt_crypt.analysis.image import read_frame
from iomt_crypt.dicom import Policy, protect, read_file
from iomt_crypt.seal import SUITES, Epoch, HpkeIdentity

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def real_file(name: str) -> Path:
    return Path(get_testdata_file(name, download=False))


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class TestNative:
    def test_grey(self):
        path = real_file("MR_small.dcm")
        frame = read_frame(path)
        assert (frame.form, frame.image.shape, frame.image.dtype) == ("native", (64, 64), np.uint16)
        assert np.array_equal(frame.image.view(np.int16), dcmread(path).pixel_array)
        assert frame.kind == "DICOM: MR Image Storage, Explicit VR Little Endian"
        assert (frame.number, frame.n_frames, frame.bits_stored, frame.look.signed) == (1, 1, 16, True)
        assert [name for name, _ in frame.planes(frame.image)] == [""]
        assert not frame.image.flags.writeable

    def test_big_endian(self, tmp_path):
        words = np.arange(64, dtype="<u2") * 1000
        for syntax in (None, BIG):
            elements = image(words.tobytes(), bits=16, vr="OW")
            path = write(tmp_path / f"{syntax}.dcm", file(elements, *([syntax] if syntax else [])))
            # The cipher takes the bytes of the value as little-endian words, whatever their order.
            expected = words.byteswap() if syntax else words
            assert np.array_equal(read_frame(path).image.reshape(-1), expected)

    def test_colour(self, tmp_path):
        pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
        interleaved = read_frame(write(tmp_path / "a.dcm", file(image(pixels.tobytes(), samples=3, photometric="RGB"))))
        planar = image(np.moveaxis(pixels, -1, 0).tobytes(), samples=3, photometric="RGB", more={0x00280006: us(1)})
        planar = read_frame(write(tmp_path / "b.dcm", file(planar)))
        assert (interleaved.image.shape, planar.image.shape) == ((8, 8, 3), (24, 8))
        for frame in (interleaved, planar):
            planes = frame.planes(frame.image)
            assert [name for name, _ in planes] == ["red", "green", "blue"]
            for k, (_, plane) in enumerate(planes):
                assert np.array_equal(plane, pixels[..., k])
            assert frame.layout.row_length == 24

    def test_frames(self, tmp_path):
        pixels = np.arange(3 * 64, dtype=np.uint8)
        path = write(tmp_path / "a.dcm", file(image(pixels.tobytes(), frames=3)))
        for number in (1, 2, 3):
            frame = read_frame(path, number=number)
            assert np.array_equal(frame.image.reshape(-1), pixels[64 * (number - 1) : 64 * number])
            assert (frame.number, frame.index, frame.n_frames) == (number, number - 1, 3)
        for number in (0, 4):
            with pytest.raises(errors.InputError, match="does not exist, the object has 3"):
                read_frame(path, number=number)

    def test_one_bit(self):
        frame = read_frame(real_file("liver_1frame.dcm"))
        assert (frame.image.shape, frame.image.dtype, frame.bits_stored) == ((512, 64), np.uint8, 1)
        assert "Cells of 1 bits" in frame.notes[0]

    def test_one_bit_frames_that_are_no_whole_bytes(self, tmp_path):
        elements = image(bytes(range(32)), rows=5, columns=5, bits=1, frames=9) | {0x00280101: us(1), 0x00280102: us(0)}
        frame = read_frame(write(tmp_path / "a.dcm", file(elements)), number=4)
        assert frame.image.tobytes() == bytes(range(29)), "all frames are one unit"
        assert (frame.index, frame.number, frame.layout.n_frames) == (0, 4, 1)

    def test_wide_cells(self):
        frame = read_frame(real_file("rtdose.dcm"))
        assert (frame.image.shape, frame.image.dtype) == ((10, 20), np.uint16)
        assert "32 bits" in frame.notes[0]

    def test_window(self, tmp_path):
        more = {
            0x00281050: ("DS", b"50\\1"),
            0x00281051: ("DS", b"20"),
            0x00281052: ("DS", b"-10"),
            0x00281053: ("DS", b"2"),
        }
        assert read_frame(write(tmp_path / "a.dcm", file(image(more=more)))).look.window == (25, 35)
        more[0x00281050] = ("DS", b"hello")
        assert read_frame(write(tmp_path / "b.dcm", file(image(more=more)))).look.window is None

    def test_the_suite_encrypts_these_words(self, tmp_path):
        """The stored frame of a real object opens, under the object's own key, to the words of `read_frame`."""
        stored = []

        class Spy(SUITES["hybrid-1"]):
            def seal(self, index, frame):
                stored.append(bytes(frame))
                return super().seal(index, frame)

        pixels = np.arange(3 * 8 * 8 * 3, dtype=np.uint8).tobytes()
        path = write(tmp_path / "a.dcm", file(image(pixels, frames=3, samples=3, photometric="RGB")))
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(SUITES, "hybrid-1", Spy)

            epoch = Epoch.create([HpkeIdentity.generate().recipient])
            protect(
                read_file(io.BytesIO(path.read_bytes())), io.BytesIO(), epoch=epoch, policy=Policy(site_key=bytes(32))
            )
        assert stored == [read_frame(path, number=k).image.tobytes() for k in (1, 2, 3)]


class TestCarrier:
    def test_compressed_bytes_and_decoded_image(self):
        path = real_file("SC_rgb_rle_2frame.dcm")
        frame = read_frame(path)
        assert (frame.form, frame.image.shape) == ("carrier", (100, 300))
        value = path.read_bytes()
        item = value.index(b"\xfe\xff\x00\xe0", value.rindex(b"OB\0\0\xff\xff\xff\xff"))
        assert value[item : item + 1000] == frame.image.tobytes()[:1000], "from the offset table on"
        assert frame.decoded.shape == (100, 100, 3)
        assert np.array_equal(frame.decoded, dcmread(path).pixel_array[0])
        assert "compressed" in frame.notes[0]

    def test_what_nothing_decodes(self, tmp_path):
        content = real_file("SC_rgb_rle_2frame.dcm").read_bytes()
        # JPEG-LS, for which nothing is installed with the package; the lengths of the two UIDs are the same.
        content = content.replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.4.80"[:19] + b"\0")
        frame = read_frame(write(tmp_path / "a.dcm", content))
        assert frame.form == "carrier"
        assert frame.decoded is None
        assert "not shown" in frame.notes[-1]


class TestPicture:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_grey_png(self, dtype, tmp_path):
        samples = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (40, 50), dtype)
        imsave(tmp_path / "a.png", samples)
        frame = read_frame(tmp_path / "a.png")
        assert np.array_equal(frame.image, samples)
        assert (frame.form, frame.bits_stored, frame.channels) == ("picture", 8 * samples.itemsize, ("",))
        assert frame.kind == f"PNG, 1 channel of {8 * samples.itemsize} bits"

    def test_colour(self, tmp_path):
        samples = np.random.default_rng(1).integers(0, 256, (40, 50, 4), np.uint8)
        imsave(tmp_path / "a.png", samples)
        frame = read_frame(tmp_path / "a.png")
        assert np.array_equal(frame.image, samples)
        assert frame.channels == ("red", "green", "blue", "alpha")
        assert frame.layout.row_length == 200
        imsave(tmp_path / "a.jpg", samples[..., :3])
        assert read_frame(tmp_path / "a.jpg").kind == "JPEG, 3 channels of 8 bits"

    def test_one_frame_only(self, tmp_path):
        imsave(tmp_path / "a.png", np.zeros((4, 4), np.uint8), check_contrast=False)
        with pytest.raises(errors.InputError, match="frame 2"):
            read_frame(tmp_path / "a.png", number=2)

    def test_what_would_lose_bits_is_refused(self, tmp_path):
        head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (4).to_bytes(4, "big") * 2 + bytes((16, 2, 0, 0, 0))
        with pytest.raises(errors.UnsupportedError, match="16 bits with more than one channel") as caught:
            read_frame(write(tmp_path / "a.png", head + bytes(100)))
        assert "grey PNG" in caught.value.hint

    def test_a_damaged_file(self, tmp_path):
        imsave(tmp_path / "a.png", np.random.default_rng(1).integers(0, 256, (40, 50), np.uint8))
        content = (tmp_path / "a.png").read_bytes()
        for cut in (30, 200, len(content) // 2):
            with pytest.raises(errors.MalformedError, match="cannot be decoded"):
                read_frame(write(tmp_path / "b.png", content[:cut]))


class TestRefused:
    def test_no_pixels(self):
        with pytest.raises(errors.UnsupportedError, match="no pixels"):
            read_frame(real_file("rtplan.dcm"))

    def test_not_dicom(self, tmp_path):
        with pytest.raises(errors.NotDicomError):
            read_frame(write(tmp_path / "a.txt", b"call back on Monday, please" * 20))
        with pytest.raises(errors.InputError, match="no such file"):
            read_frame(tmp_path / "none")

    def test_truncated(self, tmp_path):
        with pytest.raises(errors.MalformedError):
            read_frame(write(tmp_path / "a.dcm", real_file("CT_small.dcm").read_bytes()[:20000]))

    def test_encrypted_already(self, tmp_path, epoch, policy):
        sink = io.BytesIO()
        protect(read_file(io.BytesIO(file(image()))), sink, epoch=epoch, policy=policy)
        with pytest.raises(errors.AlreadyEncryptedError) as caught:
            read_frame(write(tmp_path / "a.dcm", sink.getvalue()))
        assert "decrypt" in caught.value.hint

    def test_too_large(self, tmp_path, monkeypatch):
        monkeypatch.setattr("iomt_crypt.analysis.image.MAXIMUM_FRAME_BYTES", 63)
        with pytest.raises(errors.UnsupportedError, match="64 bytes, the limit is 63"):
            read_frame(write(tmp_path / "a.dcm", file(image())))


def test_the_real_images_of_the_tests_are_these_words():
    """Two readers that know nothing of each other."""
    for case in real_images()[:10]:
        name, _, which = case.name.partition("#")
        number, _, plane = which.partition(".")
        frame = read_frame(real_file(name.removeprefix("test_files/")), number=int(number) + 1)
        found = frame.planes(frame.image)[int(plane or 0)][1]
        assert np.array_equal(found, case.samples), case.name
        assert frame.bits_stored == case.bits_stored
