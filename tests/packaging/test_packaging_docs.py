"""The documentation site: built as ``make docs`` builds it, and without a dead link in what comes out."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from clean_environment import LIMIT_S, ROOT
from readme_script import blocks

pytestmark = pytest.mark.xdist_group("packaging-docs")
GUIDES = sorted((ROOT / "docs" / "guide").glob("*.md"))


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names |= {found[key] for key in ("id", "name") if found.get(key)}
        self.targets += [found[key] for key in ("href", "src") if found.get(key) and tag != "link"]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> dict[str, _Page]:
    """All pages by path."""
    folder = tmp_path_factory.mktemp("site")
    # not --quiet: what is not logged is not counted by --strict
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, "\n".join(line for line in done.stderr.splitlines() if "WARN" in line)
    pages = {str(path.relative_to(folder)): _Page(path.read_text()) for path in folder.rglob("*.html")}
    assert len(pages) > 30
    pages |= {str(path.relative_to(folder)): None for path in folder.rglob("*") if path.suffix not in ("", ".html")}
    return pages


def test_no_dead_link(site):
    dead = []
    for name, page in site.items():
        if page is None or name == "404.html":
            continue
        for target in page.targets:
            if re.match(r"[a-z]+:|//|#?$", target):
                continue
            path, _, fragment = target.partition("#")
            there = os.path.normpath(os.path.join(os.path.dirname(name), unquote(path))) if path else name  # noqa: PTH118, PTH120
            known = site[there].names if site.get(there) is not None else None
            if there not in site or (fragment and known is not None and unquote(fragment) not in known):
                dead.append(f"{name}: {target}")
    assert dead == []


def test_the_reference_has_the_public_names(site):
    import iomt_crypt

    there = set().union(*(page.names for name, page in site.items() if name.startswith("reference/")))
    ends = {name.rpartition(".")[2] for name in there}
    assert set(iomt_crypt.__all__) - {"__version__"} <= ends
    assert {"StoreHandler", "encrypt_study", "PluginClient", "Point"} <= ends


def test_there_is_a_guide_for_each_kind_of_user():
    assert [path.stem for path in GUIDES] == ["administrator", "plugin", "researcher", "security"]
    index = (ROOT / "docs" / "index.md").read_text()
    for path in GUIDES:
        assert f"(guide/{path.name})" in index


def test_the_researcher_s_code_runs():
    decrypt, cipher = blocks(ROOT / "docs" / "guide" / "researcher.md", "python")
    exec(compile(cipher, "guide", "exec"), {})
    compile(decrypt, "guide", "exec")
    import iomt_crypt

    for name in re.findall(r"iomt_crypt\.(\w+)\(", decrypt):
        assert hasattr(iomt_crypt, name)


def test_commands_of_the_guides_exist():
    reference = (ROOT / "docs" / "CLI.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    n_found = 0
    for path in (*GUIDES, ROOT / "docs" / "index.md"):
        text = path.read_text()
        for words in re.findall(r"`iomt-crypt ((?:[a-z]+ ?)+)", text):
            command = re.match(r"(node|key) \w+|\w+", words)[0]
            assert f"`iomt-crypt {command}`" in reference, (path.name, command)
            n_found += 1
        for target in re.findall(r"`make (\w+)`", text):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert n_found > 10


def test_options_of_the_guides_exist():
    options = set(re.findall(r"^\| `(\w+\.\w+)` \|", (ROOT / "docs" / "NODE.md").read_text(), re.MULTILINE))
    sections = {option.split(".")[0] for option in options}
    for path in GUIDES:
        for section, name in re.findall(r"`(\w+)\.(\w+)(?: = [^`]*)?`", path.read_text()):
            assert section not in sections or f"{section}.{name}" in options, (path.name, section, name)


def test_a_link_to_nothing_stays_one():
    spec = importlib.util.spec_from_file_location("site_hook", ROOT / "docs" / "hook.py")
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    page = SimpleNamespace(file=SimpleNamespace(src_uri="guide/plugin.md"))
    files = SimpleNamespace(get_file_from_path=lambda path: path if path == "plugins/mercure.md" else None)

    def rewritten(text: str) -> str:
        return hook.on_page_markdown(text, page, None, files)

    assert rewritten("[m](../../plugins/mercure/README.md#settings)") == "[m](../plugins/mercure.md#settings)"
    assert rewritten("[x](../../plugins/nothing/README.md)") == "[x](../../plugins/nothing/README.md)"
    assert rewritten("[code](../../tests/conftest.py)") == "code (`tests/conftest.py`)"
    assert rewritten("[w](https://example.org/a)") == "[w](https://example.org/a)"
    configuration = (ROOT / "mkdocs.yml").read_text()
    assert "strict: true" in configuration
    assert "links: {not_found: warn, anchors: warn" in configuration


def test_what_is_generated_is_ignored_by_git():
    assert "/build/" in Path(ROOT / ".gitignore").read_text().splitlines()
