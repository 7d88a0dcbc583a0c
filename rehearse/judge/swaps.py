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
from rehearse.judge.sqltext import one_line
from rehearse.model.locks import LockMode
from rehearse.model.migration import Statement
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Severity

_HALF = 0.5  # of the table's rows: a copy, rather than a table that is made beside it
_MODIFIERS = r"(?:(?:ONLY|IGNORE|LOW_PRIORITY|DELAYED|QUICK|INTO|FROM)\s+)*"
_NAME = r"(?:[\"`]?\w+[\"`]?\s*\.\s*)?[\"`]?{name}[\"`]?(?!\w)"
# what changes rows that are there, and the events of triggers that it fires
_CHANGES = (
    (rf"\bUPDATE\s+{_MODIFIERS}{_NAME}", {"UPDATE"}),
    (rf"\bDELETE\s+{_MODIFIERS}{_NAME}", {"DELETE"}),
    (rf"\bINSERT\s+{_MODIFIERS}{_NAME}.*\b(?:DO|KEY)\s+UPDATE\b", {"UPDATE"}),
    (rf"\bMERGE\s+{_MODIFIERS}{_NAME}.*\bTHEN\s+UPDATE\b", {"UPDATE"}),
    (rf"\bMERGE\s+{_MODIFIERS}{_NAME}.*\bTHEN\s+DELETE\b", {"DELETE"}),
    (rf"\bREPLACE\s+{_MODIFIERS}{_NAME}", {"INSERT", "DELETE"}),
)
_HEAD = re.compile(  # of a trigger: what it fires for, and on what condition
    r"\b(?:BEFORE|AFTER)\s+(?P<events>.+?)\s+ON\s"
    r"(?:.*?\bWHEN\s*\((?P<condition>.*)\)\s*EXECUTE\s+(?:FUNCTION|PROCEDURE)\b)?",
    re.IGNORECASE,
)
_EVENT = re.compile(r"\b(INSERT|UPDATE|DELETE)\b(?:\s+OF\s+((?:(?!\sOR\s).)+))?", re.IGNORECASE)
# conditions that leave out no change that the application makes itself
_ALWAYS = re.compile(
    r"\s*(?:\(?(?:OLD|NEW)\.\*\)?\s+IS\s+DISTINCT\s+FROM\s+\(?(?:OLD|NEW)\.\*\)?"
    r"|pg_trigger_depth\(\)\s*(?:=\s*0|<\s*[12]))\s*",
    re.IGNORECASE,
)
_SETS = re.compile(r"\bSET\s.*?(?=\b(?:WHERE|FROM|RETURNING)\b|$)", re.IGNORECASE | re.DOTALL)
_WRITES = re.compile(  # in the body of a function, where 'UPDATE' alone may be only compared
    r"\b(?:INSERT\s+INTO|UPDATE\s+[\w\"]|DELETE\s+FROM|MERGE\s+INTO|(?:CALL|EXECUTE|PERFORM|SELECT)\s)",
    re.IGNORECASE,
)
_REPLACES = r"\bREPLACE\s+FUNCTION\s+(?:\"?\w+\"?\s*\.\s*)?\"?{name}\"?\s*\((?P<body>.*)"
_TRIGGER = re.compile(
    r"\bTRIGGER\s+(?:IF\s+NOT\s+EXISTS\s+)?[\"`]?(\w+)(?:.*\bEXECUTE\s+(?:FUNCTION|PROCEDURE)\s+([\w.\"]+))?",
    re.IGNORECASE | re.DOTALL,
)
_ENDS = r"\b(?:DROP|DISABLE)\b.*(?<!\w)(?:{names})(?!\w)"
_ENDS_ALL = re.compile(r"\bDISABLE\s+TRIGGER\s+(?:ALL|USER)\b", re.IGNORECASE)


def updates_at_stake(facts: Facts, rule: str) -> Iterable[Finding]:
    """A finding for each table of the traffic whose place a copy takes, where changes to its rows could
    have come between, and nothing is seen to keep them out or to carry them over.
    """
    for swap in facts.statements:
        for change in swap.effects.relations if swap.effects and facts.committed(swap) else ():
            table = change.relation
            if change.what not in ("dropped", "renamed") or expendable(facts, table):
                continue
            if not changed_by(facts, table):
                continue
            copy = _copy_of(facts, table, swap)
            if copy is not None and not (
                _shut(facts, table, copy, swap) or _carried(facts, table, copy, swap)
            ):
                yield _finding(facts, rule, table, copy, swap)


def changed_by(facts: Facts, table: Relation) -> dict[str, frozenset[str]]:
    """The scripts that change rows of it which are there, and the events of triggers that they fire."""
    name = re.escape(table.name)
    rules = [
        (re.compile(rule.format(name=name), re.IGNORECASE | re.DOTALL), events) for rule, events in _CHANGES
    ]
    touching = set(facts.heat.touched_by(table)) - facts.new_scripts
    found = {
        script.name: frozenset().union(
            *(events for rule, events in rules if any(map(rule.search, script.statements)))
        )
        for script in facts.record.scripts
        if script.name in touching
    }
    return {script: events for script, events in found.items() if events}


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


def _carried(facts: Facts, table: Relation, copy: Statement, swap: Statement) -> bool:
    """Whether triggers stood on it from before the copy to the swap that may write to both, for whatever
    the scripts do.
    """
    fired = [
        event
        for statement in facts.statements
        if statement.index < copy.index
        and statement.command.startswith("CREATE")
        and "TRIGGER" in statement.command
        and _locks(statement, table)
        and not _ended(facts, table, statement, swap)
        for event in _events(statement)
    ]
    always = {event for event, columns in fired if not columns}
    columns = {column for _, columns in fired for column in columns}
    if columns and _all_set(facts, table, columns):
        always.add("UPDATE")
    return frozenset().union(*changed_by(facts, table).values()) <= always


def _events(trigger: Statement) -> list[tuple[str, frozenset[str]]]:
    """What it fires for, an UPDATE with the columns it is confined to; nothing where a condition may keep
    it from firing.
    """
    head = _HEAD.search(one_line(trigger.text))
    if head is None or (head["condition"] and not _ALWAYS.fullmatch(head["condition"])):
        return []
    return [
        (event.upper(), frozenset(name.strip(' "').lower() for name in columns.split(",") if name.strip()))
        for event, columns in _EVENT.findall(head["events"])
    ]


def _all_set(facts: Facts, table: Relation, columns: Iterable[str]) -> bool:
    """Whether each UPDATE of the table by the scripts sets one of the columns."""
    names = "|".join(map(re.escape, columns))
    one = rf'"?(?:{names})"?'
    sets = re.compile(
        rf"(?:\bSET|,)\s*(?:{one}\s*=|\((?:[^()]*,)?\s*{one}\s*(?:,[^()]*)?\)\s*=)", re.IGNORECASE
    )
    updates = [
        re.compile(rule.format(name=re.escape(table.name)), re.IGNORECASE | re.DOTALL)
        for rule, events in _CHANGES
        if "UPDATE" in events
    ]
    return all(
        any(sets.search(clause[0]) for clause in _SETS.finditer(text))
        for script in facts.record.scripts
        if script.name in changed_by(facts, table)
        for text in script.statements
        if any(rule.search(text) for rule in updates)
    )


def _ended(facts: Facts, table: Relation, made: Statement, swap: Statement) -> bool:
    """Whether the trigger that `made` creates is gone, off or does nothing more before `swap`. In the
    transaction of the swap the lock that it takes to drop it keeps changes out from then on.
    """
    match = _TRIGGER.search(made.text)
    names = [name.rpartition(".")[2].strip('"') for name in match.groups() if name] if match else []
    if not names:
        return False
    emptied = re.compile(_REPLACES.format(name=re.escape(names[-1])), re.IGNORECASE)
    ends = re.compile(_ENDS.format(names="|".join(map(re.escape, names))), re.IGNORECASE | re.DOTALL)
    return any(
        made.index < statement.index < swap.index
        and statement.transaction != swap.transaction
        and facts.committed(statement)
        and (
            (_locks(statement, table) and (ends.search(statement.text) or _ENDS_ALL.search(statement.text)))
            or ((found := emptied.search(one_line(statement.text))) and not _WRITES.search(found["body"]))
        )
        for statement in facts.statements
    )


def _locks(statement: Statement, table: Relation) -> bool:
    return any(lock.relation == table for lock in (statement.effects.locks if statement.effects else ()))


def _finding(facts: Facts, rule: str, table: Relation, copy: Statement, swap: Statement) -> Finding:
    scripts = wording.listed(tuple(changed_by(facts, table)))
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
            f"no lock kept writes out of {table} all the time, and no trigger stood on it all the time",
        ),
        advice=(
            "Have a trigger write changes to both tables, made before the copy begins and dropped no "
            "earlier than in the swap's transaction; or copy and swap in "
            f"one transaction that begins with LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE."
        ),
    )
