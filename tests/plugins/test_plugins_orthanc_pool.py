"""Whose fault it is that a worker died: with workers that die when they are told to. No Orthanc is needed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from iomt_crypt_orthanc import channel
from iomt_crypt_orthanc.pool import Pool, WorkerLost

# Says who it is; dies before or after it has taken a request, as the file of its number says.
_WORKER = """#!{python}
import os, socket, sys
sys.path.insert(0, {path!r})
from iomt_crypt_orthanc import channel
folder = {folder!r}
number = len(os.listdir(folder + "/started"))
open(f"{{folder}}/started/{{number}}", "w").close()
death = open(f"{{folder}}/death").read().split()
mine = death[number] if number < len(death) else "never"
end = socket.socket(fileno=int(sys.argv[-1]))
channel.receive(end)
channel.say_taken(end)
channel.send(end, {{"number": number}})
while True:
    try:
        head, body = channel.receive(end)
    except EOFError:
        break
    if mine == "before":
        os._exit(1)
    channel.say_taken(end)
    if mine == "after":
        os._exit(1)
    channel.send(end, {{"number": number}}, body)
"""


@pytest.fixture
def make_pool(tmp_path: Path):
    pools: list[Pool] = []

    def make(*death: str) -> Pool:
        (tmp_path / "started").mkdir()
        (tmp_path / "death").write_text(" ".join(death))
        worker = tmp_path / "python"
        path = str(Path(channel.__file__).parent.parent)
        worker.write_text(_WORKER.format(python=f"{sys.executable} -S", path=path, folder=str(tmp_path)))
        worker.chmod(0o755)
        pools.append(Pool(str(worker), {}, n=1, timeout_s=60.0, warn=lambda line: None))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def test_one_that_died_before_it_took_the_request_costs_nothing(make_pool):
    assert make_pool("before", "before").ask({}, b"object") == ({"number": 2}, b"object")


def test_one_that_died_with_the_request_in_hand_is_a_loss_and_another_one_comes(make_pool):
    pool = make_pool("after")
    with pytest.raises(WorkerLost, match="a worker was lost"):
        pool.ask({}, b"object")
    assert pool.ask({}, b"another") == ({"number": 1}, b"another")


def test_one_that_is_alive_is_kept(make_pool):
    pool = make_pool()
    assert [pool.ask({})[0]["number"] for _ in range(3)] == [0, 0, 0]
    assert pool.n_running == 1
