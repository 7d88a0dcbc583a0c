"""Where a script takes its values from: existing rows, new rows, a range of numbers, or nothing real."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rehearse.model.schema import Column, Schema, Table
from rehearse.workload.evidence.mix import Group, Step
from rehearse.workload.evidence.places import ColumnRef, Places, places_of
from rehearse.workload.evidence.shape import Slot
from rehearse.workload.evidence.values import Kind, Seen, kind_of_type
from rehearse.workload.infer_facts import usable
from rehearse.workload.infer_names import draw

_PAGING = frozenset({"LIMIT", "OFFSET"})
_PAGE = "20"
_PLAIN = frozenset({Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN})


@dataclass(frozen=True, slots=True)
class Place:
    """A slot of a group with all that is known of it. `table` and `column` only if the schema is known."""

    number: int
    slot: Slot
    seen: Seen
    reference: ColumnRef | None
    follows: str
    table: Table | None = None
    column: Column | None = None
    type_name: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where one or several slots take their value from: `expression` is a draw (`\\set`), else `literal`
    is SQL. `note` says what a reader should know.
    """

    expression: str = ""
    literal: str = ""
    note: str = ""
    rank: int = 0  # the lower, the more it says
    typed: bool = False  # the server can tell the type from where it stands


def places(group: Group, schema: Schema | None, types: Sequence[Sequence[str]]) -> list[Place]:
    """Every slot of `group`; `types` are those of each step's parameters, where they are known."""
    found: list[Place] = []
    for index, step in enumerate(group.steps):
        where = places_of(step.shape)
        for offset, slot in enumerate(step.shape.slots):
            reference = where.columns[offset]
            table, column = _resolved(where, reference, schema)
            cast = where.casts[offset]
            type_name = types[index][offset] if index < len(types) and offset < len(types[index]) else ""
            number = step.first + offset
            found.append(
                Place(
                    number,
                    slot,
                    group.seen[number],
                    reference,
                    where.follows[offset],
                    table,
                    column,
                    cast or type_name,
                )
            )
    return found


def _resolved(
    where: Places, reference: ColumnRef | None, schema: Schema | None
) -> tuple[Table | None, Column | None]:
    if reference is None or schema is None:
        return None, None
    if reference.inserted:
        named = where.tables[:1]
    else:
        named = tuple(one for one in where.tables if reference.qualifier in {"", one.alias})
    tables = [schema.find(f"{one.schema}.{one.name}" if one.schema else one.name) for one in named]
    having = {
        table.relation: table
        for table in tables
        if table is not None and any(column.name == reference.column for column in table.columns)
    }
    if len(having) != 1:
        return None, None
    table = next(iter(having.values()))
    return table, table.column(reference.column)


def fresh_tables(group: Group, found: Sequence[Place]) -> Iterator[tuple[Step, Table]]:
    """The INSERTs that need a row nobody has, because they fill a unique key."""
    for step in group.steps:
        mine = [place for place in found if step.first <= place.number < step.first + len(step.shape.slots)]
        inserted = {place.column.name for place in mine if _is_inserted(place) and place.column}
        table = next((place.table for place in mine if _is_inserted(place)), None)
        if table is not None and any(inserted & set(key.columns) for key in table.keys):
            yield step, table


def _is_inserted(place: Place) -> bool:
    return place.reference is not None and place.reference.inserted and place.table is not None


def source_of(alike: Sequence[Place], fresh: frozenset[str]) -> Source:
    """The source of slots that always had the same value; `fresh` names the tables that get new rows."""
    return min((_source(place, fresh) for place in alike), key=lambda source: source.rank)


def _source(place: Place, fresh: frozenset[str]) -> Source:
    if place.table is not None and place.column is not None:
        source = _of_column(place, place.table, place.column, fresh)
        if source is not None:
            return source
    return _of_values(place)


def _of_column(place: Place, table: Table, column: Column, fresh: frozenset[str]) -> Source | None:
    relation, name = table.relation, column.name
    if not usable(name) or not usable(relation.name):
        return None
    is_key = any(key.columns == (name,) for key in table.keys)
    if _is_inserted(place):
        parents = [key for key in table.foreign_keys if name in key.columns]
        if str(relation) in fresh:
            return Source(draw("fresh", relation, name), rank=1 if is_key and not parents else 5, typed=True)
        if parents:
            key = parents[0]
            other = key.parent_columns[key.columns.index(name)]
            return Source(draw("sample", key.parent, other), rank=3, typed=True)
        return Source(draw("sample", relation, name), rank=6, typed=True)
    exact = place.reference is not None and place.reference.exact
    is_link = is_key or any(name in key.columns for key in table.foreign_keys)
    if place.seen.constant and not place.seen.nulls and not is_link and place.seen.kind in _PLAIN:
        return None  # `status = 3`, every time: the value belongs to the statement
    rank = 2 if is_key and exact else 4 if exact else 6
    return Source(draw("sample", relation, name), rank=rank, typed=True)


def _of_values(place: Place) -> Source:
    seen, slot = place.seen, place.slot
    typed = place.reference is not None or place.follows in _PAGING
    if seen.count and seen.nulls == seen.count:
        return Source(literal="NULL", rank=8, typed=True)
    if seen.kind is not None:
        if seen.constant and seen.kind in _PLAIN and not seen.nulls:
            value = seen.first or ""
            bare = slot.number or (slot.parameter and seen.kind is not Kind.BOOLEAN)
            return Source(literal=value if bare and slot.number else f"'{value}'", rank=7, typed=True)
        expression = seen.expression()
        if expression is not None:
            return Source(expression, rank=7, typed=typed or not slot.number)
        return _neutral(seen.kind)
    if place.follows in _PAGING:
        literal = _PAGE if place.follows == "LIMIT" else "0"
        return Source(literal=literal, note=f"{place.follows} {literal} is a guess", rank=8)
    kind = kind_of_type(place.type_name)
    return _neutral(kind)


def _neutral(kind: Kind) -> Source:
    note = f"a value of type {kind.title} that no source is known for: {kind.value} stands in for it"
    return Source(literal=kind.value, note=note, rank=9, typed=True)
