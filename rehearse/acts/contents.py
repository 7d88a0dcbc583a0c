"""The data of two databases compared: which table and column stands for which, and what differs in it.

The base is never changed, so that it still holds what a trial's database held before its migration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import psycopg

from rehearse.engines.postgres.catalog import Catalog, capture
from rehearse.engines.postgres.changes import compare
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.content import (
    Cell,
    Connection,
    Digest,
    Rows,
    count_values,
    digest,
    is_whole,
    prepare,
    written,
)
from rehearse.engines.postgres.introspect import introspect
from rehearse.migrate.run import APPLICATION_NAME
from rehearse.model.relation import Relation
from rehearse.model.schema import Column, Schema, Table, TableKind
from rehearse.model.target import Target
from rehearse.model.trials import ColumnIntegrity, TableIntegrity

_ROOTS = (TableKind.TABLE, TableKind.PARTITIONED)


@dataclass(frozen=True, slots=True)
class Contents:
    """`tables` are those whose content may differ, `untouched` how many others there are."""

    tables: tuple[TableIntegrity, ...]
    untouched: int


def compare_contents(base: Target, before: Schema, target: Target) -> Contents:
    """Compare the data of `target`, a copy of `base` that something was done to, with that of `base`.

    Tables that were neither written to nor given a new file, and are there under their name, are not read.
    """
    with connect(base, "rehearse") as old, connect(target, "rehearse") as new:
        after = introspect(new)
        moved = _moved(capture(old), capture(new), written(new, APPLICATION_NAME))
        prepare(old)
        prepare(new)
        with ThreadPoolExecutor(1, thread_name_prefix="digest") as beside:
            sides = _Sides(old, new, beside)
            found = []
            roots = [table for table in before.tables if table.kind in _ROOTS]
            for table in roots:
                match = Match.of(table, before, after, moved)
                if match.is_suspect:
                    found.append(sides.compare(match))
        return Contents(tuple(found), len(roots) - len(found))


def _moved(before: Catalog, after: Catalog, changed: frozenset[int] | None) -> frozenset[int]:
    """Tables (oids) whose rows may not be what they were: written to, or in another file."""
    if changed is None:
        return frozenset(before)
    files = {oid for oid, was in before.items() if oid in after and after[oid].filenode != was.filenode}
    return changed | files


@dataclass(frozen=True, slots=True)
class Match:
    """A table and what stands in its place: one of its name, or itself under another name.

    `further` are tables that were its partitions and stand by themselves now. `is_moved` says that its
    rows may not be what they were.
    """

    table: Table
    candidates: tuple[Table, ...]
    further: tuple[Relation, ...] = ()
    is_moved: bool = True

    @classmethod
    def of(cls, table: Table, before: Schema, after: Schema, moved: frozenset[int]) -> Match:
        """The match of `table` among the tables of `after`."""
        named = [other for other in after.tables if other.relation == table.relation]
        same = [other for other in after.tables if other.oid == table.oid and other not in named]
        parts = _parts(before, table)
        oids = {table.oid, *(part.oid for part in parts)}
        now = [other for other in after.tables if other.oid in {part.oid for part in parts}]
        candidates = (*named, *same)
        return cls(
            table,
            candidates,
            tuple(other.relation for other in now if other.partition_of is None),
            is_moved=bool(oids & moved)
            or len(now) < len(parts)
            or not candidates
            or candidates[0].oid != table.oid,
        )

    @property
    def is_suspect(self) -> bool:
        """Whether there is anything to look at."""
        return self.is_moved or self.is_replaced or bool(self.gone)

    @property
    def is_replaced(self) -> bool:
        """Whether another column has the name of one, which nobody had to fill."""
        places = [
            (column, _places(column, self, now))
            for now in self.candidates[:1]
            for column in self.table.columns
        ]
        return any(place and place[0].number != column.number for column, place in places)

    @property
    def gone(self) -> tuple[Column, ...]:
        """Columns that nothing has taken the place of."""
        if not self.candidates:
            return self.table.columns
        return tuple(column for column in self.table.columns if not _places(column, self, self.candidates[0]))


def _parts(schema: Schema, table: Table) -> list[Table]:
    """The partitions of `table`, and theirs."""
    direct = [other for other in schema.tables if other.partition_of == table.relation]
    return [part for child in direct for part in (child, *_parts(schema, child))]


def _places(column: Column, match: Match, now: Table) -> list[Column]:
    """What may hold the content of `column` now: the column of its name first, then itself renamed."""
    same = [other for other in now.columns if now.oid == match.table.oid and other.number == column.number]
    named = [other for other in now.columns if other.name == column.name]
    return list(dict.fromkeys([*named, *same]))


def _cell(column: Column) -> Cell:
    return Cell(column.name, column.type.name, column.type.sql)


def _key(table: Table) -> tuple[Column, ...]:
    """Columns that tell each row from all others: the primary key, or one that is as good."""
    known = {column.name: column for column in table.columns}
    for key in table.keys:
        columns = tuple(known[name] for name in key.columns if name in known)
        whole = len(columns) == len(key.columns) and key.predicate is None
        if whole and all(column.not_null for column in columns):
            return columns
    return ()


@dataclass(frozen=True, slots=True)
class _Pairing:
    """A table and the one compared with it, column by column: `pairs` has all that may stand for each."""

    old: Rows
    new: Rows
    pairs: tuple[tuple[Column, tuple[Column, ...]], ...]

    @classmethod
    def of(cls, match: Match, now: Table) -> _Pairing:
        """Rows are told from each other by the key, where all of its columns are still there."""
        pairs = tuple((column, tuple(_places(column, match, now))) for column in match.table.columns)
        standing = {column.name: places[0] for column, places in pairs if places}
        key = _key(match.table)
        if any(column.name not in standing for column in key):
            key = ()
        old = Rows(match.table.relation, tuple(map(_cell, key)), _is_alone(match.table))
        new = Rows(
            now.relation,
            tuple(replace(_cell(column), name=standing[column.name].name) for column in key),
            _is_alone(now),
            match.further if now.oid == match.table.oid else (),
        )
        return cls(old, new, pairs)

    def without_key(self) -> _Pairing:
        """The same, with rows that cannot be told from each other."""
        return replace(self, old=replace(self.old, key=()), new=replace(self.new, key=()))


def _is_alone(table: Table) -> bool:
    return table.kind is not TableKind.PARTITIONED


@dataclass(frozen=True, slots=True)
class _Sides:
    """Sessions on both databases, and a thread in which the old one counts while the new one does."""

    old: Connection
    new: Connection
    beside: ThreadPoolExecutor

    def compare(self, match: Match) -> TableIntegrity:
        """The table against the best of what may stand in its place."""
        if not match.candidates:
            return self._gone(match.table)
        if not (match.is_moved or match.is_replaced):
            return self._without_columns(match)
        found = [self._against(match, match.candidates[0])]
        if found[0].lost:
            found += [self._against(match, other) for other in match.candidates[1:]]
        best = min(found, key=lambda integrity: integrity.lost)
        if best is found[0] or match.candidates[0].relation != match.table.relation:
            return best
        return replace(best, elsewhere=found[0].lost - best.lost)  # its name leads to fewer rows

    def _gone(self, table: Table) -> TableIntegrity:
        counted = count_values(self.old, Rows(table.relation, (), _is_alone(table)), ())
        return TableIntegrity(table.relation, counted.rows, lost=counted.rows)

    def _without_columns(self, match: Match) -> TableIntegrity:
        """Its rows are what they were, and only columns have gone."""
        gone, now = match.gone, match.candidates[0]
        rows = Rows(match.table.relation, (), _is_alone(match.table))
        counted = count_values(self.old, rows, [_cell(column) for column in gone])
        columns = tuple(
            ColumnIntegrity(column.name, column.type.sql, values)
            for column, values in zip(gone, counted.values, strict=True)
        )
        return TableIntegrity(match.table.relation, counted.rows, now.relation, counted.rows, columns=columns)

    def _against(self, match: Match, now: Table) -> TableIntegrity:
        pairing = _Pairing.of(match, now)
        try:
            before, after = self._digests(pairing)
        except (psycopg.DataError, psycopg.errors.CannotCoerce):  # the key cannot be read as it was
            pairing = pairing.without_key()
            before, after = self._digests(pairing)
        columns = list(_standing(pairing, before, after))
        whole = TableIntegrity(
            match.table.relation,
            before.rows,
            now.relation,
            after.rows,
            keyed=bool(pairing.old.key),
            columns=tuple(each.integrity for each in columns),
        )
        suspects = [each for each in columns if each.pair and not each.equal]
        if not suspects and before.rows == after.rows:
            return whole
        return self._in_kind(whole, pairing, columns, suspects)

    def _digests(self, pairing: _Pairing) -> tuple[Digest, Digest]:
        old = [_cell(column) for column, _ in pairing.pairs]
        new = [_cell(place) for _, places in pairing.pairs for place in places]
        whole_key = is_whole(pairing.old.key, pairing.new.key)
        asked = self.beside.submit(partial(digest, self.old, pairing.old, old, whole_key=whole_key))
        after = digest(self.new, pairing.new, new, whole_key=whole_key)
        return asked.result(), after

    def _in_kind(
        self,
        whole: TableIntegrity,
        pairing: _Pairing,
        columns: Sequence[_Standing],
        suspects: Sequence[_Standing],
    ) -> TableIntegrity:
        pairs = [each.pair for each in suspects if each.pair]
        told = compare((self.old, pairing.old), (self.new, pairing.new), pairs)
        differences = dict(zip((each.integrity.column for each in suspects), told.columns, strict=True))
        return replace(
            whole,
            lost=told.lost,
            added=told.added,
            columns=tuple(
                replace(each.integrity, differences=differences.get(each.integrity.column, ()))
                for each in columns
            ),
        )


@dataclass(frozen=True, slots=True)
class _Standing:
    """A column, the pair that it makes with what stands in its place, and whether both have one content."""

    integrity: ColumnIntegrity
    pair: tuple[Cell, Cell] | None
    equal: bool


def _standing(pairing: _Pairing, before: Digest, after: Digest) -> Iterator[_Standing]:
    now: Iterable[tuple[int, int]] = zip(after.values, after.hashes, strict=True)
    contents = iter(now)
    for (column, places), was in zip(
        pairing.pairs, zip(before.values, before.hashes, strict=True), strict=True
    ):
        candidates = [(place, next(contents)) for place in places]
        equal = [place for place, content in candidates if content == was]
        place = next(iter(equal), places[0] if places else None)
        yield _Standing(
            ColumnIntegrity(
                column.name,
                column.type.sql,
                was[0],
                place.name if place else None,
                place.type.sql if place else None,
            ),
            (_cell(column), _cell(place)) if place else None,
            bool(equal),
        )
