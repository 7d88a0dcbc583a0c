"""How many rows each table should get, before its keys have a say."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rehearse.dataset.needs import TableNeed
from rehearse.errors import DatasetError
from rehearse.model.relation import Relation
from rehearse.model.scenario import RowCounts
from rehearse.model.schema import Schema, Table, TableKind

_TOUCHED = 1_000_000
_OTHERS = 100_000
_LEAST = 1_000
# What tables that nobody asked for may cost in sum: a schema of hundreds of tables still loads in a minute.
_CHILDREN_BUDGET = 8_000_000
_OTHERS_BUDGET = 3_000_000


@dataclass(frozen=True, slots=True)
class Targets:
    """Rows wanted by table. `explicit` tables get exactly that, or the plan fails."""

    rows: dict[Relation, int]
    explicit: frozenset[Relation]
    smart: bool
    notes: tuple[str, ...] = ()


def targets(
    schema: Schema,
    needs: Mapping[Relation, TableNeed],
    asked: RowCounts,
    touched: frozenset[Relation],
    loaded: Mapping[Relation, int],
) -> Targets:
    """What was asked for by name, then the default that was given, or what suits the migration.

    Raises DatasetError for a table that does not exist or cannot be given rows.
    """
    explicit: dict[Relation, int] = {}
    notes = []
    for name, count in asked.tables:
        relation = _table(schema, needs, name).relation
        if relation in loaded:
            notes.append(f"{relation} keeps the {loaded[relation]:,} rows that a seed file put there")
        else:
            explicit[relation] = count
    roots = frozenset(_root(schema, relation) for relation in touched)
    rows = {
        relation: asked.default if asked.default is not None else 0
        for relation in needs
        if relation not in loaded
    }
    if asked.default is None:
        rows = _smart(needs, rows.keys(), roots)
    rows |= explicit
    rows |= {relation: count for relation, count in loaded.items() if relation in needs}
    return Targets(rows, frozenset(explicit), asked.default is None, tuple(notes))


def _smart(
    needs: Mapping[Relation, TableNeed], wanted: Iterable[Relation], touched: frozenset[Relation]
) -> dict[Relation, int]:
    wanted = list(wanted)
    children = {
        relation
        for relation in wanted
        if relation not in touched and any(key.parent in touched for key in needs[relation].references)
    }
    others = len([r for r in wanted if r not in children and r not in touched])
    per_child = _share(_CHILDREN_BUDGET, len(children), _TOUCHED)
    per_other = _share(_OTHERS_BUDGET, others, _OTHERS)
    return {
        relation: _TOUCHED if relation in touched else per_child if relation in children else per_other
        for relation in wanted
    }


def _share(budget: int, tables: int, most: int) -> int:
    return max(_LEAST, min(most, budget // max(1, tables)))


def _root(schema: Schema, relation: Relation) -> Relation:
    """The table whose rows a partition holds."""
    by_name = {table.relation: table for table in schema.tables}
    while (table := by_name.get(relation)) is not None and table.partition_of is not None:
        relation = table.partition_of
    return relation


def _table(schema: Schema, needs: Mapping[Relation, TableNeed], name: str) -> Table:
    table = schema.find(name)
    if table is None:
        raise _unknown(schema, name)
    if table.relation in needs:
        return table
    if table.partition_of is not None:
        root = _root(schema, table.relation)
        raise DatasetError(
            f"rows for {table.relation}: it is a partition of {root}", f"give the rows to {root}"
        )
    kinds = {TableKind.MATERIALIZED_VIEW: "materialized view", TableKind.FOREIGN: "foreign table"}
    raise DatasetError(f"rows for {table.relation}: it is a {kinds[table.kind]}, which gets none of its own")


def _unknown(schema: Schema, name: str) -> DatasetError:
    bare = [table.relation.name for table in schema.tables]
    full = [f"{t.relation.schema}.{t.relation.name}" for t in schema.tables]
    if name in bare:
        schemas = ", ".join(sorted(t.relation.schema for t in schema.tables if t.relation.name == name))
        return DatasetError(
            f"rows for {name}: there is one in each of the schemas {schemas}", "name the schema"
        )
    near = difflib.get_close_matches(name, [*bare, *full], n=1, cutoff=0.5)
    mend = (
        f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(bare)[:10])}" if bare else ""
    )
    return DatasetError(f"rows for {name}: there is no such table", mend)
