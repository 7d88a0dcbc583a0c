"""Findings for gates that were missed, or that nothing was measured for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rehearse.judge import victims, wording
from rehearse.judge.advice import batches
from rehearse.judge.facts import Facts
from rehearse.judge.standstill import MEND
from rehearse.judge.traffic import Span
from rehearse.judge.victims import DELAYED_NS, behind_migration
from rehearse.model.verdict import Finding, GateResult, GateStatus, Quantity, Severity, Unit
from rehearse.model.waits import Stall

Predicate = Callable[[str], bool]


# The rules that say why traffic stood still or was slow, and those that say why it failed.
LOCK_RULES = frozenset(
    ("rewrite-under-lock", "scan-under-lock", "index-build-blocks-writes", "lock-held-across-statements")
)
SLOW_RULES = LOCK_RULES | {"long-transaction", "rows-locked", "unbounded-lock-queue"}
_ROW_LOCKS = frozenset(("transactionid", "tuple"))  # what waits for a row waits for
ERROR_RULES = frozenset(("breaks-running-application", "deadlock"))


def find_missed(
    facts: Facts, rule: str, covers: Predicate, explained_by: frozenset[str] = SLOW_RULES
) -> Iterable[Finding]:
    """One finding for each gate on a metric that `covers` takes, failed or unmeasured. It points to the
    statement that a finding of `explained_by` has blamed already, where there is one.
    """
    for gate in facts.gates:
        if gate.status is GateStatus.PASSED or not covers(gate.metric.split("{")[0]):
            continue
        if gate.status is GateStatus.FAILED:
            yield _failed(facts, rule, gate, [f for f in facts.found if f.rule in explained_by])
        else:
            yield Finding(
                rule=rule,
                severity=Severity.UNMEASURED,
                message=f"the gate {gate.gate} could not be judged: {gate.note or 'not measured'}",
                subject=gate.metric,
                limit=gate.limit,
                advice=MEND if gate.disturbed else "",
                gate=gate.gate,
            )


def _failed(facts: Facts, rule: str, gate: GateResult, causes: Sequence[Finding]) -> Finding:
    timed = gate.metric.startswith(("stall.", "latency.", "throughput", "blocking."))
    stall = longest_stall(facts, _script(gate.metric)) if timed else None
    statement = _blamed(causes, stall)
    evidence = [gate.note] if gate.note else []
    evidence += [
        f"explained by {finding.rule}: {finding.message}"
        for finding in causes
        if finding.severity is Severity.FAILURE and finding.statement == statement
    ]
    if stall is not None:
        evidence.append(describe_stall(facts, stall))
        evidence += victims.of_span(facts, Span(stall.start_ns, stall.end_ns))
    return Finding(
        rule=rule,
        severity=Severity.FAILURE,
        message=f"{gate.metric} is {_quantity(gate.observed)}, and the gate is {gate.gate}{_effective(gate)}",
        statement=statement,
        subject=_script(gate.metric) or (stall.script if stall else ""),
        observed=gate.observed,
        limit=gate.limit,
        evidence=tuple(dict.fromkeys(evidence)),
        advice=_advice(causes, statement) or (_smaller(facts, stall, statement) if stall else ""),
        gate=gate.gate,
    )


def longest_stall(facts: Facts, script: str | None = None) -> Stall | None:
    """The longest stall of a script, or of all."""
    mine = [stall for stall in facts.stalls if script in (None, stall.script)]
    return max(mine, key=lambda stall: stall.end_ns - stall.start_ns, default=None)


def describe_stall(facts: Facts, stall: Stall) -> str:
    """One sentence: who stood still, for how long, and while what ran."""
    by = next((s for s in facts.statements if s.index == stall.statement), None)
    where = f" while {wording.place(by)} ran" if by else ""
    return (
        f"no transaction of {stall.script} finished for "
        f"{wording.nanoseconds(stall.end_ns - stall.start_ns)}{where}, with {stall.due:,} due"
    )


def _blamed(causes: Sequence[Finding], stall: Stall | None) -> int | None:
    """The longest stall's statement, unless the causes that are failures are all in others."""
    blamed = [f.statement for f in causes if f.severity is Severity.FAILURE]
    by_stall = stall.statement if stall else None
    if by_stall in blamed or not blamed:
        return by_stall
    return next((index for index in blamed if index is not None), by_stall)


def _advice(causes: Sequence[Finding], statement: int | None) -> str:
    """Of what explains the gate, the failures first, else of the warnings: a lock_timeout."""
    found = [f for f in causes if f.statement == statement and f.advice]
    found.sort(key=lambda finding: finding.severity is not Severity.FAILURE)
    return found[0].advice if found else ""


def _smaller(facts: Facts, stall: Stall, index: int | None) -> str:
    """What to do where somebody waited for rows that the statement had written: change fewer at a time."""
    span = Span(stall.start_ns, stall.end_ns)
    statement = next((s for s in facts.statements if s.index == index), None)
    waits = [w for w in facts.waits if w.lock_type in _ROW_LOCKS and behind_migration(w)]
    effects = statement.effects if statement else None
    met = any(span.overlap_ns(wait.first_seen_ns, wait.last_seen_ns + 1) for wait in waits)
    if statement is None or effects is None or not met:
        return ""
    written = [(total.changed, total.table) for total in effects.totals if total.changed]
    if not written:
        plain = [(rows, table) for table, rows in effects.rows_changed]
        table = max(plain, default=(0, None))[1]
        return "" if table is None else batches(statement, table)
    rows, table = max(written)
    times, longest_ns = effects.transactions, effects.longest_transaction_ns
    each = f" about {rows // times:,}" if times else ""
    lasted = f", and kept each locked for up to {wording.nanoseconds(longest_ns)}" if longest_ns else ""
    few = ""
    if times and longest_ns and longest_ns > DELAYED_NS:
        few = (
            f" Some {max(1, round(rows / times * DELAYED_NS / longest_ns)):,} rows take a tenth of a second."
        )
    return (
        f"Change fewer rows in a transaction: {wording.place(statement)} wrote{each} rows of {table} in each"
        f"{lasted}; COMMIT more often, with a pause in between.{few} What a trigger does for each row counts "
        "as well: let it have a WHEN that leaves out the rows of the migration, or do its work once for all."
    )


def _script(metric: str) -> str | None:
    for part in metric.partition("{")[2].rstrip("}").split(","):
        key, _, value = part.partition("=")
        if key.strip() == "script":
            return value.strip()
    return None


def _effective(gate: GateResult) -> str:
    """The limit as a number, where the gate as written does not give one."""
    plain = gate.limit is not None and "{" not in gate.gate.partition("=")[2]
    return "" if plain or gate.limit is None else f" (here {_quantity(gate.limit)})"


def _quantity(quantity: Quantity | None) -> str:
    if quantity is None:
        return "unknown"
    if quantity.unit is Unit.SECONDS:
        return wording.seconds(quantity.value)
    if quantity.unit is Unit.BYTES:
        return wording.size(quantity.value)
    if quantity.unit is Unit.RATIO:
        return f"{quantity.value:.2%}"
    return f"{quantity.value:,.6g}" + (" /s" if quantity.unit is Unit.PER_SECOND else "")
