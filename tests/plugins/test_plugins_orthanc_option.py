"""The section of Orthanc's configuration: what is checked before anything starts."""

from __future__ import annotations

import ast
import json
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from iomt_crypt_orthanc.option import Options, read_configuration, read_options, without_comments
from orthanc_harness import PACKAGE, SCRIPT, make_python, require_libraries, start

from iomt_crypt.errors import ConfigurationError
from iomt_crypt.seal import HpkeIdentity, write_identity

README = (PACKAGE / "README.md").read_text()


def section(**options) -> dict:
    return {"IomtCrypt": {"Recipients": ["iomtpk1abc"], "Folder": "state", "Python": sys.executable} | options}


def test_the_least_that_is_needed(tmp_path: Path):
    options = read_options(section(), base=tmp_path)
    assert options.recipients == ["iomtpk1abc"]
    assert options.folder == str(tmp_path / "state")
    assert options.site_key == str(tmp_path / "state" / "site.key")
    assert options.quarantine == tmp_path / "state" / "quarantine"
    assert (options.identities, options.users, options.on_failure) == ([], [], "quarantine")


def test_paths_start_at_the_configuration(tmp_path: Path):
    (tmp_path / "hospital.pub").touch()
    values = ["hospital.pub", "/etc/else.pub", "keys/missing.pub", "passphrase:file", "pkcs11:token=x;object=a/b"]
    options = read_options(section(Recipients=values), base=tmp_path)
    expected = [str(tmp_path / "hospital.pub"), "/etc/else.pub", str(tmp_path / "keys/missing.pub"), *values[3:]]
    assert options.recipients == expected


WRONG = {
    "section is missing": ({}, {}),
    "unknown option 'Recipient'": (section(Recipient=[]), {}),
    "Recipients is empty": (section(Recipients=[]), {}),
    "Recipients must be a list": (section(Recipients="iomtpk1abc"), {}),
    "Folder must be a text": (section(Folder=3), {}),
    "Workers is 0": (section(Workers=0), {}),
    "Workers must be a whole number": (section(Workers=True), {}),
    "Uids is 'new'": (section(Uids="new"), {}),
    "is no interpreter": (section(Python="/nowhere/python"), {}),
    "IngestTranscoding": (section(), {"IngestTranscoding": "1.2.840.10008.1.2.4.80"}),
    "StoreDicom": (section(), {"StoreDicom": False}),
    "Identities is empty": (section(Users=["alice"]), {}),
    "does not ask who calls": (section(Users=["alice"], Identities=["k"]), {"RegisteredUsers": {"alice": "x"}}),
    "not among Orthanc's RegisteredUsers": (
        section(Users=["eve"], Identities=["k"]),
        {"RegisteredUsers": {"alice": "x"}, "AuthenticationEnabled": True},
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_refused(tmp_path: Path, message: str):
    configuration, host = WRONG[message]
    with pytest.raises(ConfigurationError, match=message):
        read_options(configuration | host, base=tmp_path)


def test_orthanc_s_comments(tmp_path: Path):
    text = '{ // a\n "A": "http://x/*no*/", /* b\n */ "B": "\\"//" }'
    assert json.loads(without_comments(text)) == {"A": "http://x/*no*/", "B": '"//'}
    (tmp_path / "1.json").write_text('{"A": 1}')
    (tmp_path / "2.json").write_text('{"B": 2} // two')
    assert read_configuration(tmp_path) == {"A": 1, "B": 2}
    (tmp_path / "2.json").write_text("{")
    with pytest.raises(ConfigurationError, match="not JSON"):
        read_configuration(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_configuration(tmp_path / "none.json")


def test_every_option_is_documented():
    rows = [line for line in README.splitlines() if line.startswith("| `") and line.count("|") == 4]
    written = {line.split("`")[1]: line for line in rows}
    for option in fields(Options):
        row = written.pop(option.metadata["name"])
        assert option.metadata["meaning"] in row
        default = option.metadata["default"]
        assert ("needed" if default is None else f"`{json.dumps(default)}`") in row
        assert all(f"`{json.dumps(each)}`" in row for each in option.metadata["one_of"])
    assert written == {}


def test_every_link_leads_somewhere():
    for text, folder in ((README, PACKAGE), ((PACKAGE.parent / "README.md").read_text(), PACKAGE.parent)):
        for target in re.findall(r"\]\(([^)#]+)", text):
            assert (folder / target).exists(), target


HOST = ("__init__", "option", "channel", "pool", "reception", "release", "preview", "alarm", "script/iomt_crypt_plugin")


@pytest.mark.parametrize("name", HOST)
def test_the_host_half_needs_the_standard_library_only(name: str):
    """Orthanc's interpreter has none of our dependencies, and need not be of the workers' version."""
    allowed = {f"iomt_crypt_orthanc.{each}" for each in HOST} | {"iomt_crypt.errors", "iomt_crypt_orthanc", "orthanc"}
    tree = ast.parse((PACKAGE / "iomt_crypt_orthanc" / f"{name}.py").read_text())
    for node in ast.walk(tree):
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module]
        for module in found:
            assert module in allowed or module.split(".")[0] in sys.stdlib_module_names, module
            assert module != "orthanc" or name.startswith("script")


def test_modules_are_small():
    for path in (PACKAGE / "iomt_crypt_orthanc").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 300, path


@pytest.mark.peer
@pytest.mark.parametrize("wrong", ["no recipients", "identity for all to read", "unknown option", "folder"])
def test_orthanc_does_not_start(tmp_path: Path, peer, wrong: str):
    """A plug-in that cannot encrypt keeps Orthanc from listening at all."""
    peer("Orthanc")
    require_libraries()
    identity = HpkeIdentity.generate()
    write_identity(tmp_path / "key", identity)
    (tmp_path / "pub").write_text(f"{identity.recipient}\n")
    (tmp_path / "file").touch()
    options = {
        "Recipients": [str(tmp_path / "pub")],
        "Folder": str(tmp_path / "state"),
        "Python": str(make_python(tmp_path, tmp_path / "FAULT")),
    }
    options |= {
        "no recipients": {"Recipients": [str(tmp_path / "missing.pub")]},
        "identity for all to read": {"Identities": [str(tmp_path / "key")]},
        "unknown option": {"Recipient": []},
        "folder": {"Folder": str(tmp_path / "file")},
    }[wrong]
    (tmp_path / "key").chmod(0o644)
    expected = {
        "no recipients": "cannot be read",
        "identity for all to read": "others may read",
        "unknown option": "unknown option 'Recipient'",
        "folder": "quarantine",
    }[wrong]
    plugins = {"Plugins": ["/usr/share/orthanc/plugins/libOrthancPython.so"], "PythonScript": str(SCRIPT)}
    with (
        pytest.raises(RuntimeError, match=expected) as caught,
        start(tmp_path / "orthanc", plugins | {"IomtCrypt": options}),
    ):
        pytest.fail("it listens")
    assert "DICOM server listening" not in str(caught.value)
