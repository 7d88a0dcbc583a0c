"""`unbounded-lock-queue`: a lock in the application's way is waited for without a limit."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import advice, wording
from rehearse.judge.facts import Facts
from rehearse.judge.gates import UPPER
from rehearse.judge.holds import Taking, locks_told
from rehearse.judge.rules.rule import Rule
from rehearse.model.migration import Statement
from rehearse.model.verdict import Finding, Quantity, Severity, Unit
from rehearse.model.waits import Party, Role

_ADVISED_S = 2.0


def _check(facts: Facts) -> Iterable[Finding]:
    for statement in facts.statements:
        new = [taking for taking in _takings(facts, statement) if not _held_before(facts, taking)]
        if new and not 0 < statement.lock_timeout_ms <= _longest_ms(facts):
            yield _finding(facts, statement, new)


def _longest_ms(facts: Facts) -> float:
    """The longest lock_timeout that bounds the queue: what is advised, or as long as the application may
    stall where the gates allow it more.
    """
    allowed = [
        gate.limit
        for gate in facts.record.scenario.gates
        if gate.metric.name == "stall.max" and gate.relative_to is None and gate.comparison in UPPER
    ]
    return 1000 * max(_ADVISED_S, min(allowed, default=0.0))


def _takings(facts: Facts, statement: Statement) -> list[Taking]:
    found = [t for hold in facts.holds for t in hold.takings if t.statement is statement]
    return sorted(found, key=lambda taking: -taking.mode.strength)


def _held_before(facts: Facts, taking: Taking) -> bool:
    """Whether its transaction held as strong a lock on that table already: then nobody is queued for."""
    return any(
        earlier.statement.index < taking.statement.index and earlier.mode.strength >= taking.mode.strength
        for hold in facts.holds_under(taking.statement)
        if hold.table == taking.table
        for earlier in hold.takings
        if earlier.index is None or earlier.index == taking.index
    )


def _finding(facts: Facts, statement: Statement, takings: list[Taking]) -> Finding:
    cost = facts.costs.get(statement.index)
    waited = cost.waited_ns if cost else 0
    locks = wording.listed(locks_told(takings))
    scripts = sorted({script for taking in takings for script in taking.scripts})
    evidence = [f"everything that {wording.listed(scripts)} does there queues behind its request"]
    if waited:
        evidence.append(f"in this rehearsal it waited for at least {wording.nanoseconds(waited)}")
    evidence += _in_its_way(facts, statement)
    return Finding(
        rule=RULE.id,
        severity=RULE.severity,
        message=(
            f"{wording.place(statement)} needs {locks} and has {_bound(statement)}: behind one long "
            f"transaction it waits, and every {'query' if takings[0].mode.blocks_reads else 'write'} waits "
            "behind it"
        ),
        statement=statement.index,
        subject=str(takings[0].table),
        observed=Quantity(waited / 1e9, Unit.SECONDS),
        evidence=tuple(evidence),
        advice=advice.LOCK_TIMEOUT,
    )


def _bound(statement: Statement) -> str:
    if statement.lock_timeout_ms == 0:
        return "no lock_timeout"
    return f"a lock_timeout of {wording.seconds(statement.lock_timeout_ms / 1000)}, which bounds nothing"


def _in_its_way(facts: Facts, statement: Statement) -> Iterable[str]:
    """Whom it waited for, as far as that was seen."""
    for wait in facts.waits:
        if wait.waiter.role is Role.MIGRATION and wait.waiter.statement == statement.index:
            parties = sorted({_party(blocker.party) for blocker in wait.blockers})
            where = f" on {wait.relation}" if wait.relation else ""
            yield (
                f"it waited{where} behind {wording.listed(parties) or 'an unknown session'} for at least "
                f"{wording.nanoseconds(wait.at_least_ns)}"
            )


def _party(party: Party) -> str:
    return party.script or party.label or f"a session of the {party.role.value}"


RULE = Rule(
    id="unbounded-lock-queue",
    severity=Severity.WARNING,
    reason=(
        "A lock that conflicts with the application has to wait for every transaction that is open on the "
        "table, and whoever comes after it waits behind its request, even for a SELECT. Without a "
        "lock_timeout, one forgotten open transaction turns an instant change into an outage."
    ),
    safe_way=(
        "SET lock_timeout to some two seconds before the statement, and try again with a pause when it gives "
        "up (SQLSTATE 55P03). Not for CONCURRENTLY, which waits without being in anyone's way."
    ),
    check=_check,
)
