"""`scan-under-lock`: a table is read as a whole while it is locked against the application."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rehearse.judge.blocks import find_possible
from rehearse.judge.facts import Facts
from rehearse.judge.holds import Hold, Taking
from rehearse.judge.projection import WorkKind
from rehearse.judge.rules.rule import Rule
from rehearse.judge.under_lock import find_work
from rehearse.model.verdict import Finding, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    yield from find_work(facts, RULE.id, WorkKind.SCAN, _kept_out)
    yield from find_possible(facts, RULE.id, WorkKind.SCAN)


def _kept_out(_holds: Sequence[Hold], takings: Sequence[Taking]) -> str:
    return "stops reads and writes" if takings[0].mode.blocks_reads else "stops writes"


RULE = Rule(
    id="scan-under-lock",
    severity=Severity.FAILURE,
    reason=(
        "The statement checks every row of a table, and holds a lock meanwhile that the running application "
        "has to wait for. The check takes as long as reading the table takes, and grows with it."
    ),
    safe_way=(
        "Add the constraint NOT VALID, which reads nothing, and VALIDATE it in a transaction of its own, "
        "which lets reads and writes go on. SET NOT NULL reads nothing where a validated CHECK proves it."
    ),
    check=_check,
)
