"""What carries each unique key of a table: its references and its own columns, with room and rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from rehearse.dataset.bits import key_of
from rehearse.dataset.exclusions import KeyNeed, told_apart
from rehearse.dataset.expressions import Not, NotUnderstoodError, parse
from rehearse.dataset.facts import Says, alternatives
from rehearse.dataset.generators import Fan, InOrder
from rehearse.dataset.generators.fans import Exactly
from rehearse.dataset.keys import Allocation, Carrier, KeySpec, allocate
from rehearse.dataset.kinds import TEXTS, UnsupportedTypeError, Wanted, flattened, values_of
from rehearse.dataset.lattices import INTEGERS
from rehearse.dataset.links import ITSELF, LEAD, WITHIN, Link
from rehearse.dataset.needs import ColumnNeed, TableNeed
from rehearse.dataset.recipe import Digit
from rehearse.dataset.siblings import Nth, Shared
from rehearse.dataset.values import Values
from rehearse.dataset.vocabulary import DEFAULT_LOCALE
from rehearse.errors import DatasetError
from rehearse.model.relation import Relation, quote_name


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a table's design needs to know of the others.

    `sizes` are how many parent rows a link may use where that is less than all, and `firsts` from which one
    on; `strata` how many there are of a root table, for links that have to agree; `inner` links go through
    these round robin.
    """

    rows: Mapping[Relation, int]
    keys: Mapping[Relation, tuple[frozenset[str], ...]]
    sizes: Mapping[tuple[Relation, int], int]
    strata: Mapping[Relation, int]
    inner: frozenset[tuple[Relation, int]]
    loaded: frozenset[Relation]
    seed: int
    fans: Mapping[tuple[Relation, tuple[str, ...]], Fan] = field(default_factory=dict)
    locale: str = DEFAULT_LOCALE
    firsts: Mapping[tuple[Relation, int], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """What carries a key that holds a reference which is shared out, and for how many rows that will do."""

    carriers: Mapping[str, Shared | Nth]
    limit: int


@dataclass(frozen=True, slots=True)
class Allotment:
    """One table's columns and links, seen as carriers of keys."""

    need: TableNeed
    links: tuple[Link, ...]
    around: Surroundings

    def key(self, *parts: object) -> int:
        """A key for randomness that belongs to this table."""
        return key_of(self.around.seed, str(self.need.relation), *parts)

    def size(self, place: int) -> int:
        """How many parent rows link number `place` may use."""
        link = self.links[place]
        return self.around.sizes.get((self.need.relation, place), self.around.rows.get(link.parent, 0))

    def strata(self, link: Link) -> int:
        """How many strata a link within others' choices has to keep to."""
        return 1 if link.stratum is None else max(1, self.around.strata.get(link.stratum.root, 1))

    def decider(self, column: str) -> int | None:
        """The link that provides a column's value, if one does."""
        for place, link in enumerate(self.links):
            if column in link.decides and not (link.soft and self.size(place) == 0):
                return place
        return None

    def values(self, column: ColumnNeed, rows: int, *, exact: bool) -> Values:
        """Values of a column's own. Raises UnsupportedTypeError."""
        if exact and column.given.countable is not None:
            return column.given.countable
        key = self.key(column.name, "values")
        wanted = Wanted(self.need.relation.name, column.name, max(1, rows), exact, key, self.around.locale)
        return values_of(column.type, column.facts, wanted)

    def allocation(self, rows: int) -> Allocation:
        """The digits that keep the keys unique, and how many rows they allow at most."""
        relation = self.need.relation
        assigned = {
            f"link {place}": Digit(1, max(1, self.size(place)))
            for place in range(len(self.links))
            if (relation, place) in self.around.inner
        }
        for place, link in enumerate(self.links):
            if link.role == ITSELF:
                assigned[f"link {place}"] = Digit(1)
        for column in self.need.columns.values():
            counts = column.counted and not column.free and flattened(column.type)[0].name in INTEGERS
            if counts and self.decider(column.name) is None and self._column_size(column.name, rows) >= rows:
                assigned[f"column {column.name}"] = Digit(1)
        families = {key.name: found for key in self.need.keys if (found := self._family(key, rows, assigned))}
        keys = [self._spec(key, rows) for key in self.keys(rows) if key.name not in families]
        made = allocate(rows, keys, assigned, (self.around.seed, str(relation)))
        for family in families.values():
            made = replace(
                made, limit=min(made.limit, family.limit), shared={**made.shared, **family.carriers}
            )
        return made

    def _family(self, key: KeyNeed, rows: int, assigned: Mapping[str, Digit]) -> Family | None:
        """The carriers of a key that holds a reference which is shared out: the reference, and the one other
        that tells a parent's children apart. None for other keys.
        """
        for place, link in enumerate(self.links):
            fan = self.around.fans.get((self.need.relation, link.columns))
            if not isinstance(fan, Exactly) or not set(link.columns) <= set(key.columns):
                continue
            if told_apart(set(key.columns) - set(link.columns), self.need.keys):
                continue
            mine = f"link {place}"
            others = [carrier for carrier in self._spec(key, rows).carriers if carrier.name != mine]
            settled = (
                self.other_than(place) is not None or {mine, *(c.name for c in others)} & assigned.keys()
            )
            if link.role != LEAD or len(others) != 1 or settled:
                if fan.optional:
                    continue
                raise DatasetError(
                    f"{self.need.relation}: `children` per {link.parent} cannot be shared out within the "
                    f"unique key {quote_name(key.name)}",
                    "leave it out: the key decides how many children a parent has",
                )
            return self._shared_out(place, fan, others[0], key, rows)
        return None

    def _shared_out(self, place: int, fan: Exactly, other: Carrier, key: KeyNeed, rows: int) -> Family | None:
        size = max(1, self.size(place))
        placing = self.need.columns[self.links[place].columns[0]].given.placing
        shared = Shared(fan.fan, size, rows, placing.correlation if isinstance(placing, InOrder) else 0.0)
        most = shared.most
        if most > other.size:
            if fan.optional:
                return None
            raise DatasetError(
                f"{self.need.relation}: the busiest of {self.links[place].parent} would have {most:,} "
                f"children, and the unique key {quote_name(key.name)} tells {other.size:,} apart",
                "say fewer rows, or a flatter distribution",
            )
        modulo = other.size if other.shared else None
        nth = Nth(shared, modulo, self.key("nth", key.name))
        return Family({f"link {place}": shared, other.name: nth}, rows + (other.size - most) * size)

    def keys(self, rows: int) -> Iterator[KeyNeed]:
        """The keys to be kept by digits; partial ones without room are kept by staying out of them."""
        for key in self.need.keys:
            if not self._crowded(key, rows) or self._falsified(key) is None:
                yield key
        yield from (KeyNeed("EXCLUDE", (apart.low,)) for apart in self.need.apart)

    def avoided(self, rows: int) -> dict[str, Says]:
        """Partial keys that have no room for all rows, with the fact that keeps every row out of them."""
        return {
            key.name: fact
            for key in self.need.keys
            if self._crowded(key, rows) and (fact := self._falsified(key)) is not None
        }

    def _crowded(self, key: KeyNeed, rows: int) -> bool:
        room = 1
        for carrier in self._spec(key, rows).carriers:
            room *= carrier.size
        return key.predicate is not None and room < rows

    def _falsified(self, key: KeyNeed) -> Says | None:
        """A fact about one column under which the key's predicate is false for every row."""
        try:
            ways = alternatives(Not(parse(key.predicate or "")))
        except NotUnderstoodError:
            return None
        for way in ways:
            if len(way) == 1 and isinstance(way[0], Says) and way[0].column in self.need.columns:
                if self.need.columns[way[0].column].given.own:
                    continue
                column, facts = self.need.columns[way[0].column], way[0].facts
                refused = facts.null and column.not_null
                if not refused and not column.facts.also(facts).contradictory:
                    return way[0]
        return None

    def _spec(self, key: KeyNeed, rows: int) -> KeySpec:
        carriers: dict[str, Carrier] = {}
        for column in key.columns:
            place = self.decider(column)
            if place is None:
                if column in self.need.columns and not self.need.columns[column].free:
                    carriers[column] = self._column_carrier(column, rows)
            elif self._identifies(place, key):
                carriers[f"link {place}"] = self._link_carrier(place)
                stratum = self.links[place].stratum
                if stratum is not None and stratum.through is None:
                    # the row that is told apart tells its stratum, which is the lead's row
                    carriers[f"link {stratum.lead}"] = self._link_carrier(stratum.lead)
        return KeySpec(key.name, key.columns, tuple(carriers.values()))

    def _column_carrier(self, column: str, rows: int) -> Carrier:
        need = self.need.columns[column]
        base = flattened(need.type)[0].name
        rank = 0 if need.counted else 1 if base in INTEGERS | {"uuid"} else 2 if base in TEXTS else 3
        return Carrier(f"column {column}", self._column_size(column, rows), shared=False, rank=rank)

    def _link_carrier(self, place: int) -> Carrier:
        link = self.links[place]
        if link.role == WITHIN and link.stratum is not None:
            each = self.size(place) // self.strata(link)
            return Carrier(f"link {place}", each, shared=True, needs=f"link {link.stratum.lead}")
        room = self.size(place) - (self.other_than(place) is not None)
        return Carrier(f"link {place}", room, shared=True)

    def other_than(self, place: int) -> int | None:
        """The link whose parent row link `place` must not have, because a check says that the two differ.

        None too where a key has this link without the other one: then its place has to stand alone.
        """
        link = self.links[place]
        if link.role != LEAD or self.size(place) < 2:
            return None
        for pair in self.need.differing:
            for mine, theirs in ((pair.left, pair.right), (pair.right, pair.left)):
                lead = self.decider(theirs)
                if mine not in link.decides or lead is None or lead >= place:
                    continue
                other = self.links[lead]
                same = (other.parent, other.column_for(theirs)) == (link.parent, link.column_for(mine))
                if same and all(theirs in key.columns for key in self.need.keys if mine in key.columns):
                    return lead
        return None

    def _identifies(self, place: int, key: KeyNeed) -> bool:
        """Whether the key's columns of this link tell its parent rows apart."""
        link = self.links[place]
        have = frozenset(link.column_for(column) for column in link.columns if column in key.columns)
        if have == frozenset(link.parent_columns):
            return True
        return any(unique <= have for unique in self.around.keys.get(link.parent, ()))

    def _column_size(self, column: str, rows: int) -> int:
        if self.need.columns[column].facts.null:
            return 1
        try:
            return self.values(self.need.columns[column], rows, exact=True).size
        except UnsupportedTypeError:
            return 0
