"""The wheel, built once."""

from __future__ import annotations

from pathlib import Path

import pytest
from clean_environment import Environment, build_wheel, by_pip


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What ``pip install iomt_crypt-*.whl`` makes of a clean environment."""
    return by_pip(tmp_path_factory.mktemp("core") / "venv", wheel)
