"""`rewrite-under-lock`: a table is written anew while nobody may touch it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rehearse.judge.facts import Facts
from rehearse.judge.holds import Hold, Taking
from rehearse.judge.projection import WorkKind
from rehearse.judge.rules.rule import Rule
from rehearse.judge.under_lock import find_work
from rehearse.model.verdict import Finding, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    return find_work(facts, RULE.id, WorkKind.REWRITE, _kept_out)


def _kept_out(_holds: Sequence[Hold], takings: Sequence[Taking]) -> str:
    return "stops reads and writes" if takings[0].mode.blocks_reads else "stops writes"


RULE = Rule(
    id="rewrite-under-lock",
    severity=Severity.FAILURE,
    reason=(
        "The statement writes the whole table anew and holds a lock meanwhile that the running application "
        "has to wait for. The time grows with the table: what takes a second in the rehearsal can take an "
        "hour in production, and until the last row is written every transaction on the table waits."
    ),
    safe_way=(
        "Add the new thing beside the old without touching the rows (a column without a volatile default), "
        "fill it in batches that are committed one by one, and swap in a short transaction."
    ),
    check=_check,
)
