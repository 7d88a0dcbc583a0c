"""What happens to every column, decided before a row is read: pure, from the schema and the rules.

Denied by default: a column that no rule covers and whose type is not safe halts the run.
"""

from __future__ import annotations

import re
from dataclasses import replace

from rehearse.dataset.masking.columns import (
    DATES,
    INTEGERS,
    ColumnPlan,
    Halt,
    MaskPlan,
    base_type,
    facts_of,
    is_parted_by,
    line_for,
    root_of,
    unique_columns,
)
from rehearse.dataset.masking.rules import AUTO, KEEP, SCHEMA, MaskRule, PatternRule, Rules
from rehearse.dataset.masking.suggestions import (
    has_parts,
    kind_of_key,
    reason_for,
    require_fit,
    safe_as,
    suggested,
)
from rehearse.errors import InputError
from rehearse.model.relation import Relation
from rehearse.model.schema import Column, Schema, Table, TableKind


def plan_masks(schema: Schema, rules: Rules) -> MaskPlan:
    """Decides on every column. Raises InputError for rules that contradict each other or the schema."""
    return _Planner(schema, rules).run()


class _Planner:
    def __init__(self, schema: Schema, rules: Rules) -> None:
        self._schema = schema
        self._rules = rules
        self._tables = [t for t in schema.tables if t.kind in {TableKind.TABLE, TableKind.PARTITIONED}]
        self._halts: list[Halt] = []
        self._domains = _Domains()
        self._children: set[tuple[Relation, str]] = set()
        bare = [table.relation.name for table in self._tables]
        self._names = {
            t.relation: (f"{t.relation.schema}.{t.relation.name}",)
            + (
                (t.relation.name,)
                if bare.count(t.relation.name) == 1 or t.relation.schema == "public"
                else ()
            )
            for t in self._tables
        }

    def run(self) -> MaskPlan:
        for table in self._schema.tables:  # a partition may have one of its own
            for key in table.foreign_keys:
                child, parent = (root_of(self._schema, name) for name in (table.relation, key.parent))
                self._children.update((child, name) for name in key.columns)
                for mine, theirs in zip(key.columns, key.parent_columns, strict=True):
                    self._domains.join((child, mine), (parent, theirs))
        self._require_known_rules()
        self._join_by_rules()
        plans = [self._column(table, column) for table in self._tables for column in table.columns]
        return MaskPlan(tuple(plan for plan in plans if plan), tuple(self._halts), self._schema)

    def _join_by_rules(self) -> None:
        """Columns that rules put into one domain: that of a column, or one that only has a name."""
        columns = {
            f"{name}.{column.name}": (table.relation, column.name)
            for table in self._tables
            for name in self._names[table.relation]
            for column in table.columns
        }
        named: dict[str, tuple[Relation, str]] = {}
        for place in set(columns.values()):
            rule = self._rules.for_column(self._names[place[0]], place[1])
            if rule is not None and rule.rule.domain:
                domain = rule.rule.domain
                other = columns.get(domain) or named.setdefault(domain, place)
                self._require_one_kind(rule, place, other)
                self._domains.join(place, other)

    def _require_one_kind(
        self, rule: PatternRule, one: tuple[Relation, str], other: tuple[Relation, str]
    ) -> None:
        """A number and a text of its digits are masked apart: the join would be lost."""
        here, there = (self._schema.table(relation).column(name) for relation, name in (one, other))
        if kind_of_key(here) != kind_of_key(there):
            raise InputError(
                f'{self._rules.file}: "{rule.pattern}": {one[0]}.{one[1]} is {here.type.sql} and '
                f"{other[0]}.{other[1]} {there.type.sql}: their masks do not meet",
                "leave the domain out",
            )

    def _domain(self, place: tuple[Relation, str], mask: str) -> str:
        """Columns that are joined have one, by the column that the others refer to; the rest one a mask."""
        members = self._domains.members(place)
        if len(members) == 1 and mask != "key":
            return mask
        relation, name = min(members, key=lambda member: (member in self._children, member))
        return f"{relation.schema}.{relation.name}.{name}"

    def _require_known_rules(self) -> None:
        """A rule for a column that is not there is a typo, and would leave another one open."""
        known = {
            f"{name}.{c.name}": c for t in self._tables for name in self._names[t.relation] for c in t.columns
        }
        for rule in self._rules.rules:
            where, domain = f'{self._rules.file}: "{rule.pattern}"', rule.rule.domain
            if "." in domain and domain not in known:
                raise InputError(f'{where}: domain "{domain}" is no column of the source', "correct the name")
            if rule.is_wildcard:
                continue
            if rule.column not in known:
                raise InputError(
                    f"{where} names a column that the source does not have",
                    "correct the name, or remove the rule",
                )
            if rule.path and not has_parts(known[rule.column]):
                raise InputError(f"{where}: a {known[rule.column].type.sql} has no paths", "remove the path")
        labels = {f"{table.relation}.{column.name}" for table in self._tables for column in table.columns}
        for name in self._rules.leaks:
            if name != SCHEMA and name not in known and name not in labels:
                raise InputError(
                    f'{self._rules.file}: [leaks] allow: the source has no column "{name}"',
                    f'correct the name; "{SCHEMA}" is the SQL that goes with the rows',
                )

    def _column(self, table: Table, column: Column) -> ColumnPlan | None:
        relation = table.relation
        rule = self._rules.for_column(self._names[relation], column.name)
        if column.generated:
            return self._plan(table, column, KEEP, "computed by the server", "generated", copied=False)
        if not self._recorded(relation, column.name):
            self._halt(table, column, "it is not in the [inventory] that the rules were written for")
            return None
        if rule is not None:
            return self._ruled(table, column, rule)
        inherited = self._inherited(table, column)
        if inherited is not None:
            return inherited
        safe = safe_as(table, column)
        if safe:
            return self._plan(table, column, KEEP, safe, "safe type")
        if self._is_parted_by(table, column, None):
            self._halt_open(table, column)
        else:
            self._halt(table, column, "no rule covers it")
        return None

    def _recorded(self, relation: Relation, column: str) -> bool:
        inventory = self._rules.inventory
        if inventory is None:
            return True
        return any(column in inventory.get(name, ()) for name in self._names[relation])

    def _ruled(self, table: Table, column: Column, rule: PatternRule) -> ColumnPlan | None:
        mask = rule.rule.mask
        if mask == KEEP and rule.is_wildcard and self._rules.inventory is None:
            self._halt(table, column, "a wildcard keeps it, and would keep what is added later, too")
            return None
        suggestion = suggested(column, table.relation)
        unique = any(column.name in key.columns for key in table.keys)
        if suggestion == "number" and (unique or self._is_key(table, column.name)):
            suggestion = "key"
        safe = safe_as(table, column)
        if mask == AUTO and safe:
            return self._plan(table, column, KEEP, safe, f'rule "{rule.pattern}"', rule.rule)
        if mask == AUTO:
            if suggestion is None:
                self._halt(table, column, f"there is no mask for the type {column.type.sql}")
                return None
            mask = self._common((table.relation, column.name)) or suggestion
        where = f'{self._rules.file}: "{rule.pattern}": {table.relation}.{column.name}'
        require_fit(where, table, column, mask)
        self._require_agreement(table, column, mask, rule)
        if rule.rule.mask != AUTO and self._is_parted_by(table, column, mask):
            raise InputError(
                f"{where}: rows are partitioned by it, and what {mask} makes may have no partition",
                line_for(table.relation, column.name, KEEP),
            )
        reason = rule.rule.reason or reason_for(mask, column)
        return self._plan(table, column, mask, reason, f'rule "{rule.pattern}"', rule.rule)

    def _inherited(self, table: Table, column: Column) -> ColumnPlan | None:
        """Keys that no rule names: by the rule of one that they refer to, or permuted by type."""
        place = (table.relation, column.name)
        members = self._domains.members(place)
        for relation, name in members:
            rule = self._rules.for_column(self._names.get(relation, ()), name)
            if rule is not None and (relation, name) != place:
                why = f"as {relation}.{name}, which it is joined to"
                mask = self._common(place) or rule.rule.mask
                return self._plan(table, column, mask, why, "foreign key", replace(rule.rule, mask=mask))
        type_ = base_type(column.type)
        if self._is_key(table, column.name) and (type_.name in INTEGERS or type_.name == "uuid"):
            return self._plan(table, column, "key", "a key, permuted in its domain", "key")
        return None

    def _common(self, place: tuple[Relation, str]) -> str | None:
        """The one mask of joined columns: what a rule says of any, else what suits the one referred to."""
        members = self._domains.members(place)
        if len(members) == 1:
            return None
        rules = (self._rules.for_column(self._names.get(relation, ()), name) for relation, name in members)
        said = [rule.rule.mask for rule in rules if rule is not None and rule.rule.mask not in {AUTO, "null"}]
        if said:
            return said[0]
        relation, name = min(members, key=lambda member: (member in self._children, member))
        mask = suggested(self._schema.table(relation).column(name), relation)
        return "key" if mask == "number" else mask

    def _is_key(self, table: Table, column: str) -> bool:
        primary = table.primary_key
        joined = len(self._domains.members((table.relation, column))) > 1
        return joined or (primary is not None and column in primary.columns)

    def _require_agreement(self, table: Table, column: Column, mask: str, rule: PatternRule) -> None:
        """Columns that are joined are masked alike, or the join is lost."""
        for relation, name in self._domains.members((table.relation, column.name)):
            other = self._rules.for_column(self._names.get(relation, ()), name)
            if other is None or AUTO in {other.rule.mask, rule.rule.mask} or mask == "null":
                continue
            if other.rule.mask not in {mask, "null"}:
                raise InputError(
                    f'{self._rules.file}: "{rule.pattern}" is {mask} and "{other.pattern}" is '
                    f"{other.rule.mask}, but {table.relation}.{column.name} and {relation}.{name} are joined",
                    "give both the same mask",
                )

    def _halt(self, table: Table, column: Column, why: str) -> None:
        mask = suggested(column, table.relation)
        if mask == "number" and any(column.name in key.columns for key in table.keys):
            mask = "key"
        mask = self._common((table.relation, column.name)) or mask
        self._halts.append(
            Halt(table.relation, column.name, why, line_for(table.relation, column.name, mask))
        )

    def _plan(
        self,
        table: Table,
        column: Column,
        mask: str,
        reason: str,
        origin: str,
        rule: MaskRule | None = None,
        *,
        copied: bool = True,
    ) -> ColumnPlan | None:
        if copied and mask not in {KEEP, "null", "constant"} and suggested(column, table.relation) is None:
            self._halt(table, column, f"there is no mask for the type {column.type.sql}")
            return None
        if copied and self._is_parted_by(table, column, mask):
            self._halt_open(table, column)
            return None
        place = (table.relation, column.name)
        members = self._domains.members(place)
        rule = rule or MaskRule(mask)
        unique = unique_columns(table)
        dates_meet = bool(table.exclusions) or any(
            base_type(c.type).name in DATES
            for c in table.columns
            if c.name in unique or len(self._domains.members((table.relation, c.name))) > 1
        )
        return ColumnPlan(
            relation=table.relation,
            column=column,
            mask=mask,
            reason=reason,
            origin=origin,
            rule=rule,
            domain=self._domain(place, mask),
            injective=self._injective(members, unique, column),
            fold=any(self._folds(*member) for member in members),
            shift=dates_meet,
            copied=copied,
            maximum=self._maximum(members),
            length=self._length(members),
            facts=facts_of(table, column.name),
            paths=self._rules.paths(self._names[table.relation], column.name),
        )

    def _injective(self, members: list[tuple[Relation, str]], unique: frozenset[str], column: Column) -> bool:
        return len(members) > 1 or column.name in unique

    def _maximum(self, members: list[tuple[Relation, str]]) -> int:
        sizes = []
        for relation, name in members:
            type_ = base_type(self._schema.table(relation).column(name).type)
            if type_.name == "numeric" and type_.precision is not None:
                sizes.append(int(10 ** min(type_.precision, 18)) - 1)
            sizes.append(INTEGERS.get(type_.name, INTEGERS["int8"]))
        return min(sizes)

    def _length(self, members: list[tuple[Relation, str]]) -> int | None:
        types = [base_type(self._schema.table(relation).column(name).type) for relation, name in members]
        lengths = [type_.length for type_ in types if type_.name in {"varchar", "bpchar"}]
        return min((length for length in lengths if length is not None), default=None)

    def _folds(self, relation: Relation, name: str) -> bool:
        table = self._schema.table(relation)
        return _folds(table, table.column(name))

    def _halt_open(self, table: Table, column: Column) -> None:
        line = line_for(table.relation, column.name, KEEP)
        why = "rows are partitioned by it: say what is to be done"
        self._halts.append(Halt(table.relation, column.name, why, line, open=True))

    def _is_parted_by(self, table: Table, column: Column, mask: str | None) -> bool:
        """Whether rows may find no partition after a mask; None: after any that makes values of its own."""
        return mask not in {KEEP, "null", "constant"} and is_parted_by(self._schema, table, column.name)


class _Domains:
    """Columns that are joined by foreign keys, however indirectly."""

    def __init__(self) -> None:
        self._sets: dict[tuple[Relation, str], set[tuple[Relation, str]]] = {}

    def join(self, one: tuple[Relation, str], other: tuple[Relation, str]) -> None:
        both = self._sets.get(one, {one}) | self._sets.get(other, {other})
        for member in both:
            self._sets[member] = both

    def members(self, place: tuple[Relation, str]) -> list[tuple[Relation, str]]:
        """In an order that does not depend on anything but names."""
        return sorted(self._sets.get(place, {place}))


def _folds(table: Table, column: Column) -> bool:
    """Whether case does not tell values apart: citext, or a unique index on its lower or upper case."""
    if base_type(column.type).name == "citext":
        return True
    return any(
        index.unique and column.name in index.uses and re.search(r"\b(lower|upper)\(", index.definition)
        for index in table.indexes
    )
