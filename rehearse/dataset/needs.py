"""What the rows of each table have to satisfy: the schema as it is, and as the migration will make it.

Tables are matched by oid and columns by number, which survive a rename. Whatever only the later schema
demands is met as well, and said in words: it is a precaution.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from rehearse.dataset.exclusions import Apart, KeyNeed, exclusion
from rehearse.dataset.expressions import NotUnderstoodError, names_in, parse
from rehearse.dataset.facts import Alternative, Atom, Before, Differs, Facts, Says, alternatives, consistent
from rehearse.dataset.generators import Given
from rehearse.dataset.partitions import bound_facts, partition_facts
from rehearse.dataset.retype import retyped
from rehearse.model.relation import Relation, quote_name
from rehearse.model.schema import (
    Check,
    Column,
    DataType,
    ForeignKey,
    Identity,
    Schema,
    Table,
    TableKind,
    UniqueKey,
)

_NOTHING_SAID = Given()


@dataclass(frozen=True, slots=True)
class ColumnNeed:
    """One column to generate: the type of its values and what has to hold of them."""

    name: str
    type: DataType
    facts: Facts
    not_null: bool
    has_default: bool
    counted: bool = False  # a sequence fills it
    given: Given = _NOTHING_SAID  # what somebody said about it

    @property
    def free(self) -> bool:
        """Whether it has values of its own that tell nothing apart: it can carry no key."""
        return self.given.own and self.given.countable is None


@dataclass(frozen=True, slots=True)
class TableNeed:
    """All that constrains one table's rows. `checks` are in force now; of those that the migration adds,
    `later_checks` are the ones that the server can evaluate now as well.
    """

    relation: Relation
    columns: Mapping[str, ColumnNeed]
    keys: tuple[KeyNeed, ...]
    references: tuple[ForeignKey, ...]
    orders: tuple[Before, ...]
    apart: tuple[Apart, ...]
    checks: tuple[Check, ...]
    later_checks: tuple[Check, ...] = ()
    homeless: bool = False  # partitioned, without a partition
    unclear_partitions: bool = False
    differing: tuple[Differs, ...] = ()


@dataclass(slots=True)
class _Draft:
    """A table's needs in the making."""

    table: Table
    facts: dict[str, Facts] = field(default_factory=dict)
    not_null: set[str] = field(default_factory=set)
    types: dict[str, DataType] = field(default_factory=dict)
    orders: list[Before] = field(default_factory=list)
    keys: list[KeyNeed] = field(default_factory=list)
    apart: list[Apart] = field(default_factory=list)
    differing: list[Differs] = field(default_factory=list)

    def say(self, column: str, facts: Facts) -> None:
        self.facts[column] = self.facts.get(column, Facts()).also(facts)

    def take(self, ways: Iterable[Alternative]) -> None:
        """The first way that does not contradict what is known already; none if all do."""
        names = {column.name for column in self.table.columns}
        for way in ways:
            merged: dict[str, Facts] = {}
            for atom in way:
                if isinstance(atom, Says):
                    known = merged.get(atom.column, self.facts.get(atom.column, Facts()))
                    merged[atom.column] = known.also(atom.facts)
            if merged.keys() <= names and consistent(merged.values()):
                self.facts |= merged
                self.orders += [atom for atom in way if isinstance(atom, Before)]
                self.differing += [atom for atom in way if isinstance(atom, Differs)]
                return


def loadable(table: Table) -> bool:
    """Whether rows are generated for it: partitions get theirs through the table they belong to."""
    return table.kind in {TableKind.TABLE, TableKind.PARTITIONED} and table.partition_of is None


def needs_of(before: Schema, after: Schema | None) -> tuple[dict[Relation, TableNeed], tuple[str, ...]]:
    """The needs of every table that rows are generated for, and the precautions in words."""
    later = {table.oid: table for table in after.tables} if after else {}
    needs: dict[Relation, TableNeed] = {}
    precautions: list[str] = []
    for table in before.tables:
        if loadable(table):
            merger = _Merger(before, table, after, later.get(table.oid))
            needs[table.relation] = merger.need()
            precautions += merger.precautions
    return needs, tuple(dict.fromkeys(precautions))


def without_key(
    need: TableNeed, key: KeyNeed, precautions: Iterable[str]
) -> tuple[TableNeed, tuple[str, ...]]:
    """What is left of a need and of the precautions where a key of the migration is not regarded."""
    words = f" {_unique_words(key.name)}"
    kept = (each for each in precautions if not _about(each, need.relation, words))
    return replace(need, keys=tuple(other for other in need.keys if other != key)), tuple(kept)


def _unique_words(name: str) -> str:
    return f"is generated without duplicates because the migration makes it unique ({quote_name(name)})"


def _about(precaution: str, relation: Relation, words: str) -> bool:
    return precaution.startswith(f"{relation}.") and precaution.endswith(words)


class _Merger:
    """One table as it is and as it will be."""

    def __init__(self, before: Schema, table: Table, after: Schema | None, later: Table | None) -> None:
        self._before = before
        self._after = after
        self._table = table
        self._later = later
        self._draft = _Draft(table)
        self.precautions: list[str] = []
        self._evaluable: list[Check] = []
        numbers = {column.number: column.name for column in table.columns}
        # the later schema's names of columns, as they are called now
        self._names = (
            {c.name: numbers[c.number] for c in later.columns if c.number in numbers} if later else {}
        )

    def need(self) -> TableNeed:
        draft, table = self._draft, self._table
        for column in table.columns:
            self._column(column)
        partitions = partition_facts(self._before, table) if table.partition_key else None
        if partitions is not None:
            keyed = {name for key in table.keys for name in key.columns}
            for name, facts in partitions.columns.items():
                whole = partitions.open_ended and name in keyed and "int" in table.column(name).type.name
                if not whole:  # whatever a unique number leaves over goes to the default partition
                    draft.say(name, facts)
        self._partition_to_be()
        for check in table.checks:
            draft.take(_ways(check))
        references = list(table.foreign_keys)
        draft.keys += _keys(table)
        self._exclusions(table, {c.name: c.name for c in table.columns})
        if self._later is not None:
            self._later_checks(self._later)
            self._later_keys(self._later)
            references += self._later_references(self._later)
            self._exclusions(self._later, self._names)
        self._leave_null(references)
        return TableNeed(
            relation=table.relation,
            columns={c.name: self._finished(c) for c in table.columns if not c.generated},
            keys=tuple(dict.fromkeys(draft.keys)),
            references=tuple(references),
            orders=tuple(dict.fromkeys(draft.orders)),
            apart=tuple(dict.fromkeys(draft.apart)),
            checks=table.checks,
            later_checks=tuple(self._evaluable),
            homeless=partitions is not None and partitions.leaves == 0,
            unclear_partitions=partitions is not None
            and not partitions.open_ended
            and (partitions.unclear or bool(partitions.columns.keys() & _referring(references))),
            differing=tuple(dict.fromkeys(draft.differing)),
        )

    def _leave_null(self, references: Iterable[ForeignKey]) -> None:
        """`parent_id <> id` where a key decides both: NULL, which differs from whatever the other one is."""
        draft = self._draft
        referring = {name for key in references for name in key.columns}
        keyed = {name for key in draft.keys for name in key.columns}
        for pair in draft.differing:
            for name in (pair.left, pair.right):
                if name in keyed - referring - draft.not_null:
                    draft.say(name, Facts(null=True))
                    break

    def _finished(self, column: Column) -> ColumnNeed:
        facts = self._draft.facts.get(column.name, Facts())
        not_null = column.name in self._draft.not_null or facts.not_null
        return ColumnNeed(
            name=column.name,
            type=self._draft.types[column.name],
            facts=facts,
            not_null=not_null,
            has_default=column.default is not None,
            counted=column.identity is not Identity.NONE or column.sequence is not None,
        )

    def _column(self, column: Column) -> None:
        draft = self._draft
        draft.types[column.name] = column.type
        if column.not_null or _refuses_null(column.type):
            draft.not_null.add(column.name)
            draft.say(column.name, Facts(not_null=True))
        later = self._later_column(column)
        if later is None:
            return
        if (later.not_null or _refuses_null(later.type)) and column.name not in draft.not_null:
            draft.not_null.add(column.name)
            draft.say(column.name, Facts(not_null=True))
            self._warn(column.name, "is generated without nulls because the migration makes it NOT NULL")
        if later.type != column.type:
            change = retyped(column.type, later.type)
            draft.types[column.name] = change.type
            draft.say(column.name, change.facts)
            if change.words:
                self._warn(column.name, change.words)

    def _later_column(self, column: Column) -> Column | None:
        if self._later is None:
            return None
        return next((c for c in self._later.columns if c.number == column.number and not c.generated), None)

    def _warn(self, columns: str | Iterable[str], words: str) -> None:
        names = [columns] if isinstance(columns, str) else list(columns)
        shown = quote_name(names[0]) if len(names) == 1 else f"({', '.join(map(quote_name, names))})"
        self.precautions.append(f"{self._table.relation}.{shown} {words}")

    def _partition_to_be(self) -> None:
        """The migration attaches the table as a partition: its rows have to lie within the bound."""
        if self._later is None or self._later.partition_of is None or self._after is None:
            return
        parent = self._after.table(self._later.partition_of)
        for name, facts in bound_facts(parent, self._later).items():
            if name in self._names:
                self._draft.say(self._names[name], facts)
                self._warn(
                    self._names[name],
                    f"stays within the bound that it gets as a partition of {parent.relation}",
                )

    def _later_checks(self, later: Table) -> None:
        known = {check.expression for check in self._table.checks}
        for check in later.checks:
            if check.expression in known or not all(name in self._names for name in check.columns):
                continue
            self._draft.take(tuple(self._renamed(way) for way in _ways(check)))
            if all(self._same(name) for name in check.columns):
                self._evaluable.append(check)
            if check.columns:
                self._warn(
                    [self._names[name] for name in check.columns],
                    f"satisfies the check {quote_name(check.name)} that the migration adds",
                )

    def _same(self, name: str) -> bool:
        """Whether a column of the later table is the same column now, by name and type."""
        assert self._later is not None
        return self._names[name] == name and self._table.column(name).type == self._later.column(name).type

    def _renamed(self, way: Alternative) -> Alternative:
        names = self._names

        def renamed(atom: Atom) -> Atom:
            match atom:
                case Says(column):
                    return replace(atom, column=names.get(column, column))
                case Before(low, high):
                    return replace(atom, low=names.get(low, low), high=names.get(high, high))
                case Differs(left, right):
                    return Differs(names.get(left, left), names.get(right, right))

        return tuple(renamed(atom) for atom in way)

    def _later_keys(self, later: Table) -> None:
        known = {frozenset(key.columns) for key in self._draft.keys if key.predicate is None}
        for key in _keys(later):
            if not all(name in self._names for name in key.columns):
                continue
            columns = tuple(self._names[name] for name in key.columns)
            if frozenset(columns) not in known:
                self._draft.keys.append(replace(key, columns=columns, later=True))
                self._warn(columns, _unique_words(key.name))

    def _later_references(self, later: Table) -> Iterator[ForeignKey]:
        known = {(key.columns, key.parent, key.parent_columns) for key in self._table.foreign_keys}
        for key in later.foreign_keys:
            mapped = self._reference_now(key)
            if mapped is None or (mapped.columns, mapped.parent, mapped.parent_columns) in known:
                continue
            self._warn(
                mapped.columns,
                f"refers to rows of {mapped.parent} that exist because the migration adds the foreign key "
                f"{quote_name(key.name)}",
            )
            yield mapped

    def _reference_now(self, key: ForeignKey) -> ForeignKey | None:
        """A later foreign key by the names of now; None if it involves what does not exist yet."""
        assert self._after is not None
        parent_later = self._after.table(key.parent)
        parent = next((t for t in self._before.tables if t.oid == parent_later.oid), None)
        if parent is None or not all(name in self._names for name in key.columns):
            return None
        by_number = {c.number: c.name for c in parent.columns}
        numbers = [parent_later.column(name).number for name in key.parent_columns]
        if not all(number in by_number for number in numbers):
            return None
        return replace(
            key,
            columns=tuple(self._names[name] for name in key.columns),
            parent=parent.relation,
            parent_columns=tuple(by_number[number] for number in numbers),
        )

    def _exclusions(self, table: Table, names: Mapping[str, str]) -> None:
        for definition in table.exclusions:
            later = table is self._later
            for key in exclusion(definition):
                columns = [key.low, key.high] if isinstance(key, Apart) else list(key.columns)
                if not all(name in names for name in columns):
                    continue
                if isinstance(key, Apart):
                    self._draft.apart.append(Apart(names[key.low], names[key.high]))
                else:
                    mapped = tuple(names[n] for n in columns)
                    known = any(mapped == other.columns for other in self._draft.keys)
                    self._draft.keys.append(replace(key, columns=mapped, later=later and not known))


def _referring(references: Iterable[ForeignKey]) -> set[str]:
    """Columns whose values are those of other tables, whatever a bound says."""
    return {name for key in references for name in key.columns}


def _refuses_null(type_: DataType) -> bool:
    return type_.domain_not_null or (
        type_.element is not None and bool(type_.checks) and _refuses_null(type_.element)
    )


def _ways(check: Check) -> tuple[Alternative, ...]:
    try:
        return alternatives(parse(check.expression))
    except NotUnderstoodError:
        return ()  # the server evaluates it before the load, see `probe`


def _keys(table: Table) -> Iterator[KeyNeed]:
    """Unique keys on columns, those under an expression (lower(email)) or a generated column included."""
    generation = {c.name: c.generation for c in table.columns if c.generated and c.generation}
    names = [column.name for column in table.columns]
    for key in table.keys:
        yield _key(key, generation, names)
    plain = {key.name for key in table.keys}
    for index in table.indexes:
        if index.unique and index.name not in plain:
            head = index.definition.partition(" WHERE ")[0].partition(" USING ")[2]
            columns = [name for name in index.uses if _mentions(head, name)]
            yield _key(UniqueKey(index.name, tuple(columns), predicate=index.predicate), generation, names)


def _key(key: UniqueKey, generation: Mapping[str, str], names: list[str]) -> KeyNeed:
    columns: list[str] = []
    for column in key.columns:
        if column not in generation:
            columns.append(column)
            continue
        columns += [name for name in names if name != column and _read(generation[column], name)]
    return KeyNeed(key.name, tuple(dict.fromkeys(columns)), key.predicate)


def _read(expression: str, name: str) -> bool:
    try:
        return name in names_in(parse(expression))
    except NotUnderstoodError:
        return _mentions(expression, name)


def _mentions(sql: str, name: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(quote_name(name))}(?![\w$])", sql) is not None
