"""`sampler-gap`: a part of the rehearsal was not observed."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.facts import Facts, unread
from rehearse.judge.gates import SHORTEST_GAP_NS
from rehearse.judge.rules.rule import Rule
from rehearse.judge.traffic import Span, span_of
from rehearse.model.migration import MigrationRun, StatementOutcome
from rehearse.model.record import Phase, Stage
from rehearse.model.verdict import Finding, Severity

_WHOLE = (Stage.JUDGE, Stage.DONE)


def _check(facts: Facts) -> Iterable[Finding]:
    record, trial, run = facts.record, facts.trial, facts.run
    if record.stage not in _WHOLE or record.error:
        why = f": {record.error}" if record.error else ""
        yield _finding(f"the run ended early, in the stage {record.stage.value}{why}")
    if trial is None or run is None:
        yield _finding(
            "the migration was not run under traffic" if trial else "the traffic trial was not run"
        )
        return
    if facts.traffic is None:
        yield _finding("there are no samples of the traffic")
    yield from _phases(facts)
    yield from _statements(run)
    yield from _observer(facts, Span(run.started_ns, run.ended_ns))


def _phases(facts: Facts) -> Iterable[Finding]:
    broken_off = facts.trial is not None and facts.trial.aborted is not None  # then there is no recovery
    for phase in (Phase.MIGRATION,) if broken_off else (Phase.MIGRATION, Phase.RECOVERY):
        span = span_of(facts.trial, phase)
        if span is None:
            yield _finding(f"the trial has no {phase.value}")
        elif facts.traffic is not None and not (facts.traffic.due & facts.traffic.within(span)).any():
            yield _finding(
                f"no transaction was due in the {phase.value}", advice="Raise [workload] rate or its length."
            )


def _statements(run: MigrationRun) -> Iterable[Finding]:
    if not run.statements:
        yield _finding("the migration has no statement", advice="Name the file that holds the change.")
    for statement in unread(run.statements):
        yield _finding(
            f"what {wording.place(statement)} locked and did was not read", statement=statement.index
        )
    for statement in run.statements:
        if statement.effects is not None and not statement.effects.counted:
            yield _finding(
                f"which rows {wording.place(statement)} read and changed was not counted",
                statement=statement.index,
                advice="Let the server count: track_counts = on.",
            )
    whole = {span.index for span in run.transactions}
    for statement in run.statements:
        unfinished = statement.outcome is StatementOutcome.RUNNING
        skipped = statement.outcome is StatementOutcome.NOT_RUN and run.failed is None
        locks = statement.effects.locks if statement.effects else ()
        lost = bool(locks) and statement.transaction not in whole
        if unfinished or skipped or lost:
            what = "when its transaction ended" if lost else "how it ends"
            yield _finding(f"of {wording.place(statement)} it is not known {what}", statement=statement.index)


def _observer(facts: Facts, run: Span) -> Iterable[Finding]:
    """Gaps of a second and more count, where the migration ran meanwhile."""
    observer = facts.trial.observer if facts.trial else None
    if observer is None or observer.samples == 0:
        yield _finding("nobody watched who waited for whom during the migration")
        return
    if observer.failed_samples > observer.samples:
        yield _finding("most attempts to see who waited for whom failed")
    least = max(SHORTEST_GAP_NS, observer.gap_limit_ns)
    gaps = [g for g in observer.gaps if g[1] - g[0] >= least and run.overlap_ns(*g) > 0]
    if gaps:
        longest = max(end - start for start, end in gaps)
        yield _finding(
            f"for {wording.nanoseconds(longest)} of the migration nobody watched who waited for whom",
            advice="Give the machine less else to do, lower [workload] rate, and run it again.",
        )


def _finding(message: str, *, statement: int | None = None, advice: str = "") -> Finding:
    return Finding(rule=RULE.id, severity=RULE.severity, message=message, statement=statement, advice=advice)


RULE = Rule(
    id="sampler-gap",
    severity=Severity.UNMEASURED,
    reason=(
        "A part of the rehearsal was not seen: the run ended early, the effects of a statement could not be "
        "read, or the observer was not served for a second or more while the migration ran. What was not "
        "measured is never counted as passed."
    ),
    safe_way="Run it again on a machine with less else to do, or at a lower rate.",
    check=_check,
)
