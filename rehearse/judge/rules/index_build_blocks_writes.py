"""`index-build-blocks-writes`: an index is built while writes, or all, are kept out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rehearse.judge.facts import Facts
from rehearse.judge.holds import Hold, Taking
from rehearse.judge.projection import WorkKind
from rehearse.judge.rules.rule import Rule
from rehearse.judge.under_lock import find_work
from rehearse.model.verdict import Finding, Severity


def _check(facts: Facts) -> Iterable[Finding]:
    return find_work(facts, RULE.id, WorkKind.BUILD, _kept_out)


def _kept_out(holds: Sequence[Hold], takings: Sequence[Taking]) -> str:
    """Reads are kept out as well by ACCESS EXCLUSIVE on the table, or on one of its indexes, whether
    this statement took it or one before it in the transaction.
    """
    tables = {taking.table for taking in takings}
    modes = [taking.mode for hold in holds if hold.table in tables for taking in hold.takings]
    return "stops writes, and reads as well" if any(m.blocks_reads for m in modes) else "stops writes"


RULE = Rule(
    id="index-build-blocks-writes",
    severity=Severity.FAILURE,
    reason=(
        "The index is built while the table is locked against writes (CREATE INDEX, REINDEX), or against "
        "everything (ADD UNIQUE, ADD PRIMARY KEY). Building takes n log n of the rows, and every INSERT, "
        "UPDATE and DELETE waits until it is done."
    ),
    safe_way=(
        "CREATE INDEX CONCURRENTLY, outside of a transaction; for a constraint, build the unique index so "
        "and add the constraint USING INDEX. Should it fail, drop the INVALID index and try again."
    ),
    check=_check,
)
