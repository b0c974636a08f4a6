"""What a README tells people to type, typed."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import clean_environment
from clean_environment import LIMIT_S, Environment


def blocks(readme: Path, language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", readme.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"{readme} has no {language} blocks"
    return found


def free_port() -> int:
    with closing(socket.socket()) as end:
        end.bind(("127.0.0.1", 0))
        return end.getsockname()[1]


def follow(
    readme: Path,
    environment: Environment,
    folder: Path,
    *,
    without: str = "docker ",
    port: str = "",
    also: Sequence[Path] = (),
) -> list[str]:
    """Run the sh blocks of ``readme`` in ``folder``, one shell for all, and return those that were run.

    Blocks that need what no test machine has are left out: those with a line that begins with ``without``. A free port
    takes the place of ``port`` in the blocks and in the files ``also``: another run may have it on this machine.
    """
    chosen = [text for text in blocks(readme, "sh") if not re.search(rf"^{re.escape(without)}", text, re.MULTILINE)]
    if port:
        free = str(free_port())
        assert any(port in text for text in chosen)
        chosen = [text.replace(port, free) for text in chosen]
        for path in also:
            path.write_text(path.read_text(encoding="utf-8").replace(port, free), encoding="utf-8")
    installed = f"{sys.executable} {clean_environment.__file__} {environment.site}\n"
    script = "set -e\n" + "\n".join(text + installed * ("pip install" in text) for text in chosen)
    settings = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}
    done = subprocess.run(
        ["bash"],
        input=script,
        cwd=folder,
        env=environment.variables(**settings),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return chosen


def links(readme: Path) -> list[str]:
    """Targets of its links into this project that are not there."""
    found = re.findall(r"\]\(([^)#\s]+)", readme.read_text(encoding="utf-8"))
    return [target for target in found if "://" not in target and not (readme.parent / target).exists()]
