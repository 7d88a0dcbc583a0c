"""What the integrity trial says of the data, for the rules about it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rehearse.judge.facts import Facts
from rehearse.model.migration import Statement
from rehearse.model.record import TrialKind
from rehearse.model.relation import Relation
from rehearse.model.trials import ColumnIntegrity, IntegrityFacts, TableIntegrity

_WRITING = ("UPDATE", "MERGE", "INSERT", "DELETE", "WITH", "DO", "CALL", "SELECT", "COPY", "TRUNCATE")


def integrity_of(facts: Facts) -> IntegrityFacts | None:
    """What the integrity trial found, if it was made."""
    trial = facts.record.trial(TrialKind.INTEGRITY)
    return trial.integrity if trial else None


def stands_for(facts: Facts, relation: Relation) -> TableIntegrity | None:
    """What was compared for the table that a statement calls `relation`, by the name it had before."""
    found = integrity_of(facts)
    if found is None:
        return None
    return found.table(_first_names(facts).get(relation, relation))


def is_kept(facts: Facts, relation: Relation, column: str | None = None) -> bool:
    """Whether all rows of a table that was taken away, or all of its column, are in what took its place."""
    table = stands_for(facts, relation)
    if table is None or table.after is None or table.lost:
        return False
    if column is None:
        return True
    found = table.column(column)
    return found is not None and found.after is not None


def expendable(facts: Facts, table: Relation, column: str | None = None) -> bool:
    """Whether the scenario says that the data of the table, or of its column, may go."""
    named = {name.replace('"', "").strip() for name in facts.record.scenario.migration.expendable}
    names = {table.name, f"{table.schema}.{table.name}"}
    return bool(named & names) or any(f"{name}.{column}" in named for name in names)


def retyping(facts: Facts, table: Relation, column: ColumnIntegrity) -> Statement | None:
    """The statement that changed the column's type, or put another in its place."""
    first = _first_names(facts)
    for statement in facts.statements:
        for change in statement.effects.columns if statement.effects else ():
            if first.get(change.table, change.table) != table:
                continue
            if column.column in (change.column, change.after):
                return statement
    return None


def writing(facts: Facts, table: TableIntegrity, column: str | None = None) -> Statement | None:
    """The statement that wrote to the table: first those that were seen to, or took its rows away with it,
    then those of which it is not known and whose text names it; among them one that names the column. Where
    rows are `lost`, an UPDATE comes after what removes rows, and one that only adds rows last.
    """
    names = {table.table, table.after}
    seen = [s for s in facts.statements if not names.isdisjoint(_changed_by(s))]
    naming = [
        statement
        for statement in facts.statements
        if statement.command.split(" ")[0] in _WRITING and says(statement, table.table.name)
    ]
    unread = [s for s in naming if s.effects is None or not s.effects.counted]
    for writers in (seen, unread, naming):
        of_rows = bool(table.lost) and column is None
        removing = [s for s in writers if of_rows and not _keeps_rows(s)]
        taking = [s for s in writers if not of_rows or not _only_adds(s)]
        first = removing or taking or writers
        with_column = [s for s in first if column is not None and says(s, column)]
        if first:
            return next(iter([*with_column, *first]))
    return None


def _changed_by(statement: Statement) -> set[Relation]:
    """The tables whose rows it changed, or that it took away or emptied."""
    effects = statement.effects
    if effects is None:
        return set()
    changed = {relation for relation, _ in effects.rows_changed}
    changed |= {total.table for total in effects.totals if total.changed}
    return changed | {each.relation for each in effects.relations if each.what in ("dropped", "truncated")}


def _only_adds(statement: Statement) -> bool:
    return statement.command.split(" ")[0] in ("INSERT", "COPY")


def _keeps_rows(statement: Statement) -> bool:
    """An UPDATE takes rows away only where it changes their keys."""
    return statement.command.split(" ")[0] in ("INSERT", "COPY", "UPDATE")


def says(statement: Statement, name: str) -> bool:
    """Whether the statement's text names it."""
    return bool(re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", statement.text, re.IGNORECASE))


def _first_names(facts: Facts) -> Mapping[Relation, Relation]:
    """What a renamed table was called before the migration, by the name it has in between."""
    first: dict[Relation, Relation] = {}
    for statement in facts.statements:
        for change in statement.effects.relations if statement.effects else ():
            if change.what == "renamed" and change.after:
                now = _relation(change.after, change.relation)
                first[now] = first.pop(change.relation, change.relation)
    return first


def _relation(printed: str, like: Relation) -> Relation:
    """The relation that prints so: the record keeps new names as they are printed."""
    schema, _, name = printed.rpartition(".")
    plain = name.strip('"').replace('""', '"')
    return Relation(schema.strip('"') or ("public" if like.schema == "public" else like.schema), plain)
