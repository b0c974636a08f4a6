"""Configuration: defaults, errors with place and hint, and documentation that agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from iomt_crypt.errors import ConfigurationError
from iomt_crypt.node.config import NodeConfig, load

ROOT = Path(__file__).parents[2]
MINIMAL = """
[spool]
folder = "spool"
[keys]
recipients = ["recipients.txt"]
site_key = "site.key"
[destination]
ae_title = "ARCHIVE"
host = "archive.example"
port = 104
"""


def _load(tmp_path: Path, text: str) -> NodeConfig:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return load(path)


def test_minimal_file_gets_defaults_and_absolute_paths(tmp_path):
    (tmp_path / "recipients.txt").write_text("x")
    config = _load(tmp_path, MINIMAL)
    assert config.spool.folder == tmp_path / "spool"
    assert config.keys.site_key == tmp_path / "site.key"
    assert config.keys.recipients == [str(tmp_path / "recipients.txt")]
    assert config.node.ae_title == "IOMTCRYPT"
    assert str(config.destination.peer) == "ARCHIVE@archive.example:104"


def test_a_passphrase_file_is_found_beside_the_configuration(tmp_path):
    (tmp_path / "words").write_text("x")
    config = _load(tmp_path, MINIMAL.replace('"recipients.txt"', '"passphrase:words", "passphrase:missing"'))
    assert config.keys.recipients == [f"passphrase:{tmp_path / 'words'}", "passphrase:missing"]


def test_recipient_text_longer_than_a_file_name_stays_text(tmp_path):
    text = "iomtpk1" + "a" * 2000
    assert _load(tmp_path, MINIMAL.replace("recipients.txt", text)).keys.recipients == [text]


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (("port = 104", "prot = 104"), r"unknown option destination\.prot", "'port'"),
        (("[spool]", "[spol]\nx = 1\n[spool]"), "unknown option spol", "'spool'"),
        (("port = 104", ""), r"destination\.port is missing", "TCP port"),
        (("port = 104", "port = 70000"), r"destination\.port", "65535|TCP port"),
        (("port = 104", 'port = "104"'), r"destination\.port", "TCP port"),
        (('"ARCHIVE"', '"SEVENTEEN_LETTERS"'), r"destination\.ae_title", "AE title"),
        (('["recipients.txt"]', "[]"), r"keys\.recipients", "recipient"),
        (('"spool"', '"spool"\nreserve_bytes = -1'), r"spool\.reserve_bytes", "free space"),
        (("[spool]", '[receive]\nallow_addresses = ["10.0.0.300"]\n[spool]'), r"receive\.allow_addresses", "."),
        (("[spool]", '[policy]\nsuite = "rot13"\n[spool]'), r"policy\.suite", "suite"),
        (("[spool]", "[spool"), "is not TOML", ""),
    ],
)
def test_errors_name_the_place_and_say_what_is_meant(tmp_path, change, message, hint):
    assert change[0] in MINIMAL
    with pytest.raises(ConfigurationError, match=message) as caught:
        _load(tmp_path, MINIMAL.replace(*change, 1))
    assert re.search(hint, caught.value.hint)


def test_missing_file_points_at_the_example(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "none.toml")
    assert "node.example.toml" in caught.value.hint


def _options():
    for section_name, section in NodeConfig.model_fields.items():
        for name, field in section.annotation.model_fields.items():
            yield section_name, name, field


def test_every_option_is_documented_with_its_default():
    text = (ROOT / "docs" / "NODE.md").read_text()
    options = list(_options())
    assert len(options) > 25
    for section, name, field in options:
        row = re.search(rf"^\| `{section}\.{name}` \| (?P<default>[^|]+) \| (?P<text>.+) \|$", text, re.MULTILINE)
        assert row, f"{section}.{name} is not in docs/NODE.md"
        default = "required" if field.is_required() else f"`{_toml(field.default)}`"
        assert row["default"] == default
        assert field.description in row["text"]


def _toml(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_documentation_has_no_option_that_does_not_exist():
    rows = set(re.findall(r"^\| `(\w+\.\w+)` \|", (ROOT / "docs" / "NODE.md").read_text(), re.MULTILINE))
    assert rows == {f"{section}.{name}" for section, name, _ in _options()}


def test_example_file_loads_and_shows_every_option_with_its_default(tmp_path):
    text = (ROOT / "docs" / "node.example.toml").read_text()
    config = _load(tmp_path, text)
    for section, name, field in _options():
        assert re.search(rf"^#? ?{name} = ", text, re.MULTILINE), f"{section}.{name} is not in the example"
        if not field.is_required():
            assert getattr(getattr(config, section), name) == field.default
    # Options that are commented out are there to show a default: with them the file means the same.
    shown = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert _load(tmp_path, shown).receive == config.receive
