"""The example and the guide run as they are printed."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from iomt_crypt import encrypt_file

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "MONAI.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore:PydicomReader. ImageOrientationPatient:UserWarning")
def test_losses_of_encrypted_and_plain_training_are_equal(sample_files, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train_from_encrypted.py", str(sample_files[0].parents[1])])
    names = runpy.run_path(str(ROOT / "examples" / "train_from_encrypted.py"))
    losses = names["losses"]
    assert losses["encrypted"] == losses["plain"]
    assert len(losses["plain"]) == 20
    assert losses["plain"][-1] < losses["plain"][0] - 0.05, "it learns"
    assert "equal, bit for bit" in capsys.readouterr().out
    assert not Path(names["ENCRYPTED"]).exists()
    assert 31_000 < names["noise"].mean() < 34_500


@pytest.fixture(scope="module")
def workplace(sample_files, epoch, policy, identity, identity_file, tmp_path_factory) -> Path:
    """What the guide assumes: a key, and an encrypted study of two series."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "identity.txt").symlink_to(identity_file)
    (folder / "recipients.txt").write_text(f"{identity.recipient}\n")
    for path in sample_files:
        if path.parent.name in ("ct", "mr"):
            target = folder / "study" / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            encrypt_file(path, target, recipients=epoch, policy=policy)
    return folder


def test_the_guide_runs(workplace, monkeypatch, capsys):
    assert len(BLOCKS) == 6
    monkeypatch.chdir(workplace)
    before = torch.serialization.get_safe_globals()
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(block, names)
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)
    said = capsys.readouterr().out
    assert "torch.Size([1, 512, 512, 12])" in said
    assert "torch.Size([2, 1, 64, 64, 12]) tensor([0, 1])" in said
    assert "authentic 15.9" in said or "authentic 15.8" in said
    for path in (workplace / "cache").iterdir():
        assert b"iomt_crypt_seal" in path.read_bytes()
