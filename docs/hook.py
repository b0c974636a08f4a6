"""Hook of mkdocs: pages that lie elsewhere in the checkout, and those of the API reference, join the site.

Links into the checkout that lead to such a page go to it; those to other files (tests, code) become their path. A link
to nothing stays as it is, and ``mkdocs build --strict`` stops at it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")

#: Page of the site: module, title, what it is.
REFERENCE = {
    "encrypt": ("iomt_crypt.checks.door", "Encrypting", "Files and data sets, vouched for."),
    "vouch": ("iomt_crypt.checks.vouch", "Vouching", "The one way in, for hosts that call us."),
    "dicom": ("iomt_crypt.dicom", "Objects", "One DICOM object: read, decrypt, inspect, verify."),
    "seal": ("iomt_crypt.seal", "Keys", "Recipients, identities, epochs, the sealed record."),
    "cipher": ("iomt_crypt.cipher", "Image cipher", "Pure numbers: samples and a key in, samples out."),
    "checks": ("iomt_crypt.checks", "Checks", "MONAI transforms, readers, and the guard."),
    "study": ("iomt_crypt.archive.study", "Studies", "A whole study, or nothing."),
    "rekey": ("iomt_crypt.archive.rekey", "Re-keying", "Other recipients for objects that exist."),
    "handler": ("iomt_crypt.node.handler", "Storage handler", "For pynetdicom servers of other people."),
    "destination": ("iomt_crypt.node.destination", "Destinations", "Where a node sends, other than an archive."),
    "route": ("iomt_crypt.node.route", "Routes", "Which objects may go."),
    "extension": ("iomt_crypt.extension", "Extension points", "Where other packages attach."),
    "errors": ("iomt_crypt.errors", "Errors", "Everything that is raised on purpose."),
}


def origins() -> dict[str, str]:
    """Pages that lie outside ``docs/``: page of the site by path in the checkout."""
    found = {name: f"project/{name}" for name in ("SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")}
    found["plugins/README.md"] = "plugins/index.md"
    for path in sorted((ROOT / "plugins").glob("*/README.md")):
        found[str(path.relative_to(ROOT))] = f"plugins/{path.parent.name}.md"
    return found


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in ``docs/``."""
    for origin, page in origins().items():
        files.append(File.generated(config, page, content=(ROOT / origin).read_text(encoding="utf-8")))
    rows = ["# Python API", "", "| | |", "|---|---|"]
    for name, (module, title, text) in REFERENCE.items():
        content = f"# {title}\n\n{text}\n\n::: {module}\n"
        files.append(File.generated(config, f"reference/{name}.md", content=content))
        rows.append(f"| [{title}]({name}.md), `{module}` | {text} |")
    rows += ["", "What is shown at `iomt_crypt` itself is loaded from these when it is used.", ""]
    files.append(File.generated(config, "reference/index.md", content="\n".join(rows)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Have links lead to pages of the site, as far as there are such pages."""
    pages = origins()
    homes = {there: here for here, there in pages.items()}
    source = page.file.src_uri
    home = posixpath.dirname(homes.get(source, f"docs/{source}"))

    def replace(match: re.Match[str]) -> str:
        text, target, fragment = match[1], match[2], match[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(home, target))
        there = pages.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
        if there and files.get_file_from_path(there) is not None:
            return f"[{text}]({posixpath.relpath(there, posixpath.dirname(source) or '.')}{fragment})"
        if (ROOT / path).exists() and path != "docs":
            return f"{text} (`{path}`)" if text.strip("`") != path else f"`{path}`"
        return match[0]

    return _LINK.sub(replace, markdown)
