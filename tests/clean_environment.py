"""Environments that hold this project as a wheel and what the wheel says it needs, and nothing else.

Two ways to make one. `by_pip` is what users do: pip takes the packages from wherever it is configured to (an index, or
a folder of wheels by PIP_FIND_LINKS and PIP_NO_INDEX), at the versions of constraints.txt. `by_link` needs no network
and a second: the packages that the wheel's metadata asks for, and those these ask for, are linked from the environment
of the tests; what the metadata forgets is missing there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
LIMIT_S = 900  # for what hangs; a busy machine takes its time
#: What saves pip half of its work: no environment of its own for each package it builds (pip takes the 0 for a "no" to
#: isolation), and of hundreds of modules only those that are used are compiled.
PIP = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_COMPILE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
_KEPT: list[tempfile.TemporaryDirectory[str]] = []
# what a wheel is made of
_PROJECT = ("iomt_crypt", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "constraints.txt")


@dataclass(frozen=True)
class Environment:
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site(self) -> Path:
        return self.folder / "lib" / PYTHON / "site-packages"

    def variables(self, **more: str) -> dict[str, str]:
        """As after ``source bin/activate``; nothing of the environment of the tests comes through."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        ours = {"VIRTUAL_ENV": str(self.folder), "PATH": path, "NUMBA_NUM_THREADS": "1"}
        return {**kept, **ours, **PIP, **more}

    def run(self, *words: object, cwd: Path | None = None, check: bool = True, **more: str):
        """Run a program of the environment; its output is text."""
        command = [str(self.folder / "bin" / str(words[0])), *map(str, words[1:])]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, cwd=cwd, env=self.variables(**more), check=False
        )
        assert not check or done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done

    def evaluate(self, code: str, **more: str) -> str:
        """What ``code`` prints, in a fresh interpreter without warnings."""
        return self.run("python", "-W", "error", "-c", code, cwd=self.folder, **more).stdout.strip()

    def distributions(self) -> set[str]:
        return {path.name.split("-")[0].lower().replace("_", "-") for path in self.site.glob("*.dist-info")}


def copy_project(folder: Path, *more: str) -> Path:
    """The files that a wheel is made of, and ``more``, as they are in the checkout."""
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "*.nbi", "*.nbc")
    for name in (*_PROJECT, *more):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=skipped)
        else:
            shutil.copy(source, target)
    return folder


def build_wheel(folder: Path) -> Path:
    """Build the wheel of the checkout, in a copy: setuptools leaves its traces there."""
    project = copy_project(folder / "project")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(project)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def by_pip(folder: Path, wheel: Path, extras: str = "") -> Environment:
    environment = _new(folder, with_pip=True)
    wanted = f"{wheel}[{extras}]" if extras else str(wheel)
    environment.run("python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wanted)
    reuse_kernels(environment.site)
    return environment


def by_link(folder: Path, wheel: Path, extras: str = "") -> Environment:
    environment = _new(folder, with_pip=False)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(environment.site)
    reuse_kernels(environment.site)
    (info,) = environment.site.glob("iomt_crypt-*.dist-info")
    for found in _closure(Distribution.at(info), set(extras.split(",")) if extras else set(), set()):
        _link(found, environment.site)
    _write_script(environment, "iomt-crypt", "from iomt_crypt.cli import main", "main()")
    return environment


@cache
def node_interpreter() -> str:
    """Python with this checkout and what its node, tokens and key services need: what a hospital's server has.

    Among the packages of the tests are many that MONAI imports where it finds them, at three seconds a process.
    """
    # It lives as long as the process of the tests.
    folder = tempfile.TemporaryDirectory(prefix="iomt-crypt-node-")
    _KEPT.append(folder)
    environment = _new(Path(folder.name) / "venv", with_pip=False)
    ours = distribution("iomt-crypt")
    for found in (ours, *_closure(ours, {"node", "token", "kms"}, set())):
        _link(found, environment.site)
    (environment.site / "checkout.pth").write_text(f"{ROOT}\n")
    return str(environment.python)


def with_packages_of(folder: Path, *extras: str) -> Environment:
    """With pip, without this project, and with what it and ``extras`` need: for instructions that begin so."""
    environment = _new(folder, with_pip=True)
    for found in _closure(distribution("iomt-crypt"), set(extras), set()):
        _link(found, environment.site)
    return environment


def reuse_kernels(site: Path) -> int:
    """Hand over the machine code that tests have compiled already: compiling takes a processor for half a minute.

    numba takes it when a file of ours is, to the byte and the nanosecond, the one it was compiled from.
    """
    n_copied = 0
    for source in (ROOT / "iomt_crypt").rglob("*.py"):
        installed = site / source.relative_to(ROOT)
        if not installed.exists() or installed.read_bytes() != source.read_bytes():
            continue
        kernels = list((source.parent / "__pycache__").glob(f"{source.stem}.*.nb[ic]"))
        if not kernels:
            continue
        stamp = source.stat()
        os.utime(installed, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        (installed.parent / "__pycache__").mkdir(exist_ok=True)
        for kernel in kernels:
            shutil.copy(kernel, installed.parent / "__pycache__")
            n_copied += 1
    return n_copied


def _new(folder: Path, *, with_pip: bool) -> Environment:
    venv.EnvBuilder(symlinks=True).create(folder)
    environment = Environment(folder)
    if with_pip:
        # Linked, and not unpacked anew; with what builds a package, so that pip need not get that for each.
        for name in ("pip", "setuptools"):
            _link(distribution(name), environment.site)
        _write_script(environment, "pip", "from pip._internal.cli.main import main", "sys.exit(main())")
    return environment


def _write_script(environment: Environment, name: str, imported: str, call: str) -> None:
    script = environment.folder / "bin" / name
    script.write_text(f"#!{environment.python}\nimport sys\n\n{imported}\n\nif __name__ == '__main__':\n    {call}\n")
    script.chmod(0o755)


def _closure(root: Distribution, extras: set[str], seen: set[str]) -> Iterator[Distribution]:
    """All that ``root`` with ``extras`` asks for, by the metadata of what is installed here."""
    for text in root.requires or []:
        wanted = Requirement(text)
        if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras | {""}):
            continue
        own = wanted.name.lower() == root.metadata["Name"].lower()
        key = f"{wanted.name.lower()}[{','.join(sorted(wanted.extras))}]"
        if key in seen:
            continue
        seen.add(key)
        found = root if own else distribution(wanted.name)
        if not own:
            assert wanted.specifier.contains(found.version, prereleases=True), f"{found.name} {found.version}: {text}"
            yield found
        yield from _closure(found, set(wanted.extras), seen)


def _link(found: Distribution, site: Path) -> None:
    home = Path(str(found.locate_file("")))
    for name in {file.parts[0] for file in found.files or []} - {"..", "__pycache__", "bin"}:
        target = site / name
        if not target.exists():
            target.symlink_to(home / name)


if __name__ == "__main__":
    reuse_kernels(Path(sys.argv[1]))
