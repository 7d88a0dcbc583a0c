"""A PostgreSQL database's schema, read from its catalog (versions 14 to 18) with a few set-based queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg

from rehearse.engines.postgres.types import TypeCatalog, read_types
from rehearse.model.relation import Relation
from rehearse.model.schema import (
    Check,
    Column,
    ForeignKey,
    Identity,
    Index,
    Schema,
    Table,
    TableKind,
    UniqueKey,
)

Row: TypeAlias = tuple[Any, ...]
Connection: TypeAlias = "psycopg.Connection[Row]"

# Tables of the user's own: no system schemas, no temporary tables, nothing that an extension brought.
_OURS = """
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'm', 'f') AND c.relpersistence <> 't'
       AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                          AND d.objid = c.oid AND d.deptype = 'e')
"""

_RELATIONS = f"""
    SELECT c.oid, n.nspname, c.relname, c.relkind::text, p.inhparent,
           pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_inherits p ON p.inhrelid = c.oid AND c.relispartition
     WHERE c.oid IN ({_OURS})
     ORDER BY n.nspname, c.relname
"""  # noqa: S608 - the only thing put in is the constant above

_COLUMNS = f"""
    SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod),
           a.attnotnull, a.attidentity::text, a.attgenerated::text, pg_get_expr(d.adbin, d.adrelid)
      FROM pg_attribute a
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid IN ({_OURS})
     ORDER BY a.attrelid, a.attnum
"""  # noqa: S608 - of constants alone

# A sequence belongs to a column that owns it (serial: 'a', identity: 'i') or whose default calls it.
_SEQUENCES = """
    SELECT d.refobjid, d.refobjsubid, n.nspname, s.relname, 1
      FROM pg_depend d JOIN pg_class s ON s.oid = d.objid JOIN pg_namespace n ON n.oid = s.relnamespace
     WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
       AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') AND s.relkind = 'S'
    UNION
    SELECT f.adrelid, f.adnum, n.nspname, s.relname, 2
      FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
      JOIN pg_class s ON s.oid = d.refobjid JOIN pg_namespace n ON n.oid = s.relnamespace
     WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND s.relkind = 'S'
     ORDER BY 5, 3, 4
"""

# A foreign key to a partitioned table has further rows, one for each partition of the parent: they hang
# below a constraint of the same table and say nothing new.
_CONSTRAINTS = f"""
    SELECT c.conrelid, c.contype::text, c.conname, c.conkey, c.confrelid, c.confkey, c.convalidated,
           pg_get_constraintdef(c.oid), pg_get_expr(c.conbin, c.conrelid)
      FROM pg_constraint c LEFT JOIN pg_constraint p ON p.oid = c.conparentid
     WHERE c.contype IN ('f', 'c', 'x', 'p', 'u', 'n') AND (p.oid IS NULL OR p.conrelid <> c.conrelid)
       AND c.conrelid IN ({_OURS})
     ORDER BY c.conrelid, c.conname
"""  # noqa: S608 - of constants alone

_INDEXES = f"""
    SELECT i.indrelid, x.relname, string_to_array(i.indkey::text, ' ')::int[], i.indnkeyatts, i.indisunique,
           i.indisprimary, i.indisvalid, m.amname, pg_get_indexdef(i.indexrelid),
           pg_get_expr(i.indpred, i.indrelid),
           ARRAY(SELECT DISTINCT d.refobjsubid FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                    AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid
                    AND d.refobjsubid > 0 ORDER BY 1)
      FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
     WHERE i.indislive AND i.indrelid IN ({_OURS})
     ORDER BY i.indrelid, x.relname
"""  # noqa: S608 - of constants alone

_TRIGGERS = f"""
    SELECT t.tgrelid, pg_get_triggerdef(t.oid) FROM pg_trigger t
     WHERE NOT t.tgisinternal AND t.tgrelid IN ({_OURS}) ORDER BY t.tgrelid, t.tgname
"""  # noqa: S608 - of constants alone

# What the catalog prints (defaults, bounds, definitions) depends on these.
_SETTINGS = """
    SELECT set_config('search_path', '', true), set_config('TimeZone', 'UTC', true),
           set_config('DateStyle', 'ISO, YMD', true), set_config('IntervalStyle', 'postgres', true),
           set_config('extra_float_digits', '1', true)
"""


def introspect(connection: Connection) -> Schema:
    """Every table outside the system's own schemas and not owned by an extension, parents first.

    Names in definitions and type names are schema-qualified. The connection's settings are as before
    afterwards; a transaction that is open stays open.
    """
    with connection.transaction(force_rollback=True):
        connection.execute(_SETTINGS)
        catalog = _Catalog.read(connection)
        extensions = connection.execute("SELECT extname FROM pg_extension ORDER BY extname").fetchall()
    tables = [catalog.table(row) for row in catalog.relations]
    return Schema(tables=_parents_first(tables), extensions=tuple(name for (name,) in extensions))


@dataclass(frozen=True, slots=True)
class _Catalog:
    """The rows of each query, by table."""

    relations: list[Row]
    names: Mapping[int, Relation]
    types: TypeCatalog
    columns: Mapping[int, list[Row]]
    sequences: Mapping[tuple[int, int], Relation]
    constraints: Mapping[int, list[Row]]
    indexes: Mapping[int, list[Row]]
    triggers: Mapping[int, list[Row]]

    @classmethod
    def read(cls, connection: Connection) -> _Catalog:
        relations = connection.execute(_RELATIONS).fetchall()
        return cls(
            relations=relations,
            names={oid: Relation(schema, name) for oid, schema, name, *_ in relations},
            types=read_types(connection),
            columns=_by_first(connection.execute(_COLUMNS)),
            sequences={
                (table, number): Relation(schema, name)
                for table, number, schema, name, _ in connection.execute(_SEQUENCES)
            },
            constraints=_by_first(connection.execute(_CONSTRAINTS)),
            indexes=_by_first(connection.execute(_INDEXES)),
            triggers=_by_first(connection.execute(_TRIGGERS)),
        )

    def table(self, row: Row) -> Table:
        oid, schema, name, relkind, parent, partition_key, bound = row
        constraints = self.constraints.get(oid, [])
        return Table(
            relation=Relation(schema, name),
            oid=oid,
            columns=self._columns(oid),
            kind=_kind(relkind, is_partition=parent is not None),
            keys=self._keys(oid),
            foreign_keys=tuple(
                self._foreign_key(c) for c in constraints if c[1] == "f" and c[4] in self.names
            ),
            checks=tuple(
                Check(c[2], c[8], self._names(oid, c[3] or ()), validated=c[6])
                for c in constraints
                if c[1] == "c"
            ),
            indexes=tuple(self._index(oid, i) for i in self.indexes.get(oid, [])),
            exclusions=tuple(c[7] for c in constraints if c[1] == "x" or " WITHOUT OVERLAPS)" in c[7]),
            partition_of=self.names.get(parent) if parent is not None else None,
            partition_key=partition_key,
            partition_bound=bound,
            triggers=tuple(definition for _, definition in self.triggers.get(oid, [])),
        )

    def _columns(self, oid: int) -> tuple[Column, ...]:
        unproven = {c[3][0] for c in self.constraints.get(oid, []) if c[1] == "n" and not c[6]}
        return tuple(self._column(row, unproven) for row in self.columns.get(oid, []))

    def _column(self, row: Row, unproven: set[int]) -> Column:
        table, number, name, type_oid, typmod, sql, not_null, identity, generated, default = row
        return Column(
            name=name,
            number=number,
            type=self.types.resolve(type_oid, typmod, sql),
            not_null=not_null,
            default=None if generated else default,
            identity={"a": Identity.ALWAYS, "d": Identity.BY_DEFAULT}.get(identity, Identity.NONE),
            generated=bool(generated),
            sequence=self.sequences.get((table, number)),
            generation=default if generated else None,
            not_null_validated=number not in unproven,
        )

    def _names(self, oid: int, numbers: Iterable[int]) -> tuple[str, ...]:
        by_number = {row[1]: row[2] for row in self.columns.get(oid, [])}
        return tuple(by_number[number] for number in numbers if number in by_number)

    def _foreign_key(self, row: Row) -> ForeignKey:
        oid, _, name, key, parent, parent_key, validated, definition, _ = row
        return ForeignKey(
            name=name,
            columns=self._names(oid, key),
            parent=self.names[parent],
            parent_columns=self._names(parent, parent_key),
            definition=definition,
            validated=validated,
        )

    def _keys(self, oid: int) -> tuple[UniqueKey, ...]:
        keys = []
        for _, name, numbers, width, unique, primary, _, _, _, predicate, _ in self.indexes.get(oid, []):
            if unique and 0 not in numbers[:width]:
                columns = self._names(oid, numbers[:width])
                keys.append(UniqueKey(name, columns, primary=primary, predicate=predicate))
        return tuple(sorted(keys, key=lambda key: (not key.primary, key.name)))

    def _index(self, oid: int, row: Row) -> Index:
        _, name, numbers, width, unique, _, valid, method, definition, predicate, uses = row
        by_number = {column[1]: column[2] for column in self.columns.get(oid, [])}
        return Index(
            name=name,
            columns=tuple(by_number.get(number) for number in numbers[:width]),
            definition=definition,
            method=method,
            unique=unique,
            predicate=predicate,
            valid=valid,
            uses=self._names(oid, uses),
        )


def _by_first(rows: Iterable[Row]) -> Mapping[int, list[Row]]:
    grouped: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row[0]].append(row)
    return grouped


def _kind(relkind: str, *, is_partition: bool) -> TableKind:
    if relkind == "r":
        return TableKind.PARTITION if is_partition else TableKind.TABLE
    return {
        "p": TableKind.PARTITIONED,
        "m": TableKind.MATERIALIZED_VIEW,
        "f": TableKind.FOREIGN,
    }[relkind]


def _parents_first(tables: list[Table]) -> tuple[Table, ...]:
    """By name, but each table after those it refers to or is a partition of, where there is no cycle."""
    waiting = {table.relation: table for table in tables}
    ordered: list[Table] = []
    while waiting:
        free = [
            table
            for table in waiting.values()
            if not any(parent in waiting for parent in _parents(table) if parent != table.relation)
        ]
        # a cycle: any start is as good as another, so take the first by name
        for table in free or [next(iter(waiting.values()))]:
            ordered.append(table)
            del waiting[table.relation]
    return tuple(ordered)


def _parents(table: Table) -> set[Relation]:
    parents = {key.parent for key in table.foreign_keys}
    return parents | ({table.partition_of} if table.partition_of else set())
