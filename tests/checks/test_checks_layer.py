"""What importing the checks costs: nothing, until something of them is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from iomt_crypt import checks

_HEAVY = ("torch", "monai", "numba", "numpy", "pydicom", "safetensors")


def loaded(statement: str) -> set[str]:
    """Heavy modules that a fresh interpreter has after ``statement``."""
    code = f"import sys\n{statement}\nprint(*(m for m in {_HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


def test_the_package_loads_nothing():
    assert loaded("import iomt_crypt.checks; dir(iomt_crypt.checks)") == set()


def test_policy_and_configuration_of_the_node_load_nothing_heavy():
    assert not loaded("import iomt_crypt.checks.policy") & {"torch", "monai", "numpy"}
    assert not loaded("import iomt_crypt.node.config") & {"torch", "monai"}


def test_known_answers_and_statistics_need_no_network_library():
    """The receiver and ``verify`` work without MONAI and PyTorch."""
    code = (
        "from iomt_crypt.checks.answer import check_answers; check_answers('hybrid-1')\n"
        "import numpy as np; from iomt_crypt.checks import measure; measure(np.zeros((64, 64), np.uint16))\n"
        "import iomt_crypt.checks.layout, iomt_crypt.node.intake\n"
        "iomt_crypt.checks.layout.SuiteTrial().warm_up('hybrid-1')\n"
        "import iomt_crypt; iomt_crypt.encrypt_file; iomt_crypt.encrypt_dataset"
    )
    assert not loaded(code) & {"torch", "monai", "safetensors"}


def test_public_names():
    assert sorted(checks.__all__) == list(checks.__all__)
    assert dir(checks) == sorted(checks.__all__)
    for name in checks.__all__:
        assert getattr(checks, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        checks.nothing  # noqa: B018
