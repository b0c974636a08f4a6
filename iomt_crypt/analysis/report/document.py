"""Reports as PDF: A4, the same content as the page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import matplotlib as mpl
from reportlab.lib import colors  # type: ignore[import-untyped,unused-ignore]
from reportlab.lib.pagesizes import A4  # type: ignore[import-untyped,unused-ignore]
from reportlab.lib.styles import ParagraphStyle  # type: ignore[import-untyped,unused-ignore]
from reportlab.lib.units import mm  # type: ignore[import-untyped,unused-ignore]
from reportlab.lib.utils import ImageReader  # type: ignore[import-untyped,unused-ignore]
from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped,unused-ignore]
from reportlab.pdfbase.ttfonts import TTFont  # type: ignore[import-untyped,unused-ignore]
from reportlab.platypus import (  # type: ignore[import-untyped,unused-ignore]
    Flowable,
    Image,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from iomt_crypt.analysis.report.content import Exhibit, Report, Section, number_text, range_text
from iomt_crypt.analysis.report.page import verdict_text

_FONT, _BOLD = "DejaVuSans", "DejaVuSans-Bold"
_MARGIN = 17 * mm
_FRAME_PADDING = 6  # that reportlab leaves around everything
_WIDTH = A4[0] - 2 * _MARGIN - 2 * _FRAME_PADDING
_GAP = 3 * mm
_INK, _FAINT, _LINE = (colors.HexColor(code) for code in ("#16191d", "#5a626c", "#d0d5da"))
_GOOD, _BAD = (colors.HexColor(code) for code in ("#1c6e3d", "#a11d1d"))
_GOOD_GROUND, _BAD_GROUND, _PANEL = (colors.HexColor(code) for code in ("#e2f3e8", "#fbe4e2", "#f5f6f8"))


def _style(size: float, **more: Any) -> Any:
    options = {"fontName": _FONT, "fontSize": size, "leading": size * 1.38, "textColor": _INK, **more}
    return ParagraphStyle(f"style-{size}-{sorted(more)}", **options)


_TITLE: Final = _style(16, fontName=_BOLD, spaceAfter=3, splitLongWords=1)
_HEAD: Final = _style(11.5, fontName=_BOLD, spaceBefore=13, spaceAfter=4)
_TEXT: Final = _style(8.6, spaceAfter=4)
_SMALL: Final = _style(7.2, textColor=_FAINT)
_CELL: Final = _style(7.6)
_CELL_HEAD: Final = _style(7.4, fontName=_BOLD, textColor=_FAINT)


def render_document(report: Report) -> bytes:
    """Return the PDF of a report."""
    _register_fonts()
    sink = io.BytesIO()
    document = SimpleDocTemplate(
        sink,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=15 * mm,
        bottomMargin=16 * mm,
        title=f"Security report: {report.name}",
        author=report.software,
        lang="en",
    )

    def footer(canvas: Any, document: Any) -> None:
        canvas.saveState()
        canvas.setFont(_FONT, 7)
        canvas.setFillColor(_FAINT)
        canvas.drawString(
            _MARGIN + _FRAME_PADDING, 9 * mm, f"{report.software}, {report.created}. This report shows the plain image."
        )
        canvas.drawRightString(A4[0] - _MARGIN - _FRAME_PADDING, 9 * mm, f"page {document.page}")
        canvas.restoreState()

    story = _head(report)
    for section in report.sections:
        story += _section(section)
    document.build(story, onFirstPage=footer, onLaterPages=footer)
    return sink.getvalue()


def _head(report: Report) -> list[Flowable]:
    good = report.verdict.passed
    lines = verdict_text(report.verdict)
    colour = "#1c6e3d" if good else "#a11d1d"
    verdict = [Paragraph(f'<font name="{_BOLD}" color="{colour}" size="10.5">{escape(lines[0])}</font>', _TEXT)]
    verdict += [Paragraph(escape(line), _TEXT) for line in lines[1:]]
    facts = [[Paragraph(escape(name), _SMALL), Paragraph(escape(value), _CELL)] for name, value in report.facts]
    return [
        Paragraph("Security report of an image cipher", _SMALL),
        Paragraph(escape(report.name), _TITLE),
        _box(
            [Paragraph("This report shows the plain image. Keep it as you would keep the image itself.", _TEXT)], _PANEL
        ),
        Spacer(1, 6),
        _box(verdict, _GOOD_GROUND if good else _BAD_GROUND),
        Spacer(1, 8),
        Table(facts, colWidths=(22 * mm, _WIDTH - 22 * mm), style=_tight(), hAlign="LEFT"),
        *(Paragraph(escape(note), _TEXT) for note in report.notes),
    ]


def _section(section: Section) -> list[Flowable]:
    head: list[Flowable] = [Paragraph(escape(section.title), _HEAD)]
    head += [Paragraph(escape(paragraph), _TEXT) for paragraph in section.text]
    body: list[Flowable] = [_exhibits(row) for row in section.exhibits]
    if section.rows:
        body.append(_measurements(section))
    if section.table is not None:
        verdicts = section.table.verdicts
        header = [*section.table.header, *(["Verdict"] if verdicts else [])]
        rows = [[*map(_cell, cells)] for cells in section.table.rows]
        for row, verdict in zip(rows, verdicts, strict=False):
            row.append(_mark(verdict))
        body.append(_grid(header, rows, _even(len(section.table.header), verdicts=bool(verdicts))))
    if section.checks and section.list_checks:
        rows = [[_cell(check.name), _cell(check.note), _mark(check.passed)] for check in section.checks]
        body.append(_grid(["Check", "How", "Verdict"], rows, (0.5, 0.38, 0.12)))
    if not body:
        return [KeepTogether(head)]
    # A title never stands alone at the foot of a page.
    return [KeepTogether([*head, body[0]]), *body[1:]] if section.exhibits else [*head, *body]


def _exhibits(row: Sequence[Exhibit]) -> Flowable:
    width = (_WIDTH - _GAP * (len(row) - 1)) / max(len(row), 2)
    cells = [[_image(exhibit, width), Spacer(1, 2), Paragraph(escape(exhibit.caption), _SMALL)] for exhibit in row]
    widths = [width + _GAP] * len(row)
    table = Table([cells], colWidths=widths, hAlign="LEFT", style=_tight())
    table.spaceAfter = 4
    return table


def _image(exhibit: Exhibit, width: float) -> Flowable:
    columns, rows = ImageReader(io.BytesIO(exhibit.png)).getSize()
    # Tall and narrow images would not fit on a page.
    scale = min(width / columns, 80 * mm / rows)
    return Image(io.BytesIO(exhibit.png), columns * scale, rows * scale, hAlign="LEFT")


def _measurements(section: Section) -> Flowable:
    with_input = any(row.plain is not None for row in section.rows)
    header = ["Figure", *(["Input"] if with_input else []), "Cipher", "Ideal", "Allowed", "Verdict"]
    rows = []
    for row in section.rows:
        m = row.measurement
        note = " · ".join(part for part in (m.note, m.reference) if part)
        name = Paragraph(f'{escape(m.name)}<br/><font size="6.4" color="#5a626c">{escape(note)}</font>', _CELL)
        plain = [_cell(number_text(row.plain, m))] if with_input else []
        numbers = [number_text(m.value, m, unit=True), number_text(m.ideal, m), range_text(m)]
        rows.append([name, *plain, *map(_cell, numbers), _mark(m.passed)])
    widths = (0.34, 0.12, 0.14, 0.12, 0.19, 0.09) if with_input else (0.38, 0.16, 0.14, 0.22, 0.10)
    return _grid(header, rows, widths)


def _grid(header: Sequence[str], rows: Sequence[Sequence[Flowable]], shares: Sequence[float]) -> Flowable:
    cells = [[Paragraph(escape(cell), _CELL_HEAD) for cell in header], *rows]
    style = TableStyle(
        [
            ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), 5),
            ("TOPPADDING", (0, 0), (-1, -1), 2.5),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
        ]
    )
    widths = [share * _WIDTH for share in shares]
    return Table(cells, colWidths=widths, repeatRows=1, style=style, hAlign="LEFT", spaceBefore=4, spaceAfter=6)


def _even(n_columns: int, *, verdicts: bool) -> list[float]:
    """A wide first column, the others alike; tables of words end with a wide one."""
    if n_columns == 3 and not verdicts:
        return [0.28, 0.22, 0.5]
    last = [0.1] if verdicts else []
    first = 0.28
    return [first, *[(1 - first - sum(last)) / (n_columns - 1)] * (n_columns - 1), *last]


def _mark(passed: bool | None) -> Flowable:
    if passed is None:
        return _cell("–")  # noqa: RUF001 - the dash of tables
    colour, word = ("#1c6e3d", "PASS") if passed else ("#a11d1d", "FAIL")
    return Paragraph(f'<font name="{_BOLD}" color="{colour}">{word}</font>', _CELL)


def _cell(text: str) -> Flowable:
    return Paragraph(escape(text), _CELL)


def _box(content: Sequence[Flowable], ground: Any) -> Flowable:
    style = TableStyle([("BACKGROUND", (0, 0), (-1, -1), ground), ("LEFTPADDING", (0, 0), (-1, -1), 8)])
    return Table([[list(content)]], colWidths=(_WIDTH,), style=style, hAlign="LEFT")


def _tight() -> Any:
    sides = ("LEFTPADDING", "TOPPADDING", "BOTTOMPADDING")
    padding = [(side, (0, 0), (-1, -1), 0 if side == "LEFTPADDING" else 1) for side in sides]
    return TableStyle([*padding, ("VALIGN", (0, 0), (-1, -1), "TOP")])


def _register_fonts() -> None:
    """matplotlib brings DejaVu Sans along; the built-in fonts of PDF lack most signs and letters of file names."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for name in (_FONT, _BOLD):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
