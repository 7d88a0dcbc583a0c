"""A profile of a database: how much is in its tables and how it is distributed, without what it says.

Frequencies and fractions are of all rows, nulls included, as `pg_stats` has them. Values are the server's
text (ISO dates, UTC). A column that is `withheld` has no values in it at all: its frequencies, lengths and
counts are all that is known.
"""

from __future__ import annotations

from dataclasses import dataclass

from rehearse.model.relation import Relation

NULL = -1
"""In place of a value's place among the common ones: it is none."""


@dataclass(frozen=True, slots=True)
class CommonValue:
    """One value that many rows share. `value` None: withheld; then `length` is how many characters it has.

    `position` is where a reference's common parent stands among the parent's keys, in [0, 1].
    """

    frequency: float
    value: str | None = None
    length: int | None = None
    position: float | None = None


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column. `distinct` is as in `pg_stats`: a count, or, negative, a fraction of the rows; 0 unknown.

    `quantiles` bound pieces of equal share of the values that are not `common`; `lengths` are quantiles of
    the values' lengths in characters. `correlation` is of the values' order with that on disk. `elements`
    are an array's common elements with the fraction of the arrays that have them, `element_count` how many
    different ones an array has on average. `withheld` says why no values are written; empty: they are.
    """

    name: str
    type: str
    null_fraction: float = 0.0
    width_bytes: int = 0
    distinct: float = 0.0
    correlation: float | None = None
    common: tuple[CommonValue, ...] = ()
    quantiles: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    elements: tuple[CommonValue, ...] = ()
    element_count: float | None = None
    withheld: str = ""
    known: bool = True  # False: the server has no statistics of it

    def distinct_of(self, rows: float) -> float:
        """How many different values there are among `rows` rows."""
        return -self.distinct * rows if self.distinct < 0 else self.distinct


@dataclass(frozen=True, slots=True)
class ReferenceProfile:
    """A foreign key's fan-out. `parents` is how many parent rows are referred to, None if unknown;
    `largest_share` the share of all rows that the parent with the most children has.
    """

    name: str
    columns: tuple[str, ...]
    parent: Relation
    parent_columns: tuple[str, ...]
    null_fraction: float = 0.0
    parents: float | None = None
    children_per_parent: float | None = None
    largest_share: float = 0.0


@dataclass(frozen=True, slots=True)
class JointStatistics:
    """Extended statistics of several columns: distinct combinations, functional dependencies as (from, to,
    degree), and the frequencies of common combinations.

    Of these `combinations` has, column by column, the place of the value among the column's `common` ones,
    or NULL; None where it is not among them. The values themselves are not here.
    """

    name: str
    columns: tuple[str, ...]
    distinct: tuple[tuple[tuple[str, ...], float], ...] = ()
    dependencies: tuple[tuple[tuple[str, ...], str, float], ...] = ()
    frequencies: tuple[float, ...] = ()
    combinations: tuple[tuple[int | None, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class TableProfile:
    """One table, partitions counted into the table they belong to. `rows_from` says how `rows` are known:
    `scan`, `statistics`, or `activity` (counted by the server as rows came and went, never analyzed).
    """

    relation: Relation
    rows: int
    rows_from: str = "statistics"
    heap_bytes: int = 0
    toast_bytes: int = 0
    indexes: tuple[tuple[str, int], ...] = ()
    dead_fraction: float = 0.0
    columns: tuple[ColumnProfile, ...] = ()
    references: tuple[ReferenceProfile, ...] = ()
    joint: tuple[JointStatistics, ...] = ()

    def column(self, name: str) -> ColumnProfile | None:
        """The column of that name, if there is one."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True)
class Profile:
    """A database's tables at one instant (`taken_at`, ISO 8601). `notes` say what is stale or missing."""

    taken_at: str
    server: str
    tables: tuple[TableProfile, ...]
    scanned: bool = False
    notes: tuple[str, ...] = ()

    def table(self, relation: Relation) -> TableProfile | None:
        """The table of that name, if there is one."""
        return next((table for table in self.tables if table.relation == relation), None)
