"""What a scenario says about columns and tables, looked up in the schema and held against its constraints."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from rehearse.dataset.bits import row_numbers
from rehearse.dataset.exclusions import KeyNeed, told_apart
from rehearse.dataset.generators import Beside, Fan, Given, Wishes
from rehearse.dataset.generators.fans import EvenFan, Exactly, HotFan, LognormalFan, ZipfFan
from rehearse.dataset.generators.making import Place, made
from rehearse.dataset.generators.rules import rules_for
from rehearse.dataset.generators.weighted import Weighted
from rehearse.dataset.generators.words import require_locale
from rehearse.dataset.kinds import flattened
from rehearse.dataset.needs import TableNeed, loadable, needs_of
from rehearse.dataset.vocabulary import DEFAULT_LOCALE
from rehearse.errors import DatasetError
from rehearse.model.generation import ChildrenSpec, ColumnSpec, TableSpec
from rehearse.model.relation import Relation, quote_name
from rehearse.model.scenario import DatasetSpec
from rehearse.model.schema import Column, ForeignKey, Schema, Table

_TRIED = 512  # values of a generator that are held against the constraints
_LAST = 1 - 2.0**-53


def wishes_of(spec: DatasetSpec, schema: Schema, loaded: Iterable[Relation] = ()) -> Wishes:
    """The wishes of a scenario. Raises DatasetError, naming table, column and constraint, for names that the
    schema does not have (with the nearest that it has), values that a type or constraint refuses, and tables
    that a seed file filled (`loaded`).
    """
    if spec.locale != DEFAULT_LOCALE:
        require_locale(spec.locale)
    if not spec.columns and not spec.tables:
        return Wishes(locale=spec.locale)
    needs, _ = needs_of(schema, None)
    resolver = _Resolver(schema, needs, frozenset(loaded), spec.locale, spec.seed)
    for column in spec.columns:
        resolver.column(column)
    resolver.require_acyclic()
    for table in spec.tables:
        resolver.table(table)
    return resolver.wishes()


@dataclass(slots=True)
class _Resolver:
    schema: Schema
    needs: Mapping[Relation, TableNeed]
    loaded: frozenset[Relation]
    locale: str
    seed: int
    columns: dict[tuple[Relation, str], Given] = field(default_factory=dict)
    fans: dict[tuple[Relation, tuple[str, ...]], Fan] = field(default_factory=dict)
    children: dict[Relation, tuple[Relation, float]] = field(default_factory=dict)
    dead: dict[Relation, float] = field(default_factory=dict)

    def wishes(self) -> Wishes:
        return Wishes(self.columns, self.fans, self.children, self.dead, self.locale)

    def column(self, spec: ColumnSpec) -> None:
        table, column = self._find_column(spec.column)
        relation = table.relation
        what = f"{relation}.{quote_name(column.name)}"
        if (relation, column.name) in self.columns:
            raise DatasetError(f"{what} is described twice in [dataset.columns]", "leave one of the two")
        if column.generated:
            raise DatasetError(
                f"{what} is computed by the server ({column.generation})", "describe what it reads"
            )
        self._require_not_loaded(relation)
        given = self._given(spec, table, column, what)
        if spec.null_fraction:
            _require_nullable(table, column, what)
        self.columns[relation, column.name] = given

    def _given(self, spec: ColumnSpec, table: Table, column: Column, what: str) -> Given:
        given = Given()
        if spec.kind is not None:
            self._require_no_reference(table, column, what)
            named = f"{what}: `{spec.kind.kind}`"
            others = {
                c.name: flattened(c.type)[0].name for c in table.columns if not c.generated and c != column
            }
            facts = self.needs[table.relation].columns[column.name].facts
            _, facts = flattened(column.type, facts)
            place = Place(
                named, table.relation.name, column.name, column.type, facts, others, self.locale, self.seed
            )
            given = made(spec.kind, place)
            self._require_allowed(given, table, column, named)
            if given.countable is None:
                _require_no_key(table, self.needs[table.relation], column, named)
        if spec.correlated_with is not None:
            beside = self._beside(spec, table, what)
            given = replace(given, placing=Beside(beside, spec.correlation))
        return replace(given, null_fraction=spec.null_fraction)

    def _beside(self, spec: ColumnSpec, table: Table, what: str) -> str:
        names = [c.name for c in table.columns if not c.generated]
        other = spec.correlated_with or ""
        if other not in names:
            raise DatasetError(
                f"{what}: `correlated_with` names no column of {table.relation}: {other}", _near(other, names)
            )
        if spec.kind is not None and spec.kind.kind in {"expression", "sequence"}:
            raise DatasetError(
                f"{what}: `correlated_with` does not go with `{spec.kind.kind}`", "leave out one of the two"
            )
        return other

    def require_acyclic(self) -> None:
        """No column may in the end depend on itself."""
        for relation, name in self.columns:
            seen = [name]
            ahead = list(self._reads(relation, name))
            while ahead:
                following = ahead.pop()
                if following == name:
                    way = " and ".join(quote_name(n) for n in dict.fromkeys(seen))
                    raise DatasetError(
                        f"{relation}: {way} depend on each other", "let one of them stand alone"
                    )
                if following not in seen:
                    seen.append(following)
                    ahead += self._reads(relation, following)
            beside = self.columns[relation, name].placing
            if isinstance(beside, Beside):
                other = self.columns.get((relation, beside.column))
                if other is not None and other.expression is not None:
                    raise DatasetError(
                        f"{relation}.{quote_name(name)}: `correlated_with` names "
                        f"{quote_name(beside.column)}, which is an expression",
                        "name a column that the expression reads",
                    )

    def _reads(self, relation: Relation, name: str) -> Iterator[str]:
        given = self.columns.get((relation, name))
        if given is None:
            return
        if isinstance(given.placing, Beside):
            yield given.placing.column
        if given.expression is not None:
            yield from given.expression.columns

    def _find_column(self, name: str) -> tuple[Table, Column]:
        """`[schema.]table.column`, where either name may have dots and quotes in it."""
        plain = name.replace('"', "")
        for spelled in (name, plain):
            for place in (place for place, character in enumerate(spelled) if character == "."):
                table = self.schema.find(spelled[:place])
                columns = table.columns if table is not None else ()
                column = next((c for c in columns if c.name == spelled[place + 1 :]), None)
                if table is not None and column is not None:
                    return self._whole(table), column
        if "." not in plain:
            raise DatasetError(f"[dataset.columns] {name} names no table", "write table.column")
        table = self.schema.find(plain.rpartition(".")[0])
        if table is not None:
            missing = plain.rpartition(".")[2]
            raise DatasetError(
                f"[dataset.columns] {table.relation} has no column {missing}",
                _near(missing, [c.name for c in table.columns]),
            )
        raise self._unknown_table("[dataset.columns]", plain.rpartition(".")[0])

    def _find(self, name: str) -> Table | None:
        return self.schema.find(name) or self.schema.find(name.replace('"', ""))

    def _unknown_table(self, where: str, name: str) -> DatasetError:
        known = [str(table.relation) for table in self.schema.tables if loadable(table)]
        return DatasetError(
            f"{where} names a table that the schema does not have: {name}", _near(name, known)
        )

    def _whole(self, table: Table) -> Table:
        """The table that rows are generated for: of a partition, its root."""
        while table.partition_of is not None:
            table = self.schema.table(table.partition_of)
        if not loadable(table):
            raise DatasetError(f"{table.relation} is a {table.kind.value}, which gets no rows of its own")
        return table

    def _require_not_loaded(self, relation: Relation) -> None:
        if relation in self.loaded:
            raise DatasetError(f"{relation} is filled by a seed file", "describe tables that are generated")

    def _require_no_reference(self, table: Table, column: Column, what: str) -> None:
        for key in table.foreign_keys:
            if column.name in key.columns:
                raise DatasetError(
                    f"{what} refers to {key.parent} ({quote_name(key.name)}): its values are its parents'",
                    f'say children = {{ per = "{key.parent.name}" }} in [dataset.tables]',
                )

    def _require_allowed(self, given: Given, table: Table, column: Column, what: str) -> None:
        """Some values of the generator, all of them if it is a list, against every constraint."""
        texts = list(_examples(given))
        for rule in rules_for(self.schema, table, column):
            refused = next((text for text in texts if not rule.allows(text, column.type)), None)
            if refused is not None:
                raise DatasetError(f"{what} makes {refused[:60]!r}, which {rule.name} does not allow")

    def table(self, spec: TableSpec) -> None:
        found = self._find(spec.table)
        if found is None:
            raise self._unknown_table("[dataset.tables]", spec.table)
        table = self._whole(found)
        self._require_not_loaded(table.relation)
        if spec.dead_fraction:
            self.dead[table.relation] = spec.dead_fraction
        for children in spec.children:
            self._share_out(table, children)

    def _share_out(self, table: Table, spec: ChildrenSpec) -> None:
        key = self._reference_to(table, spec.per)
        name = f"{quote_name(key.name)} ({', '.join(map(quote_name, key.columns))})"
        fan = _fan(spec)
        for unique in self.needs[table.relation].keys:
            if not set(key.columns) & set(unique.columns) or self._told_apart(table, unique, key.columns):
                continue
            if self._tells_siblings_apart(table, key, unique):
                fan = Exactly(_fan(spec))
            else:
                raise DatasetError(
                    f"{table.relation}: `children` per {key.parent} cannot be shared out, because the unique "
                    f"key {quote_name(unique.name)} holds columns of {name}",
                    "leave it out: the key decides how many children a parent has",
                )
        if key.parent == table.relation:
            raise DatasetError(f"{table.relation}: `children` per itself is not supported: {name}")
        self.fans[table.relation, key.columns] = fan
        if spec.mean is not None:
            if table.relation in self.children:
                raise DatasetError(
                    f"{table.relation}: `children` has a mean for two parents", "leave one of them"
                )
            self.children[table.relation] = (key.parent, spec.mean)

    def _told_apart(self, table: Table, unique: KeyNeed, columns: Collection[str]) -> bool:
        """Whether another key tells the rows of this one apart anyway, without these columns."""
        return told_apart(set(unique.columns) - set(columns), self.needs[table.relation].keys)

    def _tells_siblings_apart(self, table: Table, key: ForeignKey, unique: KeyNeed) -> bool:
        """Whether the key is the whole reference and one thing more, a column or another reference, which is
        in no other key: then each parent's children are counted by that.
        """
        mine, whole = set(key.columns), set(unique.columns)
        others = [other for other in table.foreign_keys if other != key]
        rest = whole - mine
        referring = [other for other in others if set(other.columns) & rest]
        one = len(rest) == 1 if not referring else [set(other.columns) for other in referring] == [rest]
        keys = [
            other
            for other in self.needs[table.relation].keys
            if other != unique and not self._told_apart(table, other, whole)
        ]
        elsewhere = {name for other in others if other not in referring for name in other.columns}
        elsewhere |= {name for other in keys for name in other.columns}
        return mine < whole and one and unique.predicate is None and not elsewhere & whole

    def _reference_to(self, table: Table, per: str) -> ForeignKey:
        parent = self._find(per)
        if parent is None:
            raise self._unknown_table(f"{table.relation}: `children`", per)
        keys = [key for key in table.foreign_keys if key.parent == parent.relation]
        if not keys:
            parents = [str(key.parent) for key in table.foreign_keys]
            mend = f"it refers to {', '.join(parents)}" if parents else "it has no foreign key"
            raise DatasetError(
                f"{table.relation}: `children` per {parent.relation}, which it does not refer to", mend
            )
        if len(keys) > 1:
            names = ", ".join(quote_name(key.name) for key in keys)
            raise DatasetError(f"{table.relation} refers to {parent.relation} more than once: {names}")
        return keys[0]


def _examples(given: Given) -> Iterator[str]:
    """Texts of values that the generator makes, its ends among them."""
    if isinstance(given.generator, Weighted):
        pairs = zip(given.generator.items, given.generator.weights, strict=True)
        yield from (text for text, weight in pairs if text is not None and weight > 0)
    elif given.generator is not None:
        places = np.concatenate([[0.0, _LAST], (np.arange(_TRIED) + 0.5) / _TRIED])
        series = given.generator.draw(row_numbers(0, len(places)), places)
        yield from (text for text in series.cast(pl.String).to_list() if text is not None)


def _require_nullable(table: Table, column: Column, what: str) -> None:
    _, facts = flattened(column.type)
    if column.not_null or facts.not_null:
        why = "its domain does not allow NULL" if facts.not_null else "it is NOT NULL"
        primary = table.primary_key
        if primary is not None and column.name in primary.columns:
            why = f"it is part of the primary key {quote_name(primary.name)}"
        raise DatasetError(f"{what}: `null_fraction` cannot be above 0, because {why}")
    for index in table.indexes:
        if index.unique and column.name in index.columns and "NULLS NOT DISTINCT" in index.definition:
            raise DatasetError(f"{what}: `null_fraction`: {quote_name(index.name)} allows a single NULL")


def _require_no_key(table: Table, need: TableNeed, column: Column, what: str) -> None:
    for key in need.keys:
        if key.columns == (column.name,):
            raise DatasetError(
                f"{what} repeats its values, and {quote_name(key.name)} of {table.relation} is unique",
                "use sequence, pattern, faker, or uniform",
            )


def _fan(spec: ChildrenSpec) -> Fan:
    fans: dict[str, Fan] = {
        "uniform": EvenFan(),
        "zipf": ZipfFan(spec.exponent),
        "lognormal": LognormalFan(spec.sigma),
    }
    fan = fans[spec.shape]
    if spec.hot_fraction is not None and spec.hot_share is not None:
        return HotFan(spec.hot_fraction, spec.hot_share, fan)
    return fan


def _near(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(names[:10])}"
