"""What an object says about itself, and what it should not be believed to be."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import DataElement, config, dcmread
from pydicom.datadict import dictionary_VR
from typer.testing import CliRunner

from iomt_crypt.cli.app import app
from iomt_crypt.dicom import Policy, inspect_file, protect, read_file
from iomt_crypt.seal import Epoch


@pytest.fixture
def encrypted(sample_files: list[Path], tmp_path: Path, epoch: Epoch, policy: Policy) -> Path:
    path = tmp_path / "encrypted.dcm"
    plain = next(p for p in sample_files if p.name.startswith("mr"))
    with plain.open("rb") as stream, path.open("wb+") as sink:
        protect(read_file(stream), sink, epoch=epoch, policy=policy)
    return path


def with_values(path: Path, **values: str) -> Path:
    data = dcmread(path)
    for keyword, value in values.items():
        data[keyword] = DataElement(keyword, dictionary_VR(keyword), value, validation_mode=config.IGNORE)
    data.save_as(path)
    return path


def test_no_warning_about_what_was_only_encrypted(encrypted: Path):
    assert inspect_file(encrypted).warnings == ()


@pytest.mark.parametrize(
    "values", [{"PatientIdentityRemoved": "YES"}, {"DeidentificationMethod": "some anonymizer"}], ids=["flag", "method"]
)
def test_a_sealed_original_in_a_de_identified_copy_is_told(encrypted: Path, values: dict[str, str]):
    (warning,) = inspect_file(with_values(encrypted, **values)).warnings
    assert "holds its sealed original" in warning


def test_a_plain_de_identified_object_is_no_cause_for_it(sample_files: list[Path], tmp_path: Path):
    path = tmp_path / "plain.dcm"
    path.write_bytes(sample_files[0].read_bytes())
    assert inspect_file(with_values(path, PatientIdentityRemoved="YES")).warnings == ()


def test_the_command_shows_it_and_lets_no_value_steer_the_terminal(encrypted: Path):
    with_values(encrypted, PatientIdentityRemoved="YES", StudyInstanceUID="1.2\x1b[2J")
    done = CliRunner().invoke(app, ["inspect", str(encrypted)])
    assert "warning: the object says that it is de-identified" in done.output
    assert r"1.2\x1b[2J" in done.output
    assert "\x1b" not in done.output
