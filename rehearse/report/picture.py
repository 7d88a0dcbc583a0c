"""The main picture: the traffic, the migration and the locks on one time axis, as SVG or PNG.

Heavy: importing this module imports matplotlib.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from rehearse.model.record import Phase, RunRecord
from rehearse.model.verdict import Verdict
from rehearse.model.workload import SampleColumns
from rehearse.report import digest, work
from rehearse.report import format as fmt
from rehearse.report import palette as p
from rehearse.report.labels import FAMILY, spread
from rehearse.report.migration_panels import draw_statements, draw_waits, rows_height
from rehearse.report.sheet import BODY, LEFT, RIGHT, SMALL, Sheet
from rehearse.report.timeline import StallBand, Timeline, timeline
from rehearse.report.traffic_panels import (
    ERRORS_HEIGHT,
    LATENCY_HEIGHT,
    THROUGHPUT_HEIGHT,
    draw_errors,
    draw_latency,
    draw_throughput,
    error_words,
)

_HEADLINE = 0.5  # the verdict above everything, in the PNG
_STRIP = 0.42  # the phases' names along the top
_TITLE_GAP = 0.36  # above every panel
_AXIS = 0.46  # the time axis below the last
_FONTS = "-apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"

_Words = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Panel:
    title: _Words
    height: float
    draw: Callable[[Sheet, Timeline, float], None] | None = None


def render_svg(record: RunRecord, samples: SampleColumns | None) -> str | None:
    """The picture as one `<svg>` element for inlining: text stays text, nothing is fetched, and it says
    in words what it shows. None where the record has nothing with a time to draw.
    """
    time = timeline(record, samples)
    if time is None:
        return None
    out = io.StringIO()
    with (
        warnings.catch_warnings(),
        mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rehearse", "svg.id": None}),
    ):
        figure = _draw(time)
        FigureCanvasSVG(figure)
        figure.savefig(out, format="svg", dpi=170, metadata={"Date": None, "Creator": None})
    return _inline(out.getvalue(), describe(record, time))


def render_png(record: RunRecord, samples: SampleColumns | None, dpi: int = 160) -> bytes | None:
    """The picture as PNG, under a line with the verdict; None where there is nothing to draw."""
    time = timeline(record, samples)
    if time is None:
        return None
    out = io.BytesIO()
    with warnings.catch_warnings():
        figure = _draw(time, digest.headline(record))
        FigureCanvasAgg(figure)
        figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None})
    return out.getvalue()


def _draw(time: Timeline, headline: digest.Headline | None = None) -> Figure:
    # A name in a script that the measuring font lacks is no reason to warn: browsers have a font for it.
    warnings.filterwarnings("ignore", message=r"Glyph \d+ ")
    panels = _panels(time)
    bottom = _STRIP + sum(_TITLE_GAP + panel.height for panel in panels)
    above = _HEADLINE if headline else 0.0
    sheet = Sheet(bottom + _AXIS, time.start, time.end, above)
    if headline:
        _draw_headline(sheet, headline)
    _draw_warm_up(sheet, time, bottom)
    _draw_stalls(sheet, time, bottom)
    top = _STRIP
    for panel in panels:
        sheet.title(top + _TITLE_GAP - 0.1, panel.title)
        top += _TITLE_GAP
        if panel.draw:
            panel.draw(sheet, time, top)
        top += panel.height
    _draw_phases(sheet, time, bottom)
    _draw_axis(sheet, bottom)
    return sheet.figure


def _draw_headline(sheet: Sheet, headline: digest.Headline) -> None:
    colour = {Verdict.GO: "#0B6B43", Verdict.NO_GO: p.STALL_TEXT, Verdict.INCONCLUSIVE: "#8A5A00"}
    left, y = 0.12 - LEFT, -0.16
    sheet.text(left, y, headline.word, size=17, colour=colour[headline.verdict], bold=True)
    x = left + sheet.ruler.width(headline.word, 17, bold=True) + 0.22
    why = sheet.ruler.cut(headline.why, 10.5, sheet.width + RIGHT - 0.1 - x)
    sheet.text(x, y, why, size=10.5, colour=p.INK)


def _panels(time: Timeline) -> list[_Panel]:
    return [*_traffic_panels(time), *_statement_panels(time), *_wait_panels(time)]


def _traffic_panels(time: Timeline) -> list[_Panel]:
    if time.points is None:
        return [_Panel([("Traffic", p.INK), ("not measured: the run kept no samples", p.STALL_TEXT)], 0.02)]
    per = f"per {fmt.duration(time.bucket)}"
    total = (
        f"{fmt.plural(len(time.points), 'transaction')}, from the time each was due, log scale; lines {per}"
    )
    failed = bool(time.points.kinds)
    return [
        _Panel([("Response time", p.INK), (total, p.MUTED)], LATENCY_HEIGHT, draw_latency),
        _Panel([("Throughput", p.INK), (per, p.MUTED)], THROUGHPUT_HEIGHT, draw_throughput),
        _Panel(
            [("Failed or unfinished", p.INK), *error_words(time.points)],
            ERRORS_HEIGHT if failed else 0.02,
            draw_errors,
        ),
    ]


def _statement_panels(time: Timeline) -> list[_Panel]:
    if not time.statements:
        return [_Panel([("Migration", p.INK), ("did not start", p.STALL_TEXT)], 0.02)]
    words: _Words = [("Migration", p.INK)]
    if time.transactions:
        words.append(("shaded: one transaction, its locks held to the end", p.MUTED))
    if any(bar.waiting for bar in time.statements):
        words.append(("hollow: waiting for a lock itself", p.MUTED))
    if time.not_run:
        words.append((f"{fmt.plural(time.not_run, 'statement')} never ran", p.STALL_TEXT))
    return [_Panel(words, rows_height(len(time.statements)), draw_statements)]


def _wait_panels(time: Timeline) -> list[_Panel]:
    words: _Words = [("Lock waits", p.INK)]
    if not time.waits:
        return [_Panel([*words, ("none seen", p.MUTED)], 0.02)]
    words.append(("as sampled: lengths are lower bounds", p.MUTED))
    if time.hidden_waits:
        words.append((f"{time.hidden_waits} more in the table below", p.MUTED))
    return [_Panel(words, rows_height(len(time.waits)), draw_waits)]


def _draw_warm_up(sheet: Sheet, time: Timeline, bottom: float) -> None:
    for band in time.phases:
        if band.name == Phase.WARM_UP.value:
            left, right = sheet.inches(band.start), sheet.inches(band.end)
            sheet.box(left, _STRIP, right - left, bottom - _STRIP, p.CARD, alpha=0.62, behind=False)
            sheet.box(left, _STRIP, right - left, bottom - _STRIP, p.SHADE)


def _draw_stalls(sheet: Sheet, time: Timeline, bottom: float) -> None:
    """A red shade through all panels; the longest are named where there is room for it."""
    for band in time.stalls:
        left, right = sheet.inches(band.start), sheet.inches(band.end)
        sheet.box(left, _STRIP, max(right - left, 0.02), bottom - _STRIP, p.STALL, alpha=0.13)
    taken: list[tuple[float, float]] = []
    y = _STRIP + _TITLE_GAP + 0.13
    for band in sorted(time.stalls, key=lambda b: -b.length)[:12]:
        left, width = _stall_label_place(sheet, band)
        if all(left > end + 0.08 or left + width < start - 0.08 for start, end in taken):
            taken.append((left, left + width))
            sheet.text(left, y, band.label, size=10, colour=p.STALL_TEXT, bold=True, vertical="center")
            _stall_scripts(sheet, band, (left, width), y + 0.16)


def _stall_scripts(sheet: Sheet, band: StallBand, name: tuple[float, float], y: float) -> None:
    """Who stalled, under the stall's name: centred in the shade, or flush with a name beside it."""
    left, width = name
    start, end = sheet.inches(band.start), sheet.inches(band.end)
    inside = start <= left and left + width <= end
    who = sheet.ruler.cut(", ".join(band.scripts), SMALL, max(width, end - start - 0.1) if inside else width)
    x, align = (left + width / 2, "center") if inside else (left, "left")
    sheet.text(x, y, who, size=SMALL, colour=p.STALL_TEXT, align=align, vertical="center")


def _stall_label_place(sheet: Sheet, band: StallBand) -> tuple[float, float]:
    """Left edge and width of a stall's name: in the shade's middle, else right of it, else left."""
    width = sheet.ruler.width(band.label, 10, bold=True)
    left, right = sheet.inches(band.start), sheet.inches(band.end)
    if width + 0.08 <= right - left:
        return (left + right - width) / 2, width
    if right + 0.06 + width <= sheet.width + RIGHT - 0.1:
        return right + 0.06, width
    return left - 0.06 - width, width


def _draw_phases(sheet: Sheet, time: Timeline, bottom: float) -> None:
    colours = {Phase.WARM_UP.value: p.FAINT, Phase.MIGRATION.value: p.INK}
    labels, centres = [], []
    for band in time.phases:
        left, right = sheet.inches(band.start), sheet.inches(band.end)
        main = band.name == Phase.MIGRATION.value
        sheet.box(left, _STRIP - 0.05, max(right - left - 0.02, 0.02), 0.035,
                  colours.get(band.name, p.BYSTANDER), behind=False)  # fmt: skip
        took = time.migration if main and time.migration else (band.start, band.end)
        labels.append((f"{band.name} {fmt.duration(took[1] - took[0])}", main, band.name))
        centres.append((left + right) / 2)
    widths = [sheet.ruler.width(text, BODY, bold=main) for text, main, _ in labels]
    for (text, main, name), x, centre, width in zip(
        labels, spread(centres, widths, sheet.width, 0.14), centres, widths, strict=True
    ):
        colour = p.INK if main else p.BYSTANDER if name == Phase.WARM_UP.value else p.MUTED
        sheet.text(x, _STRIP - 0.16, text, size=BODY, colour=colour, bold=main)
        if not x <= centre <= x + width:
            near = x if centre < x else x + width
            sheet.line((near, centre), (_STRIP - 0.11, _STRIP - 0.05), p.FAINT, 0.7)
    for at in time.migration or ():
        sheet.upright(sheet.inches(at), _STRIP - 0.05, bottom, p.INK, 0.7)


def _draw_axis(sheet: Sheet, bottom: float) -> None:
    """Ticks and their names below the last panel, in seconds, or in minutes for a long run."""
    seconds = sheet.end - sheet.start
    unit, name = (60.0, "minutes") if seconds > 240 else (1.0, "seconds")
    steps = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    step = next((s * unit for s in steps if seconds / (s * unit) <= 16), seconds)
    tick = math.ceil(sheet.start / step - 1e-9)
    sheet.line((0, sheet.width), (bottom, bottom), p.BYSTANDER, 0.8)
    while tick * step <= sheet.end + 1e-9:
        x = sheet.inches(tick * step)
        sheet.line((x, x), (bottom, bottom + 0.04), p.BYSTANDER, 0.8)
        text = f"{tick * step / unit:.6g}".replace("-", "−")
        sheet.text(x, bottom + 0.16, text, size=SMALL, colour=p.MUTED, align="center")
        tick += 1
    sheet.text(sheet.width / 2, bottom + 0.36, f"{name} from the migration's start", size=BODY,
               colour=p.MUTED, align="center")  # fmt: skip


def describe(record: RunRecord, time: Timeline) -> str:
    """The picture in words, for whoever cannot see it."""
    parts = [f"Timeline of {fmt.duration(time.seconds)}: {digest.headline(record).word}."]
    if time.migration:
        took = fmt.duration(time.migration[1] - time.migration[0])
        parts.append(
            f"The migration took {took} with {fmt.plural(len(digest.statements(record)), 'statement')}."
        )
    parts += [
        f"{', '.join(band.scripts)} {band.label}, from {fmt.duration(band.start)} on."
        for band in sorted(time.stalls, key=lambda b: -b.length)[:3]
    ]
    if time.points is not None and not time.stalls:
        parts.append("No stall.")
    if time.points is None:
        parts.append("The traffic was not measured.")
    trial = digest.main_trial(record)
    parts += [
        f"{group.waiter} waited for {group.lock}, {fmt.at_least(group.longest_ns)}."
        for group in work.wait_groups(trial.waits if trial else ())[:3]
    ]
    return fmt.one_line(" ".join(parts))


def _inline(svg: str, description: str) -> str:
    """The bare `<svg>` element: scales with the page, has a name and a description, uses its fonts."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = body.replace(f"'{FAMILY}'", _FONTS.replace('"', "'"))
    opening, rest = body.split(">", 1)
    opening = re.sub(r' (width|height|version|xmlns(:\w+)?)="[^"]*"', "", opening)
    label = escape(description, quote=True)
    return f'{opening} role="img" aria-label="{label}">\n<title>{escape(description)}</title>{rest}'
