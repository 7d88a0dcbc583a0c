"""`migration-failed`: a statement did not succeed."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.heat import is_concurrent
from rehearse.judge.projection import Cost, greatest_growth
from rehearse.judge.rules.rule import Rule
from rehearse.judge.standstill import EXPLAINS, MEND, standstills_of
from rehearse.model.migration import Statement, StatementOutcome
from rehearse.model.spans import overlap_ns
from rehearse.model.verdict import Finding, Quantity, Severity, Unit
from rehearse.model.waits import Role

_CAUSES = {
    "55P03": "it could not get its lock within the lock_timeout",
    "40P01": "it was the victim of a deadlock",
    "57014": "it was cancelled, as by a statement_timeout",
    "53100": "the disk is full",
    "23502": "rows hold NULL where the migration wants NOT NULL",
    "23503": "rows refer to parents that do not exist",
    "23505": "rows hold duplicates where the migration wants them unique",
    "23514": "rows violate the CHECK that the migration adds",
    "23P01": "rows exclude one another under the constraint that the migration adds",
    "22001": "values are longer than the new type takes",
    "22003": "values are out of the new type's range",
    "22P02": "values cannot be read as the new type",
}
_PRECONDITIONS = frozenset({"23502", "23503", "23505", "23514", "23P01", "22001", "22003", "22P02"})
_ADVICE = {
    "55P03": (
        "A lock_timeout that gives up protects the application: keep it, and run the statement again after a "
        "pause, several times. The transaction in the way is what to look for."
    ),
    "40P01": (
        "Lock tables and rows in the order in which the application does, in short transactions; run the "
        "statement again."
    ),
    "42704": (
        "If it names a role, setting or type that only production has, make it here before the schema: "
        '[database] init = ["roles.sql"] or [database] extensions.'
    ),
    "42P01": "Give the schema as production has it that day: --schema, and [dataset] load.",
    "42703": "Give the schema as production has it that day: --schema, and [dataset] load.",
    "57014": "Split the work, or give it more time: [migration] timeout, or SET statement_timeout.",
}

_AT_REST = (
    "See what the command does while it asks nothing of the database: it may sleep, or wait for an answer. "
    "What it has locked stays locked meanwhile: do such work before the transaction begins, or after it has "
    "ended. [migration] timeout gives it more time."
)


def _check(facts: Facts) -> Iterable[Finding]:
    failed = facts.run.failed if facts.run else None
    broken_off = facts.trial is not None and facts.trial.aborted is not None
    if broken_off and (failed is None or failed.outcome is StatementOutcome.CANCELLED):
        return  # that is what `aborted` says
    if failed is not None:
        yield _finding(facts, failed)
    else:
        yield from _left_open(facts)
        yield from _cut_short(facts)


def _left_open(facts: Facts) -> Iterable[Finding]:
    """Without a COMMIT at the end, nothing of the last transaction stays."""
    last = facts.statements[-1] if facts.statements else None
    if last is None or last.outcome is not StatementOutcome.OK or last.command in ("ROLLBACK", "ABORT"):
        return
    if not facts.committed(last):
        yield Finding(
            rule=RULE.id,
            severity=RULE.severity,
            message=f"{wording.place(last)} was undone: its transaction was never committed",
            statement=last.index,
            advice="End the file with COMMIT, or leave BEGIN out.",
        )


def _cut_short(facts: Facts) -> Iterable[Finding]:
    """Statements that had time enough here, and would run into their statement_timeout in production."""
    for statement in facts.statements:
        cost = facts.costs.get(statement.index)
        limit_s = statement.statement_timeout_ms / 1000
        if limit_s == 0 or cost is None or not (cost.grows or cost.possible) or cost.busy_ns == 0:
            continue
        needed_s = _at_production_s(cost)
        if needed_s is not None and 2 * needed_s <= limit_s:
            continue
        yield Finding(
            rule=RULE.id,
            severity=Severity.FAILURE if needed_s and needed_s > limit_s else Severity.WARNING,
            message=(
                f"{wording.place(statement)} ran under a statement_timeout of {wording.seconds(limit_s)}. It "
                f"took {wording.seconds(cost.busy_s)} here; {_needed(needed_s, limit_s)}"
            ),
            statement=statement.index,
            observed=None if needed_s is None else Quantity(needed_s, Unit.SECONDS),
            limit=Quantity(limit_s, Unit.SECONDS),
            evidence=_left_by(statement),
            advice=(
                "SET statement_timeout = 0;  -- before a long statement that is in nobody's way; what is in "
                "the application's way is split, and waits for its locks under a lock_timeout"
            ),
        )


def _at_production_s(cost: Cost) -> float | None:
    """Of one that commits as it goes, too: the server counts its time as that of one statement."""
    if cost.grows:
        return cost.projected_s
    growth = greatest_growth(cost.possible)
    return None if growth is None else cost.busy_s * growth


def _needed(needed_s: float | None, limit_s: float) -> str:
    if needed_s is None:
        return "that grows with tables whose production rows are not given: it may be cancelled there"
    ending = "it would be cancelled" if needed_s > limit_s else "hardly less than it is given"
    return f"at production size that is about {wording.seconds(needed_s)}: {ending}"


def _left_by(statement: Statement) -> tuple[str, ...]:
    if not is_concurrent(statement) or not statement.command.startswith(("CREATE", "REINDEX")):
        return ()
    return ("cancelled midway, it leaves an INVALID index behind",)


def _finding(facts: Facts, failed: Statement) -> Finding:
    state = failed.sqlstate or ""
    if failed.outcome is StatementOutcome.CANCELLED:
        limit = facts.record.scenario.migration.timeout_s
        cause = f"was cancelled: the migration took longer than the {wording.seconds(limit)} it was given"
    else:
        said = failed.message or _CAUSES.get(state, "the server did not say why")
        cause = f"failed{f' with {state}' if state else ''}: {wording.excerpt(said, 300)}"
    left = [s for s in facts.statements if s.index > failed.index]
    ended = failed.outcome is StatementOutcome.CANCELLED  # by us, whatever its SQLSTATE
    evidence = [_CAUSES[state]] if state in _CAUSES and not ended else []
    if ended and failed.is_command:
        evidence.append("no statement of it was running at that moment")
    if left:
        evidence.append(f"{wording.count(len(left), 'statement')} after it did not run")
    tool = facts.run.tool if facts.run else None
    if tool is not None and tool.output:
        evidence.append(f"the last it said: {wording.excerpt(' / '.join(tool.output[-6:]), 900)}")
    if state in _PRECONDITIONS:
        evidence.append("that there is no such data is a precondition of the migration: see to it first")
    still = _gave_up_in_a_standstill(facts, failed)
    if still:
        cause += "; but for most of the time that it waited this machine stood still"
    return Finding(
        rule=RULE.id,
        severity=Severity.UNMEASURED if still else RULE.severity,
        message=f"{wording.place(failed)} {cause}",
        statement=failed.index,
        evidence=(*evidence, *_committed_before(facts, failed)),
        advice=MEND if still else _advice(failed, state),
        disturbed=still,
    )


def _gave_up_in_a_standstill(facts: Facts, failed: Statement) -> bool:
    """Whether its lock_timeout expired while the machine stood still: the transactions in its way could not
    go on. Not where somebody else than the traffic was seen in its way, who would have been all the same.
    """
    if failed.sqlstate != "55P03" or failed.outcome is not StatementOutcome.FAILED:
        return False
    others = any(
        blocker.party.role not in (Role.TRAFFIC, Role.MIGRATION)
        for wait in facts.waits
        if wait.waiter.role is Role.MIGRATION and wait.waiter.statement == failed.index
        for blocker in wait.blockers
    )
    took_ns = failed.ended_ns - failed.started_ns
    # a loop of its own that tried again has waited more than once
    waited_ns = took_ns if failed.retries else min(took_ns, failed.lock_timeout_ms * 1_000_000 or took_ns)
    still = standstills_of(facts.trial).traffic
    lost_ns = overlap_ns(still, failed.ended_ns - waited_ns, failed.ended_ns)
    return not others and 0 < waited_ns <= lost_ns / EXPLAINS


def _committed_before(facts: Facts, failed: Statement) -> Iterable[str]:
    done = [s for s in facts.statements if s.index < failed.index and facts.committed(s)]
    done = [s for s in done if s.transaction != failed.transaction and s.effects and s.effects.locks]
    if done:
        yield (
            f"{wording.count(len(done), 'statement')} before it stayed committed: the schema is halfway, "
            "and running the file again starts from there"
        )


def _advice(failed: Statement, state: str) -> str:
    if failed.outcome is StatementOutcome.CANCELLED:
        return _AT_REST if failed.is_command else "Split the work, or give it more time: [migration] timeout."
    if state == "55P03" and is_concurrent(failed):
        return (
            "RESET lock_timeout before a CONCURRENTLY form: it waits for every older snapshot of the "
            "database without being in anyone's way. DROP INDEX CONCURRENTLY what it left, and run it again."
        )
    if state in _PRECONDITIONS:
        return (
            "Look for such rows in production first, and mend them in a migration before this one; then add "
            "the constraint NOT VALID and VALIDATE it, so that a row found late undoes nothing."
        )
    return _ADVICE.get(state, "")


RULE = Rule(
    id="migration-failed",
    severity=Severity.FAILURE,
    reason=(
        "A statement of the migration did not succeed. What ran before it in other transactions stays, so "
        "that production would be left between two versions of the schema."
    ),
    safe_way=(
        "Make the precondition true first (no nulls, no duplicates, no orphans), give up locks early and try "
        "again, and write every step so that it can be run twice."
    ),
    check=_check,
)
