"""A node whose cipher does not encrypt: whatever is put in its place, nothing reaches the archive.

The cipher is replaced in the node's own processes by a module that Python loads at its start. Each layer of the guard
is tried where the ones before it are blind. What is before the answer is tried with every fault, and at every door, in
tests/checks/test_checks_vouch.py; here is seen what a sender gets of it.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from node_harness import CT, _element, cli, cli_json, dataset, part10, uid, wait_until, write_object

from iomt_crypt.errors import NetworkError
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.sender import Sender
from iomt_crypt.node.transport import configure_pynetdicom

configure_pynetdicom()

_FROM = 8000  # bytes of a unit: the known answers are smaller, so that a cipher which is bad from here on gives them
_SIDE = 64
CHECKED = {"policy": "block", "classifier": False}


@pytest.fixture
def sabotage(monkeypatch):
    def begin(kind: str, depth: str, direction: str, from_bytes: int = 0, spared: str = "none") -> None:
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "sabotage"))
        monkeypatch.setenv("SABOTAGE", f"{kind} {depth} {direction} {from_bytes} {spared}")

    return begin


def images(folder: Path, kind: str) -> list[Path]:
    """Two objects, of several frames where the sabotage is one of frames."""
    if kind != "every-second-frame":
        return [write_object(folder, number, size=_SIDE) for number in (1, 2)]
    return [write_frames(folder / f"{number}.dcm", number) for number in (1, 2)]


def write_frames(path: Path, number: int, n_frames: int = 5) -> Path:
    """A CT object with frames: enough for statistics, each from `_FROM` bytes on."""
    single = dataset(number, size=_SIDE)
    start = single.index(b"\xe0\x7f\x10\x00")
    frames = b"".join(single[start + 12 :] for _ in range(n_frames))
    head = single[:start].replace(
        _element(0x00280010, "US", struct.pack("<H", _SIDE)),
        _element(0x00280008, "IS", str(n_frames).encode()) + _element(0x00280010, "US", struct.pack("<H", _SIDE)),
    )
    path.write_bytes(part10(head + _element(0x7FE00010, "OW", frames), CT, uid(number)))
    return path


def send_all(paths: list[Path], port: int) -> list[str]:
    """Send; return the failures."""
    failures = []
    sender = Sender(paths, Peer("IOMTCRYPT", "127.0.0.1", port), calling_ae_title="MODALITY")
    for path in paths:
        try:
            sender.send(path)
        except NetworkError as error:
            failures.append(str(error))
    sender.close()
    return failures


@pytest.mark.parametrize(
    ("kind", "depth", "direction"),
    [("identity", "image", "both"), ("permutation", "unit", "encrypt")],
)
def test_known_answers_keep_the_node_from_starting(archive, make_config, run_node, sabotage, kind, depth, direction):
    sabotage(kind, depth, direction)
    node = run_node(make_config(archive.port))
    assert node.process.wait(60) == 1
    log = "".join(node.lines)
    assert "known-answer test failed" in log
    assert "hint: encrypt nothing on this machine" in log
    assert "node ready" not in log
    assert archive.n_associations == 0


@pytest.mark.parametrize(
    ("kind", "direction", "told"),
    [("long-stream", "encrypt", "it does not open"), ("every-second-frame", "both", "pixels are plain")],
)
def test_read_back_refuses_what_does_not_open_and_what_is_plain(
    tmp_path, archive, make_config, run_node, sabotage, kind, direction, told
):
    sabotage(kind, "unit", direction, _FROM, "zeros")
    refuses_all(images(tmp_path, kind), make_config(archive.port), run_node, f"read-back failed: {told}")
    assert archive.stored == []


@pytest.mark.parametrize(("kind", "depth"), [("permutation", "unit"), ("long-stream", "image")])
def test_a_trial_of_the_layout_refuses_what_opens(tmp_path, archive, make_config, run_node, sabotage, kind, depth):
    """Wrong in both directions and beyond the known answers: read-back is blind, and the look may be off."""
    sabotage(kind, depth, "both", _FROM)
    refuses_all(images(tmp_path, kind), make_config(archive.port), run_node, "self-test failed")
    assert archive.stored == []


def refuses_all(paths: list[Path], config: Path, run_node, told: str) -> None:
    """Every object is refused for the reason ``told``, and nothing of it stays."""
    node = run_node(config)
    failures = send_all(paths, node.port)
    assert len(failures) == len(paths)
    assert all("0x0110" in failure and told in failure for failure in failures)
    assert queue(config) == []
    assert list((config.parent / "spool" / "objects").iterdir()) == []
    assert list((config.parent / "spool" / "incoming").iterdir()) == []
    node.wait_line("NOT TAKEN", count=len(paths))
    node.stop()


def test_what_the_sabotage_leaves_alone_is_taken(tmp_path, archive, make_config, run_node, sabotage):
    """A layout that fails its trial does not keep others out, however often it comes."""
    sabotage("long-stream", "unit", "both", _FROM)
    node = run_node(make_config(archive.port))
    paths = [write_object(tmp_path, number, size=_SIDE if number % 2 else _SIDE // 2) for number in (1, 2, 3, 4)]
    assert len(send_all(paths, node.port)) == 2
    archive.wait(lambda: len(archive.stored) == 2)
    node.stop()


@pytest.mark.parametrize("kind", ["permutation", "short-stream", "long-stream"])
def test_guard_holds_what_looks_plain(tmp_path, archive, make_config, run_node, sabotage, kind):
    """Wrong for some objects only, and in both directions: only the look at the pixels is left."""
    sabotage(kind, "unit", "both", _FROM, "zeros")
    config = make_config(archive.port, checks=CHECKED)
    node = run_node(config)
    paths = images(tmp_path, kind)
    assert send_all(paths, node.port) == []
    # A stream that only these objects have shows when there are two of them: the first is noise like any other.
    n_held = 1 if kind == "long-stream" else 2
    node.wait_line("HELD by the guard", count=n_held)
    wait_until(lambda: len(archive.stored) == 2 - n_held)
    held = [row for row in queue(config) if row["state"] == "held"]
    assert len(held) == n_held
    assert all(row["held_by"] == "guard" and row["reason"].startswith("statistics: ") for row in held)
    assert len(archive.stored) == 2 - n_held
    node.stop()


def queue(config: Path) -> list[dict]:
    return cli_json("node", "queue", "--config", config)


def test_the_senders_of_others_see_it_too(tmp_path, archive, make_config, run_node, sabotage, peer):
    storescu = peer("storescu")
    sabotage("short-stream", "unit", "both", _FROM, "zeros")
    config = make_config(archive.port, checks=CHECKED)
    node = run_node(config)
    path = write_object(tmp_path, 1, size=_SIDE)
    command = [storescu, "-xe", "127.0.0.1", str(node.port), str(path)]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    node.wait_line("HELD by the guard")
    assert cli("node", "release", "--config", config, "--all").returncode == 0
    assert queue(config)[0]["state"] == "held", "--all never sends what the guard holds"
    node.stop()
    assert archive.stored == []


def test_the_sabotage_is_none_without_its_variable(tmp_path, archive, make_config, run_node, monkeypatch):
    """What the other tests see comes from the replaced cipher, and from nothing else in their set-up."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "sabotage"))
    node = run_node(make_config(archive.port, node={"log_level": "DEBUG"}, checks=CHECKED))
    paths = [*images(tmp_path, "identity"), write_frames(tmp_path / "9.dcm", 9)]
    assert send_all(paths, node.port) == []
    archive.wait(lambda: len(archive.stored) == len(paths))
    node.wait_line(r"guard id=\d+ cost_ms=\d+\.\d$", count=len(paths))
    node.stop()
