"""The guard's verdicts, its policy, and the checks of a site."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import corpus
import numpy as np
import pytest
from monai.transforms.transform import MapTransform, Transform
from pydicom import dcmread
from pydicom.data import get_testdata_file

from iomt_crypt import encrypt_file
from iomt_crypt.checks import Alarm, Guard, GuardPolicy, Verdict, policy
from iomt_crypt.errors import ConfigurationError, PlainImageError

STATISTICS = GuardPolicy(classifier=False)
PIXELS = "CT_small.dcm"


class PassEverything(Transform):
    def __call__(self, data):
        assert data["object_integrity"].passed
        assert data["cells"].has_record
        return data


class RefuseCt(MapTransform):
    def __init__(self):
        super().__init__(keys="cells")

    def __call__(self, data):
        if data["cells"].sop_class_uid == "1.2.840.10008.5.1.4.1.1.2":
            raise PlainImageError("no CT leaves this site")
        return data


class Broken(Transform):
    def __call__(self, data):
        raise KeyError("Zebedee^Quentin")


class NeedsArgument(Transform):
    def __init__(self, argument):
        self.argument = argument


class NoTransform:
    pass


@pytest.fixture(scope="module")
def guard():
    return Guard(STATISTICS)


@pytest.fixture
def sealed(tmp_path, epoch, policy) -> Path:
    path = tmp_path / "sealed.dcm"
    encrypt_file(get_testdata_file(PIXELS), path, recipients=epoch, policy=policy)
    return path


def checks_of(verdict: Verdict) -> set[str]:
    assert verdict.passed == (not verdict.alarms)
    return {alarm.check for alarm in verdict.alarms}


def test_an_encrypted_object_passes(guard, sealed):
    verdict = guard.check(sealed)
    assert (verdict.passed, verdict.alarms, str(verdict)) == (True, (), "passed")
    assert verdict.cost_s > 0
    with sealed.open("rb") as stream:
        assert guard.check(stream).passed
        assert not stream.closed


def test_the_file_must_be_the_one_that_was_written(guard, sealed):
    digest = hashlib.sha256(sealed.read_bytes()).digest()
    assert guard.check(sealed, sha256=digest).passed
    rotten = bytearray(sealed.read_bytes())
    rotten[len(rotten) // 2] ^= 4
    sealed.write_bytes(rotten)
    assert Guard(STATISTICS).check(sealed).passed, "noise with another bit is noise"
    assert "digest" in checks_of(guard.check(sealed, sha256=digest))


def test_plain_object(guard):
    verdict = guard.check(get_testdata_file(PIXELS))
    assert checks_of(verdict) == {"integrity", "statistics"}
    assert "no record" in str(verdict)
    assert "frame 0: values are not uniform" in str(verdict)


def test_plain_pixels_under_a_record(guard, sealed):
    dataset = dcmread(sealed)
    dataset.PixelData = dcmread(get_testdata_file(PIXELS)).PixelData
    dataset.save_as(sealed)
    assert checks_of(guard.check(sealed)) == {"statistics"}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda d: setattr(d, "SOPInstanceUID", "2.25.5"), "belongs to another object"),
        (lambda d: setattr(d, "Rows", d.Rows // 2), "128 frames|the record is of"),
        (lambda d: setattr(d, "PixelData", d.PixelData[:-256]), "the pixel value has"),
    ],
)
def test_structure(guard, sealed, spoil, reason):
    dataset = dcmread(sealed)
    spoil(dataset)
    dataset.save_as(sealed)
    verdict = guard.check(sealed)
    assert not verdict.passed
    assert any(text in str(verdict) for text in reason.split("|"))


@pytest.mark.parametrize("name", ["rtplan.dcm", "test-SR.dcm"])
def test_an_object_without_pixels_passes_by_rule(guard, tmp_path, epoch, policy, name):
    path = tmp_path / "sealed.dcm"
    encrypt_file(get_testdata_file(name), path, recipients=epoch, policy=policy)
    assert guard.check(path).passed
    assert checks_of(guard.check(get_testdata_file(name))) == {"integrity"}


def test_what_cannot_be_read_does_not_leave(guard, tmp_path):
    assert checks_of(guard.check(tmp_path / "none.dcm")) == {"object"}
    assert not guard.check(io.BytesIO(b"no object" * 50)).passed
    assert not guard.check(io.BytesIO()).passed


def test_two_objects_under_one_key_stream(tmp_path, epoch, policy):
    guard = Guard(STATISTICS)
    stream = np.random.default_rng(1).integers(0, 256, 128 * 128 * 2, np.uint8)
    paths = []
    for number in range(2):
        path = tmp_path / f"{number}.dcm"
        encrypt_file(get_testdata_file(PIXELS), path, recipients=epoch, policy=policy)
        dataset = dcmread(path)
        plain = np.frombuffer(dcmread(get_testdata_file(PIXELS)).PixelData, np.uint8)
        dataset.PixelData = (plain ^ stream ^ np.uint8(number)).tobytes()
        dataset.save_as(path)
        paths.append(path)
    first, second = (guard.check(path) for path in paths)
    assert first.passed, "one of them alone is noise"
    assert second.alarms == (Alarm("statistics", "the object before has the same key stream"),)
    assert guard.check(paths[1]).passed, "the same file again is no second use"


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom: the files are odd on purpose
def test_real_objects_pass(tmp_path, epoch, policy):
    guard = Guard(GuardPolicy(classifier=False, n_frames=3))
    verdicts = []
    for case in corpus.ENCRYPTED[1::9]:
        path = tmp_path / "sealed.dcm"
        encrypt_file(case.path, path, recipients=epoch, policy=policy, overwrite=True)
        verdicts.append((case.name, str(guard.check(path))))
    assert len(verdicts) >= 8
    assert [(name, text) for name, text in verdicts if text != "passed"] == []


class TestClassifier:
    def test_it_raises_the_alarm_too(self, sealed):
        guard = Guard(GuardPolicy())
        assert guard.check(sealed).passed
        assert checks_of(guard.check(get_testdata_file(PIXELS))) == {"integrity", "statistics", "classifier"}

    def test_damaged_weights_keep_the_node_from_starting(self, monkeypatch, tmp_path):
        from iomt_crypt.checks import classifier

        monkeypatch.setattr(classifier, "SHIPPED", tmp_path)
        with pytest.raises(ConfigurationError, match="card"):
            Guard(GuardPolicy())


class TestOwn:
    def name(self, check: type) -> str:
        return f"{__name__}:{check.__name__}"

    def test_it_sees_the_findings(self, sealed):
        guard = Guard(GuardPolicy(classifier=False, own=(self.name(PassEverything),)))
        assert guard.check(sealed).passed

    def test_it_stops_what_it_does_not_want(self, sealed):
        guard = Guard(GuardPolicy(classifier=False, own=(self.name(PassEverything), self.name(RefuseCt))))
        assert guard.check(sealed).alarms == (Alarm("RefuseCt", "no CT leaves this site"),)

    def test_one_that_fails_stops_everything_and_tells_no_value(self, sealed):
        guard = Guard(GuardPolicy(classifier=False, own=(self.name(Broken),)))
        assert guard.check(sealed).alarms == (Alarm("Broken", "the check failed: KeyError"),)

    @pytest.mark.parametrize(
        "name", ["no.such.module:Check", "monai:NoSuchThing", "monai", "", f"{__name__}:NeedsArgument"]
    )
    def test_one_that_cannot_be_loaded(self, name):
        with pytest.raises(ConfigurationError, match="cannot be loaded") as caught:
            Guard(GuardPolicy(classifier=False, own=(name,)))
        assert "package.module:Class" in caught.value.hint

    def test_what_is_no_transform(self):
        with pytest.raises(ConfigurationError, match="is a NoTransform, not a MONAI transform"):
            Guard(GuardPolicy(classifier=False, own=(self.name(NoTransform),)))


class TestPackages:
    def test_missing_ones_are_named_with_a_hint(self, monkeypatch):
        monkeypatch.setattr(policy, "_PACKAGES", ("numpy", "no_such_package"))
        with pytest.raises(ConfigurationError, match="no_such_package") as caught:
            GuardPolicy().require_packages()
        assert "pip install 'iomt-crypt[checks]'" in caught.value.hint
        assert 'checks.policy = "off"' in caught.value.hint
        GuardPolicy(action="off").require_packages()

    @pytest.mark.parametrize("name", ["no_such_module:Check", "no.such.module:Check", ":", ""])
    def test_a_module_that_is_not_there(self, name):
        with pytest.raises(ConfigurationError, match="there is no such module"):
            GuardPolicy(own=(name,)).require_packages()
        GuardPolicy(own=("monai.transforms:Identityd",)).require_packages()

    def test_importing_the_guard_without_monai(self):
        code = (
            "import sys; sys.modules['monai'] = sys.modules['torch'] = None\n"
            "from iomt_crypt.errors import ConfigurationError\n"
            "try:\n    from iomt_crypt.checks import Guard\n"
            "except ConfigurationError as error:\n    print(error.hint)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert done.stdout.startswith("pip install 'iomt-crypt[checks]'"), done.stderr
