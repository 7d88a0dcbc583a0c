"""How alike two profiles are: one row a column, the worst first. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from rehearse.dataset.lattices import INTEGERS, LATTICES
from rehearse.dataset.profile.pieces import Numbers, Pieces, numbers_of
from rehearse.dataset.profile.shares import apart, chance
from rehearse.dataset.profile.together import joint_deviations
from rehearse.dataset.profile.withhold import FEWEST_ROWS
from rehearse.model.ledgers import has_shape_of_a_ledger
from rehearse.model.profile import ColumnProfile, Profile, TableProfile
from rehearse.model.relation import Relation, quote_name

MEASURES = ("nulls", "common", "quantiles", "correlation", "width", "distinct", "depends")

# of how many rows ANALYZE takes its sample, unless the server was told otherwise
_SAMPLE_ROWS = 30_000
# a quantile may lie at a share of the rows that is so much off: statistics are of a sample, and where
# values have a gap between them the next share is on its other side
_LEEWAY = 0.01
_SHARES = np.arange(1, 100) / 100
# names that a type goes by in `format_type`, by its own
_BASES = {
    "smallint": "int2",
    "integer": "int4",
    "bigint": "int8",
    "real": "float4",
    "double precision": "float8",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "time without time zone": "time",
    "time with time zone": "timetz",
}


@dataclass(frozen=True, slots=True)
class ColumnFidelity:
    """How far one column is off, as fractions; a measure that is missing could not be taken.

    `nulls`: of all rows. `common`: the largest difference in frequency among the ten most common values of
    either side; by rank where values are withheld. Of both, of `correlation` and of `distinct`, what chance
    makes of so many rows is taken off. `quantiles`: of the range between the first and the last
    hundredth. `correlation`: as it is. `width`, `distinct`: of the first side's. `uncounted` are measures
    that are shown but not held against the tolerance. `depends`: the difference in how far columns
    determine one another. `together`: `column` are several, quoted, of which extended statistics tell.
    """

    relation: Relation
    column: str
    deviations: dict[str, float] = field(default_factory=dict)
    uncounted: frozenset[str] = frozenset()
    together: bool = False

    @property
    def worst(self) -> float:
        """The largest deviation that counts."""
        return max((d for name, d in self.deviations.items() if name not in self.uncounted), default=0.0)


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Two profiles compared. `rows` are (table, rows here, rows there). `missing` names what only the first
    side has, or of which one side has no statistics: it was not compared, so it does not pass. `sizes` are
    (table, heap, out of line): what a row takes there by what it takes here, None where that is nothing.
    """

    columns: tuple[ColumnFidelity, ...]
    rows: tuple[tuple[Relation, int, int], ...]
    missing: tuple[str, ...] = ()
    sizes: tuple[tuple[Relation, float | None, float | None], ...] = ()

    def within(self, tolerance: float) -> bool:
        """Whether everything was compared and nothing is further off than that."""
        compared = any(column.deviations for column in self.columns)
        return compared and not self.missing and all(c.worst <= tolerance for c in self.columns)


def fidelity(first: Profile, second: Profile) -> Fidelity:
    """What `second` has of `first`, whatever their sizes."""
    columns: list[ColumnFidelity] = []
    rows, sizes = [], []
    missing = []
    for table in first.tables:
        other = second.table(table.relation)
        if other is None:
            missing.append(f"{table.relation}: there is no such table")
            continue
        rows.append((table.relation, table.rows, other.rows))
        if table.rows and other.rows:
            heap = _by_row(table, other, table.heap_bytes, other.heap_bytes)
            sizes.append((table.relation, heap, _by_row(table, other, table.toast_bytes, other.toast_bytes)))
            for found in (*_columns(first, second, table, other), *_together(table, other)):
                columns.append(found) if isinstance(found, ColumnFidelity) else missing.append(found)
        elif table.rows and not _is_ledger(table):
            missing.append(f"{table.relation}: it has no rows")
    columns.sort(key=lambda column: (-column.worst, column.relation, column.column))
    return Fidelity(tuple(columns), tuple(rows), tuple(missing), tuple(sizes))


def _by_row(table: TableProfile, other: TableProfile, mine: int, theirs: int) -> float | None:
    return theirs / other.rows * table.rows / mine if mine else None


def _columns(
    first: Profile, second: Profile, table: TableProfile, other: TableProfile
) -> Iterator[ColumnFidelity | str]:
    """Every column by itself, or why it could not be compared."""
    for column in table.columns:
        name = f"{table.relation}.{quote_name(column.name)}"
        twin = other.column(column.name)
        if twin is None:
            yield f"{name}: there is no such column"
        elif column.known and not twin.known:
            yield f"{name}: there are no statistics of it, run ANALYZE or scan"
        elif column.known:
            yield _Pair(first, second, table, other, column, twin).compared()


def _together(table: TableProfile, other: TableProfile) -> Iterator[ColumnFidelity | str]:
    """The columns of which there are extended statistics."""
    for names, deviations in joint_deviations(table, other):
        if deviations is None:
            yield f"{table.relation} ({names}): there are no such extended statistics; ANALYZE with them"
        else:
            # an estimate from a sample: two of them differ by more than the tables do
            uncounted = frozenset({"distinct"})
            yield ColumnFidelity(table.relation, names, deviations, uncounted, together=True)


def _is_ledger(table: TableProfile) -> bool:
    """A migration tool's, which no twin has rows in."""
    return has_shape_of_a_ledger(table.relation.name, (column.name for column in table.columns))


@dataclass(frozen=True, slots=True)
class _Pair:
    """One column on both sides."""

    first: Profile
    second: Profile
    table: TableProfile
    other: TableProfile
    column: ColumnProfile
    twin: ColumnProfile

    def compared(self) -> ColumnFidelity:
        """Every measure that can be taken."""
        column, twin = self.column, self.twin
        rows = max(1, min(self.table.rows, self.other.rows))
        nulls = abs(column.null_fraction - twin.null_fraction)
        deviations = {"nulls": max(0.0, nulls - chance(column.null_fraction, rows))}
        if column.common or twin.common:
            deviations["common"] = apart(column.common, twin.common, rows)
        elif column.elements or twin.elements:
            deviations["common"] = apart(column.elements, twin.elements, rows)
        quantiles = self._quantiles()
        if quantiles is not None:
            deviations["quantiles"] = quantiles
        if column.correlation is not None and twin.correlation is not None:
            off = abs(column.correlation - twin.correlation)
            deviations["correlation"] = max(0.0, off - math.sqrt(8 * (1 - column.correlation**2) / rows))
        if column.width_bytes:
            # statistics have whole bytes: one is no difference
            off = max(0, abs(column.width_bytes - twin.width_bytes) - 1)
            deviations["width"] = off / column.width_bytes
        uncounted: frozenset[str] = frozenset()
        if column.distinct and twin.distinct:
            deviations["distinct"] = _distinct(self.table, self.other, column, twin)
            # how many values fewer rows have nobody knows, unless each has its own
            if not self._same_size and not (column.distinct < 0 and twin.distinct < 0):
                uncounted = frozenset({"distinct"})
        return ColumnFidelity(self.table.relation, column.name, deviations, uncounted)

    @property
    def _same_size(self) -> bool:
        return abs(self.table.rows - self.other.rows) <= 0.03 * self.table.rows

    def _quantiles(self) -> float | None:
        """The difference of two quantile functions; None without an order, or where too much is withheld."""
        base = _base(self.column)
        lines = [
            _line(profile, table, column, base)
            for profile, table, column in (
                (self.first, self.table, self.column),
                (self.second, self.other, self.twin),
            )
        ]
        if lines[0] is None or lines[1] is None:
            return None
        # the keys of more rows reach further
        own_range = not self._same_size and self.column.distinct == -1
        rows = min(self._filled(self.table, self.column), self._filled(self.other, self.twin), _SAMPLE_ROWS)
        apart = _apart(lines[0], lines[1], rows=max(1.0, rows), own_range=own_range)
        return max(0.0, apart - self._step(base) / max(1e-300, _span(lines[0])))

    def _filled(self, table: TableProfile, column: ColumnProfile) -> float:
        return table.rows * (1.0 - column.null_fraction)

    def _step(self, base: str) -> float:
        """How far apart the positions are that common parents are rounded to; 0 where there are none."""
        keys = _parent_keys(self.first, self.table, self.column, base)
        parent = next((r.parent for r in self.table.references if r.columns == (self.column.name,)), None)
        table = self.first.table(parent) if parent is not None else None
        if keys is None or table is None or all(common.position is None for common in self.column.common):
            return 0.0
        return (keys.high[-1] - keys.low[0]) * min(1.0, FEWEST_ROWS / max(1, table.rows))


def _apart(mine: Pieces, theirs: Pieces, *, rows: float, own_range: bool) -> float:
    """The largest difference of two quantile functions, of the range of the first one's middle: beyond what
    chance makes of so many `rows`, in which a share of them lies a little higher or lower.
    """
    ranges = [line.at(np.array([0.01, 0.99])) for line in (mine, theirs)]
    spans = [float(ends[1] - ends[0]) for ends in ranges]
    if spans[0] <= 0:
        return 0.0 if spans[1] <= 0 and ranges[0][0] == ranges[1][0] else 1.0

    def placed(line: Pieces, which: int, shares: Numbers) -> Numbers:
        values = line.at(np.clip(shares, 0.0, 1.0 - 1e-12))
        if not own_range:
            return values
        relative: Numbers = (values - ranges[which][0]) / max(spans[which], 1e-300) * spans[0]
        return relative

    wanted = placed(mine, 0, _SHARES)
    leeway = np.maximum(_LEEWAY, 2 * np.sqrt(2 * _SHARES * (1 - _SHARES) / rows))
    least, most = placed(theirs, 1, _SHARES - leeway), placed(theirs, 1, _SHARES + leeway)
    off = np.maximum(np.maximum(least - wanted, wanted - most), 0.0)
    # a tail may be as long as it likes: only what 98 % of the rows span counts
    return float(min(1.0, np.max(off) / spans[0]))


def _span(line: Pieces) -> float:
    low, high = line.at(np.array([0.01, 0.99])).tolist()
    return float(high - low)


def _line(profile: Profile, table: TableProfile, column: ColumnProfile, base: str) -> Pieces | None:
    """The column's values as a distribution on a line; a withheld one stands where its parent's key does."""
    if base not in LATTICES:
        return None
    filled = max(1e-9, 1.0 - column.null_fraction)
    parent = _parent_keys(profile, table, column, base)
    points, lost = [], 0.0
    for common in column.common:
        if common.value is not None and (numbers := numbers_of((common.value,), base)):
            points.append((numbers[0], common.frequency / filled))
        elif common.position is not None and parent is not None:
            place = np.array([min(common.position, 1.0 - 1e-9)])
            points.append((float(parent.at(place)[0]), common.frequency / filled))
        else:
            lost += common.frequency / filled
    bounds = numbers_of(column.quantiles, base)
    if lost > _LEEWAY or (len(bounds) < 2 and not points):
        return None
    return Pieces.of(points, bounds)


def _parent_keys(profile: Profile, table: TableProfile, column: ColumnProfile, base: str) -> Pieces | None:
    for reference in table.references:
        parent = profile.table(reference.parent)
        if reference.columns == (column.name,) and parent is not None:
            key = parent.column(reference.parent_columns[0])
            bounds = numbers_of(key.quantiles, base) if key is not None else ()
            return Pieces.of((), bounds) if len(bounds) > 1 else None
    return None


def _base(column: ColumnProfile) -> str:
    bare = column.type.partition("(")[0].strip()
    rest = column.type.rpartition(")")[2].strip()
    return _BASES.get(f"{bare} {rest}".strip() if "(" in column.type else bare, bare)


def _distinct(table: TableProfile, other: TableProfile, column: ColumnProfile, twin: ColumnProfile) -> float:
    """Of two counts, or where both grow with the table, of two fractions of it, beyond what chance makes of
    the values that few rows have, and beyond what an estimate may be off.
    """
    if column.distinct < 0 and twin.distinct < 0:
        mine, theirs = -column.distinct * table.rows, -twin.distinct * table.rows
    else:
        mine, theirs = column.distinct_of(table.rows), twin.distinct_of(other.rows)
    if not mine or not math.isfinite(mine):
        return 0.0
    factor = _estimated(table, column) * _estimated(other, twin)
    least = min(mine, _redrawn(table, column)) / factor
    beyond = max(least - theirs, theirs - mine * factor, 0.0)
    return max(0.0, beyond - 2 * math.sqrt(2 * _coming_and_going(table.rows, column))) / mine


def _redrawn(table: TableProfile, column: ColumnProfile) -> float:
    """How many distinct values as many rows show on average, if each is drawn with the column's frequencies
    out of its range: the common values of a small table owe their place to chance, and others lost it.
    """
    base = _base(column)
    bounds = numbers_of(column.quantiles, base)
    if base not in INTEGERS | {"date"} or len(bounds) < 2:
        return math.inf
    common = len(column.common)
    rest = (1.0 - column.null_fraction - sum(each.frequency for each in column.common)) * table.rows
    widths = np.diff(np.array(bounds))
    widths *= max(0.0, 1.0 - common / max(1.0, bounds[-1] - bounds[0]))
    widths = np.maximum(widths, 1.0)
    return common + float(np.sum(-widths * np.expm1(-max(0.0, rest) / len(widths) / widths)))


def _estimated(table: TableProfile, column: ColumnProfile) -> float:
    """The factor by which a number of distinct values may be off that a sample of the rows was asked for:
    the root of rows to sampled rows, which no estimate can be sure to beat. 1 where all were counted.
    """
    if table.rows_from == "scan" or table.rows <= _SAMPLE_ROWS or column.distinct == -1:
        return 1.0
    return math.sqrt(table.rows / _SAMPLE_ROWS)


def _coming_and_going(rows: int, column: ColumnProfile) -> float:
    """The variance of the number of distinct values among so many rows drawn with the column's frequencies:
    of each value, that of whether it is drawn at all. Those that are not common share what is left.
    """
    counts = [common.frequency * rows for common in column.common]
    filled = (1.0 - column.null_fraction) * rows
    others = max(0.0, column.distinct_of(rows) - len(counts))
    absent = [math.exp(-count) for count in counts]
    variance = sum(share * (1 - share) for share in absent)
    if others:
        share = math.exp(-max(0.0, filled - sum(counts)) / others)
        variance += others * share * (1 - share)
    return variance


def table_lines(result: Fidelity, tolerance: float) -> Iterator[tuple[str, ...]]:
    """The fidelity table as cells: a column's name, then each of MEASURES; `!` marks what is out."""
    for column in result.columns:
        cells = [_called(column)]
        for measure in MEASURES:
            deviation = column.deviations.get(measure)
            if deviation is None:
                cells.append("-")
                continue
            mark = "~" if measure in column.uncounted else "!" if deviation > tolerance else ""
            shown = f"{deviation:.3f}" if measure == "correlation" else f"{100 * deviation:.2f} %"
            cells.append(shown + mark)
        yield tuple(cells)


def _called(column: ColumnFidelity) -> str:
    if column.together:
        return f"{column.relation} ({column.column})"
    return f"{column.relation}.{quote_name(column.column)}"
