"""What a plan says of columns: the types of this stage, and what is read off a table's constraints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rehearse.dataset.expressions import NotUnderstoodError, parse
from rehearse.dataset.facts import Facts, Says, alternatives, number
from rehearse.dataset.masking.rules import KEEP, MaskRule, PatternRule
from rehearse.errors import InputError
from rehearse.model.relation import Relation
from rehearse.model.schema import Column, DataType, Schema, Table, TypeKind

INTEGERS: Mapping[str, int] = {
    "int2": (1 << 15) - 1,
    "int4": (1 << 31) - 1,
    "int8": (1 << 63) - 1,
    "oid": (1 << 31) - 1,
}
TEXTS = frozenset({"text", "varchar", "bpchar", "citext", "name", "char"})
FLOATS = frozenset({"float4", "float8", "money"})
DATES = frozenset({"date", "timestamp", "timestamptz"})
SHAPES = frozenset({"point", "line", "lseg", "path", "polygon", "circle", "box", "vector", "halfvec"})
# each with its own way of masking whatever the mask is called
PARTS = frozenset(
    {"bytea", "bit", "varbit", "inet", "cidr", "macaddr", "macaddr8", "time", "timetz", "interval"}
    | {"tsvector", "hstore", "xml"}
    | SHAPES
)
_RANGE = re.compile(r"FOR VALUES FROM \((.*)\) TO \((.*)\)", re.DOTALL)
_ENDLESS = re.compile(r"(?:MINVALUE|MAXVALUE)(?:, (?:MINVALUE|MAXVALUE))*")
_PLAIN = frozenset({*INTEGERS, *FLOATS, *DATES, "numeric", "uuid"})


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column: `mask` as in the rules, `reason` for people, `origin` where the decision comes from.

    `domain` is what its key is derived from. `copied` is False for what the server computes by itself;
    `injective`: no two values may meet. `maximum` and `length` bound the keys and texts of the whole domain.
    """

    relation: Relation
    column: Column
    mask: str
    reason: str
    origin: str
    rule: MaskRule
    domain: str
    injective: bool = False
    fold: bool = False
    shift: bool = False
    copied: bool = True
    maximum: int = INTEGERS["int8"]
    length: int | None = None
    facts: Facts = field(default_factory=Facts)
    paths: tuple[PatternRule, ...] = ()

    @property
    def keeps(self) -> bool:
        """Whether the values go through as they are."""
        return self.mask == KEEP

    @property
    def escapes(self) -> bool:
        """Whether fields may hold escapes: what is kept is not touched, numbers and times have none."""
        return not self.keeps and base_type(self.column.type).name not in _PLAIN

    @property
    def counts(self) -> bool:
        """Whether its mask takes and gives integers as they are, and needs no text of them."""
        return self.mask == "key" and base_type(self.column.type).name in INTEGERS

    @property
    def names(self) -> tuple[str, ...]:
        """What a rules file may call it."""
        bare = f"{self.relation.name}.{self.column.name}"
        whole = f"{self.relation.schema}.{bare}"
        return (whole, self.label, bare) if self.relation.schema == "public" else (whole, self.label)

    @property
    def label(self) -> str:
        """`table.column` for people."""
        return f"{self.relation}.{self.column.name}"


@dataclass(frozen=True, slots=True)
class Halt:
    """A column that stops the run: why, and the line that would let it go on. `open`: whoever drafts rules
    leaves it to a person, since only a person can say that the line is right.
    """

    relation: Relation
    column: str
    why: str
    line: str
    open: bool = False

    def __str__(self) -> str:
        return f"{self.relation}.{self.column}: {self.why}"


@dataclass(frozen=True, slots=True)
class MaskPlan:
    """Every column of every table that holds rows. Partitions go by the table they belong to."""

    columns: tuple[ColumnPlan, ...]
    halts: tuple[Halt, ...]
    schema: Schema

    def of(self, relation: Relation) -> tuple[ColumnPlan, ...]:
        """The columns of a table, in its order."""
        return tuple(plan for plan in self.columns if plan.relation == relation)

    def require_complete(self) -> None:
        """InputError naming the first column that nobody decided on, and the line to add."""
        if self.halts:
            first, more = self.halts[0], len(self.halts) - 1
            others = f" (and {more} more: --dry-run lists them)" if more else ""
            raise InputError(f"{first}{others}", f"add under [columns]: {first.line}")


def root_of(schema: Schema, relation: Relation) -> Relation:
    """The table that a partition, at whatever depth, belongs to."""
    parents = {table.relation: table.partition_of for table in schema.tables}
    while (parent := parents.get(relation)) is not None:
        relation = parent
    return relation


def is_parted_by(schema: Schema, table: Table, column: str) -> bool:
    """Whether a row's place in a table depends on the column so that another value may have none: partitions
    by range or list, at any depth, that neither a default one nor their bounds make whole.
    """
    return any(
        root_of(schema, parted.relation) == root_of(schema, table.relation)
        and _names_in_key(parted.partition_key or "", column)
        and not _covers([t.partition_bound or "" for t in schema.tables if t.partition_of == parted.relation])
        for parted in schema.tables
    )


def _names_in_key(key: str, column: str) -> bool:
    words = key.replace('"', "").replace("(", " ").replace(")", " ").replace(",", " ").split()
    return not key.startswith("HASH") and column in words


def _covers(bounds: list[str]) -> bool:
    """Whether every value has a partition: there is a default one, or each range ends where another begins.
    Without any there are no rows.
    """
    if not bounds or "DEFAULT" in bounds:
        return True
    ranges = [match.groups() for bound in bounds if (match := _RANGE.fullmatch(bound))]
    edges = {edge for pair in ranges for edge in pair if not _ENDLESS.fullmatch(edge)}
    starts, ends = [start for start, _ in ranges], [end for _, end in ranges]
    return len(ranges) == len(edges) + 1 and edges <= set(starts) and edges <= set(ends)


def unique_columns(table: Table) -> frozenset[str]:
    """The columns in which two values that become one could break a unique key or a unique index on
    expressions.
    """
    of_keys = {name for key in table.keys for name in key.columns}
    return frozenset(of_keys).union(
        *(index.uses for index in table.indexes if index.unique and None in index.columns)
    )


def base_type(type_: DataType) -> DataType:
    """A domain's type below all domains."""
    while type_.kind is TypeKind.DOMAIN and type_.element is not None:
        type_ = type_.element
    return type_


def bound_type(type_: DataType) -> DataType:
    """The type of a range's bounds, and of those of a multirange's ranges; any other type as it is."""
    while type_.kind in {TypeKind.RANGE, TypeKind.MULTIRANGE} and type_.element is not None:
        type_ = base_type(type_.element)
    return type_


def line_for(relation: Relation, column: str, mask: str | None) -> str:
    """The line of a rules file for a column, as TOML."""
    name = f"{relation.schema}.{relation.name}.{column}".replace("\\", "\\\\").replace('"', '\\"')
    value = f'"{mask}"' if mask and mask != KEEP else '{ mask = "keep", reason = "..." }'
    return f'"{name}" = {value}'


def facts_of(table: Table, name: str, *, of_all_rows: bool = False) -> Facts:
    """What the CHECK constraints say of a column by itself; `of_all_rows`: without those that were never
    validated, which say nothing of the rows that were there before them.
    """
    facts = Facts()
    for fact in _said(table, name, of_all_rows=of_all_rows):
        facts = facts.also(fact)
    return facts


def _said(table: Table, name: str, *, of_all_rows: bool) -> Iterator[Facts]:
    for check in table.checks:
        if of_all_rows and not check.validated:
            continue
        try:
            ways = alternatives(parse(check.expression))
        except NotUnderstoodError:
            continue
        if len(ways) == 1:
            yield from (atom.facts for atom in ways[0] if isinstance(atom, Says) and atom.column == name)


def bounds_of(facts: Facts) -> tuple[float | None, float | None]:
    """The numbers that CHECK constraints allow, both included as far as whole numbers go."""
    low = [
        n + (b.operator == ">")
        for b in facts.bounds
        if b.operator[0] == ">" and (n := number(b.text)) is not None
    ]
    high = [
        n - (b.operator == "<")
        for b in facts.bounds
        if b.operator[0] == "<" and (n := number(b.text)) is not None
    ]
    return float(max(low)) if low else None, float(min(high)) if high else None
