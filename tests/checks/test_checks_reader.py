"""EncryptedDicomReader: what MONAI's PydicomReader gives for the plain files, bit for bit; and its errors."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import corpus
import numpy as np
import pytest
import torch
from monai.data import PydicomReader
from monai.transforms import Compose, LoadImage, LoadImaged
from pydicom import dcmread

from iomt_crypt import encrypt_file
from iomt_crypt.checks import CheckIntegrity, EncryptedDicomReader
from iomt_crypt.errors import (
    AuthenticationError,
    ConfigurationError,
    HeaderDriftError,
    InputError,
    IomtCryptError,
    KeyMaterialError,
    NoMatchingIdentityError,
    NotEncryptedError,
)

FOLDERS = ("ct", "mr")
FILES = ("us-loop.dcm", "us-loop-rle.dcm", "nm-tomo.dcm", "seg-lungs.dcm", "cr-chest.dcm")
OPTIONS = [
    {},
    {"prune_metadata": False},
    {"swap_ij": False, "affine_lps_to_ras": False},
    {"channel_dim": "no_channel", "label_dict": {"lung": 0}},
    {"defer_size": "1 KB", "fname_regex": r".*\.dcm$"},
    {"fname_regex": None},
]


def same(one: object, two: object, place: str = "") -> None:
    """Equal types, keys, types of arrays and bits."""
    assert type(one) is type(two), place
    if isinstance(one, dict):
        assert one.keys() == two.keys(), place
        for key in one:
            same(one[key], two[key], f"{place}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), place
        for a, b in zip(one, two, strict=True):
            same(a, b, place)
    elif isinstance(one, np.ndarray):
        assert one.dtype == two.dtype, place
        assert one.flags.c_contiguous == two.flags.c_contiguous
        assert np.array_equal(one, two, equal_nan=one.dtype.kind == "f"), place
    elif isinstance(one, torch.Tensor):
        same(one.numpy(), two.numpy(), place)
    else:
        assert one == two or (one != one and two != two), place


def loaded(reader: PydicomReader, name: object) -> tuple[np.ndarray, dict[str, object]]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PydicomReader: ImageOrientationPatient", UserWarning)
        warnings.filterwarnings("ignore", module="pydicom")  # some files are odd on purpose
        return reader.get_data(reader.read(name))


@pytest.fixture(scope="module")
def plain(sample_files) -> Path:
    return sample_files[0].parents[1]


@pytest.fixture(scope="module")
def encrypted(sample_files, plain, epoch, policy, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("encrypted")
    for path in sample_files:
        target = folder / path.relative_to(plain)
        target.parent.mkdir(exist_ok=True)
        encrypt_file(path, target, recipients=epoch, policy=policy)
    return folder


@pytest.fixture
def series(encrypted, tmp_path) -> Path:
    """Three encrypted slices that a test may spoil."""
    folder = tmp_path / "series"
    folder.mkdir()
    for path in sorted((encrypted / "mr").iterdir()):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("options", OPTIONS)
def test_volumes_are_those_of_the_plain_series(plain, encrypted, identity, options):
    for name in FOLDERS:
        expected = loaded(PydicomReader(**options), str(plain / name))
        found = loaded(EncryptedDicomReader(identity, **options), str(encrypted / name))
        assert expected[0].ndim == 3
        same(expected, found)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", FILES)
def test_single_files(plain, encrypted, identity, name, options):
    path = next(plain.rglob(name)).relative_to(plain)
    reader = EncryptedDicomReader(identity, **deepcopy(options))
    for _ in range(2):  # MONAI's own adds to the labels that it was given
        same(loaded(PydicomReader(**deepcopy(options)), str(plain / path)), loaded(reader, encrypted / path))


def test_lists_of_files_and_of_folders(plain, encrypted, identity):
    """Stacked to channels, as by MONAI."""
    for members in (["mr/mr-1.dcm", "mr/mr-1.dcm"], ["us/us-loop.dcm"], ["mr", "mr"]):
        expected = loaded(PydicomReader(), [str(plain / name) for name in members])
        found = loaded(EncryptedDicomReader(identity), [str(encrypted / name) for name in members])
        same(expected, found)


def test_a_list_as_a_series(plain, encrypted, identity):
    expected = loaded(PydicomReader(), str(plain / "mr"))
    files = sorted((encrypted / "mr").iterdir())
    reader = EncryptedDicomReader(identity, list_is_series=True)
    same(expected, loaded(reader, files[::-1]))
    same(loaded(PydicomReader(), str(plain / "mr" / files[0].name)), loaded(reader, files[:1]))
    same(expected, loaded(reader, [encrypted / "mr"]))


def test_files_of_all_kinds(identity, epoch, policy, tmp_path):
    """Every compression, depth and encoding that is installed here; and what fails for the plain file fails alike."""
    n_read = 0
    for case in corpus.some(corpus.ENCRYPTED, 19, 200_000):
        encrypt_file(case.path, tmp_path / "object.dcm", recipients=epoch, policy=policy, overwrite=True)
        reader = EncryptedDicomReader(identity, prune_metadata=False, force=True)
        try:
            expected = loaded(PydicomReader(prune_metadata=False, force=True), str(case.path))
        except Exception as error:
            with pytest.raises(type(error)):
                loaded(reader, tmp_path / "object.dcm")
            continue
        same(expected, loaded(reader, tmp_path / "object.dcm"), case.name)
        same(expected, loaded(reader, case.path), case.name)
        n_read += 1
    assert n_read >= 2


def test_through_load_image(plain, encrypted, identity, identity_file):
    expected = LoadImage(reader=PydicomReader(), ensure_channel_first=True)(plain / "ct")
    for given in (identity, identity_file, [str(identity_file)]):
        found = LoadImage(reader=EncryptedDicomReader(given), ensure_channel_first=True)(encrypted / "ct")
        assert found.meta.pop("filename_or_obj") == str(encrypted / "ct")
        same({**expected.meta, "filename_or_obj": None}, {**found.meta, "filename_or_obj": None})
        same(expected.as_tensor(), found.as_tensor())
        assert torch.equal(expected.affine, found.affine)
        assert found.affine.dtype == torch.float64
    item = LoadImaged("image", reader=EncryptedDicomReader(identity))({"image": encrypted / "ct"})
    same(expected.as_tensor()[0], item["image"].as_tensor())


def test_the_reader_by_its_name(plain, encrypted, identity_file):
    load = LoadImage(reader="iomt_crypt.checks.EncryptedDicomReader", identities=str(identity_file), swap_ij=False)
    expected = LoadImage(reader=PydicomReader(swap_ij=False))(plain / "mr")
    same(expected.as_tensor(), load(encrypted / "mr").as_tensor())


def test_the_axes_are_as_documented(plain, encrypted, identity):
    """[column, row, slice], and the affine maps the indices to RAS millimetres (PS3.3 C.7.6.2.1.1)."""
    array, meta = loaded(EncryptedDicomReader(identity), encrypted / "ct")
    slices = sorted((dcmread(path) for path in (plain / "ct").iterdir()), key=lambda ds: ds.InstanceNumber)
    ds, number, row, column = slices[4], 4, 100, 37
    assert array[column, row, number] == ds.pixel_array[row, column] * ds.RescaleSlope + ds.RescaleIntercept
    orientation, spacing = np.array(ds.ImageOrientationPatient, float), np.array(ds.PixelSpacing, float)
    lps = np.array(ds.ImagePositionPatient, float)
    lps = lps + orientation[:3] * spacing[1] * column + orientation[3:] * spacing[0] * row
    assert meta["affine"] @ [column, row, number, 1] == pytest.approx([-lps[0], -lps[1], lps[2], 1])


def test_plain_files_between_encrypted_ones(plain, series, identity):
    expected = loaded(PydicomReader(), str(plain / "mr"))
    first = min(series.iterdir())
    first.write_bytes((plain / "mr" / first.name).read_bytes())
    (series / "notes.txt").write_text("no DICOM object")
    (series / ".hidden").write_bytes(b"")
    (series / "folder").mkdir()
    reader = EncryptedDicomReader(identity)
    with pytest.warns(UserWarning, match=r"notes\.txt is no DICOM file"):
        data = reader.read(series)
    same(expected, reader.get_data(data))
    (series / "notes.txt").unlink()
    with pytest.raises(NotEncryptedError) as caught:
        loaded(EncryptedDicomReader(identity, plain="refuse"), series)
    assert caught.value.__notes__ == [f"file: {first}"]


def _flipped(data: bytes, spot: int) -> bytes:
    return data[:spot] + bytes([data[spot] ^ 1]) + data[spot + 1 :]


def _without_record(data: bytes) -> bytes:
    ds, sink = dcmread(io.BytesIO(data)), io.BytesIO()
    del ds[0x7FDF0010], ds[0x7FDF1001]
    ds.save_as(sink)
    return sink.getvalue()


def _of_another_object(data: bytes) -> bytes:
    ds, sink = dcmread(io.BytesIO(data)), io.BytesIO()
    ds.SOPInstanceUID = "1.2.3"
    ds.save_as(sink)
    return sink.getvalue()


SPOILED = {
    "pixels": (lambda data: _flipped(data, len(data) - 100), AuthenticationError),
    "record": (lambda data: _flipped(data, data.index(b"IOMTCRPT") + 500), AuthenticationError),
    "magic": (lambda data: _flipped(data, data.index(b"IOMTCRPT")), AuthenticationError),
    "end": (lambda data: data[: len(data) // 2], InputError),
    "no record": (_without_record, NotEncryptedError),
    "no record, and cut": (lambda data: _without_record(data)[:-5000], InputError),
}


@pytest.mark.parametrize("what", SPOILED)
def test_noise_is_never_taken_for_an_image(series, identity, what):
    """`LoadImage` asks other readers after an exception in `read`: they would load the noise."""
    spoil, error = SPOILED[what]
    path = sorted(series.iterdir())[1]
    path.write_bytes(spoil(path.read_bytes()))
    load = LoadImage(reader=EncryptedDicomReader(identity))
    for name in (series, path):
        with pytest.raises(error) as caught:
            load(name)
        assert caught.value.__notes__ == [f"file: {path}"]


def test_the_header_of_another_object_keeps_nobody_from_the_image(series, identity):
    path = sorted(series.iterdir())[1]
    load = LoadImage(reader=EncryptedDicomReader(identity))
    expected = load(path)
    path.write_bytes(_of_another_object(path.read_bytes()))
    with pytest.warns(UserWarning, match="the record belongs to"):
        assert np.array_equal(load(path), expected)


@pytest.mark.filterwarnings(
    "ignore:.*the clear header was not compared", "ignore:.*not readable", "ignore:.*was applied"
)
def test_damage_anywhere(encrypted, plain, identity, tmp_path, rng):
    """Bytes changed, lost, added: the very image, or an error; and a finding in any case."""
    data, target = (encrypted / "mr" / "mr-1.dcm").read_bytes(), tmp_path / "object.dcm"
    good, _ = loaded(PydicomReader(), str(plain / "mr" / "mr-1.dcm"))
    reader, checks = EncryptedDicomReader(identity), (CheckIntegrity(), CheckIntegrity(identity))
    end_of_header = data.index(b"IOMTCRPT") + 200
    n_refused = 0
    for number in range(60):
        spot = int(rng.integers(0, end_of_header))
        before, behind = data[:spot], data[spot:]
        changed = (
            before + bytes([behind[0] ^ 1 << number % 8]) + behind[1:],
            before,
            before + rng.bytes(4) + behind,
            before + behind[3:],
        )[number % 4]
        target.write_bytes(changed)
        assert {check(target).state for check in checks} <= {"plain", "consistent", "authentic", "faulty"}
        try:
            found, _ = loaded(reader, target)
        except (IomtCryptError, ValueError):  # pydicom's ValueError: plain after all, and no image
            n_refused += 1
        else:
            assert np.array_equal(found, good)
    assert n_refused > 15


def test_keys_that_do_not_fit(series, stranger, tmp_path):
    first = min(series.iterdir())
    for given, error in ((stranger, NoMatchingIdentityError), (tmp_path / "no-such-file", KeyMaterialError)):
        for name in (series, first):
            with pytest.raises(error) as caught:
                LoadImage(reader=EncryptedDicomReader(given))(name)
            assert caught.value.__notes__ == [f"file: {first}"]
    chain = Compose([LoadImaged("image", reader=EncryptedDicomReader(stranger))])
    with pytest.raises(RuntimeError) as wrapped:
        chain({"image": series})
    assert isinstance(wrapped.value.__cause__, NoMatchingIdentityError)


def test_what_is_no_dicom_object_is_left_to_other_readers(identity, tmp_path):
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.save(tmp_path / "label.npy", image)
    assert np.array_equal(LoadImage(reader=EncryptedDicomReader(identity))(tmp_path / "label.npy"), image)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no DICOM file in it"):
        EncryptedDicomReader(identity).read(tmp_path / "empty")
    with pytest.raises(InputError, match="no such file"):
        loaded(EncryptedDicomReader(identity), tmp_path / "missing.dcm")


@pytest.mark.parametrize("options", [{"to_gpu": True}, {"plain": "skip"}, {"identities": []}])
def test_arguments_that_cannot_be_used(identity, options):
    with pytest.raises(ConfigurationError):
        EncryptedDicomReader(**{"identities": identity, **options})


def test_corrections_by_an_archive(series, plain, identity):
    for path in series.iterdir():
        ds = dcmread(path)
        ds.PatientName = "Corrected"
        ds.save_as(path)
    names = {}
    for headers in ("merged", "original"):
        reader = EncryptedDicomReader(identity, headers=headers, prune_metadata=False)
        names[headers] = loaded(reader, series)[1]["00100010"]["Value"]
    expected = loaded(PydicomReader(prune_metadata=False), str(plain / "mr"))[1]["00100010"]["Value"]
    assert names == {"merged": [{"Alphabetic": "Corrected"}], "original": expected}
    with pytest.raises(HeaderDriftError, match="PatientName"):
        loaded(EncryptedDicomReader(identity, headers="strict"), series)


def test_one_reader_in_several_threads(plain, encrypted, identity):
    """MONAI keeps in its reader what was read last: here each call has its own."""
    reader = EncryptedDicomReader(identity)
    names = ["mr", "mr/mr-2.dcm", "ct/ct-01.dcm"] * 3
    expected = {name: loaded(PydicomReader(), str(plain / name)) for name in set(names)}

    def found_by_a_thread(name: str) -> tuple[np.ndarray, dict[str, object]]:
        return reader.get_data(reader.read(encrypted / name))

    with ThreadPoolExecutor(4) as pool, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PydicomReader: ImageOrientationPatient", UserWarning)
        for name, found in zip(names, pool.map(found_by_a_thread, names), strict=True):
            same(expected[name], found)


def test_pickled_with_a_path_and_in_a_forked_process(encrypted, identity, identity_file):
    expected = loaded(EncryptedDicomReader(identity), encrypted / "mr")
    reader = pickle.loads(pickle.dumps(EncryptedDicomReader(identity_file)))
    same(expected, loaded(reader, encrypted / "mr"))
    with pytest.raises(ConfigurationError, match="not pickled"):
        pickle.dumps(EncryptedDicomReader(identity))
    with multiprocessing.get_context("fork").Pool(1) as pool:
        same(expected, pool.apply(loaded, (reader, encrypted / "mr")))


_WRITTEN: list[str] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook, which cannot be taken away again: files that the interpreter opens for writing, while asked for."""
    if _WRITTEN is not None and event == "open":
        path, mode, flags = arguments
        if (isinstance(flags, int) and flags & 3) or set(str(mode or "")) & set("wax+"):
            _WRITTEN.append(str(path))
    elif _WRITTEN is not None and event.startswith(("tempfile.", "shutil.", "os.rename", "os.link", "subprocess.")):
        _WRITTEN.append(event)


def test_nothing_is_written(encrypted, identity, tmp_path):
    global _WRITTEN
    sys.addaudithook(_watch)
    load = LoadImage(reader=EncryptedDicomReader(identity))
    _WRITTEN = []
    try:
        for name in ("ct", "mr/mr-1.dcm"):
            assert load(encrypted / name).max() > 0
        (tmp_path / "seen").write_text("the hook sees what is written")
        assert [str(tmp_path / "seen")] == _WRITTEN
    finally:
        _WRITTEN = None
