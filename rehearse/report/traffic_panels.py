"""The panels that show the traffic: response time, throughput, errors."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from rehearse.model.workload import Outcome
from rehearse.report import format as fmt
from rehearse.report import palette as p
from rehearse.report.labels import spread
from rehearse.report.points import Floats, Ints, Points
from rehearse.report.sheet import BODY, SMALL, SQUARE, Sheet
from rehearse.report.timeline import Timeline

LATENCY_HEIGHT = 2.5
THROUGHPUT_HEIGHT = 0.85
ERRORS_HEIGHT = 0.6
_HEADROOM = 0.4  # inches at the top of the response times, for the names of stalls
_CELLS_PER_INCH = 110
_BLOCK = 1_000_000


def draw_latency(sheet: Sheet, time: Timeline, top: float) -> None:
    """Every transaction as a faint dot, median and 99th percentile over them, on a log scale."""
    pts, per = time.points, time.buckets
    if pts is None or per is None:
        return
    axes = sheet.panel(top, LATENCY_HEIGHT)
    low, high = _latency_limits(pts, _HEADROOM if time.stalls else 0.1)
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    _latency_ticks(axes, low, high)
    _dots(axes, sheet, pts, (low, high))
    _troubles(axes, pts)
    middle = (per.edges[:-1] + per.edges[1:]) / 2
    axes.plot(middle, per.p50, color=p.MEDIAN, linewidth=1.5, zorder=4, solid_joinstyle="round")
    axes.plot(middle, per.p99, color=p.TAIL, linewidth=1.5, zorder=5, solid_joinstyle="round")
    ends = [("p99", _last(per.p99), p.TAIL), ("p50", _last(per.p50), p.MEDIAN)]
    heights = [_share(value, low, high) * LATENCY_HEIGHT for _, value, _ in reversed(ends)]
    places = spread(heights, [0.15, 0.15], LATENCY_HEIGHT, 0.0)[::-1]
    for (name, value, colour), place in zip(ends, places, strict=True):
        y = top + LATENCY_HEIGHT - place - 0.075
        sheet.text(sheet.width + 0.07, y, name, size=BODY, colour=colour, bold=True, vertical="center")
        x = sheet.width + 0.10 + sheet.ruler.width(name, BODY, bold=True)
        sheet.text(x, y, fmt.duration(value), size=SMALL, colour=colour, vertical="center")


def _last(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if len(finite) else math.nan


def _share(value: float, low: float, high: float) -> float:
    """Where `value` lies between the limits of a log axis, 0 to 1."""
    if not math.isfinite(value):
        return 0.0
    return min(max(math.log(value / low) / math.log(high / low), 0.0), 1.0)


def _latency_limits(pts: Points, room: float) -> tuple[float, float]:
    """Limits that hold every dot and leave `room` inches at the top for labels: three decades at least,
    so that calm looks calm.
    """
    low = 10 ** (math.floor(math.log10(float(np.quantile(pts.latency, 0.001))) * 2) / 2)
    high = max(float(pts.latency.max()) * 1.15, low * 1000)
    headroom = room / (LATENCY_HEIGHT - room)
    return min(low, float(pts.latency.min()) * 0.9), high * (high / low) ** headroom


def _latency_ticks(axes: Axes, low: float, high: float) -> None:
    marks = (*(10.0**e for e in range(-7, 2)), 60.0, 600.0, 3600.0, 36_000.0)
    decades = [mark for mark in marks if low * 0.999 <= mark <= high * 1.001]
    axes.set_yticks(decades, [fmt.duration(value) for value in decades])
    axes.set_yticks([], minor=True)
    axes.grid(axis="y", color=p.GRID, linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)


def _dots(axes: Axes, sheet: Sheet, pts: Points, limits: tuple[float, float]) -> None:
    """A dot for every transaction, or for every cell of a fine grid that has one: none is ever dropped."""
    first, counts = _cells(sheet, pts, limits)
    colours = np.tile(to_rgba(p.DOT), (len(first), 1))
    colours[:, 3] = np.clip(0.30 + 0.16 * np.log2(counts), 0.30, 0.9)
    dots = axes.scatter(pts.due[first], pts.latency[first], s=2.6, c=colours, linewidths=0, zorder=2)
    dots.set_rasterized(True)


def _cells(sheet: Sheet, pts: Points, limits: tuple[float, float]) -> tuple[Ints, Ints]:
    """The first transaction in each cell that has one, and how many there are; block by block, so that
    millions of them take no more memory than thousands.
    """
    log_range = math.log(limits[1] / limits[0])
    columns = int(sheet.width * _CELLS_PER_INCH)
    lines = int(LATENCY_HEIGHT * _CELLS_PER_INCH)
    counts = np.zeros(columns * lines, dtype=np.int64)
    first = np.full(columns * lines, -1, dtype=np.int64)
    for start in range(0, len(pts), _BLOCK):
        due, latency = pts.due[start : start + _BLOCK], pts.latency[start : start + _BLOCK]
        column = np.clip((due - sheet.start) / (sheet.end - sheet.start) * columns, 0, columns - 1)
        line = np.clip(np.log(latency / limits[0]) / log_range * lines, 0, lines - 1)
        cells, index, number = np.unique(
            column.astype(np.int64) * lines + line.astype(np.int64), return_index=True, return_counts=True
        )
        fresh = counts[cells] == 0
        first[cells[fresh]] = start + index[fresh]
        counts[cells] += number
    taken = np.flatnonzero(counts)
    return first[taken], counts[taken]


def _troubles(axes: Axes, pts: Points) -> None:
    """Failed transactions as crosses, unfinished ones as triangles at the time they had waited."""
    for outcome, marker in ((Outcome.ERROR, "x"), (Outcome.CONNECTION_LOST, "x"), (Outcome.UNFINISHED, "^")):
        chosen = pts.outcome == outcome
        if not chosen.any():
            continue
        for kind in np.unique(pts.kind[chosen]):
            mask = chosen & (pts.kind == kind)
            marks = axes.scatter(
                pts.due[mask],
                pts.latency[mask],
                s=11,
                c=kind_colour(int(kind)),
                marker=marker,
                linewidths=0.9 if marker == "x" else 0,
                alpha=0.75,
                zorder=3,
            )
            marks.set_rasterized(True)


def kind_colour(kind: int) -> str:
    """The colour of a kind of failure: the four most frequent have their own."""
    return p.ERRORS[min(kind, len(p.ERRORS) - 1)]


def draw_throughput(sheet: Sheet, time: Timeline, top: float) -> None:
    """Transactions due and finished per second; a burst that would flatten the rest is cut and named."""
    per = time.buckets
    if per is None:
        return
    axes = sheet.panel(top, THROUGHPUT_HEIGHT)
    offered, finished = per.due / per.lengths, per.finished / per.lengths
    usual = max(float(per.due.sum() / per.lengths.sum()), 1e-9)
    ceiling = max(min(float(finished.max()), 2.2 * usual), 1.35 * usual)
    axes.set_ylim(0, ceiling)
    axes.stairs(finished, per.edges, color=p.MEDIAN, fill=True, alpha=0.28, zorder=2)
    axes.stairs(finished, per.edges, color=p.MEDIAN, linewidth=1.0, zorder=3, baseline=None)
    axes.stairs(
        offered, per.edges, color=p.MUTED, linewidth=0.9, zorder=4, baseline=None, linestyle=(0, (3, 2))
    )
    axes.set_yticks([0, usual], ["0", fmt.per_second(usual)])
    peak = int(np.argmax(finished))
    if finished[peak] > ceiling * 1.02:
        x = sheet.inches(float(per.edges[peak] + per.edges[peak + 1]) / 2)
        label = f"↑ {fmt.per_second(float(finished[peak]))}"
        room = sheet.width + 0.7 - x - 0.06 >= sheet.ruler.width(label, SMALL)
        sheet.text(
            x + 0.06 if room else x - 0.06, top + 0.09, label, size=SMALL, colour=p.MEDIAN,
            align="left" if room else "right", vertical="center",
        )  # fmt: skip
    at = top + THROUGHPUT_HEIGHT * (1 - usual / ceiling)
    sheet.text(sheet.width + 0.07, at, "offered", size=SMALL, colour=p.MUTED, vertical="center")
    sheet.text(sheet.width + 0.07, top + THROUGHPUT_HEIGHT * 0.72, "finished", size=SMALL, colour=p.MEDIAN,
               vertical="center")  # fmt: skip


def draw_errors(sheet: Sheet, time: Timeline, top: float) -> None:
    """Failed and unfinished transactions per second, stacked by kind, at their scheduled time."""
    per, pts = time.buckets, time.points
    if per is None or pts is None or not pts.kinds:
        return
    axes = sheet.panel(top, ERRORS_HEIGHT)
    rates = per.failed / per.lengths
    floor = np.zeros(rates.shape[1])
    widths = np.diff(per.edges)
    least = (sheet.end - sheet.start) * 0.0025
    for kind, rate in enumerate(rates):
        if rate.any():
            shown = rate > 0
            axes.bar(
                ((per.edges[:-1] + per.edges[1:]) / 2)[shown],
                rate[shown],
                np.maximum(widths * 0.92, least)[shown],
                bottom=floor[shown],
                color=kind_colour(kind),
                linewidth=0,
                zorder=3,
            )
            floor = floor + rate
    highest = float(floor.max())
    axes.set_ylim(0, highest * 1.08)
    axes.set_yticks([0, highest], ["0", fmt.per_second(highest)])
    axes.set_xlim(sheet.start, sheet.end)


def error_words(pts: Points) -> list[tuple[str, str]]:
    """The kinds with their colours and counts: the panel's title is its legend."""
    if not pts.kinds:
        return [("none", p.MUTED)]
    totals = [int((pts.kind == kind).sum()) for kind in range(len(pts.kinds))]
    shown = len(p.ERRORS) if len(totals) <= len(p.ERRORS) else len(p.ERRORS) - 1
    words = []
    for kind, (name, total) in enumerate(zip(pts.kinds[:shown], totals[:shown], strict=True)):
        words += [(SQUARE, kind_colour(kind)), (f"{name} ×{fmt.count(total)}", p.MUTED)]
    if len(totals) > shown:
        rest = f"{len(totals) - shown} other kinds ×{fmt.count(sum(totals[shown:]))}"
        words += [(SQUARE, p.ERRORS[-1]), (rest, p.MUTED)]
    return words
