"""The wheel: what is in it, and that each extra brings what it needs and no more."""

from __future__ import annotations

import shutil
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from clean_environment import ROOT, Environment, by_link
from pydicom.data import get_testdata_file

pytestmark = pytest.mark.xdist_group("packaging")  # one worker builds the wheel and installs it

HEAVY = {"torch", "monai", "pynetdicom", "sqlalchemy", "distributed", "scipy", "matplotlib", "scikit-learn", "pytest"}
IMPORT_ALL = """
import importlib, pathlib, sys
import iomt_crypt
root = pathlib.Path(iomt_crypt.__file__).parent
names = sorted('.'.join(p.relative_to(root.parent).with_suffix('').parts) for p in root.rglob('*.py'))
wanted = [n for n in names if n.split('.')[1] in sys.argv[1].split(',') and not n.endswith(('__init__', '__main__'))]
wanted = [n for n in wanted if not any(s in n for s in sys.argv[2].split(',') if s)]
for name in wanted:
    importlib.import_module(name)
print(len(wanted), *sorted(m for m in sys.modules if m in ('torch', 'monai', 'pynetdicom', 'distributed')))
"""


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_whole_package_and_no_tests(wheel: Path):
    found = {name for name in names(wheel) if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in found} == {"iomt_crypt"}
    assert "iomt_crypt/py.typed" in found
    assert not [name for name in found if "test" in name.lower() or "__pycache__" in name]
    there = {path for path in (ROOT / "iomt_crypt").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    missing = {str(path.relative_to(ROOT)) for path in there if path.suffix not in (".nbi", ".nbc")} - found
    assert not missing, "not in the wheel: package_data in setup.cfg, or an __init__.py"


def test_the_trained_weights_travel(wheel: Path):
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "iomt_crypt" / "checks" / "weight").glob("*.*")}
    assert there <= set(names(wheel))
    assert {Path(name).suffix for name in there} >= {".safetensors", ".json"}


def test_every_extra_is_there(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        said = HeaderParser().parsestr(archive.read(metadata).decode())
    extras = set(said.get_all("Provides-Extra"))
    assert {"node", "checks", "archive", "cluster", "s3", "token", "hsm", "kms", "escrow", "report", "torch"} <= extras
    assert said["Requires-Python"] == ">=3.11"


def test_the_core_is_small(core: Environment):
    assert not core.distributions() & HEAVY
    assert {"pydicom", "numpy", "cryptography", "iomt-crypt"} <= core.distributions()
    assert len(core.distributions()) < 30


def test_all_of_the_core_can_be_imported(core: Environment):
    """Missing extras are named when they are needed, and not when a module is imported."""
    done = core.run("python", "-c", IMPORT_ALL, "errors,cipher,seal,dicom,archive,cli", "torch_", cwd=core.folder)
    n_modules, *heavy = done.stdout.split()
    assert int(n_modules) > 80
    assert heavy == []


def test_the_way_there_and_back_with_the_core(core: Environment, tmp_path: Path):
    plain = tmp_path / "study"
    plain.mkdir()
    for number, name in enumerate(("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm")):
        shutil.copy(get_testdata_file(name, download=False), plain / f"{number}.dcm")
    settings = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}

    def iomt_crypt(*words: object, check: bool = True):
        return core.run("iomt-crypt", *words, cwd=tmp_path, check=check, **settings)

    for name in ("a", "b"):
        (tmp_path / f"{name}.pub").write_text(iomt_crypt("keygen", "-o", f"{name}.key").stdout)
    iomt_crypt("encrypt", "-r", "a.pub", "study", "-o", "noise")
    assert "hybrid-1" in iomt_crypt("inspect", "noise/0.dcm").stdout
    assert iomt_crypt("verify", "-i", "a.key", "noise").returncode == 0
    iomt_crypt("rekey", "-i", "a.key", "-r", "b.pub", "noise")
    assert iomt_crypt("decrypt", "-i", "a.key", "noise", "-o", "no", check=False).returncode == 1
    iomt_crypt("decrypt", "-i", "b.key", "noise", "-o", "back")
    for path in plain.iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()
        assert (tmp_path / "noise" / path.name).read_bytes() != path.read_bytes()


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("node", "check", "--config", "node.toml"), "node"),
        (("send", "a.dcm", "--to", "PACS@127.0.0.1:104"), "node"),
        (("encrypt", "-r", "a.pub", "study", "-o", "noise", "--workers", "2"), "archive"),
        (("report", "a.dcm", "-o", "report"), "report"),
    ],
)
def test_what_is_missing_is_named(core: Environment, tmp_path: Path, words: tuple[str, ...], extra: str):
    settings = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    (tmp_path / "a.pub").write_text(core.run("iomt-crypt", "keygen", "-o", tmp_path / "a.key", **settings).stdout)
    (tmp_path / "study").mkdir()
    for name in ("a.dcm", "study/0.dcm"):
        shutil.copy(get_testdata_file("CT_small.dcm", download=False), tmp_path / name)
    (tmp_path / "node.toml").write_text(
        'spool = {folder = "spool"}\nkeys = {recipients = ["a.pub"], site_key = "site.key"}\n'
        'destination = {ae_title = "PACS", host = "127.0.0.1", port = 104}\n'
    )
    done = core.run("iomt-crypt", *words, cwd=tmp_path, check=False, **settings)
    assert done.returncode in (1, 2)
    assert f"iomt-crypt[{extra}]" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("extras", "packages", "skipped", "at_least"),
    [
        ("node", "node", "", 20),
        ("checks", "checks", "training", 4),
        ("checks,train", "checks", "", 4),
        ("cluster", "archive", "", 20),
        ("torch", "cipher", "triton", 10),
        ("hsm,kms,escrow", "seal", "", 25),
        ("report", "analysis", "", 50),
    ],
)
def test_an_extra_brings_what_it_needs(wheel, tmp_path, extras, packages, skipped, at_least):
    environment = by_link(tmp_path / "venv", wheel, extras)
    done = environment.run("python", "-c", IMPORT_ALL, packages, skipped, cwd=tmp_path)
    assert int(done.stdout.split()[0]) >= at_least


def test_many_processes_with_the_extra(wheel: Path, tmp_path: Path):
    environment = by_link(tmp_path / "venv", wheel, "archive")
    assert not environment.distributions() & {"torch", "monai", "pynetdicom"}
    (tmp_path / "study").mkdir()
    for number in range(4):
        shutil.copy(get_testdata_file("MR_small.dcm", download=False), tmp_path / "study" / f"{number}.dcm")
    settings = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    (tmp_path / "a.pub").write_text(
        environment.run("iomt-crypt", "keygen", "-o", tmp_path / "a.key", **settings).stdout
    )
    words = ("encrypt", "-r", "a.pub", "study", "-o", "noise", "--workers", "2")
    environment.run("iomt-crypt", *words, cwd=tmp_path, **settings)
    assert len(list((tmp_path / "noise").glob("*.dcm"))) == 4
