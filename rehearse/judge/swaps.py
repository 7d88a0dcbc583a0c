"""Copies that take a table's place: what the application changed in the old one while they were filled.

Rows that it inserted meanwhile are counted (`missing_rows`). Which values it wrote into rows that were there
is written down nowhere, so that an update lost between copy and swap cannot be told from one that came along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.integrity import expendable
from rehearse.model.locks import LockMode
from rehearse.model.migration import Statement
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Severity

_HALF = 0.5  # of the table's rows: a copy, rather than a table that is made beside it
_MODIFIERS = r"(?:(?:ONLY|IGNORE|LOW_PRIORITY|DELAYED|QUICK|INTO|FROM)\s+)*"
_NAME = r"(?:[\"`]?\w+[\"`]?\s*\.\s*)?[\"`]?{name}[\"`]?(?!\w)"
_CHANGES = rf"\b(?:UPDATE|DELETE|MERGE|REPLACE)\s+{_MODIFIERS}{_NAME}"
_DELETES = rf"\bDELETE\s+{_MODIFIERS}{_NAME}"
_EVENTS = r"\b(?:UPDATE|DELETE)\b"  # of a trigger, before what it executes
_UPSERTS = rf"\bINSERT\s+{_MODIFIERS}{_NAME}.*\b(?:DO|KEY)\s+UPDATE\b"


def updates_at_stake(facts: Facts, rule: str) -> Iterable[Finding]:
    """A finding for each table of the traffic whose place a copy takes, where changes to its rows could
    have come between, and nothing is seen to keep them out or to carry them over.
    """
    for swap in facts.statements:
        for change in swap.effects.relations if swap.effects and facts.committed(swap) else ():
            table = change.relation
            if change.what not in ("dropped", "renamed") or expendable(facts, table):
                continue
            if not _changed_by(facts, table):
                continue
            copy = _copy_of(facts, table, swap)
            if copy is not None and not (_shut(facts, table, copy, swap) or _carried(facts, table, copy)):
                yield _finding(facts, rule, table, copy, swap)


def _changed_by(facts: Facts, table: Relation) -> tuple[str, ...]:
    """The scripts that update or delete rows of it."""
    name = re.escape(table.name)
    rules = [re.compile(rule.format(name=name), re.IGNORECASE | re.DOTALL) for rule in (_CHANGES, _UPSERTS)]
    touching = set(facts.heat.touched_by(table)) - facts.new_scripts
    return tuple(
        script.name
        for script in facts.record.scripts
        if script.name in touching and any(rule.search(text) for rule in rules for text in script.statements)
    )


def _copy_of(facts: Facts, table: Relation, swap: Statement) -> Statement | None:
    """The first statement that filled a table of the migration's own with as much as half of `table`'s rows;
    of one that commits as it goes, the rows are not known.
    """
    known = facts.tables.find(table)
    least = max(1, round(_HALF * known.rows)) if known else 1
    for statement in facts.statements:
        effects = statement.effects
        if statement.index >= swap.index or effects is None:
            continue
        made = {lock.relation for lock in effects.locks if lock.created_here} | facts.created
        filled = any(rows >= least for relation, rows in effects.rows_changed if relation in made)
        unseen = effects.longest_transaction_ns is not None and any(
            lock.created_here and lock.mode is LockMode.ROW_EXCLUSIVE for lock in effects.locks
        )
        if filled or unseen:
            return statement
    return None


def _shut(facts: Facts, table: Relation, copy: Statement, swap: Statement) -> bool:
    """Whether one transaction kept writes out from before the copy to after the swap."""
    return copy.transaction == swap.transaction and any(
        hold.table == table
        and hold.transaction == copy.transaction
        and any(t.mode.blocks_writes and t.statement.index <= copy.index for t in hold.takings)
        for hold in facts.holds
    )


def _carried(facts: Facts, table: Relation, copy: Statement) -> bool:
    """Whether triggers were there before the copy that may write to both, for whatever the scripts do."""
    fired = {
        event.upper()
        for statement in facts.statements
        if statement.index < copy.index
        and statement.command.startswith("CREATE")
        and "TRIGGER" in statement.command
        and any(lock.table == table for lock in (statement.effects.locks if statement.effects else ()))
        for event in re.findall(_EVENTS, statement.text.partition("EXECUTE")[0], re.IGNORECASE)
    }
    deletes = re.compile(_DELETES.format(name=re.escape(table.name)), re.IGNORECASE)
    texts = [text for script in facts.record.scripts for text in script.statements]
    return "UPDATE" in fired and ("DELETE" in fired or not any(deletes.search(text) for text in texts))


def _finding(facts: Facts, rule: str, table: Relation, copy: Statement, swap: Statement) -> Finding:
    scripts = wording.listed(_changed_by(facts, table))
    return Finding(
        rule=rule,
        severity=Severity.UNMEASURED,
        message=(
            f"{wording.place(swap)} takes away {table}, of which {wording.place(copy)} had made a copy while "
            f"{scripts} went on to change its rows: whether these changes are in the copy was not measured"
        ),
        statement=swap.index,
        subject=f"{table} (changed meanwhile)",
        evidence=(
            f"no lock kept writes out of {table} from the copy to the swap, and no trigger stood on it",
        ),
        advice=(
            "Have a trigger write changes to both tables, made before the copy begins; or copy and swap in "
            f"one transaction that begins with LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE."
        ),
    )
