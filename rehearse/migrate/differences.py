"""What became of relations and columns, told from the catalog before a statement and the one after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from rehearse.engines.postgres.catalog import Catalog, ColumnFacts, RelationFacts
from rehearse.model.migration import ColumnChange, RelationChange
from rehearse.model.relation import Relation

ANYTHING_COMMANDS = frozenset({"CALL", "DO", "EXECUTE", "SELECT"})
_REPORTED_KINDS = "rpmvf"


def changed_columns(
    base: Catalog, before: Catalog, after: Catalog, touched: set[int]
) -> Iterable[ColumnChange]:
    """Changes to columns that were there in `base`. A partition's are its parent's."""
    for oid in sorted(touched & set(before) & set(after) & set(base)):
        was, now = before[oid], after[oid]
        if was.columns is None or now.columns is None or now.parent in touched:
            continue
        original = {column.number for column in base[oid].columns or ()}
        current = {column.number: column for column in now.columns}
        for column in was.columns:
            if column.number in original:
                yield from _column_changes(was.relation, column, current.get(column.number))


def changed_relations(
    base_rows: Mapping[int, int], before: Catalog, after: Catalog, touched: set[int], emptied: set[int]
) -> Iterable[RelationChange]:
    """What happened to the relations `touched` as a whole; `base_rows` are the rows that they had."""
    for oid in sorted(touched & set(before)):
        was, now = before[oid], after.get(oid)
        if was.code not in _REPORTED_KINDS:
            continue
        rows = base_rows.get(oid)
        if now is None:
            yield RelationChange(was.relation, "dropped", rows=rows)
            continue
        if now.relation != was.relation:
            yield RelationChange(was.relation, "renamed", after=str(now.relation), rows=rows)
        if oid in emptied:
            yield RelationChange(was.relation, "truncated", rows=rows)


def complete(facts: RelationFacts, known: RelationFacts | None) -> RelationFacts:
    """A probe reads columns only where they can have changed."""
    return replace(facts, columns=known.columns) if known and facts.columns is None else facts


def has_new_file(was: RelationFacts | None, now: RelationFacts | None) -> bool:
    """Whether a table has been given a new file."""
    return bool(was and now and now.holds_rows and was.filenode != now.filenode)


def is_emptied(command: str, was: RelationFacts, now: RelationFacts) -> bool:
    """Whether a new file means TRUNCATE, by itself or inside a function, and not a rewrite."""
    if was.code != "r":
        return False
    return command == "TRUNCATE" or (
        command in ANYTHING_COMMANDS and was.size_bytes > 0 and now.size_bytes == 0
    )


def named(oid: int, before: Catalog, after: Catalog) -> Relation:
    """The name by which the statement found it."""
    return (before.get(oid) or after[oid]).relation


def _column_changes(table: Relation, was: ColumnFacts, now: ColumnFacts | None) -> Iterable[ColumnChange]:
    if now is None:
        yield ColumnChange(table, was.name, "dropped")
        return
    if now.name != was.name:
        yield ColumnChange(table, was.name, "renamed", after=now.name)
    if now.type_key != was.type_key:
        yield ColumnChange(table, was.name, "retyped", after=now.type)
