"""Whether work under a lock fits the budget at production size, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.projection import Cost, Work, may_grow_to, summed
from rehearse.model.verdict import Quantity, Severity, Unit

# Without production rows: from how many rows on an unknown size is a failure, or unmeasured.
_MANY_ROWS = 10_000
_SOME_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Sizing:
    """The severity that the size of the work calls for, what was observed, and why."""

    severity: Severity
    observed: Quantity
    limit: Quantity
    sentence: str


def size_up(facts: Facts, costs: Sequence[Cost], constant_s: float = 0.0, *, known_s: float | None) -> Sizing:
    """Judges `known_s`, the time projected to production (None: not known), against the budget.

    `costs` are the statements whose time grows, `constant_s` the rest of the time. A size nobody has
    named is a failure: the verdict would be a guess.
    """
    budget = facts.budget_s
    measured = constant_s + sum(cost.busy_s for cost in costs)
    limit = Quantity(budget, Unit.SECONDS)
    room = _room(costs, constant_s, budget)
    if known_s is None:
        sentence = f"It took {wording.seconds(measured)} here. {_unknown(costs, room, budget)}"
        return Sizing(Severity.FAILURE, Quantity(measured, Unit.SECONDS), limit, sentence)
    if any(cost.works and cost.busy_ns == 0 for cost in costs):  # no work over rows takes no time at all
        sentence = "It worked on whole tables, but for how long was not measured."
        return Sizing(Severity.UNMEASURED, Quantity(measured, Unit.SECONDS), limit, sentence)
    sentence = (
        f"It took {wording.seconds(measured)} here; {_at_production(costs)}that is about "
        f"{wording.seconds(known_s)}, against a budget of {wording.seconds(budget)}."
    )
    observed = Quantity(known_s, Unit.SECONDS)
    bounds = summed(cost.bounds_s for cost in costs)
    if known_s > budget:
        return Sizing(Severity.FAILURE, observed, limit, sentence + (f" {room}" if room else ""))
    if bounds is not None and bounds.high > bounds.point and constant_s + bounds.high > budget:
        ends = f"{wording.seconds(constant_s + bounds.low)} to {wording.seconds(constant_s + bounds.high)}"
        doubt = f"It may be anything from {ends}: more rows would say more exactly."
        return Sizing(Severity.UNMEASURED, observed, limit, f"{sentence} {doubt}")
    severity = Severity.WARNING if 2 * known_s > budget else Severity.NOTE
    return Sizing(severity, observed, limit, sentence)


def severity_of_rows(sized: Severity, rows: int, *, known: bool) -> Severity:
    """The severity of keeping so many rows locked: of the size where it is `known`, else by the rows
    rehearsed. It is never less than a warning.
    """
    if known:
        return sized if sized in (Severity.FAILURE, Severity.UNMEASURED) else Severity.WARNING
    if rows > _MANY_ROWS:
        return Severity.FAILURE
    return Severity.UNMEASURED if rows > _SOME_ROWS else Severity.WARNING


def _unknown(costs: Sequence[Cost], room: str, budget: float) -> str:
    """What to say where a table's production rows, or the rehearsal's, are missing."""
    works = [work for cost in costs for work in cost.works if work.growth is None]
    empty = sorted({str(work.table) for work in works if work.listed and work.rows == 0})
    if empty:
        return f"{wording.listed(empty)} was empty in the rehearsal, which says nothing about its real size."
    names = sorted({str(work.table) for work in works if work.listed})
    if not names:
        return room or f"Nothing says how it grows in production; the budget is {wording.seconds(budget)}."
    mend = f"Name the production rows of {wording.listed(names)} if there are fewer."
    return f"{room} {mend}" if room else f"Its production rows are not given. {mend}"


def _room(costs: Sequence[Cost], constant_s: float, budget: float) -> str:
    """How large the main table may get."""
    main = _largest(work for cost in costs for work in cost.works)
    if main is None:
        return ""
    growing = sum(cost.busy_s for cost in costs)
    rows = may_grow_to([main], growing, constant_s, budget)
    if rows is None:
        return ""
    return (
        f"{main.table} may grow to {wording.about_rows(rows)} before the budget of "
        f"{wording.seconds(budget)} is used up."
    )


def _at_production(costs: Sequence[Cost]) -> str:
    main = _largest(work for cost in costs for work in cost.works if work.growth is not None and work.listed)
    if main is None or main.growth is None:
        return ""
    return f"at production size ({wording.factor(main.growth)} times the work on {main.table}) "


def _largest(works: Iterable[Work]) -> Work | None:
    return max(works, key=lambda work: work.rows, default=None)
