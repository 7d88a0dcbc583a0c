"""What the scale and the replica trials found, in a few lines each."""

from __future__ import annotations

from collections.abc import Sequence

from rehearse.model.growth import Bounds, Law
from rehearse.model.record import RunRecord
from rehearse.model.replica import ReplicaFacts
from rehearse.model.verdict import Growth, Unit
from rehearse.report import format as fmt
from rehearse.report.application import Json

_NAMED = 4  # so many of a workload's scripts; inferred ones are dozens


def growth_line(growth: Growth) -> str:
    """`duration grows linearly with orders: 12 s ± 2 s at 200 million rows (0.4 s to 1.6 s at 250,000 to
    1,000,000 here)`.
    """
    sizes = sorted({rows for rows, _ in growth.points})
    here = (
        f"{_span(growth, sizes[0], sizes[-1])} at {fmt.count(sizes[0])} to {fmt.count(sizes[-1])} rows here"
        if sizes
        else "nothing was measured here"
    )
    if growth.law is Law.CONSTANT and _grows_all_the_same(growth):
        how = f"{growth.what} shows no growth with {growth.table} here; by what is done, it grows"
    elif growth.law is Law.CONSTANT:
        how = f"{growth.what} does not grow with {growth.table}, within noise"
    else:
        how = f"{growth.what} grows {growth.law.value} with {growth.table}"
    if growth.projected is None or growth.production_rows is None:
        unknown = "" if growth.law is Law.CONSTANT else "; how many it has in production is not said"
        return f"{how}: {here}{unknown}"
    at = _estimate(growth.projected, growth.unit)
    return f"{how}: {at} at {fmt.rows(growth.production_rows)} ({here})"


def growth_document(record: RunRecord) -> list[Json]:
    """The same for machines, in seconds and bytes."""
    growths = record.judgement.growths if record.judgement else ()
    return [
        {
            "what": growth.what,
            "unit": growth.unit.value,
            "grows": growth.law.value,
            "table": growth.table,
            "measured": [{"rows": rows, "value": value} for rows, value in growth.points],
            "production_rows": growth.production_rows,
            "projected": growth.projected.point if growth.projected else None,
            "at_least": growth.projected.low if growth.projected else None,
            "at_most": growth.projected.high if growth.projected else None,
        }
        for growth in growths
    ]


def _grows_all_the_same(growth: Growth) -> bool:
    """Whether more is projected than noise explains: what a statement does decides before its times do."""
    most = max((value for _, value in growth.points), default=0.0)
    return growth.projected is not None and growth.projected.point > 3 * most


def _estimate(bounds: Bounds, unit: Unit) -> str:
    point = _text(bounds.point, unit)
    margin = max(bounds.high - bounds.point, bounds.point - bounds.low)
    if margin <= 0.005 * bounds.point:
        return point
    if bounds.high > 2 * bounds.point:
        return f"{point}, and not more than {_text(bounds.high, unit)}"
    return f"{point} ± {_text(margin, unit)}"


def _span(growth: Growth, smallest: int, largest: int) -> str:
    low = min(value for rows, value in growth.points if rows == smallest)
    high = min(value for rows, value in growth.points if rows == largest)
    first, last = _text(low, growth.unit), _text(high, growth.unit)
    return first if first == last else f"{first} to {last}"


def _text(value: float, unit: Unit) -> str:
    return fmt.duration(value) if unit is Unit.SECONDS else fmt.size(value)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more scripts"


def replica_lines(facts: ReplicaFacts) -> list[str]:
    """Lag, log and cancelled readers."""
    lag = fmt.nanoseconds(facts.lag_max_ns)
    behind = f"at most {lag} and {fmt.size(facts.unreplayed_max_bytes)} behind"
    lines = [
        f"{behind}, {fmt.size(facts.wal_bytes)} of log written",
        f"not caught up {fmt.nanoseconds(facts.waited_ns)} after the migration's end"
        if facts.caught_up_ns is None
        else f"caught up {fmt.nanoseconds(facts.caught_up_ns)} after the migration's end",
    ]
    who = _some(facts.scripts) or "nobody"
    lines.append(f"{who} read on the standby: {fmt.plural(facts.finished, 'transaction')} finished")
    lines += [f"{fmt.plural(count, 'reader')} cancelled over a {kind}" for kind, count in facts.conflicts]
    lines += [
        f"{each.script or 'the reader that was held open'} was cancelled with {each.sqlstate}, "
        f"{fmt.plural(each.count, 'time')}"
        for each in facts.cancelled
    ]
    if facts.failed:
        states = ", ".join(f"{state} ×{fmt.count(count)}" for state, count in facts.refused)
        why = f": {states}" if states else ""
        lines.append(f"{fmt.plural(facts.failed, 'transaction')} failed there for another reason{why}")
    return lines
