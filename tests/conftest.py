"""What all tests share: keys, corpora, real peers."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import corpus
import pytest
from hypothesis import HealthCheck, settings

from demo import orthanc, samples
from iomt_crypt.dicom import Policy
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring

# A shared machine stalls now and then: no deadline. Failures print what reproduces them.
settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("default")

_ELSEWHERE = {"Orthanc": orthanc.binary}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What one worker does in one go comes first, so that no core waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def pytest_report_header() -> str:
    return f"real files: {len(corpus.CASES)}, {'with' if corpus.SHARED.exists() else 'without'} {corpus.SHARED}"


@pytest.fixture(scope="session", autouse=True)
def _own_configuration(tmp_path_factory: pytest.TempPathFactory):
    """No test reads or writes the user's site key."""
    before = os.environ.get("XDG_CONFIG_HOME")
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))
    yield
    if before is None:
        del os.environ["XDG_CONFIG_HOME"]
    else:
        os.environ["XDG_CONFIG_HOME"] = before


@pytest.fixture(scope="session")
def identity() -> HpkeIdentity:
    return HpkeIdentity.generate()


@pytest.fixture(scope="session")
def epoch(identity: HpkeIdentity) -> Epoch:
    return Epoch.create([identity.recipient])


@pytest.fixture(scope="session")
def keyring(identity: HpkeIdentity) -> Keyring:
    return Keyring([identity])


@pytest.fixture(scope="session")
def policy() -> Policy:
    return Policy(site_key=bytes(range(32)))


@pytest.fixture(scope="session")
def sample_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The synthetic studies: from ``sample_dicom/`` where they are, else made once for all workers."""
    there = sorted(samples.DEFAULT_FOLDER.rglob("*.dcm"))
    if there:
        return there
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (base / "samples.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = samples.ensure(base / "samples")
    assert made
    return made


@pytest.fixture(scope="session")
def peer():
    """``peer("dcmdump")``: the path of a real peer's program.

    With CI=true a missing one is a failure, else a skip that names it.
    """

    def locate(name: str) -> str:
        found = _ELSEWHERE.get(name, lambda: shutil.which(name))()
        if found is None:
            message = f"the peer {name} is not installed (tests/install_peers.sh)"
            pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
        return str(found)

    return locate
