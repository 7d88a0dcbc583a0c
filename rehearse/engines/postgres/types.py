"""PostgreSQL's types, resolved from the catalog far enough to make values of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import psycopg

from rehearse.model.schema import DataType, TypeKind

Row: TypeAlias = tuple[Any, ...]

# A range's element is its subtype, a multirange's is its range. Real arrays are told from types that
# can be subscripted but are not arrays (point, jsonb) by their handler, and from the catalog's own
# vectors by name.
_TYPES = """
    SELECT t.oid, t.typname, t.typtype::text, t.typelem, t.typbasetype, t.typtypmod, t.typnotnull,
           t.typrelid, coalesce(r.rngsubtype, m.rngtypid, 0),
           t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc
             AND t.typname NOT IN ('oidvector', 'int2vector'),
           format_type(t.oid, NULL),
           CASE WHEN t.typbasetype <> 0 THEN format_type(t.typbasetype, t.typtypmod) END
      FROM pg_type t
      LEFT JOIN pg_range r ON r.rngtypid = t.oid
      LEFT JOIN pg_range m ON m.rngmultitypid = t.oid
     WHERE t.typtype <> 'p'
"""
_LABELS = """
    SELECT enumtypid, array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum GROUP BY enumtypid
"""
_DOMAIN_CHECKS = """
    SELECT contypid, array_agg(pg_get_constraintdef(oid) ORDER BY conname) FROM pg_constraint
     WHERE contypid <> 0 AND contype = 'c' GROUP BY contypid
"""
# Row types of tables are types too; only those that some column uses matter.
_ATTRIBUTES = """
    SELECT a.attrelid, a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod)
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
     WHERE a.attnum > 0 AND NOT a.attisdropped
       AND (c.relkind = 'c' OR EXISTS (
             SELECT FROM pg_attribute u JOIN pg_type t ON t.oid = c.reltype
              WHERE u.atttypid IN (t.oid, t.typarray) AND u.attnum > 0 AND NOT u.attisdropped))
       AND c.relnamespace <> 'pg_catalog'::regnamespace
     ORDER BY a.attrelid, a.attnum
"""
_INNER_LIMIT = 8  # composites may contain each other; nobody nests deeper than this on purpose


@dataclass(frozen=True, slots=True)
class TypeCatalog:
    """All types by oid."""

    types: Mapping[int, Row]
    labels: Mapping[int, tuple[str, ...]]
    checks: Mapping[int, tuple[str, ...]]
    attributes: Mapping[int, list[Row]]
    known: dict[tuple[int, int, str], DataType] = field(default_factory=dict)

    def resolve(self, oid: int, typmod: int, sql: str, depth: int = 0) -> DataType:
        """The type `oid` with the modifier `typmod` (-1: none); `sql` is what `format_type` prints."""
        key = (oid, typmod, sql)
        if key not in self.known:
            self.known[key] = self._resolve(oid, typmod, sql, depth)
        return self.known[key]

    def _resolve(  # noqa: PLR0911 - one arm a kind of type
        self, oid: int, typmod: int, sql: str, depth: int
    ) -> DataType:
        _, name, typtype, element, base, base_typmod, not_null, relation, part, is_array, _, base_sql = (
            self.types[oid]
        )
        if depth > _INNER_LIMIT:
            return DataType(sql, name)
        if is_array:
            inner = self.resolve(element, typmod, sql.removesuffix("[]"), depth + 1)
            return DataType(sql, name, TypeKind.ARRAY, element=inner)
        if typtype == "d":
            inner = self.resolve(base, base_typmod, base_sql, depth + 1)
            return DataType(
                sql,
                name,
                TypeKind.DOMAIN,
                element=inner,
                checks=self.checks.get(oid, ()),
                domain_not_null=not_null,
            )
        if typtype == "e":
            return DataType(sql, name, TypeKind.ENUM, labels=self.labels.get(oid, ()))
        if typtype == "c":
            attributes = tuple(
                (attribute, self.resolve(inner_oid, inner_typmod, inner_sql, depth + 1))
                for _, attribute, inner_oid, inner_typmod, inner_sql in self.attributes.get(relation, [])
            )
            return DataType(sql, name, TypeKind.COMPOSITE, attributes=attributes)
        if typtype in {"r", "m"}:
            kind = TypeKind.RANGE if typtype == "r" else TypeKind.MULTIRANGE
            inner = self.resolve(part, -1, self.types[part][10], depth + 1)
            return DataType(sql, name, kind, element=inner)
        length, precision, scale = _modifier(name, typmod)
        return DataType(sql, name, length=length, precision=precision, scale=scale)


def read_types(connection: psycopg.Connection[Row]) -> TypeCatalog:
    """Every type of the database but pseudo-types."""
    attributes: dict[int, list[Row]] = defaultdict(list)
    for row in connection.execute(_ATTRIBUTES):
        attributes[row[0]].append(row)
    return TypeCatalog(
        types={row[0]: row for row in connection.execute(_TYPES)},
        labels={oid: tuple(labels) for oid, labels in connection.execute(_LABELS)},
        checks={oid: tuple(checks) for oid, checks in connection.execute(_DOMAIN_CHECKS)},
        attributes=attributes,
    )


def _modifier(name: str, typmod: int) -> tuple[int | None, int | None, int | None]:
    """Length, precision and scale out of a type modifier (see each type's typmodout)."""
    if typmod < 0:
        return None, None, None
    if name in {"varchar", "bpchar"}:
        return typmod - 4, None, None
    if name == "numeric":
        packed = typmod - 4
        # the scale is an 11-bit two's complement number (negative from version 15 on)
        return None, (packed >> 16) & 0xFFFF, ((packed & 0x7FF) ^ 1024) - 1024
    if name in {"timestamp", "timestamptz", "time", "timetz"}:
        return None, typmod, None
    if name == "interval":
        return None, (typmod & 0xFFFF) if typmod & 0xFFFF != 0xFFFF else None, None
    return typmod, None, None  # bit, varbit, and extensions' types such as vector(3)
