"""What a README tells people to type, typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import clean_environment
from clean_environment import LIMIT_S, Environment


def blocks(readme: Path, language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", readme.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"{readme} has no {language} blocks"
    return found


def follow(readme: Path, environment: Environment, folder: Path, *, without: str = "docker ") -> list[str]:
    """Run the sh blocks of ``readme`` in ``folder``, one shell for all, and return those that were run.

    Blocks that need what no test machine has are left out: those with a line that begins with ``without``.
    """
    chosen = [text for text in blocks(readme, "sh") if not re.search(rf"^{re.escape(without)}", text, re.MULTILINE)]
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
