"""What the tests of the checks share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from iomt_crypt.seal import HpkeIdentity, write_identity

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]):
    """`LoadImage` makes all of MONAI's readers, one of which misses a decoder for GPUs, whichever is asked for."""
    quiet = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(quiet)


@pytest.fixture(autouse=True)
def _one_thread():
    """Results of float sums depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)


@pytest.fixture(scope="session")
def identity_file(identity: HpkeIdentity, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "identity.txt"
    write_identity(path, identity)
    return path


@pytest.fixture(scope="session")
def stranger() -> HpkeIdentity:
    """An identity that nothing was encrypted to."""
    return HpkeIdentity.generate()
