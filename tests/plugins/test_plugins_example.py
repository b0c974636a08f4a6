"""Extension points: each is documented, has an example, and the example is called when it is installed."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
from clean_environment import ROOT, copy_project, with_packages_of_the_tests
from pydicom import dcmread
from readme_script import follow, links

from iomt_crypt import encrypt_file, extension
from iomt_crypt.dicom import inspect_file
from iomt_crypt.errors import ConfigurationError, InputError, NetworkError
from iomt_crypt.node import status
from iomt_crypt.node.config import NodeConfig
from iomt_crypt.node.destination import PluginClient
from iomt_crypt.node.route import Routes

FOLDER = ROOT / "plugins" / "example"
GUIDE = ROOT / "docs" / "guide" / "plugin.md"
PROJECT = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]

ODD = """
from iomt_crypt.errors import InputError, NetworkError, StorageError

calls = []

class Destination:
    def __init__(self, argument):
        self.argument = argument
    def deliver(self, parcel):
        calls.append((parcel.sop_class_uid, parcel.sop_instance_uid, parcel.path.read_bytes()[:132]))
        faults = {"away": NetworkError("away"), "no": InputError("no"), "full": StorageError("full"),
            "odd": KeyError("Zebedee^Quentin")}
        if self.argument in faults:
            raise faults[self.argument]
        if self.argument in ("false", "zero"):
            return {"false": False, "zero": 0}[self.argument]
        return self.later() if self.argument == "later" else None
    async def later(self):
        calls.append("later")
    def close(self):
        raise RuntimeError

class Route:
    def __init__(self, argument):
        self.argument = argument
    def accepts(self, header):
        if self.argument == "raise":
            raise ValueError(str(header.PatientName))
        return {"yes": True, "no": False, "one": 1, "none": None}[self.argument]

def nothing(argument):
    return None
def broken(argument):
    raise RuntimeError("secret")
def leaves(argument):
    raise SystemExit(3)
"""
POINTS = "[{group}]\nodd = odd_plugin:{kind}\nnothing = odd_plugin:nothing\nbroken = odd_plugin:broken\n\
leaves = odd_plugin:leaves\ngone = odd_plugin:gone\nobject = odd_plugin:object\n"


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A distribution that offers destinations and routes, in all ways that are wrong too."""
    site = tmp_path / "site-packages"
    info = site / "odd_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "odd_plugin.py").write_text(ODD)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-plugin\nVersion: 1.0\n")
    groups = {"iomt_crypt.destinations": "Destination", "iomt_crypt.routes": "Route"}
    (info / "entry_points.txt").write_text("".join(POINTS.format(group=g, kind=k) for g, k in groups.items()))
    monkeypatch.syspath_prepend(str(site))
    yield site
    import sys

    sys.modules.pop("odd_plugin", None)


@pytest.fixture
def encrypted(tmp_path, epoch, policy, sample_files) -> Path:
    smallest = min(sample_files, key=lambda path: path.stat().st_size)
    encrypt_file(smallest, tmp_path / "object.dcm", recipients=epoch, policy=policy)
    return tmp_path / "object.dcm"


def test_every_extension_point_is_documented_and_has_an_example():
    offered = set(PROJECT["entry-points"]) | {"iomt_crypt.checks"}
    assert offered == {point.group for point in extension.POINTS}
    guide, readme = GUIDE.read_text(), (FOLDER / "README.md").read_text()
    for point in extension.POINTS:
        assert f"`{point.group}`" in guide, point
        for option in point.named.split(", "):
            assert f"`{option}`" in guide, (point, option)
        for function in point.offers.split("(")[0].split():
            assert function in guide
    for group in PROJECT["entry-points"]:
        for name in PROJECT["entry-points"][group]:
            assert f"`{name}`" in readme
    options = set(NodeConfig.model_fields["destination"].annotation.model_fields)
    assert {"plugin", "predicates"} <= options
    assert links(FOLDER / "README.md") == []
    assert links(GUIDE) == []


def test_every_hook_of_the_code_is_in_the_table():
    """Whatever looks for entry points uses a group of the table."""
    groups = {point.group for point in extension.POINTS}
    for path in (ROOT / "iomt_crypt").rglob("*.py"):
        for line in path.read_text().splitlines():
            if line.startswith('GROUP = "'):
                assert line.split('"')[1] in groups, path


def test_a_plug_in_where_the_archive_would_be(odd, encrypted):
    client = PluginClient("odd")
    client.open([])
    assert client.is_open
    assert client.store(encrypted) == (status.SUCCESS, "")
    import odd_plugin

    found = inspect_file(encrypted)
    assert odd_plugin.calls[-1] == (found.sop_class_uid, found.sop_instance_uid, encrypted.read_bytes()[:132])
    client.release()  # its close raises, and that harms nothing
    assert not client.is_open
    with pytest.raises(FileNotFoundError):
        client.store(encrypted.with_name("gone.dcm"))


@pytest.mark.parametrize(
    ("argument", "error", "words"),
    [
        ("away", NetworkError, "away"),
        ("no", InputError, "no"),
        ("full", NetworkError, "full"),
        ("odd", NetworkError, "KeyError"),
        # What is not None confirms nothing: a "no", or a coroutine that nobody runs.
        ("false", NetworkError, "returned bool and not None"),
        ("zero", NetworkError, "returned int and not None"),
        ("later", NetworkError, "returned coroutine and not None"),
    ],
)
def test_what_a_destination_raises(odd, encrypted, argument, error, words):
    client = PluginClient(f"odd:{argument}")
    with pytest.raises(error, match=words) as caught:
        client.store(encrypted)
    assert "Zebedee" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("absent", "there is no plug-in absent"),
        ("nothing", "made nothing"),
        ("broken", "failed to start"),
        ("leaves", "failed to start"),
        ("gone", "failed to be loaded"),
        ("object", "lacks|failed to"),
        ("", "no name"),
        ("../x", "no name"),
    ],
)
def test_what_cannot_be_opened_is_said(odd, text, words):
    for make in (PluginClient, lambda text: Routes([text])):
        with pytest.raises(ConfigurationError, match=words) as caught:
            make(text)
        assert "secret" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize(
    ("texts", "refusal"),
    [
        ([], ""),
        (["odd:yes"], ""),
        (["odd:yes", "odd:no"], "route odd: not for this destination"),
        (["odd:one"], "route odd: no answer"),
        (["odd:none"], "route odd: no answer"),
        (["odd:raise"], "route odd: it failed (ValueError)"),
    ],
)
def test_an_object_goes_when_all_say_so(odd, encrypted, texts, refusal):
    assert Routes(texts).refusal(encrypted) == refusal


def test_what_cannot_be_read_does_not_go(odd, tmp_path):
    assert "it failed" in Routes(["odd:yes"]).refusal(tmp_path / "gone.dcm")


def test_two_packages_of_the_same_name(odd, tmp_path):
    info = odd / "other_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[iomt_crypt.routes]\nodd = other:open_route\n")
    with pytest.raises(ConfigurationError, match="several packages"):
        Routes(["odd"])


@pytest.fixture(scope="module")
def followed(tmp_path_factory, sample_files) -> Path:
    """A checkout in which the README was followed, in an environment without this project."""
    base = tmp_path_factory.mktemp("example")
    folder = copy_project(base / "checkout", "plugins/example")
    (folder / "sample_dicom").mkdir()
    by_size = sorted(sample_files, key=lambda path: path.stat().st_size)
    computed = [path for path in by_size if dcmread(path, specific_tags=["Modality"]).Modality == "CT"][:2]
    other = [path for path in by_size if dcmread(path, specific_tags=["Modality"]).Modality != "CT"][:1]
    for number, path in enumerate([*computed, *other]):
        shutil.copy(path, folder / "sample_dicom" / f"{number}.dcm")
    marked = dcmread(folder / "sample_dicom" / "1.dcm")
    marked.BurnedInAnnotation = "YES"
    marked.save_as(folder / "sample_dicom" / "1.dcm")
    follow(FOLDER / "README.md", with_packages_of_the_tests(base / "venv"), folder)
    return folder


def test_the_key_holder_of_the_example_was_called(followed):
    for path in (followed / "sample_dicom").iterdir():
        assert (followed / "back" / path.name).read_bytes() == path.read_bytes()
        found = inspect_file(followed / "encrypted" / path.name).encryption
        assert [recipient.kind for recipient in found.recipients] == ["plugin:shelf"]


def test_destination_route_and_check_of_the_example_were_called(followed):
    """Three were sent: one goes, one has the wrong modality, one has names in its pixels."""
    (delivered,) = (followed / "archive").rglob("*.dcm")
    encryption = inspect_file(delivered).encryption
    assert [recipient.kind for recipient in encryption.recipients] == ["plugin:shelf"]
    assert dcmread(delivered).StudyInstanceUID == delivered.parent.name
    from iomt_crypt.node.journal import Journal

    journal = Journal(followed / "plugins" / "example" / "spool" / "journal.sqlite3")
    reasons = sorted(f"{entry.state}: {entry.reason or entry.alarm}" for entry in journal.undelivered())
    journal.close()
    said = " ".join(reasons)
    assert len(reasons) == 2, reasons
    assert "route modality: not for this destination" in said
    assert "RejectBurnedInd" in said
