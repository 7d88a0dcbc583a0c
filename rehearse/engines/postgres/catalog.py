"""Relations as the catalog describes them, in the detail that tells what a statement did to them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from rehearse.model.relation import Relation

Connection = psycopg.Connection[tuple[Any, ...]]

KINDS = {
    "r": "table",
    "p": "partitioned table",
    "i": "index",
    "I": "index",
    "v": "view",
    "m": "materialized view",
    "S": "sequence",
    "f": "foreign table",
    "c": "composite type",
}
PARTITIONED_INDEX = "I"


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A column by `number`, which survives a rename. `type_key` identifies the type with its modifier,
    whatever it is called; `type` is for people.
    """

    number: int
    name: str
    type: str
    type_key: str


@dataclass(frozen=True, slots=True)
class RelationFacts:
    """One relation at one moment. `code` is `pg_class.relkind`; `table` the oid of an index's table,
    `parent` of what it is a partition of; `filenode` is None for relations without storage, `columns`
    is None where they were not read.
    """

    oid: int
    relation: Relation
    code: str
    filenode: int | None = None
    size_bytes: int = 0
    rows: int = 0  # the catalog's estimate, 0 where it has none
    table: int | None = None
    valid: bool = True
    parent: int | None = None
    columns: tuple[ColumnFacts, ...] | None = None

    @property
    def kind(self) -> str:
        """The kind in words: `table`, `index`, `materialized view`."""
        return KINDS.get(self.code, self.code)

    @property
    def is_index(self) -> bool:
        """Whether it is an index, partitioned ones among them."""
        return self.code in "iI"

    @property
    def holds_rows(self) -> bool:
        """Whether it has rows of its own: a table, a partition or a materialized view."""
        return self.code in "rm"


# `columns` says for which relations the columns are read, `sized` for which the size, which takes a lock.
# Names are qualified, because the migration may have set a search_path of its own; oids below 16384 belong
# to the system.
FACTS = """
pg_catalog.json_build_object(
  'oid', c.oid::pg_catalog.int8, 'schema', n.nspname, 'name', c.relname, 'code', c.relkind,
  'filenode', pg_catalog.pg_relation_filenode(c.oid)::pg_catalog.int8,
  'size', CASE WHEN c.relkind IN ('r', 'm', 'i') AND {sized} THEN pg_catalog.pg_relation_size(c.oid) END,
  'rows', greatest(c.reltuples, 0)::pg_catalog.int8,
  'table', i.indrelid::pg_catalog.int8, 'valid', coalesce(i.indisvalid, true),
  'parent', (SELECT inhparent::pg_catalog.int8 FROM pg_catalog.pg_inherits
             WHERE inhrelid = c.oid AND c.relispartition LIMIT 1),
  'columns', CASE WHEN c.relkind IN ('r', 'p', 'm', 'f', 'v') AND {columns} THEN
    (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
        a.attnum, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
        a.atttypid::pg_catalog.text || ':' || a.atttypmod::pg_catalog.text) ORDER BY a.attnum), '[]')
     FROM pg_catalog.pg_attribute a
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) END)
"""

_FROM = """
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
"""

_LOCKED = """c.oid IN (SELECT relation FROM pg_catalog.pg_lock_status()
  WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'relation' AND granted)"""

_CATALOG = f"""
SELECT coalesce(pg_catalog.json_agg({FACTS}), '[]')
{_FROM}
WHERE c.oid >= 16384 AND n.nspname !~ '^pg_(toast|temp)'
"""

CATALOG = _CATALOG.format(columns="true", sized="true")
# Within a transaction of the migration, where waiting for anybody's lock would change what that does.
CATALOG_WITHIN = _CATALOG.format(columns="true", sized=_LOCKED)


class Catalog(dict[int, RelationFacts]):
    """Every relation outside the system's own schemas, by oid."""


def facts_of(document: Mapping[str, Any]) -> RelationFacts:
    """One relation out of the JSON that FACTS makes."""
    columns = document["columns"]
    return RelationFacts(
        oid=document["oid"],
        relation=Relation(document["schema"], document["name"]),
        code=document["code"],
        filenode=document["filenode"],
        size_bytes=document["size"] or 0,
        rows=document["rows"],
        table=document["table"],
        valid=document["valid"],
        parent=document["parent"],
        columns=None if columns is None else tuple(ColumnFacts(*column) for column in columns),
    )


def catalog_of(text: str) -> Catalog:
    """The catalog out of what the query CATALOG answers."""
    return Catalog({facts.oid: facts for facts in map(facts_of, json.loads(text))})


def catalog_within(text: str, known: Mapping[int, RelationFacts]) -> Catalog:
    """The catalog out of what CATALOG_WITHIN answers; where that says no size, it is the one in `known`."""
    facts = [
        {**document, "size": known[document["oid"]].size_bytes}
        if document["size"] is None and document["oid"] in known
        else document
        for document in json.loads(text)
    ]
    return Catalog({found.oid: found for found in map(facts_of, facts)})


def capture(connection: Connection) -> Catalog:
    """The catalog as `connection` sees it now."""
    row = connection.execute(CATALOG).fetchone()
    assert row is not None, "an aggregate has one row"
    return Catalog({facts.oid: facts for facts in map(facts_of, row[0])})


def row_counts(connection: Connection, catalog: Mapping[int, RelationFacts]) -> dict[int, int]:
    """Rows of every table by oid: the catalog's estimate, or where it has none although there is data,
    a count. A partitioned table has those of its partitions.
    """
    counts = {
        oid: _count(connection, facts.relation) if facts.size_bytes and not facts.rows else facts.rows
        for oid, facts in catalog.items()
        if facts.holds_rows
    }
    partitioned = [oid for oid, facts in catalog.items() if facts.code == "p"]
    return counts | {oid: sum(_leaves(oid, catalog, counts)) for oid in partitioned}


def _leaves(parent: int, catalog: Mapping[int, RelationFacts], counts: Mapping[int, int]) -> Iterable[int]:
    for oid, facts in catalog.items():
        if facts.parent == parent and not facts.is_index:
            yield counts.get(oid, 0)
            yield from _leaves(oid, catalog, counts)


def _count(connection: Connection, relation: Relation) -> int:
    name = sql.Identifier(relation.schema, relation.name)
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone()
    assert row is not None, "an aggregate has one row"
    return int(row[0])
