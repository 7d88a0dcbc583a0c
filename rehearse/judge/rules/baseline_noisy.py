"""`baseline-noisy`: there is nothing steady to compare the migration with."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.gates import holds_against_quieter_half
from rehearse.judge.rules.rule import Rule
from rehearse.judge.traffic import Span, Traffic, span_of
from rehearse.model.record import Phase
from rehearse.model.verdict import Finding, Quantity, Severity, Unit

_FEWEST = 100
_MOST_ERRORS = 0.05
_FACTOR = 3.0
_DIFFERENCE_S = 0.25
_LONGER = "Lengthen the baseline, or raise [workload] rate."


def _check(facts: Facts) -> Iterable[Finding]:
    span = span_of(facts.trial, Phase.BASELINE)
    if span is None or facts.traffic is None:
        missing = "baseline" if span is None else "sample of the traffic"
        yield _finding(f"there is no {missing} to compare the migration with", _LONGER)
        return
    due = int((facts.traffic.due & facts.traffic.within(span)).sum())
    if due < _FEWEST:
        yield _finding(
            f"only {wording.count(due, 'transaction')} were due in the baseline, too few to compare with",
            _LONGER,
            (Quantity(float(due), Unit.COUNT), Quantity(float(_FEWEST), Unit.COUNT)),
        )
        return
    yield from _errors(facts.traffic, span, due)
    yield from _halves(facts, span)


def _errors(traffic: Traffic, span: Span, due: int) -> Iterable[Finding]:
    failed = int((traffic.failed & traffic.within(span)).sum())
    if failed / due > _MOST_ERRORS:
        yield _finding(
            f"{failed / due:.1%} of the transactions failed before the migration began",
            "Mend the scripts or the data first: errors of the migration would be lost among these.",
            (Quantity(failed / due, Unit.RATIO), Quantity(_MOST_ERRORS, Unit.RATIO)),
        )


def _halves(facts: Facts, span: Span) -> Iterable[Finding]:
    first, second = (facts.measures.over("latency.p99", half, None) for half in span.halves())
    if first is None or second is None:
        yield _finding("one half of the baseline has no transactions at all", _LONGER)
        return
    low, high = sorted((first, second))
    if high > _FACTOR * low and high - low > _DIFFERENCE_S and not settled_by_either_half(facts):
        yield _finding(
            f"the halves of the baseline differ too much: their 99th percentiles are "
            f"{wording.seconds(first)} and {wording.seconds(second)}",
            "Lengthen the warm-up, lower the rate, or give the machine less else to do.",
            (Quantity(high - low, Unit.SECONDS), Quantity(_DIFFERENCE_S, Unit.SECONDS)),
        )


def settled_by_either_half(facts: Facts) -> bool:
    """Whether every gate that compares with the baseline holds against the quieter half of it too: then it
    does not matter how noisy the other one was.
    """
    gates = [gate for gate in facts.record.scenario.gates if gate.relative_to is not None]
    return all(holds_against_quieter_half(gate, facts.measures) for gate in gates)


def _finding(message: str, mend: str, numbers: tuple[Quantity, Quantity] | None = None) -> Finding:
    observed, limit = numbers or (None, None)
    return Finding(
        rule=RULE.id,
        severity=RULE.severity,
        message=message,
        observed=observed,
        limit=limit,
        advice=mend,
    )


RULE = Rule(
    id="baseline-noisy",
    severity=Severity.UNMEASURED,
    reason=(
        "What the migration does to the application is told by comparing with the time before it. A baseline "
        "that is too short, full of errors, or differs from itself as much as any migration could make it "
        "differ gives nothing to compare with."
    ),
    safe_way="A longer warm-up and baseline, a lower rate, a quieter machine.",
    check=_check,
)
