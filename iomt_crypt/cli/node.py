"""``iomt-crypt node``: run the DICOM node, look at it, act on its queue."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from iomt_crypt.cli import record_export
from iomt_crypt.cli.console import print_error, print_json
from iomt_crypt.cli.option import Json
from iomt_crypt.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from iomt_crypt.node.config import NodeConfig
    from iomt_crypt.node.journal import Journal

app = typer.Typer(no_args_is_help=True, help="The DICOM node: receives, encrypts, forwards.")
app.add_typer(record_export.app, name="record")

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="The node's TOML file.")]
Ids = Annotated[list[int] | None, typer.Argument(metavar="ID...", help="Numbers from 'node queue'.")]
All = Annotated[bool, typer.Option("--all", help="All objects this applies to.")]


@app.command()
def run(config: Config) -> None:
    """Run the node until SIGTERM or Ctrl-C."""
    from iomt_crypt.node.log_output import configure_logging
    from iomt_crypt.node.supervisor import Supervisor

    loaded = _load(config)
    configure_logging(loaded.node.log_level)
    raise typer.Exit(Supervisor(loaded).run())


@app.command()
def check(config: Config, as_json: Json = False) -> None:
    """Test keys, spool, port, and the destination: a C-ECHO, and whether it takes what is likely to come."""
    from iomt_crypt.node.check import check as run_checks

    all_ok = True
    for finding in run_checks(_load(config)):
        all_ok = all_ok and finding.ok
        if as_json:
            print_json(asdict(finding))
        else:
            verdict = "failed" if not finding.ok else "warning" if finding.warning else "ok"
            typer.echo(f"{finding.name}: {verdict}: {finding.text}")
            if finding.hint:
                typer.echo(f"hint: {finding.hint}", err=True)
    raise typer.Exit(0 if all_ok else 1)


@app.command()
def status(config: Config, as_json: Json = False) -> None:
    """Show how many objects are in each state, and who can decrypt what comes in."""
    from iomt_crypt.node.spool import Spool

    loaded = _load(config)
    totals = _journal(loaded).totals()
    spool = Spool(loaded.spool.folder)
    announced = spool.announced()
    waiting = None if totals.oldest_waiting_at is None else max(time.time() - totals.oldest_waiting_at, 0.0)
    facts = {
        **{str(state): n for state, n in totals.by_state.items()},
        "held_by_guard": totals.n_held_by_guard,
        "oldest_waiting_seconds": waiting,
        "destination": str(loaded.destination.peer),
        "set_aside": spool.n_aside(),
        "spool_free_bytes": spool.free_bytes(),
        "port": announced["port"] if announced else None,
        **{name: (announced or {}).get(name) for name in ("recipients", "epoch", "epoch_since", "problem")},
    }
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' ')}: {_shown(value)}")


def _shown(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.0f}" if isinstance(value, float) else str(value)


@app.command()
def queue(
    config: Config,
    state: Annotated[str | None, typer.Option(help="Only objects in this state.")] = None,
    as_json: Json = False,
) -> None:
    """List the objects in order of arrival."""
    from iomt_crypt.node.entry import State

    if state is not None and state not in list(State):
        raise typer.BadParameter(f"one of: {', '.join(State)}", param_hint="--state")
    names = (
        "id",
        "sop_instance_uid",
        "original_sop_instance_uid",
        "state",
        "held_by",
        "attempts",
        "reason",
        "size_bytes",
        "encrypt_seconds",
        "received_at",
    )
    table = Table(*names, box=None, pad_edge=False)
    for entry in _journal(_load(config)).entries(state=State(state) if state else None):
        row = {name: getattr(entry, name) for name in names}
        row["received_at"] = _time(entry.received_at)
        if as_json:
            print_json({**row, "alarm": entry.alarm})
        else:
            table.add_row(*("" if value is None else str(value) for value in row.values()))
    if not as_json:
        _print_table(table)


@app.command()
def hold(
    config: Config,
    ids: Ids = None,
    every: All = False,
    reason: Annotated[str, typer.Option(help="Why; shown in the queue.")] = "held by hand",
) -> None:
    """Keep objects that are queued or failed from being sent."""
    n_objects = _journal(_load(config)).hold(_chosen(ids, every), reason=reason)
    typer.echo(f"held: {n_objects}", err=True)


@app.command()
def release(
    config: Config,
    ids: Ids = None,
    every: All = False,
    reason: Annotated[
        str, typer.Option(help="Why. An object that the guard holds is sent unchecked with it, in your name.")
    ] = "",
    check_again: Annotated[
        bool, typer.Option("--check-again", help="Let the guard look again at what it holds, before it is sent.")
    ] = False,
) -> None:
    """Queue held objects again.

    What the guard holds must be named, with a reason, to be sent unchecked; --all passes by it. With --check-again the
    guard looks once more, at named objects or at all: for when its own check was at fault, and is mended.
    """
    journal = _journal(_load(config))
    chosen = _chosen(ids, every)
    typer.echo(f"released: {journal.release(chosen, reason=reason, again=check_again)}", err=True)
    n_left = journal.totals().n_held_by_guard
    if every and n_left and not check_again:
        typer.echo(f"still held by the guard: {n_left}", err=True)
        typer.echo(
            "hint: 'iomt-crypt node queue --state held' says why; name them with --reason, or --check-again", err=True
        )


@app.command()
def audit(config: Config, as_json: Json = False) -> None:
    """Show who held, released and resent what, when and why; oldest first."""
    table = Table("time", "who", "action", "id", "sop_instance_uid", "reason", box=None, pad_edge=False)
    for decision in _journal(_load(config)).decisions():
        at = _time(decision.at)
        if as_json:
            print_json({**asdict(decision), "at": at})
        else:
            table.add_row(
                at, decision.who, decision.action, str(decision.object_id), decision.sop_instance_uid, decision.reason
            )
    if not as_json:
        _print_table(table)


def _print_table(table: Table) -> None:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 1000  # in a pipe or a file nothing is cut off
    console.print(table)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


@app.command()
def resend(config: Config, ids: Ids = None, every: All = False) -> None:
    """Queue failed objects again, with all their attempts."""
    typer.echo(f"queued: {_journal(_load(config)).resend(_chosen(ids, every))}", err=True)


def _chosen(ids: list[int] | None, every: bool) -> list[int] | None:
    if bool(ids) == every:
        raise typer.BadParameter("give either numbers from 'node queue' or --all")
    return None if every else list(dict.fromkeys(ids or []))


def _load(path: Path) -> NodeConfig:
    from iomt_crypt.node.config import load

    try:
        return load(path)
    except ConfigurationError as error:
        print_error(str(error), error.hint)
        raise typer.Exit(2) from None


def _journal(config: NodeConfig) -> Journal:
    from iomt_crypt.node.journal import Journal
    from iomt_crypt.node.spool import Spool

    path = Spool(config.spool.folder).journal_path
    if not path.exists():
        raise StorageError(f"no journal at {path}", hint="the node has not run yet with this configuration")
    journal = Journal(path)
    journal.require_version()
    return journal
