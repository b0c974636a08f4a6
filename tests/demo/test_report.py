"""The last line tells the truth, the table fits, and the work folder is nobody else's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from demo import gateway, report, workplace
from demo.gateway import DemoError, Entry
from demo.report import Outcome
from demo.source import Source


def outcome(name: str = "one.dcm", state: str = "delivered", *, in_archive: bool = True, same: bool = True) -> Outcome:
    source = Source(Path("study") / name, name, "1.2", "1.2.3", "CT", "512 x 512", 525_000)
    return Outcome(source, Entry("2.25.1", name, state, 530_000, 0.0031, ""), in_archive, same)


def test_last_line_when_all_is_well() -> None:
    assert report.last_line([outcome(), outcome()]) == ("demo: 2 sent, 2 delivered, 2 byte-identical", True)


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (outcome(state="failed"), "demo: 2 sent, 1 delivered, 2 byte-identical"),
        (outcome(in_archive=False), "demo: 2 sent, 1 delivered, 2 byte-identical"),
        (outcome(same=False), "demo: 2 sent, 2 delivered, 1 byte-identical"),
        (replace(outcome(same=False), entry=None, in_archive=False), "demo: 2 sent, 1 delivered, 1 byte-identical"),
    ],
)
def test_last_line_when_it_is_not(bad: Outcome, line: str) -> None:
    assert report.last_line([outcome(), bad]) == (line, False)


def test_nothing_sent_is_no_success() -> None:
    assert report.last_line([])[1] is False


def render(outcomes: list[Outcome]) -> str:
    console = Console(width=140, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(report.table(outcomes))
    return captured.get()


def test_complaints_name_what_was_taken_and_lost() -> None:
    gone = outcome("gone.dcm", in_archive=False)
    changed = outcome("changed.dcm", same=False)
    refused = replace(outcome("refused.dcm"), entry=None)  # the sender was told so, and says it
    lines = report.complaints([outcome(), gone, changed, refused])
    assert [line.split(": ", 1)[0] for line in lines] == ["study/gone.dcm", "study/changed.dcm"]


def test_table_has_a_line_an_object_or_a_series() -> None:
    shown = render([outcome("[weird].dcm"), outcome("two.dcm", "failed", same=False)])
    assert "[weird].dcm" in shown
    assert "3.1 ms" in shown
    assert "failed" in shown
    many = render([outcome(f"{index}.dcm") for index in range(50)])
    assert "50 in study" in many
    assert len(many.splitlines()) < 5


def test_work_folder_is_wiped_only_where_the_demo_made_it(tmp_path: Path) -> None:
    work = workplace.fresh(tmp_path / "work")
    (work / "old").write_text("old")
    assert [path.name for path in workplace.fresh(work).iterdir()] == [".made-by-iomt-crypt-demo"]

    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years")
    with pytest.raises(DemoError, match="not made by the demo"):
        workplace.fresh(precious)
    assert (precious / "thesis.tex").read_text() == "years"
    link = tmp_path / "link"
    link.symlink_to(work)
    with pytest.raises(DemoError, match="not a folder"):
        workplace.fresh(link)


def test_long_lists_are_split_over_commands() -> None:
    values = [str(index) for index in range(501)]
    portions = list(gateway.batches(values))
    assert [len(portion) for portion in portions] == [200, 200, 101]
    assert [value for portion in portions for value in portion] == values
    assert list(gateway.batches([])) == []


def test_a_failing_command_says_why() -> None:
    with pytest.raises(DemoError, match="iomt-crypt keygen"):
        gateway.command("keygen", "--no-such-option")
