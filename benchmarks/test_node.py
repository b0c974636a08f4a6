"""Objects per second through the node, beside DCMTK's storescu -> storescp without it, in the same run.

``pytest benchmarks/test_node.py -s`` prints the table and writes benchmarks/results/node.json. 300 CT objects of
0.5 MB, one association. DCMTK's programs are called by their paths: a virtual environment may have others of the same
name first on its PATH, which fail at once and look fast.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from demo import gateway, samples

STORESCU, STORESCP = "/usr/bin/storescu", "/usr/bin/storescp"
RESULTS = Path(__file__).with_name("results") / "node.json"
N_OBJECTS = 300
LIMIT_S = 300.0
#: Nagle and delayed acknowledgement cost DCMTK 40 ms an object; the node sets the same option on its own sockets.
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


@dataclass(frozen=True)
class Scp:
    name: str
    host: str
    port: int
    ae_title: str
    folder: Path

    def count(self):
        return sum(1 for _ in self.folder.iterdir())


@contextmanager
def storescp(folder):
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([STORESCP, "--fork", "-od", folder, str(port)], env=ENVIRONMENT, start_new_session=True)
    try:
        wait_for(lambda: answers(port))
        yield Scp("storescp", "127.0.0.1", port, "STORESCP", folder)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def send(files, host, port):
    done = subprocess.run([STORESCU, "-aet", "STORESCU", host, str(port), *files], env=ENVIRONMENT, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def objects(tmp_path):
    folder = tmp_path / "objects"
    folder.mkdir()
    ds = pydicom.dcmread(next(path for path in samples.ensure() if path.parent.name == "ct"))
    for number in range(N_OBJECTS):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.save_as(folder / f"{number}.dcm")
    return sorted(folder.iterdir())


def test_relay(objects, tmp_path):
    if not shutil.which(STORESCU):
        pytest.fail("DCMTK is not installed (tests/install_peers.sh)")
    rates = {}
    with storescp(tmp_path / "direct") as scp:
        started = time.monotonic()
        send(objects, scp.host, scp.port)
        wait_for(lambda: scp.count() == N_OBJECTS)
        rates["storescu -> storescp"] = N_OBJECTS / (time.monotonic() - started)
    for guard, checks in (("with the guard", ""), ("without its look", '[checks]\npolicy = "off"\n')):
        folder = tmp_path / guard
        folder.mkdir()
        with storescp(folder / "archive") as scp:
            answered, arrived = relay(objects, folder, scp, checks)
        rates[f"storescu -> node, answered, {guard}"] = answered
        rates[f"... -> storescp, all arrived, {guard}"] = arrived
    direct = rates["storescu -> storescp"]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rates, indent=1) + "\n")
    for name, rate in rates.items():
        print(f"{name:50} {rate:6.0f} objects/s  {rate / direct:5.2f} of direct")


def relay(objects, folder, scp, checks):
    """Objects per second through a node that has forwarded one before: answered, and all arrived."""
    _, recipient = gateway.make_key(folder)
    config = gateway.write_config(folder, recipient, scp)
    config.write_text(config.read_text() + checks)
    first, *others = objects
    with gateway.run_node(config) as node:
        host, port = node.address.partition("@")[2].split(":")
        send([first], host, port)
        wait_for(lambda: scp.count() == 1)  # the guard's packages take seconds to load
        started = time.monotonic()
        send(others, host, port)
        answered = time.monotonic() - started
        wait_for(lambda: scp.count() == N_OBJECTS)
        return len(others) / answered, len(others) / (time.monotonic() - started)
