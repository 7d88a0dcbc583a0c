"""What every form of the report says first: verdict, the reason in one sentence, the key numbers, and
the findings in the order a reader wants them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rehearse.model.migration import MigrationRun, Statement, StatementOutcome
from rehearse.model.record import Phase, RunRecord, Stage, Trial, TrialKind
from rehearse.model.verdict import Finding, GateResult, GateStatus, Judgement, Quantity, Severity, Verdict
from rehearse.model.waits import Stall
from rehearse.report import format as fmt

_WORDS = {Verdict.GO: "GO", Verdict.NO_GO: "NO-GO", Verdict.INCONCLUSIVE: "INCONCLUSIVE"}
_RANK = {severity: rank for rank, severity in enumerate(Severity)}
_ROWS_LOCKED = ("long-transaction", "rows-locked")
_LONGER = 1.05
_PROVISIONERS = ("embedded", "docker:", "local:")


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict as a word, and why, as one sentence."""

    verdict: Verdict
    word: str
    why: str


@dataclass(frozen=True, slots=True)
class KeyNumber:
    """A number worth a tile. `bad` says that a gate on it failed, `missing` that it was not measured."""

    label: str
    value: str
    detail: str = ""
    bad: bool = False
    missing: bool = False


def main_trial(record: RunRecord) -> Trial | None:
    """The trial with the traffic; failing that, the first there is."""
    return record.trial(TrialKind.TRAFFIC) or next(iter(record.trials), None)


def migration(record: RunRecord) -> MigrationRun | None:
    """The migration as it ran under traffic."""
    trial = main_trial(record)
    return trial.migration if trial else None


def statements(record: RunRecord) -> tuple[Statement, ...]:
    """The migration's statements under traffic."""
    run = migration(record)
    return run.statements if run else ()


def stalls(record: RunRecord) -> tuple[Stall, ...]:
    """The stalls that were found, longest first."""
    found = record.judgement.stalls if record.judgement else ()
    return tuple(sorted(found, key=lambda stall: stall.start_ns - stall.end_ns))


def zero_ns(record: RunRecord) -> int:
    """The migration's start, from which all times are told; failing that, the trial's."""
    trial = main_trial(record)
    if trial is None:
        return record.origin_ns
    if trial.migration:
        return trial.migration.started_ns
    phase = trial.phase(Phase.MIGRATION)
    if phase:
        return phase.start_ns
    return trial.phases[-1].end_ns if trial.phases else record.origin_ns


def ranked(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Failures first, then what was not measured, warnings, notes; in each, the judge's order."""
    return tuple(sorted(findings, key=lambda finding: _RANK[finding.severity]))


def of_severity(record: RunRecord, *severities: Severity) -> tuple[Finding, ...]:
    """The findings of these severities, ranked."""
    found = record.judgement.findings if record.judgement else ()
    return tuple(finding for finding in ranked(found) if finding.severity in severities)


def blamed(record: RunRecord, finding: Finding) -> Statement | None:
    """The statement the finding is about."""
    run = statements(record)
    index = finding.statement
    return run[index] if index is not None and 0 <= index < len(run) else None


def headline(record: RunRecord) -> Headline:
    """The verdict; a run that was never judged is INCONCLUSIVE."""
    verdict = record.judgement.verdict if record.judgement else Verdict.INCONCLUSIVE
    return Headline(verdict, _WORDS[verdict], _why(record, verdict))


def _why(record: RunRecord, verdict: Verdict) -> str:
    judgement = record.judgement
    if judgement is None:
        return _cut_short(record)
    if verdict is Verdict.GO:
        return _why_go(judgement)
    severity, status = (
        (Severity.FAILURE, GateStatus.FAILED)
        if verdict is Verdict.NO_GO
        else (Severity.UNMEASURED, GateStatus.UNMEASURED)
    )
    reasons = [f.message for f in ranked(judgement.findings) if f.severity is severity]
    reasons = reasons or [_gate_reason(judgement, status)]
    more = f" (and {fmt.plural(len(reasons) - 1, 'more reason')})" if len(reasons) > 1 else ""
    return sentence(fmt.one_line(reasons[0]).rstrip(".") + more)


def sentence(text: str) -> str:
    """`text` with a capital letter (unless it starts with a name) and a full stop."""
    line = fmt.one_line(text)
    if not line:
        return line
    first = line.split(" ", 1)[0]
    if first.isalpha() and first.islower():
        line = line[0].upper() + line[1:]
    return line if line[-1] in ".!?…" else line + "."


def _cut_short(record: RunRecord) -> str:
    if record.stage is Stage.DONE and not record.error:
        return "The run was never judged."
    stopped = f"The run stopped in the stage {record.stage.value!r}, before it could be judged"
    return sentence(f"{stopped}: {fmt.one_line(record.error)}" if record.error else stopped)


def _why_go(judgement: Judgement) -> str:
    passed = sum(gate.status is GateStatus.PASSED for gate in judgement.gates)
    warnings = sum(finding.severity is Severity.WARNING for finding in judgement.findings)
    parts = [f"{fmt.plural(passed, 'gate')} passed, no rule objects"]
    longest = dict(judgement.metrics).get("stall.max")
    if longest is not None:
        parts.append(
            "the application never stalled"
            if longest.value == 0
            else f"the longest stall was {fmt.quantity(longest)}"
        )
    accepted = sum(finding.severity is Severity.ACCEPTED for finding in judgement.findings)
    if accepted:
        parts[0] = parts[0].replace("no rule objects", "no rule objects but those accepted")
        parts.append(f"{fmt.plural(accepted, 'accepted risk')} below")
    if warnings:
        parts.append(f"{fmt.plural(warnings, 'warning')} below")
    return "; ".join(parts) + "."


def _gate_reason(judgement: Judgement, status: GateStatus) -> str:
    for gate in judgement.gates:
        if gate.accepted is not None:
            continue
        if gate.status is status is GateStatus.FAILED:
            observed, limit = fmt.apart(gate.observed, gate.limit)
            return f"The gate {gate.gate} failed: {observed} against a limit of {limit}"
        if gate.status is status:
            return f"The gate {gate.gate} could not be measured" + (f": {gate.note}" if gate.note else "")
    return "See the findings"


def gate_note(gate: GateResult) -> str:
    """What is said beside a gate: its note, and the smallest difference that this run could have seen."""
    if gate.resolution is None:
        return gate.note
    seen = f"this run could have seen {fmt.quantity(gate.resolution)} or more"
    return f"{gate.note}; {seen}" if gate.note else seen


def metric(record: RunRecord, name: str) -> Quantity | None:
    """A metric by its full name; None where it was not measured."""
    return dict(record.judgement.metrics).get(name) if record.judgement else None


def key_numbers(record: RunRecord) -> tuple[KeyNumber, ...]:
    """The six numbers that decide most rehearsals: of the trial that is shown; where gates are judged over
    several, with the mean that they are judged by.
    """
    if record.judgement is None:
        return ()
    numbers = (
        (_stall_number(record), "stall.max"),
        (_p99_number(record), "latency.p99{phase=migration}"),
        (_simple_number(record, "Errors", "errors.rate", _error_detail(record)), "errors.rate"),
        (
            _simple_number(record, "Lock held against traffic", "blocking.held", _queued_detail(record)),
            "blocking.held",
        ),
        (_production_number(record), "blocking.projected"),
        (_simple_number(record, "Migration took", "duration", _statement_detail(record)), "duration"),
    )
    return tuple(_with_mean(record, number, name) for number, name in numbers)


def _with_mean(record: RunRecord, number: KeyNumber, name: str) -> KeyNumber:
    """The number, with that over the trials that were asked for, if it is another."""
    told = [dict(repeat.metrics).get(name) for repeat in record.repeats if not repeat.noisy]
    values = [value for value in told if value is not None]
    one = metric(record, name)
    if record.scenario.repeat < 2 or len(values) < 2 or one is None:
        return number
    mean = fmt.quantity(Quantity(sum(values) / len(values), one.unit))
    if mean == number.value:
        return number
    text = f"in the trial shown; {mean} on average of {len(values)}"
    return replace(number, detail=f"{text}; {number.detail}" if number.detail else text)


def _failed(record: RunRecord, name: str) -> bool:
    gates = record.judgement.gates if record.judgement else ()
    return any(g.status is GateStatus.FAILED and g.metric.split("{")[0] == name for g in gates)


def _simple_number(record: RunRecord, label: str, name: str, detail: str) -> KeyNumber:
    value = metric(record, name)
    return KeyNumber(label, fmt.quantity(value), detail, _failed(record, name), value is None)


def _production_number(record: RunRecord) -> KeyNumber:
    """The longest time that a lock on a table, or on many of its rows, keeps somebody waiting there."""
    label, name = "Blocking at production size", "blocking.projected"
    locked = metric(record, name)
    plain = _simple_number(record, label, name, _production_detail(record))
    rows = max(_rows_locked(record), key=lambda f: f.observed.value if f.observed else 0.0, default=None)
    if rows is None or rows.observed is None or (locked and locked.value >= rows.observed.value):
        return plain
    bad = plain.bad or rows.severity is Severity.FAILURE
    what = f"rows of {rows.subject} locked ({rows.rule}); locks on tables {plain.value}"
    if _rows_given(record, rows.subject):
        return KeyNumber(label, fmt.quantity(rows.observed), what, bad)
    return KeyNumber(label, fmt.quantity(None), f"{what}; production rows not given", bad, missing=True)


def _rows_locked(record: RunRecord) -> tuple[Finding, ...]:
    """What keeps rows locked for a time that was held against the budget."""
    found = of_severity(record, Severity.FAILURE, Severity.UNMEASURED, Severity.ACCEPTED, Severity.WARNING)
    return tuple(f for f in found if f.rule in _ROWS_LOCKED and f.limit and f.statement is not None)


def _rows_given(record: RunRecord, table: str) -> bool:
    known = [t for t in record.tables if str(t.relation) == table]
    return not known or known[0].production_rows is not None


def _stall_number(record: RunRecord) -> KeyNumber:
    longest = next(iter(stalls(record)), None)
    detail = f"{longest.script}, {fmt.count(longest.due)} due" if longest else ""
    return _simple_number(record, "Longest stall", "stall.max", detail)


def _p99_number(record: RunRecord) -> KeyNumber:
    before = metric(record, "latency.p99{phase=baseline}")
    during = metric(record, "latency.p99{phase=migration}")
    return KeyNumber(
        "p99 during the migration",
        fmt.quantity(during),
        f"{fmt.quantity(before)} before",
        _failed(record, "latency.p99"),
        during is None,
    )


def _error_detail(record: RunRecord) -> str:
    number = metric(record, "errors.count")
    if number is None:
        return ""
    # where some did fail, cached plans that were not got over may be among them
    cached = 0 if number.value else _cached_plans(record)
    apart = f"; {fmt.plural(cached, 'cached plan')} apart" if cached else ""
    return f"{fmt.count(number.value)} failed or unfinished{apart}"


def _cached_plans(record: RunRecord) -> int:
    found = next((trial.compatibility for trial in record.trials if trial.compatibility), None)
    return sum(each.transactions for each in (found.cached or ())) if found else 0


def _queued_detail(record: RunRecord) -> str:
    queued = metric(record, "blocking.queued")
    return "" if queued is None or queued.value == 0 else f"and waited at least {fmt.quantity(queued)} for it"


def _production_detail(record: RunRecord) -> str:
    told = [t for t in record.tables if t.touched and t.production_rows is not None]
    if not told:
        return "production rows not given"
    largest = max(told, key=lambda t: t.production_rows or 0)
    took, here = metric(record, "duration.projected"), metric(record, "duration")
    # what is no longer than here is of no work that grows, or of none that could be projected
    longer = took is not None and here is not None and took.value > _LONGER * here.value
    whole = f"; the migration takes {fmt.quantity(took)}" if longer else ""
    return f"{largest.relation} at {fmt.rows(largest.production_rows)}{whole}"


def _statement_detail(record: RunRecord) -> str:
    run = statements(record)
    executed = sum(s.outcome is not StatementOutcome.NOT_RUN for s in run)
    if not run:
        return ""
    return (
        fmt.plural(len(run), "statement") if executed == len(run) else f"{executed} of {len(run)} statements"
    )


def provisioner(text: str) -> str:
    """How the database was provided, without an address: a DSN is never shown."""
    return text if text.startswith(_PROVISIONERS) else "an existing server (address not shown)"
