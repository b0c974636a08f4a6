"""What the demo shows at the end: the table of objects and the last line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.table import Table
from rich.text import Text

from demo.gateway import Entry
from demo.source import Source

# More objects than this are shown a line a series.
_MAX_LINES = 40
_MAX_NAME = 32


@dataclass(frozen=True)
class Outcome:
    """What became of one object; ``entry`` is None when the node did not take it."""

    source: Source
    entry: Entry | None
    in_archive: bool
    identical: bool

    @property
    def delivered(self) -> bool:
        """The node says so, and the archive holds it."""
        return self.entry is not None and self.entry.is_delivered and self.in_archive

    @property
    def state(self) -> str:
        """One word for the table."""
        if self.entry is None:
            return "refused"
        if self.entry.is_delivered and not self.in_archive:
            return "missing"
        return self.entry.state


def table(outcomes: Sequence[Outcome]) -> Table:
    """A line an object, or a line a series where there are many."""
    view = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    # The one column that may give way: rich narrows columns that may wrap before those that may not.
    view.add_column("object", overflow="ellipsis")
    view.add_column("image", no_wrap=True)
    for name in ("size", "encryption"):
        view.add_column(name, no_wrap=True, justify="right")
    for name in ("state", "identical"):
        view.add_column(name, no_wrap=True)
    groups = [[outcome] for outcome in outcomes] if len(outcomes) <= _MAX_LINES else _by_series(outcomes)
    for group in groups:
        first = group[0].source
        label = first.path.name if len(group) == 1 else f"{len(group)} in {first.path.parent.name}"
        times = [one.entry.encrypt_seconds for one in group if one.entry and one.entry.encrypt_seconds is not None]
        size = sum(one.source.size_bytes for one in group)
        view.add_row(
            Text(_shortened(label), no_wrap=True, overflow="ellipsis"),
            Text(f"{first.modality} {first.shape}"),
            f"{size / 1e6:.2f} MB",
            f"{median(times) * 1e3:.1f} ms" if times else "-",
            _state(group),
            Text("yes", "green") if all(one.identical for one in group) else Text("no", "bold red"),
        )
    return view


def _shortened(name: str) -> str:
    """A long name without its middle."""
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 13]}...{name[-10:]}"


def _by_series(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    series: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        series.setdefault(outcome.source.series_instance_uid, []).append(outcome)
    return list(series.values())


def _state(group: Sequence[Outcome]) -> Text:
    states = sorted({one.state for one in group})
    return Text(", ".join(states), "green" if all(one.delivered for one in group) else "bold red")


def complaints(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each object that was taken and did not come back as it was."""
    lines = []
    for one in outcomes:
        if one.entry is not None and not one.delivered:
            lines.append(f"{one.source.path}: {one.state}: {one.entry.reason or 'the archive does not have it'}")
        elif one.entry is not None and not one.identical:
            lines.append(f"{one.source.path}: delivered, but did not come back byte for byte")
    return lines


def last_line(outcomes: Sequence[Outcome]) -> tuple[str, bool]:
    """The demo's last line, and whether its three numbers agree (and there is anything at all)."""
    sent = len(outcomes)
    delivered = sum(outcome.delivered for outcome in outcomes)
    identical = sum(outcome.identical for outcome in outcomes)
    line = f"demo: {sent} sent, {delivered} delivered, {identical} byte-identical"
    return line, 0 < sent == delivered == identical
