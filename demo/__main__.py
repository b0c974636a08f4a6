"""The demo: ``python -m demo [SRC...]``.

Synthetic studies (or those in SRC) go by C-STORE through a node into an archive, come back by C-GET, are decrypted and
compared.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import dcmread
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from demo import archive, gateway, orthanc, report, samples, source, workplace
from demo.archive import Archive
from demo.console import console
from demo.gateway import DemoError, Entry, Node
from demo.report import Outcome
from demo.source import Source, Sources

_HERE = Path(__file__).resolve().parent
WORK = _HERE / "work"
PICTURE = _HERE / "before-after.png"
# Without any progress for so long, the demo gives up.
_STALL_S = 60.0
_LOG_LINES = 15
_MAX_NAMED = 10


class Bar:
    """One progress bar over all steps: preparing, every object sent and fetched back, comparing, drawing."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None)

    def length(self, n_objects: int) -> None:
        """Say how many objects there are."""
        self._progress.update(self._task, total=3 * n_objects, completed=0)

    def at(self, step: str, completed: int | None = None) -> None:
        """Say what is being done and how much is behind."""
        self._progress.update(self._task, description=step, completed=completed)


@contextmanager
def start_archive(folder: Path, kind: str) -> Iterator[Archive]:
    """Orthanc where it is installed, else the embedded archive; or the one asked for."""
    if kind == "orthanc" or (kind == "auto" and orthanc.binary() is not None):
        with orthanc.start(folder) as running:
            yield running
    else:
        with archive.start(folder) as embedded:
            yield embedded


def find_objects(places: list[Path]) -> Sources:
    """What is to be sent: the samples, or what the user named."""
    missing = [place for place in places if not place.exists()]
    if missing:
        raise DemoError(f"{missing[0]} does not exist", "name files or folders with DICOM objects")
    return source.collect(places or samples.ensure())


def tell_left_out(found: Sources) -> None:
    """Name the files that are not sent."""
    for what, files in (("skipped", found.skipped), ("not sent again", found.repeated)):
        for path, reason in files[:_MAX_NAMED]:
            console.print(f"[yellow]{what}[/]: {escape(str(path))}: {escape(reason)}", soft_wrap=True)
        if len(files) > _MAX_NAMED:
            console.print(f"[yellow]{what}[/]: {len(files) - _MAX_NAMED} more")


def send(objects: list[Source], node: Node, held: Archive, bar: Bar) -> list[str]:
    """C-STORE everything to the node; returns what the command said of objects that were not taken."""
    log = node.log.with_name("send.log")
    start = held.count()
    for batch in gateway.batches([str(one.path) for one in objects]):
        process = gateway.start_command(["send", *batch, "--to", node.address], log)
        try:
            while process.poll() is None:
                bar.at("sending", held.count() - start)
                _pause(process)
        finally:
            process.kill()
            process.wait()
    return errors_in(log)


def errors_in(log: Path) -> list[str]:
    """What a command complained about."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    return [line.removeprefix("error: ") for line in text.splitlines() if line.startswith("error: ")]


def tell_what_failed(complaints: list[str]) -> None:
    """Name what was refused, lost or changed."""
    for line in complaints[: 2 * _MAX_NAMED]:
        console.print(f"[bold red]failed[/]: {escape(line)}", soft_wrap=True)
    if len(complaints) > 2 * _MAX_NAMED:
        console.print(f"[bold red]failed[/]: {len(complaints) - 2 * _MAX_NAMED} more")


def wait_until_delivered(node: Node, held: Archive, bar: Bar) -> list[Entry]:
    """The journal once the node has nothing more to do, or got stuck."""
    seen, since = -1, time.monotonic()
    while True:
        entries = node.queue()
        settled = sum(entry.is_settled for entry in entries)
        arrived = held.count()
        bar.at("delivering", arrived)
        if settled + arrived > seen:
            seen, since = settled + arrived, time.monotonic()
        if settled == len(entries) or time.monotonic() - since > _STALL_S or node.process.poll() is not None:
            return entries
        time.sleep(0.2)


def fetch(objects: list[Source], identity: Path, held: Archive, folder: Path, bar: Bar) -> None:
    """Get all studies from the archive, decrypted, into ``folder``."""
    folder.mkdir()
    peer = f"{held.ae_title}@{held.host}:{held.port}"
    common = ["--from", peer, "--aet", gateway.FETCH_AE_TITLE, "-i", str(identity), "-o", str(folder)]
    studies = list(dict.fromkeys(one.study_instance_uid for one in objects))
    for batch in gateway.batches(studies):
        named = [part for study in batch for part in ("--study", study)]
        process = gateway.start_command(["fetch", *common, *named], folder.with_suffix(".log"))
        try:
            while process.poll() is None:
                bar.at("fetching back", len(objects) + sum(1 for _ in folder.glob("*.dcm")))
                _pause(process)
        finally:
            process.kill()
            process.wait()


def _pause(process: subprocess.Popen[bytes]) -> None:
    """A tenth of a second, or less when the process ends."""
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        return


def compare(objects: list[Source], entries: list[Entry], held: Archive, folder: Path, bar: Bar) -> list[Outcome]:
    """Hold every object against what came back: every byte of the data set."""
    by_original = {entry.original_sop_instance_uid: entry for entry in entries}
    stored = held.sop_instance_uids()
    outcomes = []
    for index, one in enumerate(objects):
        entry = by_original.get(one.sop_instance_uid)
        back = restored_file(folder, one, entry)
        identical = back is not None and source.dataset_bytes(back) == source.dataset_bytes(one.path)
        outcomes.append(Outcome(one, entry, entry is not None and entry.sop_instance_uid in stored, identical))
        bar.at("comparing", 2 * len(objects) + index + 1)
    return outcomes


def restored_file(folder: Path, one: Source, entry: Entry | None) -> Path | None:
    """What ``fetch`` wrote of an object. Where the device's UID is none, the file has the name of the derived one."""
    names = [one.sop_instance_uid, entry.sop_instance_uid if entry is not None else ""]
    return next((path for name in names if name and (path := folder / f"{name}.dcm").is_file()), None)


def draw(outcomes: list[Outcome], held: Archive, folder: Path) -> int:
    """The picture: the middle object of each series."""
    from demo import picture  # matplotlib is slow to import, and the demo is at its end here

    series: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.delivered and outcome.identical:
            series.setdefault(outcome.source.series_instance_uid, []).append(outcome)
    rows = []
    for members in list(series.values())[: 2 * picture.MAX_ROWS]:
        chosen = members[len(members) // 2]
        back_path = restored_file(folder, chosen.source, chosen.entry)
        if chosen.entry is None or back_path is None:
            continue
        plain, back = (dcmread(path, force=True) for path in (chosen.source.path, back_path))
        rows.append(picture.Row(chosen.source.modality, plain, held.dataset(chosen.entry.sop_instance_uid), back))
    return picture.draw(rows, PICTURE)


def tour(places: list[Path], work: Path, kind: str, bar: Bar) -> tuple[list[Outcome], str]:
    """The whole way there and back; returns what became of each object, and what to say about it."""
    bar.at("looking for objects" if places else "making sample studies")
    found = find_objects(places)
    tell_left_out(found)
    if not found.objects:
        raise DemoError("no DICOM objects to send", "name files or folders with DICOM objects")
    bar.at("generating a key")
    identity, recipient = gateway.make_key(work)
    bar.at("starting the archive")
    with start_archive(work / "archive", kind) as held:
        bar.at("starting the node")
        with gateway.run_node(gateway.write_config(work, recipient, held)) as node:
            bar.length(len(found.objects))
            complaints = send(found.objects, node, held, bar)
            entries = wait_until_delivered(node, held, bar)
        fetch(found.objects, identity, held, work / "restored", bar)
        outcomes = compare(found.objects, entries, held, work / "restored", bar)
        bar.at("drawing")
        tell_what_failed(complaints + report.complaints(outcomes) + errors_in(work / "restored.log"))
        lines = draw(outcomes, held, work / "restored")
        name = f"{held.name} at {held.host}:{held.port}"
    picture = f"picture: {PICTURE}" if lines else "picture: none of the objects has an image"
    return outcomes, f"archive: {name}, called {held.ae_title}\n{picture}"


def show_failure(work: Path, message: str, hint: str) -> None:
    """What went wrong, the end of the node's log, and where to look."""
    log = work / "node.log"
    if log.is_file() and (lines := log.read_text(errors="replace").splitlines()):
        console.rule("end of node.log", align="left", style="dim")
        for line in lines[-_LOG_LINES:]:
            console.print(escape(line), style="dim", soft_wrap=True)
    console.print(f"[bold red]error[/]: {escape(message)}", soft_wrap=True)
    console.print(f"hint: {escape(hint or f'the full logs are in {work}')}", soft_wrap=True)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m demo", description="studies through a node into an archive and back"
    )
    parser.add_argument("src", nargs="*", type=Path, metavar="SRC", help="files or folders; default: synthetic samples")
    parser.add_argument("--archive", choices=("auto", "orthanc", "embedded"), default="auto", help="default: auto")
    options = parser.parse_args(arguments)
    # What pydicom thinks of the user's files is not what the demo is about.
    warnings.filterwarnings("ignore", module="pydicom")
    columns = (TextColumn("{task.description:<22}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    try:
        work = workplace.fresh(WORK)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            outcomes, about = tour(options.src, work, options.archive, Bar(progress))
    except (DemoError, OSError, RuntimeError) as error:
        show_failure(WORK, str(error), getattr(error, "hint", ""))
        return 1
    line, complete = report.last_line(outcomes)
    if not complete:
        show_failure(work, "not every object came back as it was", "")
    console.print(report.table(outcomes))
    console.print(escape(about), soft_wrap=True)
    console.print(line, soft_wrap=True)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
