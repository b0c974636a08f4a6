"""What the tests of trees share: studies, keys, an S3 server, a Dask cluster started by hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_by_hand import ByHand
from object_tree import write_objects

from iomt_crypt.archive.encryption import Encryption
from iomt_crypt.archive.key import KeySource, SiteKey
from iomt_crypt.archive.operation import Outcome, Summary
from iomt_crypt.archive.result import Results
from iomt_crypt.archive.runner import run_tree
from iomt_crypt.seal import HpkeIdentity, write_identity


@pytest.fixture
def tree(tmp_path) -> Path:
    write_objects(tmp_path / "in", 30)
    return tmp_path / "in"


@pytest.fixture(scope="module")
def old() -> HpkeIdentity:
    """Who can open the objects before they are re-keyed."""
    return HpkeIdentity.generate()


@pytest.fixture(scope="module")
def new() -> list[HpkeIdentity]:
    """Who can afterwards."""
    return [HpkeIdentity.generate() for _ in range(2)]


@pytest.fixture
def key(tmp_path, identity: HpkeIdentity) -> Path:
    path = tmp_path / "identity.key"
    write_identity(path, identity)
    return path


@pytest.fixture
def encryption(tmp_path, identity: HpkeIdentity):
    """``encryption(output, sources, **options)``: an operation."""
    site_key = SiteKey.at(tmp_path / "site.key")
    recipients = KeySource.recipients_of([str(identity.recipient)], lambda _: b"")

    def make(output: object, *sources: object, overwrite: bool = False, resume: bool = False, **options) -> Encryption:
        results = Results(str(output), tuple(map(str, sources)), overwrite=overwrite, resume=resume)
        options = {"suite": "hybrid-1", "uids": "derive", "site_key": site_key} | options
        return Encryption(recipients, results, **options)

    return make


class Told:
    """Runs a tree, and keeps what was reported."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def run(self, operation, *sources: object, **options) -> Summary:
        self.outcomes = []
        return run_tree([str(s) for s in sources], operation, report=self.outcomes.append, **options)

    def states(self) -> dict[str, str]:
        return {Path(o.location).name: o.state for o in self.outcomes}


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """``s3://bucket`` on a server of this machine."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    there = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    before = {name: os.environ.get(name) for name in there}
    os.environ |= there
    boto3.client("s3").create_bucket(Bucket="archive")
    yield "s3://archive"
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    server.stop()


@pytest.fixture
def by_hand() -> Iterator:
    """``by_hand(*options, scheme="tcp")``: a `ByHand` without workers yet."""
    made: list[ByHand] = []

    def make(*options: str, scheme: str = "tcp") -> ByHand:
        made.append(ByHand(*options, scheme=scheme))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()
