"""One table's recipe: its references, keys and columns, put together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rehearse.dataset.allotment import Allotment
from rehearse.dataset.facts import Facts
from rehearse.dataset.generators import Anywhere, Beside, InOrder, Jointly
from rehearse.dataset.generators.weighted import Evenly
from rehearse.dataset.kinds import UnsupportedTypeError
from rehearse.dataset.links import IMPLIED, WITHIN
from rehearse.dataset.needs import ColumnNeed
from rehearse.dataset.order import TEMPORAL, Orderer
from rehearse.dataset.recipe import (
    Ascending,
    Borrowed,
    Calculated,
    Chosen,
    ColumnRecipe,
    Digit,
    Draw,
    Earlier,
    Empty,
    Fanned,
    FannedEarlier,
    Nulls,
    Other,
    Own,
    Random,
    Reference,
    Source,
    TableRecipe,
    Within,
)
from rehearse.dataset.siblings import Nth, Shared
from rehearse.dataset.values import Choices, Lattice, Values
from rehearse.errors import DatasetError
from rehearse.model.relation import quote_name

_BIRTH = re.compile(
    r"(^|_)(created|inserted|registered|added|ordered|placed|received|logged|occurred)", re.IGNORECASE
)
_RARE = re.compile(r"(deleted|removed|archived|cancell?ed|revoked|banned|disabled|failed)_(at|on|by)$")
_NULL_PERCENT, _RARE_NULL_PERCENT = 10, 90
_ENDLESS = 1 << 62
_NOTHING = ColumnRecipe("", Empty())


@dataclass(slots=True)
class Designer:
    """Works out one table for `rows` rows."""

    allotment: Allotment
    rows: int
    notes: list[str] = field(default_factory=list)
    _digits: Mapping[str, Digit] = field(default_factory=dict)
    _shared: Mapping[str, Shared | Nth] = field(default_factory=dict)
    _keyed: set[str] = field(default_factory=set)
    _limit: int = _ENDLESS

    def recipe(self, *, generated: bool) -> TableRecipe:
        """The table's recipe. Raises DatasetError for a column that cannot be filled."""
        need = self.allotment.need
        allocation = self.allotment.allocation(self.rows)
        self._digits, self._shared, self._limit = allocation.digits, allocation.shared, allocation.limit
        self._keyed = {column for key in self.allotment.keys(self.rows) for column in key.columns}
        references = tuple(self._reference(place) for place in range(len(self.allotment.links)))
        avoided = self._avoided()
        columns: dict[str, ColumnRecipe] = {}
        for column in need.columns.values():
            facts = column.facts.also(avoided.get(column.name, Facts()))
            made = self._column(replace(column, facts=facts), references)
            if made is not None:
                columns[column.name] = made
        self._require_read(columns)
        Orderer(self.allotment, columns, self._keyed).arrange()
        return TableRecipe(
            relation=need.relation,
            rows=self.rows,
            columns=tuple(columns.values()),
            references=references,
            limit=self._limit if self._limit < _ENDLESS else None,
            generated=generated,
            checks=need.checks,
            later_checks=need.later_checks,
            partition_check=need.unclear_partitions,
        )

    def _require_read(self, columns: Mapping[str, ColumnRecipe]) -> None:
        """What somebody wants a column made from has to be made itself."""
        for name, column in columns.items():
            match column.source:
                case Calculated(expression):
                    missing = [other for other in expression.columns if other not in columns]
                case Chosen(placing=Beside(other) | Jointly(other)):
                    missing = [other] if isinstance(columns.get(other, _NOTHING).source, Empty) else []
                case _:
                    continue
            if missing:
                raise DatasetError(
                    f"{self._name(name)} is to be made from {quote_name(missing[0])}, which has no values"
                )

    def _avoided(self) -> dict[str, Facts]:
        facts: dict[str, Facts] = {}
        for key, fact in self.allotment.avoided(self.rows).items():
            facts[fact.column] = facts.get(fact.column, Facts()).also(fact.facts)
            self.notes.append(
                f"{self._name(fact.column)} keeps every row out of the partial unique index "
                f"{quote_name(key)}, which has no room for them"
            )
        return facts

    def _name(self, column: str) -> str:
        return f"{self.allotment.need.relation}.{quote_name(column)}"

    def _reference(self, place: int) -> Reference:
        link = self.allotment.links[place]
        size = max(1, self.allotment.size(place))
        from_server = link.parent in self.allotment.around.loaded
        draw = self._draw(place, size)
        first = self.allotment.around.firsts.get((self.allotment.need.relation, place), 0)
        return Reference(link.columns, link.parent, link.parent_columns, draw, size, from_server, first)

    def _draw(self, place: int, size: int) -> Draw:
        link, relation = self.allotment.links[place], self.allotment.need.relation
        key = self.allotment.key("link", link.name, place)
        digit = self._digits.get(f"link {place}")
        shared = self._shared.get(f"link {place}")
        own = link.parent == relation
        if link.role == WITHIN and link.stratum is not None:
            strata = self.allotment.strata(link)
            if own:
                return Earlier(key, max(1, self.rows), strata)
            return Within(key, link.stratum.lead, link.stratum.through, strata, size, digit)
        lead = self.allotment.other_than(place)
        if lead is not None:
            nth = shared if isinstance(shared, Nth) else None
            return Other(lead, nth or digit or Random(key, size - 1, skewed=True), size)
        if (settled := shared or digit) is not None:
            return settled
        fan = self.allotment.around.fans.get((relation, link.columns))
        if fan is not None:
            placing = self.allotment.need.columns[link.columns[0]].given.placing
            correlation = placing.correlation if isinstance(placing, InOrder) else 0.0
            rows = max(1, self.rows)
            return FannedEarlier(key, rows, fan) if own else Fanned(key, size, fan, rows, correlation)
        return Earlier(key, max(1, self.rows)) if own else Random(key, size, skewed=True)

    def _column(self, column: ColumnNeed, references: tuple[Reference, ...]) -> ColumnRecipe | None:
        if column.facts.null:
            return ColumnRecipe(column.name, Empty())
        place = self.allotment.decider(column.name)
        if place is not None:
            return ColumnRecipe(
                column.name, self._borrowed(column, place, references), self._link_nulls(column, place)
            )
        nulls = None
        fraction = column.given.null_fraction
        if fraction is not None:
            nulls = Nulls(self.allotment.key(column.name, "null"), 100 * fraction) if fraction else None
        elif not column.not_null and not column.facts.not_null and column.name not in self._keyed:
            share = _RARE_NULL_PERCENT if _RARE.search(column.name) else _NULL_PERCENT
            nulls = Nulls(self.allotment.key(column.name, "null"), share)
        try:
            return ColumnRecipe(column.name, self._chosen(column) or self._own(column), nulls)
        except UnsupportedTypeError as error:
            return self._unsupported(column, str(error))

    def _unsupported(self, column: ColumnNeed, type_: str) -> ColumnRecipe | None:
        name = self._name(column.name)
        if column.has_default:
            self.notes.append(f"{name} has its default in every row: no values of {type_} can be made")
            return None
        if not column.not_null:
            self.notes.append(f"{name} is NULL in every row: no values of {type_} can be made")
            return ColumnRecipe(column.name, Empty())
        raise DatasetError(
            f"{name}: no values of type {type_} can be made, and it is NOT NULL without a default",
            "load the table from a SQL file",
        )

    def _chosen(self, column: ColumnNeed) -> Source | None:
        """What somebody said about the column; None if that leaves its values as they are."""
        given = column.given
        if given.expression is not None:
            return Calculated(given.expression)
        if f"column {column.name}" in self._digits or f"column {column.name}" in self._shared:
            return None
        generator = given.generator
        if generator is None and given.placing != Anywhere():
            generator = Evenly(self.allotment.values(column, self.rows, exact=False))
        if generator is None:
            return None
        return Chosen(generator, self.allotment.key(column.name), max(1, self.rows), given.placing)

    def _own(self, column: ColumnNeed) -> Own:
        nth = self._shared.get(f"column {column.name}")
        if isinstance(nth, Nth):
            return Own(self._numbered(column, nth), nth)
        digit = self._digits.get(f"column {column.name}")
        if digit is not None:
            each = digit.divide * (digit.without[1] if digit.without else 1)
            reach = -(-self.rows // each)
            values = self._spaced(column, self.allotment.values(column, reach, exact=True), reach)
            self._limit = min(self._limit, values.size * each) if digit.modulo is None else self._limit
            return Own(values, digit)
        values = self.allotment.values(column, self.rows, exact=False)
        if values.size < 1:
            raise UnsupportedTypeError(column.type.sql)
        key = self.allotment.key(column.name)
        if isinstance(values, Lattice) and values.form in TEMPORAL and _BIRTH.search(column.name):
            return Own(values, Ascending(key, max(1, self.rows), values.size))
        return Own(values, Random(key, values.size, skewed=isinstance(values, Choices) and values.size > 2))

    def _numbered(self, column: ColumnNeed, nth: Nth) -> Values:
        """What tells a parent's children apart: of a small type no more than they need, lest it begin with
        the least number of all.
        """
        most, parents = nth.shared.most, nth.shared.size
        few = self.allotment.values(column, 2 * most, exact=True)
        if nth.modulo is not None or few.size < 2 * most:
            return self.allotment.values(column, self.rows, exact=True)
        self._limit = min(self._limit, self.rows + (few.size - most) * parents)
        return few

    def _spaced(self, column: ColumnNeed, values: Values, reach: int) -> Values:
        """Instants that are a key lie all over their range, not in its first minutes."""
        if column.given.countable is not None:
            return values
        apart = any(column.name == apart.low for apart in self.allotment.need.apart)
        if isinstance(values, Lattice) and (apart or values.form in TEMPORAL):
            return replace(values, step=max(1, values.size // max(1, 2 * reach)))
        return values

    def _borrowed(self, column: ColumnNeed, place: int, references: tuple[Reference, ...]) -> Source:
        link = self.allotment.links[place]
        empty = self.allotment.size(place) == 0
        if not empty and (link.role != WITHIN or link.stratum is not None):
            return Borrowed(place, link.column_for(column.name))
        if not column.not_null and column.name not in self._keyed:
            return Empty()
        reason = f"its foreign key {quote_name(link.name)} refers to {link.parent}, which has no rows"
        if not empty:
            others = [
                quote_name(other.name)
                for other, reference in zip(self.allotment.links, references, strict=True)
                if set(reference.columns) & set(link.columns) and other is not link and not other.soft
            ]
            reason = (
                f"its foreign key {quote_name(link.name)} shares columns with {', '.join(others)} in a way "
                "that generated rows cannot satisfy"
            )
        raise DatasetError(f"{self._name(column.name)}: {reason}", "load the table from a SQL file")

    def _link_nulls(self, column: ColumnNeed, place: int) -> Nulls | None:
        """All of a reference's columns are NULL together, so that MATCH FULL is content too."""
        links = self.allotment.links
        link = links[place]
        shared = [n for other in links if other is not link and other.role != IMPLIED for n in other.columns]
        columns = self.allotment.need.columns
        free = [
            name
            for name in link.columns
            if not columns[name].not_null
            and not columns[name].facts.not_null
            and (name not in self._keyed or columns[name].given.null_fraction is not None)
            and name not in shared
        ]
        if column.name not in free or (link.whole_match and len(free) < len(link.columns)):
            return None
        # the first rows of a tree have nothing before them to refer to
        roots = self.allotment.strata(link) if link.parent == self.allotment.need.relation else 0
        said = [f for name in link.columns if (f := columns[name].given.null_fraction) is not None]
        percent = 100 * max(said) if said else _NULL_PERCENT
        return Nulls(self.allotment.key(link.name, "null"), percent, roots) if percent or roots else None
