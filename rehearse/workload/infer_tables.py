"""Inferred scripts that stay with one table: reads by key and index, an update, an insert."""

from __future__ import annotations

from collections.abc import Iterator

from rehearse.model.schema import Column, Index, Schema, Table
from rehearse.workload.infer_facts import (
    lookup_indexes,
    lookup_key,
    ordered_by,
    row_columns,
    update_column,
    usable,
)
from rehearse.workload.infer_names import plain, plain_word, qualified, quoted, variables
from rehearse.workload.infer_statements import Draft, column_list, draws, equals, script, select_list

_PAGE = 20
_MOST_INDEX_READS = 6
_KEY_READS = 3  # an application looks a row up by its key more often than in any other way


def reads(table: Table) -> Iterator[Draft]:
    """Reads of `table`: by key, by each index; where there is neither, of any one row."""
    found = [*_by_key(table), *_by_indexes(table)]
    yield from found or [_of_any_row(table)]


def _by_key(table: Table) -> Iterator[Draft]:
    key = lookup_key(table)
    if not key or not usable(table.relation.name):
        return
    names = variables(key)
    yield Draft(
        f"read_{plain(table.relation)}_by_{'pk' if table.primary_key else 'key'}",
        script(
            f"Reads one row of {table.relation} by its key.",
            draws("sample", table.relation, names),
            [*_select(table), f"WHERE {equals(names)}"],
        ),
        _KEY_READS,
    )


def _by_indexes(table: Table) -> Iterator[Draft]:
    if not usable(table.relation.name):
        return
    seen: set[tuple[str, str | None, str | None]] = set()
    for index, column in lookup_indexes(table):
        way = (column.name, ordered_by(index), index.predicate)
        if way not in seen and len(seen) < _MOST_INDEX_READS:
            seen.add(way)
            yield _by_index(table, index, column)


def _by_index(table: Table, index: Index, column: Column) -> Draft:
    names = variables([column.name])
    conditions = [equals(names), *([f"({index.predicate})"] if index.predicate else [])]
    order = ordered_by(index)
    return Draft(
        f"read_{plain(table.relation)}_by_{plain_word(column.name)}",
        script(
            f"Reads up to {_PAGE} rows of {table.relation} through the index {index.name}.",
            draws("sample", table.relation, names),
            [
                *_select(table),
                f"WHERE {' AND '.join(conditions)}",
                *([f"ORDER BY {quoted(order)} DESC"] if order else []),
                f"LIMIT {_PAGE}",
            ],
        ),
    )


def _of_any_row(table: Table) -> Draft:
    return Draft(
        f"read_{plain(table.relation)}",
        script(f"Reads any row of {table.relation}, which has no key.", [], [*_select(table), "LIMIT 1"]),
    )


def _select(table: Table) -> list[str]:
    columns = column_list(column.name for column in table.columns)
    return [select_list(columns), f"FROM {qualified(table.relation)}"]


def updates(schema: Schema, table: Table) -> Iterator[Draft]:
    """An update of one column of one row, found by its key; none where that would take a scan."""
    key = lookup_key(table)
    column = update_column(schema, table)
    if not key or column is None or not usable(table.relation.name):
        return
    names = variables([*key, column.name])
    found_by = {name: names[name] for name in key}
    yield Draft(
        f"update_{plain(table.relation)}",
        script(
            f"Updates one row of {table.relation}: writes the value that the row had when it was sampled.",
            draws("sample", table.relation, names),
            [
                f"UPDATE {qualified(table.relation)}",
                f"SET {quoted(column.name)} = :{names[column.name]}",
                f"WHERE {equals(found_by)}",
            ],
        ),
    )


def inserts(table: Table) -> Iterator[Draft]:
    """An insert of one new row; none where an exclusion constraint would refuse drawn rows."""
    columns = [column.name for column in row_columns(table)]
    if table.exclusions or not all(usable(name) for name in (table.relation.name, *columns)):
        return
    names = variables(columns)
    values = ", ".join(f":{name}" for name in names.values())
    into = f"INSERT INTO {qualified(table.relation)}"
    if columns:
        clauses = [f"{into} ({column_list(columns)})", f"VALUES ({values})"]
    else:
        clauses = [f"{into} DEFAULT VALUES"]
    yield Draft(
        f"insert_{plain(table.relation)}",
        script(f"Inserts one new row into {table.relation}.", draws("fresh", table.relation, names), clauses),
    )
