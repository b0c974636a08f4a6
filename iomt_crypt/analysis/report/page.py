"""Reports as HTML: one file each, pictures inside, no script, nothing loaded from anywhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from iomt_crypt.analysis.report.content import UNLIKELY, Report, Verdict, number_text, range_text

_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("iomt_crypt.analysis.report", "template"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["base64"] = lambda data: b64encode(data).decode("ascii")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the index: a report, and its folder relative to the index."""

    report: Report
    folder: str


def render_report(report: Report, *, index: str = "") -> str:
    """Return the page of one report; `index` is a relative link to the page of all reports, or empty."""
    return _ENVIRONMENT.get_template("report.html.j2").render(
        report=report,
        title=f"Security report: {report.name}",
        software=report.software,
        style=_style(),
        verdict=verdict_text(report.verdict),
        linked=index,
        number=number_text,
        range=range_text,
    )


def render_index(entries: Sequence[Entry]) -> str:
    """Return the page with a line for each report; at least one entry."""
    total = sum(entry.report.verdict.n_figures for entry in entries)
    outside = sum(entry.report.verdict.n_outside for entry in entries)
    expected = sum(entry.report.verdict.expected_outside for entry in entries)
    summary = (
        f"Of all {total} figures {outside} are outside of their ranges; an ideal cipher has about {expected:.0f} there."
    )
    return _ENVIRONMENT.get_template("index.html.j2").render(
        entries=entries,
        title="Security reports",
        software=entries[0].report.software,
        created=entries[-1].report.created,
        style=_style(),
        summary=summary,
    )


def verdict_text(verdict: Verdict) -> tuple[str, ...]:
    """Return the verdict in sentences, the first one short."""
    if verdict.n_failed:
        head = f"FAIL: {verdict.n_failed} of {verdict.n_checks} checks failed"
    elif not verdict.passed:
        head = "FAIL: more figures outside of their ranges than chance explains"
    elif verdict.n_figures:
        head = "PASS: as an ideal cipher's, as far as these figures see"
    else:
        head = "PASS: all checks hold; the image is too small for statistics"
    lines = [head, f"{verdict.n_checks - verdict.n_failed} of {verdict.n_checks} checks hold."]
    if verdict.n_figures:
        lines.append(
            f"{verdict.n_outside} of {verdict.n_figures} figures are outside of their ranges; an ideal cipher has "
            f"{verdict.expected_outside:.1f} there on average, and as many or more with probability "
            f"{verdict.probability:.2g}. (Fail: below {UNLIKELY:g}. The figures are taken as independent, which they "
            "are only roughly.)"
        )
    return tuple(lines)


def _style() -> str:
    source = _ENVIRONMENT.loader.get_source(_ENVIRONMENT, "style.css") if _ENVIRONMENT.loader else ("",)
    return source[0]
