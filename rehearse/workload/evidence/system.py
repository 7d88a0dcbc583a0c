"""Statements that are about the server and not about the application's data."""

from __future__ import annotations

from rehearse.model.schema import Schema
from rehearse.workload.evidence.places import Named, places_of
from rehearse.workload.evidence.shape import Shape

CATALOG = "that read the system's own tables"
SETTING = "that call set_config()"

_SCHEMAS = ("pg_", "information_schema")
_MARKS = ("pg_", "information_schema", "set_config")
_WRITING = frozenset({"insert", "update", "delete", "merge"})


def own_tables(schema: Schema | None) -> frozenset[str]:
    """The names of the application's tables; empty where no schema is known."""
    return frozenset(table.relation.name for table in schema.tables) if schema else frozenset()


def system_reason(shape: Shape, own: frozenset[str]) -> str:
    """Why a query is no part of an application's work: what pg_dump, psql or a driver asks the catalog, and
    settings of a session. Empty if it may be one. `own` are the tables of the schema, as far as it is known.
    """
    text = shape.text.lower()
    if not any(mark in text for mark in _MARKS):
        return ""
    calls = _calls(shape)
    if any(name == "set_config" for _schema, name in calls):
        return SETTING
    tables = places_of(shape).tables
    if any(_is_own(table, own) for table in tables):
        return ""
    if not tables:
        # a function without a schema may be the application's
        only = bool(calls) and all(schema.startswith(_SCHEMAS) for schema, _name in calls)
        return CATALOG if only else ""
    writes = bool(_WRITING & {atom.identifier for atom in shape.atoms[:1]})
    return CATALOG if any(map(_is_system, tables)) and not writes else ""


def _is_own(table: Named, own: frozenset[str]) -> bool:
    return table.name in own and not table.schema.startswith(_SCHEMAS)


def _is_system(table: Named) -> bool:
    return (table.schema or table.name).startswith(_SCHEMAS)


def _calls(shape: Shape) -> list[tuple[str, str]]:
    """Schema (empty where none is said) and name of all that is called."""
    atoms = shape.atoms
    found: list[tuple[str, str]] = []
    for place in range(1, len(atoms)):
        name = atoms[place - 1].identifier
        if atoms[place].text == "(" and name:
            qualified = place > 2 and atoms[place - 2].text == "."
            found.append((atoms[place - 3].identifier if qualified else "", name))
    return found
