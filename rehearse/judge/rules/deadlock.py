"""`deadlock`: the migration and the application waited for each other."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.refusals import Refusal
from rehearse.judge.rules.rule import Rule
from rehearse.judge.stalls import blamed
from rehearse.judge.traffic import Span
from rehearse.model.verdict import Finding, Quantity, Severity, Unit
from rehearse.model.waits import Role

_DEADLOCK = "40P01"
# The server looks for deadlocks after deadlock_timeout: a victim may hear of it that much later.
_DETECTION_NS = 2_000_000_000
_ADVICE = (
    "Take the locks in the order in which the application takes them (parents before children, rows by "
    "key), few in one transaction: LOCK TABLE first, or one table or batch a transaction; and try again "
    "on 40P01."
)


def _check(facts: Facts) -> Iterable[Finding]:
    failed = facts.run.failed if facts.run else None
    if failed is not None and failed.sqlstate == _DEADLOCK:
        yield Finding(
            rule=RULE.id,
            severity=RULE.severity,
            message=(
                f"{wording.place(failed)} and the application waited for each other, and the server ended "
                "the migration"
            ),
            statement=failed.index,
            advice=_ADVICE,
        )
    for refusal in facts.refusals:
        if refusal.kind == _DEADLOCK and refusal.excess > 0:
            yield _victim(facts, refusal)
    yield from _healed(facts)


def _healed(facts: Facts) -> Iterable[Finding]:
    """Deadlocks since the migration's start, and none before, after which the application tried again."""
    traffic, after = facts.traffic, facts.after
    if traffic is None or after is None or _DEADLOCK not in traffic.sqlstates:
        return
    victims = traffic.retried & np.equal(traffic.sqlstate, traffic.sqlstates.index(_DEADLOCK))
    since = victims & traffic.within(after)
    count = int(since.sum())
    if count and count == int(victims.sum()):
        yield Finding(
            rule=RULE.id,
            severity=Severity.WARNING,
            message=(
                f"{wording.count(count, 'attempt')} of the application ended in a deadlock and had to be "
                "made again: another time the migration may be the one that is ended"
            ),
            observed=Quantity(float(count), Unit.COUNT),
            limit=Quantity(0.0, Unit.COUNT),
            advice=_ADVICE,
        )


def _victim(facts: Facts, refusal: Refusal) -> Finding:
    """A deadlock the application never had before, while the migration ran, is the migration's; later
    ones may be chance among the application's own transactions.
    """
    run = facts.run
    before = Span(refusal.first_ns - _DETECTION_NS, refusal.first_ns)
    during = (
        run is not None
        and refusal.first_ns <= run.ended_ns + _DETECTION_NS
        and not _among_themselves(facts, refusal.script, before)
    )
    statement = blamed(before, run) if run and during else None
    where = f" while {wording.place(statement)} ran" if statement else ""
    return Finding(
        rule=RULE.id,
        severity=Severity.FAILURE if during else Severity.WARNING,
        message=(
            f"{wording.count(refusal.count, 'transaction')} of {refusal.script} ended in a deadlock{where}"
        ),
        statement=statement.index if statement else None,
        subject=refusal.script,
        observed=Quantity(float(refusal.count), Unit.COUNT),
        limit=Quantity(0.0, Unit.COUNT),
        evidence=(f"before the migration: {refusal.count_before} of {refusal.due_before} transactions",),
        advice=_ADVICE,
    )


def _among_themselves(facts: Facts, script: str, span: Span) -> bool:
    """Whether the waits of the script that were seen then all were for other transactions of the
    application: a deadlock of its own.
    """
    seen = [
        wait
        for wait in facts.waits
        if wait.waiter.script == script and span.overlap_ns(wait.first_seen_ns, wait.last_seen_ns + 1)
    ]
    roles = {blocker.party.role for wait in seen for blocker in wait.blockers}
    return roles == {Role.TRAFFIC}


RULE = Rule(
    id="deadlock",
    severity=Severity.FAILURE,
    reason=(
        "The migration and the application locked tables or rows in opposite order, and the server had to "
        "end one of them (SQLSTATE 40P01). Which one is chance: next time it may be the other."
    ),
    safe_way="One order of locking for all, short transactions, small batches, and a retry.",
    check=_check,
)
