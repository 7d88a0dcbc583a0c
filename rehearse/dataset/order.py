"""Columns that come after one another in a row: a later one is made from the earlier one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from rehearse.dataset.allotment import Allotment
from rehearse.dataset.exclusions import Apart
from rehearse.dataset.facts import Before
from rehearse.dataset.generators.numbers import Shaped
from rehearse.dataset.recipe import Chosen, ColumnRecipe, Digit, Following, Own, Source
from rehearse.dataset.siblings import Nth
from rehearse.dataset.values import Lattice

TEMPORAL = frozenset({"date", "timestamp", "timestamptz"})
# parts of names of columns that come one after the other in a row
_SEQUENCE = (
    ("created", "updated"),
    ("created", "modified"),
    ("start", "end"),
    ("begin", "end"),
    ("from", "to"),
    ("opened", "closed"),
    ("check_in", "check_out"),
    ("ordered", "shipped"),
    ("shipped", "delivered"),
)
# how far apart they are at most, in raw units
_SPANS = {"date": 30, "timestamp": 14 * 86_400, "timestamptz": 14 * 86_400, "time": 3600, "timetz": 3600}


@dataclass(frozen=True, slots=True)
class Orderer:
    """Changes the recipes of one table's columns (in place) so that its orders hold."""

    allotment: Allotment
    columns: dict[str, ColumnRecipe]
    keyed: set[str]

    def arrange(self) -> None:
        """All that the checks and exclusions say, then what the names suggest."""
        for apart in self.allotment.need.apart:
            self._keep_apart(apart)
        # where one comes after the other, they differ
        unequal = [Before(pair.left, pair.right, strict=True) for pair in self.allotment.need.differing]
        for order in (*self.allotment.need.orders, *unequal, *_suggested(self.columns)):
            self._follow(order)

    def _keep_apart(self, apart: Apart) -> None:
        low, high = self.columns.get(apart.low), self.columns.get(apart.high)
        start = None if low is None else _lattice_of(low.source)
        end = None if high is None else _lattice_of(high.source)
        if high is not None and start is not None and end is not None and start.step > 1:
            source = Following(apart.low, end, self.allotment.key(apart.high, "apart"), 1, start.step - 1)
            self.columns[apart.high] = replace(high, source=source)

    def _follow(self, order: Before) -> None:
        """The later column follows the earlier one; or, if that is settled, the other way round."""
        for base, follower, sign in ((order.low, order.high, 1), (order.high, order.low, -1)):
            if self._can_follow(base, follower):
                self._let_follow(base, follower, sign, least=int(order.strict))
                return

    def _can_follow(self, base: str, follower: str) -> bool:
        if base not in self.columns or follower not in self.columns or follower in self.keyed:
            return False
        first, second = _lattice_of(self.columns[base].source), self.columns[follower].source
        if first is None or not isinstance(second, Own) or not isinstance(second.values, Lattice):
            return False
        same_units = (first.form, first.scale) == (second.values.form, second.values.scale)
        return same_units and not _leads_to(self.columns, base, follower)

    def _let_follow(self, base: str, follower: str, sign: int, *, least: int) -> None:
        leader, column = self.columns[base], self.columns[follower]
        values = _lattice_of(column.source)
        first = _lattice_of(leader.source)
        assert values is not None
        assert first is not None
        span = _SPANS.get(first.form, max(1, (first.spans[-1][1] - first.spans[0][0]) // 10))
        key = self.allotment.key(follower, "after", base)
        self.columns[follower] = replace(column, source=Following(base, values, key, least, span, sign))
        self.columns[base] = replace(leader, source=_with_room(leader.source, values, least, sign))


def _suggested(columns: Mapping[str, ColumnRecipe]) -> Iterator[Before]:
    """Pairs of moments whose names say which is the earlier."""
    for name, column in list(columns.items()):
        values = _lattice_of(column.source)
        if values is None or values.form not in TEMPORAL | {"time", "timetz"}:
            continue
        for first, second in _SEQUENCE:
            later = name.replace(first, second, 1)
            if later != name and later in columns and isinstance(columns[later].source, Own):
                yield Before(name, later, strict=False)


def _lattice_of(source: Source) -> Lattice | None:
    if isinstance(source, Own) and isinstance(source.values, Lattice):
        return source.values
    if isinstance(source, Chosen) and isinstance(source.generator, Shaped) and not source.generator.fine:
        return source.generator.lattice
    return source.values if isinstance(source, Following) else None


def _leads_to(columns: Mapping[str, ColumnRecipe], name: str, target: str) -> bool:
    """Whether following the bases from `name` on comes to `target`."""
    while name != target and isinstance(source := columns[name].source, Following):
        name = source.base
    return name == target


def _with_room(source: Source, follower: Lattice, least: int, sign: int) -> Source:
    """The base without the values that would leave the follower no place."""
    if (
        not isinstance(source, Own)
        or not isinstance(source.values, Lattice)
        or isinstance(source.draw, Digit | Nth)
    ):
        return source
    lowest, highest = follower.spans[0][0], follower.spans[-1][1]
    spans = tuple(
        (low, high)
        for a, b in source.values.spans
        for low, high in [(a, min(b, highest - least)) if sign > 0 else (max(a, lowest + least), b)]
        if low <= high
    )
    if not spans:
        return source
    values = replace(source.values, spans=spans)
    return Own(values, replace(source.draw, size=values.size))
