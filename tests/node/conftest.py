from __future__ import annotations

from pathlib import Path

import pytest
from node_harness import Archive, Node

from iomt_crypt.seal import HpkeIdentity, write_identity


@pytest.fixture
def identity_file(tmp_path: Path, identity: HpkeIdentity) -> Path:
    path = tmp_path / "identity.key"
    write_identity(path, identity)
    return path


@pytest.fixture
def archive():
    archive = Archive()
    yield archive
    archive.close()


@pytest.fixture
def make_config(tmp_path: Path, identity: HpkeIdentity):
    """Write a node.toml for a destination port; sections may be extended."""

    def make(destination_port: int, **sections: dict) -> Path:
        (tmp_path / "recipients.txt").write_text(f"{identity.recipient}\n")
        content = {
            "node": {"host": "127.0.0.1", "port": 0},
            "spool": {"folder": str(tmp_path / "spool"), "reserve_bytes": 0},
            "keys": {"recipients": ["recipients.txt"], "site_key": "site.key"},
            # Loading the guard takes seconds for each node; its own tests switch it on.
            "checks": {"policy": "off"},
            "destination": {
                "ae_title": "ARCHIVE",
                "host": "127.0.0.1",
                "port": destination_port,
                "retry_first_seconds": 0.05,
                "retry_limit_seconds": 0.2,
            },
        }
        for name, options in sections.items():
            content.setdefault(name, {}).update(options)
        path = tmp_path / "node.toml"
        path.write_text(
            "\n".join(
                f"[{name}]\n" + "\n".join(f"{key} = {_toml(value)}" for key, value in options.items()) + "\n"
                for name, options in content.items()
            )
        )
        return path

    return make


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


@pytest.fixture
def run_node():
    """Start nodes; those still alive at the end are killed."""
    nodes: list[Node] = []

    def run(config: Path, **options) -> Node:
        nodes.append(Node(config, **options))
        return nodes[-1]

    yield run
    for node in nodes:
        if node.process.poll() is None:
            node.kill()
        node.close()
