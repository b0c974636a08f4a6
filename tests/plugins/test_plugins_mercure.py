"""The module as mercure runs it: two folders, a task file, and what the exit code makes of it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clean_environment import ROOT, copy_project, with_packages_of
from pydicom import dcmread
from pydicom.data import get_testdata_file
from readme_script import follow, links

from iomt_crypt.dicom import decrypt_file
from iomt_crypt.errors import DiskFullError
from iomt_crypt.seal import HpkeIdentity, load_or_create_site_key, write_identity

FOLDER = ROOT / "plugins" / "mercure"
_spec = importlib.util.spec_from_file_location("mercure_process", FOLDER / "process.py")
MODULE = importlib.util.module_from_spec(_spec)
sys.modules["mercure_process"] = MODULE  # dataclasses look there for their annotations
_spec.loader.exec_module(MODULE)
SERIES = "1.2.840.99.7"
SECRET = "Zebedee^Quentin"


class Mercure:
    """The part of mercure that is around a module: folders, task file, container, and what becomes of the results."""

    def __init__(self, base: Path, settings: dict, **process: object) -> None:
        self.source, self.target = base / "job" / "in", base / "job" / "out"
        for folder in (self.source, self.target):
            folder.mkdir(parents=True)
        step = {"module_name": "iomt-crypt", "module_config": {}, "settings": settings, "retain_input_images": False}
        self.write_task({"info": {"action": "both"}, "id": "t", "dispatch": {}, "process": {**step, **process}})

    def write_task(self, task: object) -> None:
        (self.source / "task.json").write_text(json.dumps(task))

    def receive(self, name: str, data: bytes) -> None:
        (self.source / f"{SERIES}#{name}.dcm").write_bytes(data)
        (self.source / f"{SERIES}#{name}.tags").write_text(json.dumps({"PatientName": SECRET}))

    def run(self, **variables: str) -> subprocess.CompletedProcess[str]:
        folders = {"MERCURE_IN_DIR": str(self.source), "MERCURE_OUT_DIR": str(self.target)}
        environment = {**os.environ, **folders, "PYTHONPATH": str(ROOT), **variables}
        command = [sys.executable, "-W", "error::UserWarning:iomt_crypt", str(FOLDER / "process.py")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    def call(self, monkeypatch, capsys) -> tuple[int, str]:
        """The same within this process: exit code, and what went to stderr."""
        monkeypatch.setenv("MERCURE_IN_DIR", str(self.source))
        monkeypatch.setenv("MERCURE_OUT_DIR", str(self.target))
        monkeypatch.setattr(sys, "argv", ["process.py"])
        code = MODULE.main()
        return code, capsys.readouterr().err

    def results(self) -> list[Path]:
        return sorted(self.target.glob("*.dcm"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    identity = HpkeIdentity.generate()
    write_identity(folder / "hospital.key", identity)
    (folder / "hospital.pub").write_text(f"{identity.recipient}\n")
    load_or_create_site_key(folder / "site.key")
    return folder


@pytest.fixture
def settings(keys: Path) -> dict:
    return {"recipients": [str(keys / "hospital.pub")], "site_key": str(keys / "site.key")}


def sample(name: str = "CT_small.dcm") -> bytes:
    return Path(get_testdata_file(name, download=False)).read_bytes()


def test_a_series_leaves_as_noise(tmp_path, settings, keys):
    mercure = Mercure(tmp_path, settings)
    originals = {name: sample(name) for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "reportsi.dcm")}
    for name, data in originals.items():
        mercure.receive(name, data)
    done = mercure.run()
    assert done.returncode == 0, done.stderr
    assert len(mercure.results()) == 4
    assert json.loads((mercure.target / "result.json").read_text())["objects"] == 4
    assert {path.name for path in mercure.target.iterdir()} == {p.name for p in mercure.results()} | {"result.json"}
    from iomt_crypt import load_identities

    identities = load_identities([keys / "hospital.key"])
    back = set()
    for path in mercure.results():
        header = dcmread(path, stop_before_pixels=True)
        assert path.name == f"{header.SeriesInstanceUID}#{header.SOPInstanceUID}.dcm"
        decrypt_file(path, tmp_path / "back.dcm", identities=identities, overwrite=True)
        back.add((tmp_path / "back.dcm").read_bytes())
    assert back == set(originals.values())


def test_and_back_by_a_rule_of_its_own(tmp_path, settings, keys):
    first = Mercure(tmp_path / "a", settings)
    first.receive("1", sample())
    assert first.run().returncode == 0
    second = Mercure(tmp_path / "b", {"mode": "decrypt", "identities": [str(keys / "hospital.key")]})
    for path in first.results():
        shutil.copy(path, second.source)
    done = second.run()
    assert done.returncode == 0, done.stderr
    assert [path.read_bytes() for path in second.results()] == [sample()]


def _broken(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"2": _broken(sample())}, "pixel"),
        ({"2": b"no DICOM at all, but long enough to look like something"}, "not a DICOM"),
        ({"2": sample()}, "comes twice"),
        ({"2": b""}, ""),
    ],
)
def test_one_object_that_fails_stops_all(tmp_path, settings, extra, said):
    mercure = Mercure(tmp_path, settings)
    mercure.receive("1", sample())
    for name, data in extra.items():
        mercure.receive(name, data)
    done = mercure.run()
    assert done.returncode == 1
    assert said in done.stderr
    assert list(mercure.target.iterdir()) == []
    assert "Traceback" not in done.stderr


def test_what_is_encrypted_already_is_not_waved_through(tmp_path, settings):
    first = Mercure(tmp_path / "a", settings)
    first.receive("1", sample())
    assert first.run().returncode == 0
    second = Mercure(tmp_path / "b", settings)
    shutil.copy(first.results()[0], second.source)
    done = second.run()
    assert done.returncode == 1
    assert list(second.target.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t["process"].update(retain_input_images=True), "retains the input images"),
        (lambda t: t["process"].update(retain_input_images="True"), "retains the input images"),
        (lambda t: t["process"].update(retain_input_images=None), "retains the input images"),
        (lambda t: t.update(process=[t["process"]]), "single processing step"),
        (lambda t: t.update(process={}), "recipients is missing"),
        (lambda t: t["process"]["settings"].update(recipients=[]), "recipients is missing"),
        (lambda t: t["process"]["settings"].update(recipients="x"), "a list of texts"),
        (lambda t: t["process"]["settings"].update(mode="off"), "neither encrypt nor decrypt"),
        (lambda t: t["process"]["settings"].update(recipient=["x"]), "unknown settings: recipient"),
        (lambda t: t["process"]["settings"].update(site_key="/nowhere"), "site_key"),
        (lambda t: t["process"]["settings"].update(suite="none"), "suite"),
        (lambda t: t["process"]["settings"].update(uids="new"), "uids"),
        (lambda t: t["process"]["settings"].update(recipients=["/nowhere"]), "/nowhere"),
    ],
)
def test_a_wrong_task_lets_nothing_through(tmp_path, settings, change, said, monkeypatch, capsys):
    mercure = Mercure(tmp_path, settings)
    mercure.receive("1", sample())
    task = json.loads((mercure.source / "task.json").read_text())
    change(task)
    mercure.write_task(task)
    code, stderr = mercure.call(monkeypatch, capsys)
    assert code == 1
    assert said in stderr
    assert list(mercure.target.iterdir()) == []


@pytest.mark.parametrize("task", ["", "[]", "{", "null"])
def test_no_task(tmp_path, settings, task, monkeypatch, capsys):
    mercure = Mercure(tmp_path, settings)
    mercure.receive("1", sample())
    (mercure.source / "task.json").write_text(task)
    assert mercure.call(monkeypatch, capsys)[0] == 1
    (mercure.source / "task.json").unlink()
    assert mercure.call(monkeypatch, capsys)[0] == 1
    assert list(mercure.target.iterdir()) == []


def test_an_empty_series_is_not_a_success(tmp_path, settings, monkeypatch, capsys):
    mercure = Mercure(tmp_path, settings)
    code, stderr = mercure.call(monkeypatch, capsys)
    assert code == 1
    assert "no DICOM files" in stderr


@pytest.mark.parametrize(
    "patch",
    [
        "import iomt_crypt.cipher.frame as f\nf.nothing = 1\nimport iomt_crypt.archive.study as s\n"
        "def broken(*a, **k): raise RuntimeError('Zebedee^Quentin')\ns.encrypt_file = broken\n",
        # a cipher that does nothing right: what it made does not open as what it was made of
        "import iomt_crypt.checks.vouch as v\nreal = v.write\n"
        "def broken(prepared, sink):\n    p = real(prepared, sink)\n    sink.seek(-9, 2)\n    b = sink.read(1)[0] ^ 1\n"
        "    sink.seek(-9, 2)\n    sink.write(bytes([b]))\n    return p\nv.write = broken\n",
        "import iomt_crypt.archive.study as s, pathlib\nreal = s.encrypt_file\nn = [0]\n"
        "def full(src, dst, **k):\n    n[0] += 1\n    if n[0] == 2: raise OSError(28, 'No space left on device')\n"
        "    return real(src, dst, **k)\ns.encrypt_file = full\n",
        "import iomt_crypt.archive.study as s, os, signal\nreal = s.encrypt_file\nn = [0]\n"
        "def killed(src, dst, **k):\n    n[0] += 1\n    if n[0] == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(src, dst, **k)\ns.encrypt_file = killed\n",
    ],
    ids=["exception", "broken cipher", "disk full", "kill -9"],
)
def test_no_crash_lets_anything_through(tmp_path, settings, patch):
    (tmp_path / "sabotage").mkdir()
    (tmp_path / "sabotage" / "sitecustomize.py").write_text(patch)
    mercure = Mercure(tmp_path, settings)
    mercure.receive("1", sample())
    mercure.receive("2", sample("MR_small.dcm"))
    done = mercure.run(PYTHONPATH=f"{tmp_path / 'sabotage'}:{ROOT}")
    assert done.returncode != 0
    assert mercure.results() == []
    assert not (mercure.target / "result.json").exists()
    assert SECRET not in done.stderr + done.stdout
    for path in mercure.target.rglob("*.dcm"):  # drafts that kill -9 left behind
        assert sample()[-2000:] not in path.read_bytes()


def test_a_result_file_that_cannot_be_written(tmp_path, settings, monkeypatch, capsys):
    """Success without result.json is none, and the results do not stay behind it."""
    mercure = Mercure(tmp_path, settings)
    mercure.receive("1", sample())

    def full(path, **options):
        raise DiskFullError(f"{path}: no room left on the device")

    monkeypatch.setattr(MODULE, "appearing_file", full)
    code, stderr = mercure.call(monkeypatch, capsys)
    assert code == 1
    assert "no room left on the device" in stderr
    assert list(mercure.target.iterdir()) == []


def test_the_module_s_json_is_what_mercure_reads():
    config = json.loads((FOLDER / "module.json").read_text())
    (module,) = config["modules"].values()
    (rule,) = config["rules"].values()
    assert json.loads(module["additional_volumes"])["/etc/iomt-crypt"]["mode"] == "ro"
    assert rule["processing_module"] in config["modules"]
    assert rule["processing_retain_images"] is False
    assert module["docker_tag"] in (FOLDER / "README.md").read_text()
    for value in (module["settings"]["site_key"], *module["settings"]["recipients"]):
        assert value.startswith("/keys/")


def test_the_container_is_made_of_what_is_there():
    for sources in re.findall(r"^COPY (.*) \S+$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source


def test_every_setting_is_documented():
    readme = (FOLDER / "README.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE)) == set(MODULE.Settings.__dataclass_fields__)


def test_the_readme_works(tmp_path, sample_files):
    assert links(FOLDER / "README.md") == []
    folder = copy_project(tmp_path / "checkout", "plugins/mercure")
    (folder / "sample_dicom").mkdir()
    for number, path in enumerate(sorted(sample_files, key=lambda path: path.stat().st_size)[:4]):
        shutil.copy(path, folder / "sample_dicom" / f"{number}.dcm")
    environment = with_packages_of(tmp_path / "venv")
    follow(FOLDER / "README.md", environment, folder)
    assert len(list((folder / "out").glob("*.dcm"))) == 4
