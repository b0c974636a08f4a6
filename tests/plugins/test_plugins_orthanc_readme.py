"""The README of the Orthanc plug-in, followed to the letter in a clean environment; only folders and ports differ."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from clean_environment import PYTHON, reuse_kernels
from iomt_crypt_orthanc import quarantine
from orthanc_harness import PACKAGE, ROOT, require_libraries
from plain_image import write_image
from readme_script import free_port

from demo import orthanc
from iomt_crypt.dicom import inspect_file

pytestmark = pytest.mark.peer

README = (PACKAGE / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LIMIT_S = 300.0


class Machine:
    """Folders in place of the README's, and an Orthanc in place of the service."""

    def __init__(self, folder: Path, checkout: Path) -> None:
        self.folder, self.checkout = folder, checkout
        self.http_port, self.port = free_port(), free_port()
        self.places = {
            "/opt/iomt-crypt": str(folder / "opt"),
            "/etc/orthanc": str(folder / "etc"),
            "/var/lib/orthanc": str(folder / "lib"),
            "127.0.0.1:8042": f"127.0.0.1:{self.http_port}",
            "127.0.0.1 4242": f"127.0.0.1 {self.port}",
            "storescu -aec": f"{shutil.which('storescu', path='/usr/bin')} -aec",
            # whoever runs the test is Orthanc's user
            "runuser -u orthanc -- ": "",
            "-o orthanc -g orthanc ": "",
            "chown orthanc:orthanc": "ls",
            "systemctl restart orthanc\n": "",
            "check\n": f"check --config {folder / 'etc'}\n",
        }

    def translated(self, text: str) -> str:
        for place, here in self.places.items():
            text = text.replace(place, here)
        return text

    def run(self, block: str) -> str:
        """What a block prints; it must succeed."""
        # An interpreter of its own, and nothing of this test's environment.
        environment = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8"}
        environment |= {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_", "https_"))}
        # Of hundreds of modules few are used here.
        environment |= {"PIP_NO_COMPILE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        if cache := os.environ.get("PIP_CACHE_DIR") or (Path.home() / ".cache" / "pip"):
            environment["PIP_CACHE_DIR"] = str(cache)
        done = subprocess.run(
            ["sh", "-e"],
            input=self.translated(block),
            cwd=self.checkout,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def service(self):
        log = self.folder / "orthanc.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [str(orthanc.binary()), str(self.folder / "etc")],
                stdout=sink,
                stderr=sink,
                env={"HOME": str(self.folder), "PATH": "/usr/bin:/bin", "TCP_NODELAY": "1"},
            )
        try:
            self.wait(process, log)
            yield
        finally:
            process.terminate()
            process.wait(30)

    def wait(self, process: subprocess.Popen, log: Path) -> None:
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline and process.poll() is None:
            with closing(socket.socket()) as end:
                if end.connect_ex(("127.0.0.1", self.http_port)) == 0:
                    return
            time.sleep(0.1)
        pytest.fail(log.read_text())


@pytest.fixture
def machine(tmp_path: Path, peer) -> Machine:
    for name in ("Orthanc", "storescu", "curl"):
        peer(name)
    require_libraries()
    checkout = tmp_path / "checkout"
    names = ("iomt_crypt", "plugins/orthanc", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "constraints.txt")
    for name in names:
        copy: Callable = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        options = {"ignore": shutil.ignore_patterns("__pycache__")} if (ROOT / name).is_dir() else {}
        copy(ROOT / name, checkout / name, **options)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(os.path.realpath(sys.executable))
    found = Machine(tmp_path, checkout)
    (tmp_path / "etc").mkdir()
    (tmp_path / "lib").mkdir()
    configuration = {
        "Plugins": ["/usr/share/orthanc/plugins/libOrthancPython.so"],
        "StorageDirectory": str(tmp_path / "lib" / "db"),
        "IndexDirectory": str(tmp_path / "lib" / "db"),
        "HttpPort": found.http_port,
        "DicomPort": found.port,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
    }
    text = json.dumps(configuration).removesuffix("}")
    (tmp_path / "etc" / "orthanc.json").write_text(text + ', // as Debian has it\n "AuthenticationEnabled" : false\n}')
    return found


def test_followed_to_the_letter(machine: Machine):
    packages, *first, send, second, ask = BLOCKS
    assert packages.startswith("apt-get install")
    for block in first:
        machine.run(block)
        if "pip install" in block:
            assert reuse_kernels(machine.folder / "opt" / "lib" / PYTHON / "site-packages") > 0
    first_image = write_image(machine.checkout, 1)
    shutil.copy(first_image, machine.checkout / "image.dcm")
    with machine.service():
        status = json.loads(machine.run(send))
        assert (status["store"], status["problem"], status["quarantine"]) == (1, "", 0)
    second_image = write_image(machine.checkout, 2)
    shutil.copy(second_image, machine.checkout / "second.dcm")
    machine.run(second)
    with machine.service():
        identifiers = json.loads(machine.run(ask))
        assert len(identifiers) == 2
        url = "http://127.0.0.1:8042/iomt-crypt/instances"
        back = []
        for identifier in identifiers:
            code = f"curl -s -o {identifier} -w '%{{http_code}}' -u alice:change-this {url}/{identifier}/file"
            back.append(machine.run(code))
        assert sorted(back) == ["200", "500"]  # the first was stored before the viewer was a recipient
        opened = next(each for each, code in zip(identifiers, back, strict=True) if code == "200")
        # storescu sends the data set; Orthanc writes a file meta header of its own around it
        assert inspect_file(machine.checkout / opened).encryption is None
        data = (machine.checkout / opened).read_bytes()
        assert data.endswith(second_image.read_bytes()[-8192:])
        assert machine.run(f"curl -s -o x -w '%{{http_code}}' -u bob:and-this {url}/{opened}/file") == "403"
        check_the_quarantine(machine)


def check_the_quarantine(machine: Machine) -> None:
    """The commands of the README's list, on an object that Orthanc could not have encrypted."""
    commands = re.findall(r"^python -m iomt_crypt_orthanc quarantine.*?(?=\s{4}|\n)", README, re.MULTILINE)
    assert [line.split()[4] for line in commands] == ["list", "retry", "retry", "export"]
    from iomt_crypt.seal import Epoch, load_recipients

    epoch = Epoch.create(load_recipients([machine.folder / "etc/iomt-crypt/hospital.pub"]))
    data = write_image(machine.checkout, 3).read_bytes()
    (machine.checkout / "FILE").write_text("bob:and-this\n")
    (machine.checkout / "FILE").chmod(0o600)
    for number, command in enumerate(commands):
        name = quarantine.put(machine.folder / "lib/iomt-crypt/quarantine", data, epoch=epoch, reason="a test")
        line = command.replace("python", "/opt/iomt-crypt/bin/python", 1).replace("FOLDER", f"out{number}")
        line += f" --config {machine.folder / 'etc'}\n"
        assert name in machine.run(line)
    assert [path.read_bytes() for path in (machine.checkout / "out3").iterdir()] == [data]
    assert all(inspect_file(path).encryption for path in (machine.checkout / "out2").iterdir())
