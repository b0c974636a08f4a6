"""What the README tells people to type works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from pydicom.data import get_testdata_file

from iomt_crypt.node.config import NodeConfig

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_node_s_configuration_is_complete():
    (text,) = blocks("toml")
    config = NodeConfig.model_validate(tomllib.loads(text))
    assert f"port {config.node.port}" in README
    assert config.node.ae_title in README


def test_a_file_and_back(tmp_path: Path):
    script, keys_change = [block for block in blocks("sh") if "keygen" in block]
    (tmp_path / "study" / "series").mkdir(parents=True)
    for number, name in enumerate(("CT_small.dcm", "MR_small.dcm", "reportsi.dcm")):
        shutil.copy(get_testdata_file(name, download=False), tmp_path / "study" / "series" / f"{number}.dcm")
    command = tmp_path / "bin" / "iomt-crypt"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m iomt_crypt "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}

    def run(script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-e"], input=script, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False
        )

    done = run(script)
    assert done.returncode == 0, done.stderr
    for original in (tmp_path / "study" / "series").iterdir():
        assert (tmp_path / "back" / "series" / original.name).read_bytes() == original.read_bytes()
        assert (tmp_path / "encrypted" / "series" / original.name).read_bytes() != original.read_bytes()
    done = run(keys_change)
    assert done.returncode == 0, done.stderr
    assert "can be retired" in done.stdout + done.stderr
    assert len(list((tmp_path / "escrow").iterdir())) == 5
    assert "no matching identity" in run("iomt-crypt verify -i hospital.key encrypted/").stderr
    assert run("iomt-crypt decrypt -i new.key encrypted/ -o again/").returncode == 0
    for original in (tmp_path / "study" / "series").iterdir():
        assert (tmp_path / "again" / "series" / original.name).read_bytes() == original.read_bytes()


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert (Path(__file__).resolve().parents[1] / target).exists(), target
