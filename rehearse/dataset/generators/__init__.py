"""The seam for columns that somebody describes: a scenario column by column, or a profile of production.

A description becomes a `ColumnGenerator`: a function from a *place* in [0, 1) to a value, the quantile
function of the column's distribution. Where a row's place comes from is another matter, the `Placing`: at
random, along the rows as they lie on disk, or beside another column of the same row. The two together, with
a share of nulls, are a `Given`; all of them for one data set, with the `Fan`s that say how many children
each parent has, are the `Wishes` that `plan_dataset(..., wishes=...)` takes. Keys and references are not
drawn this way: they stay bijections and lattices, see `Given.countable`.

Everything is a pure function of the row's number, so one seed gives one data set whatever the size of the
chunks. A new kind of generator is a class with `distinct` and `draw` that passes the contract test
(`tests/dataset/test_generators_contract.py`). Numbers and moments are best written by
`rehearse.dataset.values.Lattice.text`, from raw integers; lists of texts by `weighted.Weighted`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rehearse.dataset.bits import Rows
from rehearse.model.relation import Relation

if TYPE_CHECKING:
    import polars as pl

    from rehearse.dataset.generators.computed import Expression
    from rehearse.dataset.values import Values

Places: TypeAlias = NDArray[np.float64]
"""Where in its distribution each row's value lies: [0, 1), uniform over the rows."""


class ColumnGenerator(Protocol):
    """Values of one column. Instances are frozen: they compare and hash by what they say."""

    @property
    def distinct(self) -> int | None:
        """How many different values there are; None where nobody counts them."""

    def draw(self, rows: Rows, places: Places) -> pl.Series:
        """A value a row: text, or numbers whose text the server reads; null for NULL.

        Each value depends on the row's own number and place alone. Values rise with the place, as far as
        they have an order.
        """


class Fan(Protocol):
    """How the rows of a table are shared out over its parents."""

    def parents(self, places: Places, size: int) -> Rows:
        """The number, in [0, size), of the parent row of each place: a parent's share of [0, 1) is its
        share of the children.
        """


@dataclass(frozen=True, slots=True)
class Anywhere:
    """A place independent of all else."""


@dataclass(frozen=True, slots=True)
class InOrder:
    """Places that rise with the row's number: `correlation`, of ranks, as `pg_stats` has it, in [-1, 1]."""

    correlation: float


@dataclass(frozen=True, slots=True)
class Beside:
    """Places that go with those of another column of the row: `correlation` of ranks in [-1, 1]."""

    column: str
    correlation: float = 1.0


@dataclass(frozen=True)
class Jointly:
    """Places that follow from which piece of another column's line, ending at `ends`, the row's place there
    lies in.

    Of piece k the part of the rows up to `until` - k lies in [`low`, `low` + `length`), one entry after the
    other; rows in which that column is NULL are one piece more. The rest of the rows lie anywhere on the own
    line, whose pieces end at `own_ends` and get their shares up to `rest`.
    """

    column: str
    ends: tuple[float, ...]
    until: tuple[float, ...]
    low: tuple[float, ...]
    length: tuple[float, ...]
    rest: tuple[float, ...]
    own_ends: tuple[float, ...]

    @cached_property
    def arrays(self) -> tuple[Places, ...]:
        """All but the name."""
        return tuple(
            np.array(values, dtype=np.float64)
            for values in (self.ends, self.until, self.low, self.length, self.rest, self.own_ends)
        )


Placing: TypeAlias = Anywhere | InOrder | Beside | Jointly
_ANYWHERE = Anywhere()


@dataclass(frozen=True, slots=True)
class Given:
    """How one column is to be filled: by `generator`, or by an `expression` over its row; both None: as it
    would be anyway, but for the nulls and the placing.

    `null_fraction` None: as many as it would have anyway. `countable` are the same values one by one, for a
    column that is part of a key; without them the other columns of the key have to tell its rows apart.
    """

    generator: ColumnGenerator | None = None
    placing: Placing = _ANYWHERE
    null_fraction: float | None = None
    countable: Values | None = None
    expression: Expression | None = None

    @property
    def own(self) -> bool:
        """Whether the column has values of its own, whatever its type and name suggest."""
        return self.generator is not None or self.expression is not None


@dataclass(frozen=True, slots=True)
class Wishes:
    """All that is said about a data set beyond its schema and sizes.

    `fans` are by table and the columns of the foreign key. `children` give a table so many rows for each row
    of a parent, unless its rows are asked for by name. `dead` is the share of a table's row versions that
    are to be dead after the load. `rows` are for tables whose rows nobody asks for, by name or all at once.
    `locale` is Faker's, for words by column names.
    """

    columns: Mapping[tuple[Relation, str], Given] = field(default_factory=dict)
    fans: Mapping[tuple[Relation, tuple[str, ...]], Fan] = field(default_factory=dict)
    children: Mapping[Relation, tuple[Relation, float]] = field(default_factory=dict)
    dead: Mapping[Relation, float] = field(default_factory=dict)
    locale: str = "en_US"
    rows: Mapping[Relation, int] = field(default_factory=dict)
