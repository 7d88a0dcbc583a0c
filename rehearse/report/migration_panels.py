"""The panels that show the migration: its statements, and who waited for a lock."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from rehearse.model.waits import Role
from rehearse.report import palette as p
from rehearse.report.labels import PLACES, beside, side
from rehearse.report.palette import Work
from rehearse.report.sheet import BODY, Sheet
from rehearse.report.timeline import Span, StatementBar, Timeline, WaitBar

ROW = 0.235
PAD = 0.05
_BAR = 0.62  # of a row's height
_THINNEST = 0.03  # inches: what is too short to see is drawn this wide


def rows_height(rows: int) -> float:
    """Inches for a panel of so many rows."""
    return rows * ROW + 2 * PAD


def draw_statements(sheet: Sheet, time: Timeline, top: float) -> None:
    """A row a statement, in the order they ran; a shade behind those that share a transaction."""
    axes = _row_axes(sheet, top, len(time.statements))
    for band in time.transactions:
        height = (band.last - band.first + 1) * ROW
        left, right = sheet.inches(band.start), sheet.inches(band.end)
        width = max(right - left, _THINNEST) + 0.08
        sheet.box(left - 0.04, top + PAD + band.first * ROW, width, height, "#D5DDE8", alpha=0.75)
    for row, bar in enumerate(time.statements):
        _bar(axes, sheet, row, bar.spans, bar.work.colour, hatch="////" if bar.work is Work.FAILED else "")
        for start, end in bar.waiting:
            axes.broken_barh(
                [(start, end - start)], (row + 0.5 - _BAR / 2, _BAR), facecolor=p.CARD,
                edgecolor=bar.work.colour, linewidth=1.0, zorder=4,
            )  # fmt: skip
    _labels(sheet, top, time.statements, [_needs_dark(bar) for bar in time.statements])


def draw_waits(sheet: Sheet, time: Timeline, top: float) -> None:
    """A row a group of waiting sessions: the migration's own wait first, then who stood behind it."""
    axes = _row_axes(sheet, top, len(time.waits))
    colours = {Role.MIGRATION: p.OWN_WAIT, Role.TRAFFIC: p.VICTIM}
    for row, bar in enumerate(time.waits):
        _bar(axes, sheet, row, bar.spans, colours.get(bar.role, p.BYSTANDER))
    _labels(sheet, top, time.waits, [False] * len(time.waits))


def _needs_dark(bar: StatementBar) -> bool:
    """Whether white text cannot be read on the bar."""
    return bool(bar.waiting) or bar.work in (Work.SCAN, Work.CONCURRENT, Work.NOT_RUN, Work.UNKNOWN)


def _row_axes(sheet: Sheet, top: float, rows: int) -> Axes:
    axes = sheet.panel(top, rows_height(rows))
    axes.set_ylim(rows + PAD / ROW, -PAD / ROW)
    axes.set_yticks([])
    return axes


def _bar(axes: Axes, sheet: Sheet, row: int, spans: Sequence[Span], colour: str, hatch: str = "") -> None:
    thinnest = _THINNEST / sheet.width * (sheet.end - sheet.start)
    drawn = [(start, max(end - start, thinnest)) for start, end in spans]
    axes.broken_barh(
        drawn,
        (row + 0.5 - _BAR / 2, _BAR),
        facecolor=colour,
        edgecolor=p.CARD if hatch else "none",
        hatch=hatch,
        linewidth=0,
        zorder=3,
    )


def _labels(sheet: Sheet, top: float, bars: Sequence[StatementBar | WaitBar], dark: Sequence[bool]) -> None:
    """Every bar's label, all on one side where they fit there; `dark` says what to write with in a bar."""
    extents = [_extent(sheet, bar.spans) for bar in bars]
    favourite = side(sheet.ruler, [bar.labels[0] for bar in bars], BODY, extents, sheet.width)
    for row, (bar, extent) in enumerate(zip(bars, extents, strict=True)):
        order = [favourite, *(place for place in PLACES if place != favourite)]
        if len(bar.spans) > 1:
            order.remove("in")
        placed = beside(sheet.ruler, bar.labels, BODY, extent, sheet.width, order)
        if placed is None:
            continue
        y = top + PAD + (row + 0.5) * ROW
        colour = p.CARD if placed.inside and not dark[row] else p.INK
        sheet.text(placed.x, y, placed.text, colour=colour, align=placed.align, vertical="center")


def _extent(sheet: Sheet, spans: Sequence[Span]) -> tuple[float, float]:
    left = sheet.inches(min(start for start, _ in spans))
    return left, max(sheet.inches(max(end for _, end in spans)), left + _THINNEST)
