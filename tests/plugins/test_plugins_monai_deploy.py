"""The operators in real applications of the MONAI Deploy App SDK, in an environment of its own.

The SDK's package ``monai`` and MONAI itself share a folder, so that it cannot be linked from the environment of the
tests: pip installs it, as the README says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clean_environment import ROOT, Environment, copy_project, with_packages_of
from pydicom import dcmread
from readme_script import blocks, follow, links

from iomt_crypt import decrypt_file, load_identities
from iomt_crypt.dicom import inspect_file

FOLDER = ROOT / "plugins" / "monai_deploy"
pytestmark = pytest.mark.xdist_group("monai-deploy")  # one worker installs the SDK


@pytest.fixture(scope="session")
def followed(tmp_path_factory, sample_files) -> tuple[Environment, Path]:
    """An environment and a checkout in which the README was followed."""
    base = tmp_path_factory.mktemp("monai_deploy")
    folder = copy_project(base / "checkout", "plugins/monai_deploy")
    (folder / "sample_dicom").mkdir()
    smallest = sorted((path for path in sample_files if "ct-" in path.name), key=lambda path: path.stat().st_size)
    for number, path in enumerate(smallest[:2]):
        shutil.copy(path, folder / "sample_dicom" / f"{number}.dcm")
    environment = with_packages_of(base / "venv")
    command = ["python", "-m", "pip", "download", "--no-deps", "-q", "-d", str(base), "monai-deploy-app-sdk==4.0.0"]
    if os.environ.get("CI") != "true" and environment.run(*command, check=False).returncode:
        pytest.skip("pip cannot get the MONAI Deploy App SDK")
    follow(FOLDER / "README.md", environment, folder)
    return environment, folder


def app(followed, tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run an application; ``body`` is its compose, in which ``at(name)`` is a path of the checkout."""
    environment, folder = followed
    lines = "\n".join(f"        {line}" for line in body.strip().splitlines())
    code = f"""
import sys
sys.path.insert(0, {str(folder / "plugins" / "monai_deploy")!r})
from pathlib import Path
from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application
from study_operator import DecryptStudyOperator, EncryptStudyOperator
at, out = lambda name: Path({str(folder)!r}) / name, Path({str(tmp_path)!r})

class App(Application):
    def compose(self):
        once = CountCondition(self, 1)
{lines}

App([]).run()
"""
    return environment.run("python", "-W", "ignore", "-c", code, cwd=tmp_path, check=False)


ENCRYPT = """
operator = EncryptStudyOperator(self, once, input_folder={source}, output_folder=out / "noise",
    recipients=[at("hospital.pub")], site_key=at("site.key"), name="encrypt")
self.add_operator(operator)
"""
DECRYPT = """
operator = DecryptStudyOperator(self, once, input_folder={source}, output_folder=out / "plain",
    identities=[at("hospital.key")], name="decrypt")
self.add_operator(operator)
"""


def test_the_readme_s_example(followed):
    _, folder = followed
    assert links(FOLDER / "README.md") == []
    identities = load_identities([folder / "hospital.key"])
    results = sorted((folder / "results").glob("*.dcm"))
    originals = [dcmread(path) for path in sorted((folder / "sample_dicom").iterdir())]
    assert len(results) == len(originals) == 2
    negatives = set()
    for path in results:
        assert inspect_file(path).encryption is not None
        back = folder / "back.dcm"
        decrypt_file(path, back, identities=identities, overwrite=True)
        negatives.add(dcmread(back).PixelData)
    assert negatives == {bytes(255 - byte for byte in image.PixelData) for image in originals}
    assert not list(Path("/dev/shm").glob("iomt-crypt-*")), "what was decrypted is gone with the application"


def test_the_application_of_the_readme_round_trips(followed, tmp_path):
    environment, folder = followed
    (text,) = blocks(FOLDER / "README.md", "python")
    shutil.copy(FOLDER / "study_operator.py", tmp_path)
    for name in ("hospital.key", "hospital.pub", "site.key"):
        shutil.copy(folder / name, tmp_path)
    shutil.copytree(folder / "encrypted", tmp_path / "encrypted")
    (tmp_path / "mine.py").write_text(text + "\n\nMyApp([]).run()\n")
    environment.run("python", "-W", "ignore", "mine.py", cwd=tmp_path)
    before = {inspect_file(path).sop_instance_uid for path in (tmp_path / "encrypted").iterdir()}
    assert {inspect_file(path).sop_instance_uid for path in (tmp_path / "again").iterdir()} == before


def test_there_and_back(followed, tmp_path):
    _, folder = followed
    done = app(followed, tmp_path, ENCRYPT.format(source='at("sample_dicom")'))
    assert done.returncode == 0, done.stderr
    done = app(followed, tmp_path, DECRYPT.format(source='out / "noise"'))
    assert done.returncode == 0, done.stderr
    back = {path.read_bytes() for path in (tmp_path / "plain").iterdir()}
    assert back == {path.read_bytes() for path in (folder / "sample_dicom").iterdir()}


@pytest.mark.parametrize(
    ("operator", "spoil", "result"),
    [
        (ENCRYPT, lambda folder, sample: (folder / "notes.txt").write_text("no DICOM"), "noise"),
        (ENCRYPT, lambda folder, sample: (folder / "2.dcm").write_bytes(sample.read_bytes()[:3000]), "noise"),
        (ENCRYPT, lambda folder, sample: [path.unlink() for path in folder.iterdir()], "noise"),
        (DECRYPT, lambda folder, sample: None, "plain"),
    ],
    ids=["no DICOM", "half a file", "empty", "not encrypted"],
)
def test_what_fails_leaves_nothing(followed, tmp_path, operator, spoil, result):
    _, folder = followed
    shutil.copytree(folder / "sample_dicom", tmp_path / "study")
    spoil(tmp_path / "study", folder / "sample_dicom" / "0.dcm")
    done = app(followed, tmp_path, operator.format(source='out / "study"'))
    assert done.returncode != 0
    assert list((tmp_path / result).glob("*")) == []


def test_wrong_keys_are_found_before_anything_runs(followed, tmp_path):
    body = ENCRYPT.format(source='at("sample_dicom")')
    assert app(followed, tmp_path, body.replace('at("hospital.pub")', '"nowhere.pub"')).returncode != 0
    assert app(followed, tmp_path, body.replace('site_key=at("site.key")', "site_key=None")).returncode != 0
    assert list(tmp_path.iterdir()) == []


def test_without_the_sdk_it_is_said(tmp_path):
    code = "import sys; sys.modules['monai.deploy'] = None; import study_operator"
    environment = {**os.environ, "PYTHONPATH": f"{FOLDER}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "ConfigurationError: the MONAI Deploy App SDK cannot be loaded" in done.stderr
