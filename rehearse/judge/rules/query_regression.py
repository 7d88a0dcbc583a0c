"""`query-regression`: a script is slower after the migration than before it, though nothing is locked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.projection import growth_of
from rehearse.judge.regression_findings import LOOK, QUERY_REGRESSION, planned, with_counts
from rehearse.judge.regressions import regressions
from rehearse.judge.rules.rule import Rule
from rehearse.judge.traffic import Longs, Span, Traffic, span_of
from rehearse.model.record import Phase
from rehearse.model.verdict import Finding, Quantity, Severity, Unit
from rehearse.model.workload import Outcome

_FEWEST = 20
_FACTOR = 10.0
_FAILS_NS = 100_000_000
_WARNS_NS = 5_000_000
# Where every script is slower, the machine is; where transactions queue, a backlog is being worked off.
_APART_FROM_OTHERS = 3.0
_MOST_QUEUED_NS = 10_000_000


@dataclass(frozen=True, slots=True)
class _Change:
    """Median time from sending to answer, before and after."""

    before_ns: float
    after_ns: float

    @property
    def factor(self) -> float:
        return self.after_ns / max(1.0, self.before_ns)


def _check(facts: Facts) -> Iterable[Finding]:
    explained = regressions(facts)
    named = {each.statement.script for each in explained}
    found = [planned(facts, each) for each in explained]
    found += [finding for finding in _timed(facts) if finding.subject not in named]
    yield from (with_counts(facts, finding) for finding in found)


def _timed(facts: Facts) -> Iterable[Finding]:
    """What the traffic met."""
    if facts.traffic is None:
        return
    baseline, recovery = span_of(facts.trial, Phase.BASELINE), span_of(facts.trial, Phase.RECOVERY)
    if baseline is None or recovery is None:
        return
    late = recovery.halves()[1]
    if _queued_ns(facts.traffic, late) > _MOST_QUEUED_NS:
        return
    changes = _changes(facts.traffic, baseline, late)
    for script, change in changes.items():
        others = [other.factor for name, other in changes.items() if name != script]
        apart = not others or change.factor >= _APART_FROM_OTHERS * min(others)
        slower = change.after_ns - change.before_ns
        if change.factor >= _FACTOR and slower >= _WARNS_NS and apart:
            grown = slower * _growth(facts, script)
            yield _finding(
                script, change, grown, Severity.FAILURE if grown >= _FAILS_NS else Severity.WARNING
            )


def _growth(facts: Facts, script: str) -> float:
    """How much larger the tables of `script` are in production, 1.0 where that is not known: what became
    this much slower at once has in all likelihood begun to read a whole table.
    """
    relations = [r for f in facts.record.footprints if f.script == script for r, _ in f.locks]
    growths = [growth_of(table) for r in relations if (table := facts.tables.find(r)) is not None]
    return max([1.0, *(growth for growth in growths if growth is not None)])


def _changes(traffic: Traffic, before: Span, after: Span) -> Mapping[str, _Change]:
    """The scripts of which enough finished in both spans."""
    found = {}
    for script in traffic.scripts:
        times = [_service_times(traffic, span, script) for span in (before, after)]
        if all(len(column) >= _FEWEST for column in times):
            found[script] = _Change(*(float(np.median(column)) for column in times))
    return found


def _service_times(traffic: Traffic, span: Span, script: str) -> Longs:
    """From sending to answer: what the server took, without the wait for a free connection."""
    mine = traffic.within(span) & traffic.of_script(script) & np.greater(traffic.started, 0)
    mine &= np.equal(traffic.outcome, Outcome.OK)
    return traffic.ended[mine] - traffic.started[mine]


def _queued_ns(traffic: Traffic, span: Span) -> float:
    mine = traffic.within(span) & np.greater(traffic.started, 0) & traffic.due
    return float(np.median(traffic.started[mine] - traffic.scheduled[mine])) if mine.any() else 0.0


def _finding(script: str, change: _Change, grown_ns: float, severity: Severity) -> Finding:
    return Finding(
        rule=RULE.id,
        severity=severity,
        message=(
            f"{script} is {wording.factor(change.factor)} times slower after the migration than before: "
            f"{wording.seconds(change.after_ns / 1e9)} instead of {wording.seconds(change.before_ns / 1e9)} "
            "(medians), and more on larger tables"
        ),
        evidence=(
            f"if that grows with its tables, it is about {wording.seconds(grown_ns / 1e9)} in production",
        ),
        subject=script,
        observed=Quantity(change.after_ns / 1e9, Unit.SECONDS),
        limit=Quantity(change.before_ns * _FACTOR / 1e9, Unit.SECONDS),
        advice=LOOK,
    )


RULE = Rule(
    id=QUERY_REGRESSION,
    severity=Severity.FAILURE,
    reason=(
        "Long after the last lock is gone, a script of the application takes many times longer than before "
        "the migration. A dropped or unusable index, a foreign key without one, missing statistics: nothing "
        "of it shows while the migration runs."
    ),
    safe_way=(
        "Compare the plans before and after; create the index that is missing (CONCURRENTLY) before the "
        "change that needs it, and ANALYZE what was rewritten."
    ),
    check=_check,
)
