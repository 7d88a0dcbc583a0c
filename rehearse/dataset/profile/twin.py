"""From a profile and a schema to the wishes that make a data set like the profiled one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from rehearse.dataset.generators import Anywhere, Given, Jointly, Placing, Wishes
from rehearse.dataset.generators.fans import Exactly
from rehearse.dataset.kinds import flattened
from rehearse.dataset.needs import ColumnNeed, TableNeed, loadable, needs_of
from rehearse.dataset.profile.columns import IN_ORDER, ColumnMaker
from rehearse.dataset.profile.fan import ProfiledFan, of_size
from rehearse.dataset.profile.joint import placed_jointly
from rehearse.dataset.profile.pieces import Pieces, numbers_of
from rehearse.dataset.profile.ties import placing_for
from rehearse.model.profile import ColumnProfile, Profile, ReferenceProfile, TableProfile
from rehearse.model.relation import Relation, quote_name
from rehearse.model.schema import Column, Schema

_EVEN = 1.1  # times the mean: no parent has more children


def scaled_rows(profile: Profile, scale: float) -> dict[Relation, int]:
    """The rows of each table at `scale`: at least one where production has any."""
    return {
        table.relation: max(1, round(table.rows * scale)) if table.rows else 0 for table in profile.tables
    }


def twin_wishes(
    profile: Profile, before: Schema, after: Schema | None = None, *, scale: float = 1.0
) -> tuple[Wishes, tuple[str, ...]]:
    """What a data set for the schema `before` has to be like, and notes on what of the profile found no use.

    Nulls are as in the profile wherever `before` allows them, even if `after` does not: a migration that
    fails on them in production has to fail here.
    """
    needs, _ = needs_of(before, after)
    rows = scaled_rows(profile, scale)
    wishes = _Collected()
    notes = []
    for table in profile.tables:
        if table.relation not in needs:
            notes.append(f"the profile's {table.relation} is not in the schema")
            continue
        wishes.rows[table.relation] = rows[table.relation]
        maker = _Table(table, needs[table.relation], profile, rows, before)
        givens = dict(maker.columns())
        bases = {name: flattened(need.type)[0].name for name, need in needs[table.relation].columns.items()}
        for column, placing in placed_jointly(table, givens, bases).items():
            givens[column] = replace(givens[column], placing=placing)
        wishes.columns |= {(table.relation, column): given for column, given in givens.items()}
        for columns, fan in maker.fans():
            wishes.fans[table.relation, columns] = Exactly(fan, optional=True)
        if table.dead_fraction >= 0.01:
            wishes.dead[table.relation] = min(0.9, table.dead_fraction)
    missing = [str(t.relation) for t in before.tables if loadable(t) and profile.table(t.relation) is None]
    if missing:
        notes.append(f"the profile has no {', '.join(missing)}: made as without one")
    made = Wishes(columns=wishes.columns, fans=wishes.fans, dead=wishes.dead, rows=wishes.rows)
    return made, tuple(notes)


def over(wishes: Wishes, others: Wishes) -> Wishes:
    """Both, where they differ the `others`: those that somebody wrote by hand."""
    columns = dict(wishes.columns)
    for place, given in others.columns.items():
        known = columns.get(place, Given())
        nulls = known.null_fraction if given.null_fraction is None else given.null_fraction
        only_nulls = given == Given(null_fraction=given.null_fraction)
        columns[place] = replace(known if only_nulls else given, null_fraction=nulls)
        if not only_nulls:  # what would have followed from its values as they were profiled
            columns |= {
                (relation, name): replace(follower, placing=Anywhere())
                for (relation, name), follower in columns.items()
                if isinstance(follower.placing, Jointly) and (relation, follower.placing.column) == place
            }
    return replace(
        others,
        columns=columns,
        fans={**wishes.fans, **others.fans},
        dead={**wishes.dead, **others.dead},
        rows={
            relation: rows
            for relation, rows in {**wishes.rows, **others.rows}.items()
            if relation not in others.children
        },
    )


@dataclass(slots=True)
class _Collected:
    columns: dict[tuple[Relation, str], Given] = field(default_factory=dict)
    fans: dict[tuple[Relation, tuple[str, ...]], Exactly] = field(default_factory=dict)
    dead: dict[Relation, float] = field(default_factory=dict)
    rows: dict[Relation, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of the profile against what its rows have to satisfy."""

    table: TableProfile
    need: TableNeed
    profile: Profile
    rows: Mapping[Relation, int]
    before: Schema

    @property
    def _count(self) -> int:
        return self.rows[self.table.relation]

    def columns(self) -> Iterator[tuple[str, Given]]:
        """What to do about each column that the profile knows."""
        known = {column.name: column for column in self.before.table(self.need.relation).columns}
        fans = dict(self.fans())
        referring = {
            column: reference.parent
            for reference in self.need.references
            for column in reference.columns
            if reference.parent in self.rows
        }
        keyed = {column for key in self.need.keys for column in key.columns}
        following = {order.high for order in self.need.orders} | {pair.right for pair in self.need.differing}
        apart = {name for apart in self.need.apart for name in (apart.low, apart.high)}
        for column in self.table.columns:
            need = self.need.columns.get(column.name)
            if need is None or not column.known:
                continue
            nulls = _nulls(column, known[column.name], need)
            if column.name in referring:
                fan = fans.get((column.name,))
                pieces = of_size(fan, max(1, self.rows[referring[column.name]])) if fan is not None else None
                yield column.name, Given(placing=_placing(column, pieces), null_fraction=nulls)
            elif column.name in following | apart:
                yield column.name, Given(null_fraction=nulls)
            elif column.name in keyed:
                alone = any(key.columns == (column.name,) for key in self.need.keys)
                countable = self._maker(column, need).countable() if alone else None
                yield column.name, Given(null_fraction=nulls, countable=countable)
            else:
                yield column.name, self._given(column, need, nulls)

    def _given(self, column: ColumnProfile, need: ColumnNeed, nulls: float | None) -> Given:
        generator, pieces = self._maker(column, need).generator()
        if generator is None or need.facts.null:
            return Given(null_fraction=nulls)
        return Given(generator, self._placing(column, pieces), nulls)

    def _maker(self, column: ColumnProfile, need: ColumnNeed) -> ColumnMaker:
        ordered = {name for order in self.need.orders for name in (order.low, order.high)}
        leads = column.name in ordered | {pair.left for pair in self.need.differing}
        return ColumnMaker(self.table, column, need, self._count, leads)

    def _placing(self, column: ColumnProfile, pieces: Pieces | None) -> Placing:
        """A partition key is in the order of the partitions, however its rows come."""
        key = self.before.table(self.need.relation).partition_key or ""
        if quote_name(column.name) in key and (column.correlation or 0.0) < IN_ORDER:
            return Anywhere()
        return _placing(column, pieces)

    def fans(self) -> Iterator[tuple[tuple[str, ...], ProfiledFan]]:
        """How each reference by one column is shared out."""
        for reference in self.table.references:
            parent = self.profile.table(reference.parent)
            column = self.table.column(reference.columns[0]) if len(reference.columns) == 1 else None
            if parent is None or column is None or not column.known or not parent.rows:
                continue
            yield reference.columns, self._fan(reference, column, parent)

    def _fan(self, reference: ReferenceProfile, column: ColumnProfile, parent: TableProfile) -> ProfiledFan:
        filled = max(1e-9, 1.0 - column.null_fraction)
        key = parent.column(reference.parent_columns[0])
        base = self._base(reference)
        count = len(column.common)
        points = [
            ((place + 0.5) / count if common.position is None else common.position, common.frequency / filled)
            for place, common in enumerate(column.common)
        ]
        bounds = _positions(
            numbers_of(column.quantiles, base), numbers_of(key.quantiles, base) if key else ()
        )
        used = min(1.0, (reference.parents or 0.0) / parent.rows)
        if points and max(share for _, share in points) <= _EVEN / max(1.0, used * parent.rows):
            # none has more than the others: which of them are called common says nothing
            low = min(bounds[0], *(place for place, _ in points))
            bounds, points = (low, min(1.0, max(low + used, *bounds))), []
        return ProfiledFan(tuple(points), bounds, used, round(self._count * filled))

    def _base(self, reference: ReferenceProfile) -> str:
        need = self.need.columns.get(reference.columns[0])
        return flattened(need.type)[0].name if need is not None else ""


def _positions(values: tuple[float, ...], keys: tuple[float, ...]) -> tuple[float, ...]:
    """Where these values stand among the parent's keys; evenly, where that is not known."""
    if len(values) < 2 or len(keys) < 2 or keys[0] >= keys[-1]:
        return 0.0, 1.0
    return tuple(Pieces.of((), keys).shares(np.array(values)).tolist())


def _nulls(column: ColumnProfile, known: Column, need: ColumnNeed) -> float | None:
    if known.not_null or need.type.domain_not_null:
        return None
    return column.null_fraction


def _placing(column: ColumnProfile, pieces: Pieces | None) -> Placing:
    return Anywhere() if column.correlation is None else placing_for(column.correlation, pieces)
