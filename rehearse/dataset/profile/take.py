"""From a server's statistics to a profile that may leave the house. Pure but for `take_profile`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rehearse.dataset.profile.pieces import Pieces, numbers_of
from rehearse.dataset.profile.withhold import FEWEST_ROWS, Rules, rounded
from rehearse.engines.postgres.statistics import (
    ColumnStatistics,
    DatabaseStatistics,
    JointValues,
    TableStatistics,
    read_statistics,
    snapshot,
)
from rehearse.engines.postgres.statistics_scan import scanned
from rehearse.model.profile import (
    NULL,
    ColumnProfile,
    CommonValue,
    JointStatistics,
    Profile,
    ReferenceProfile,
    TableProfile,
)
from rehearse.model.relation import Relation, quote_name
from rehearse.model.target import Target

_LENGTHS = 20
_STALE = 0.1


def take_profile(
    target: Target, *, schemas: Sequence[str] = (), scan: bool = False, rules: Rules | None = None
) -> Profile:
    """Profile the database in one read-only snapshot; `scan` reads its tables for exact figures.

    Raises InputError for schemas and columns that are not there, EnvironmentFailure where the server refuses.
    """
    with snapshot(target, scan=scan) as connection:
        statistics = read_statistics(connection, schemas)
        if scan:
            statistics = scanned(connection, statistics)
    return profile_of(statistics, rules or Rules(), scan=scan)


def profile_of(statistics: DatabaseStatistics, rules: Rules, *, scan: bool = False) -> Profile:
    """What of these statistics may be written. Raises InputError for rules about unknown columns."""
    rules.check((table.relation, column.name) for table in statistics.tables for column in table.columns)
    by_name = {table.relation: table for table in statistics.tables}
    tables = tuple(_table(table, by_name, rules, scan=scan) for table in statistics.tables)
    notes = (*statistics.notes, *(note for table in statistics.tables for note in _notes(table)))
    return Profile(statistics.taken_at, statistics.server, tables, scan, () if scan else notes)


def _notes(table: TableStatistics) -> list[str]:
    name = table.relation
    if table.rows is None:
        return [
            f"{name} was never analyzed: its rows are the server's count of inserts; run ANALYZE, or scan"
        ]
    unknown = [column.name for column in table.columns if not column.known]
    notes = []
    if table.rows and unknown:
        every = len(unknown) == len(table.columns)
        what = "any column" if every else ", ".join(map(quote_name, unknown))
        why = ": autovacuum does not analyze partitioned tables, run ANALYZE" if table.partitioned else ""
        notes.append(f"{name}: there are no statistics of {what}{why}")
    if table.rows and table.changed_rows > _STALE * table.rows:
        notes.append(
            f"{name}: statistics are stale, {table.changed_rows:,} rows changed since its last ANALYZE"
        )
    return notes


def _table(
    table: TableStatistics, others: Mapping[Relation, TableStatistics], rules: Rules, *, scan: bool
) -> TableProfile:
    rows = table.live_rows if table.rows is None else table.rows
    referring = {column: reference for reference in table.references for column in reference.columns}
    columns = []
    for column in table.columns:
        reference = referring.get(column.name)
        why = rules.reason(table.relation, column, rows, reference=reference is not None)
        parent = others.get(reference.parent) if reference is not None else None
        key = None
        if reference is not None and parent is not None and len(reference.columns) == 1:
            key = _Keys.of(parent, reference.parent_columns[0])
        columns.append(_column(column, rows, why, pseudonym=column.key or reference is not None, parent=key))
    made = tuple(columns)
    return TableProfile(
        relation=table.relation,
        rows=rows,
        rows_from="scan" if scan else "activity" if table.rows is None else "statistics",
        heap_bytes=table.heap_bytes,
        toast_bytes=table.toast_bytes,
        indexes=table.indexes,
        dead_fraction=table.dead_rows / max(1, table.dead_rows + table.live_rows),
        columns=made,
        references=tuple(_reference(reference, made, rows) for reference in table.references),
        joint=tuple(_joint(joint, table, rows) for joint in table.joint),
    )


def _joint(joint: JointValues, table: TableStatistics, rows: int) -> JointStatistics:
    """With the places of the values among the columns' common ones, where many rows have them."""
    values = {column.name: column.values for column in table.columns}
    known: list[dict[str | None, int]] = [
        {None: NULL, **{value: place for place, value in enumerate(values.get(name, ()))}}
        for name in joint.statistics.columns
    ]
    shared = [share * rows >= FEWEST_ROWS for share in joint.statistics.frequencies]
    return replace(
        joint.statistics,
        combinations=tuple(
            tuple(of.get(value) if many else None for of, value in zip(known, combination, strict=True))
            for many, combination in zip(shared, joint.values, strict=False)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of a table that is referred to, where they are numbers or moments."""

    pieces: Pieces
    rows: int

    @classmethod
    def of(cls, parent: TableStatistics, column: str) -> _Keys | None:
        """The keys of that column; None where they have no place on a line."""
        key = next((c for c in parent.columns if c.name == column), None)
        bounds = numbers_of(key.bounds, key.base) if key is not None else ()
        rows = parent.live_rows if parent.rows is None else parent.rows
        return cls(Pieces.of((), bounds), max(1, rows)) if len(bounds) > 1 else None

    def position(self, value: str, base: str) -> float | None:
        """Where a key stands, so roughly that it may be any of FEWEST_ROWS rows."""
        number = numbers_of((value,), base)
        if not number:
            return None
        step = min(1.0, FEWEST_ROWS / self.rows)
        exact = float(self.pieces.shares(np.array(number))[0])
        return min(1.0, round(round(exact / step) * step, 6))


def _column(
    column: ColumnStatistics, rows: int, why: str, *, pseudonym: bool, parent: _Keys | None
) -> ColumnProfile:
    ordered = column.category not in {"A", "U"} or column.base == "uuid"
    profile = ColumnProfile(
        name=column.name,
        type=column.type,
        null_fraction=column.null_fraction,
        width_bytes=column.width_bytes,
        distinct=column.distinct if column.category != "A" else 0.0,
        # an order of arrays and documents means nothing to anybody
        correlation=round(column.correlation, 4) if column.correlation is not None and ordered else None,
        element_count=None if column.element_count is None else round(column.element_count, 3),
        withheld=why,
        known=column.known,
    )
    write = not why
    # a common value of a key's or a reference's column is somebody: where it stands is enough
    label = column.category in {"B", "E"}
    shared = [
        write and (label or (not pseudonym and share * rows >= FEWEST_ROWS)) for share in column.frequencies
    ]
    common = tuple(
        CommonValue(share, value) if written else _unnamed(value, share, column.base, parent)
        for value, share, written in zip(column.values, column.frequencies, shared, strict=True)
    )
    elements = tuple(
        CommonValue(share, value)
        if write and share * rows >= FEWEST_ROWS
        else CommonValue(share, None, len(value))
        for value, share in zip(column.elements, column.element_frequencies, strict=True)
    )
    texts = column.category in {"S", "U", "A"} or bool(why)
    return replace(
        profile,
        # whole arrays are not written, nor counted: what they are made of tells enough
        common=() if column.category == "A" else common,
        elements=elements,
        quantiles=_quantiles(column, rows) if write and column.category != "A" else (),
        lengths=_lengths(column) if texts else (),
    )


def _quantiles(column: ColumnStatistics, rows: int) -> tuple[str, ...]:
    """Rounded, and so few that every piece between two of them has some rows in it."""
    bounds = column.bounds
    rest = rows * max(0.0, 1.0 - column.null_fraction - sum(column.frequencies))
    pieces = min(len(bounds) - 1, int(rest // FEWEST_ROWS))
    if pieces < 2:
        return ()
    kept = [bounds[round(place * (len(bounds) - 1) / pieces)] for place in range(pieces + 1)]
    return rounded(kept, column.base)


def _unnamed(value: str, share: float, base: str, parent: _Keys | None) -> CommonValue:
    """A common value without what it is; a reference's with where it stands among the parent's keys."""
    position = None if parent is None else parent.position(value, base)
    return CommonValue(share, None, len(value), position)


def _lengths(column: ColumnStatistics) -> tuple[int, ...]:
    """Quantiles of the lengths: of all values where they were scanned, else of those the server kept."""
    lengths = column.lengths
    if lengths is None:
        lengths = tuple(sorted(len(value) for value in column.bounds or column.values))
    if len(lengths) <= _LENGTHS + 1:
        return lengths
    return tuple(lengths[round(place * (len(lengths) - 1) / _LENGTHS)] for place in range(_LENGTHS + 1))


def _reference(reference: ReferenceProfile, columns: Sequence[ColumnProfile], rows: int) -> ReferenceProfile:
    """The fan-out of a reference by one column; of several, the share of nulls."""
    mine = [column for column in columns if column.name in reference.columns]
    nulls = max((column.null_fraction for column in mine), default=0.0)
    if len(mine) != 1 or not mine[0].known:
        return replace(reference, null_fraction=nulls)
    column = mine[0]
    parents = column.distinct_of(rows)
    return replace(
        reference,
        null_fraction=nulls,
        parents=round(parents, 1) if parents else None,
        children_per_parent=round(rows * (1 - nulls) / parents, 3) if parents else None,
        largest_share=max((common.frequency for common in column.common), default=0.0),
    )
