"""How each row is made, as a function of its number alone.

Nothing here is remembered between rows: a foreign key is the parent's own recipe applied to the number
of a drawn parent row, and a key is the row number written in mixed radix over the key's columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from rehearse.dataset.bits import Rows, below, fractions
from rehearse.dataset.earlier import before_own
from rehearse.dataset.generators import Anywhere, ColumnGenerator, Fan, Placing
from rehearse.dataset.generators.computed import Expression
from rehearse.dataset.generators.placing import joined
from rehearse.dataset.siblings import Nth, Shared
from rehearse.dataset.values import Lattice, Values
from rehearse.model.relation import Relation
from rehearse.model.schema import Check


@dataclass(frozen=True, slots=True)
class Random:
    """Any of `size` places, independently of all else."""

    key: int
    size: int
    skewed: bool = False

    def index(self, rows: Rows) -> Rows:
        """The places that these rows get."""
        return below(rows, self.key, self.size, skewed=self.skewed)


@dataclass(frozen=True, slots=True)
class Digit:
    """One digit of the row number in mixed radix: `row // divide % modulo` (no modulo: the highest one).

    `without` is another digit (divide, modulo) that is taken out of the number first. `turn` seeds a
    rotation of the digit that depends on the lower ones: pairs look drawn and are still all different.
    """

    divide: int
    modulo: int | None = None
    without: tuple[int, int] | None = None
    turn: int | None = None

    def index(self, rows: Rows) -> Rows:
        """The places that these rows get."""
        rest = rows
        if self.without is not None:
            divide, modulo = map(np.uint64, self.without)
            rest = rest % divide + rest // (divide * modulo) * divide
        place = rest // np.uint64(self.divide)
        if self.modulo is None:
            return place
        if self.turn is not None:
            place = place + below(rest % np.uint64(self.divide), self.turn, self.modulo)
        return place % np.uint64(self.modulo)


@dataclass(frozen=True, slots=True)
class Ascending:
    """Places that rise with the row number, with some jitter: the times at which rows were created."""

    key: int
    rows: int
    size: int

    def index(self, rows: Rows) -> Rows:
        """The places that these rows get."""
        place = (rows + fractions(rows, self.key)) * (self.size / self.rows)
        return np.minimum(place.astype(np.uint64), np.uint64(self.size - 1))


@dataclass(frozen=True, slots=True)
class Earlier:
    """A row of the same table that comes before this one, of the same remainder modulo `strata`; the
    first ones get themselves.
    """

    key: int
    rows: int
    strata: int = 1

    def index(self, rows: Rows) -> Rows:
        """The numbers of the rows referred to."""
        strata = np.uint64(self.strata)
        existing = np.minimum(rows, np.uint64(self.rows - 1))
        earlier = existing // strata - (existing % strata < rows % strata)
        chosen = (fractions(rows, self.key) * earlier).astype(np.uint64)
        own = rows < strata
        return np.where(own, rows, chosen * strata + rows % strata)


@dataclass(frozen=True, slots=True)
class Within:
    """A parent row that agrees with another reference of the same row on the columns they share.

    `lead` is that other reference; its parent row belongs to stratum s, found by `through` (a reference
    of the lead's parent; None if the stratum is the parent row itself). Of `size` parent rows those of
    stratum s are s, s + strata, s + 2 strata ...; `place` says which one, None for any.
    """

    key: int
    lead: int
    through: int | None
    strata: int
    size: int
    place: Digit | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """Any of `size` parent rows but the one that reference number `lead` of the same row has: so many
    places (1 + those drawn) after it, round the end. `draw` is of `size - 1` places.
    """

    lead: int
    draw: Random | Digit | Nth
    size: int


@dataclass(frozen=True, slots=True)
class Fanned:
    """A parent row as a fan shares the rows out; of a table of `rows` rows, whose order the parents' go with
    as `correlation` says.
    """

    key: int
    size: int
    fan: Fan
    rows: int = 1
    correlation: float = 0.0

    def index(self, rows: Rows) -> Rows:
        """The parent rows that these rows get."""
        places = fractions(rows, self.key)
        if self.correlation:
            places = joined(places, np.minimum((rows + 0.5) / self.rows, 1 - 2.0**-53), self.correlation)
        return self.fan.parents(places, self.size)


@dataclass(frozen=True, slots=True)
class FannedEarlier:
    """A row of the same table that comes before this one, so that all together they are as the fan shares
    them out; as far as that can be, where it has late rows referred to often. The first row gets itself.
    """

    key: int
    rows: int
    fan: Fan

    def index(self, rows: Rows) -> Rows:
        """The numbers of the rows referred to."""
        existing = np.minimum(rows, np.uint64(self.rows - 1))
        places = before_own(self.fan, self.rows, existing, fractions(rows, self.key))
        chosen = self.fan.parents(places, self.rows)
        return np.where(chosen < existing, chosen, chosen * existing // np.uint64(self.rows))


Draw: TypeAlias = (
    Random | Digit | Ascending | Earlier | FannedEarlier | Within | Other | Fanned | Shared | Nth
)


@dataclass(frozen=True, slots=True)
class Nulls:
    """A share of the rows, in percent, that have no value, and the first `below` rows besides."""

    key: int
    percent: float
    below: int = 0


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key, or what is one by its name. `size` is how many parent rows there are to refer to, from
    the row `first` on.

    `from_server`: the parent was not generated; its keys are read from the database.
    """

    columns: tuple[str, ...]
    parent: Relation
    parent_columns: tuple[str, ...]
    draw: Draw
    size: int
    from_server: bool = False
    first: int = 0


@dataclass(frozen=True, slots=True)
class Own:
    """Values of the column's own at drawn places."""

    values: Values
    draw: Random | Digit | Ascending | Nth


@dataclass(frozen=True, slots=True)
class Borrowed:
    """The value that `column` of the parent has in the row that reference number `reference` drew."""

    reference: int
    column: str


@dataclass(frozen=True, slots=True)
class Following:
    """A value `least` to `least + span` units above (or below, sign -1) that of column `base` in the row."""

    base: str
    values: Lattice
    key: int
    least: int
    span: int
    sign: int = 1


@dataclass(frozen=True, slots=True)
class Empty:
    """NULL in every row."""


_ANYWHERE = Anywhere()


@dataclass(frozen=True, slots=True)
class Chosen:
    """Values of a generator that somebody chose, of a table of `rows` rows."""

    generator: ColumnGenerator
    key: int
    rows: int
    placing: Placing = _ANYWHERE


@dataclass(frozen=True, slots=True)
class Calculated:
    """What an expression makes of the other columns of the row."""

    expression: Expression


Source: TypeAlias = Own | Borrowed | Following | Empty | Chosen | Calculated


@dataclass(frozen=True, slots=True)
class ColumnRecipe:
    """Where one column's values come from."""

    name: str
    source: Source
    nulls: Nulls | None = None


@dataclass(frozen=True, slots=True)
class TableRecipe:
    """One table. `rows` are loaded; `limit` is how many its keys allow at all (None: no end in sight).

    `generated` False: a seed file filled it, the recipe serves fresh rows only. `checks` are what the
    server is asked before the load whether a sample of rows satisfies it.
    """

    relation: Relation
    rows: int
    columns: tuple[ColumnRecipe, ...]
    references: tuple[Reference, ...] = ()
    limit: int | None = None
    generated: bool = True
    checks: tuple[Check, ...] = ()
    later_checks: tuple[Check, ...] = ()
    partition_check: bool = False

    def column(self, name: str) -> ColumnRecipe:
        """The recipe of that column; KeyError if it has none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """All that is to be loaded. `rows` has every table that gets generated rows.

    `precautions` say what was done so that the migration can succeed, `notes` what could not be done.
    """

    tables: Mapping[Relation, TableRecipe]
    precautions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seed: int = 42
    found: Found = field(default_factory=lambda: Found(), compare=False, repr=False)  # noqa: PLW0108 - defined below

    @property
    def rows(self) -> Mapping[Relation, int]:
        """Rows to load, by table; partitioned tables by their root."""
        return {name: table.rows for name, table in self.tables.items() if table.generated}


@dataclass(slots=True)
class Found:
    """What only the server could tell, filled in by the load: rows of texts, by table and columns.

    `existing` are keys of tables that were not generated; `witnesses` are values that satisfy checks
    which generation does not understand.
    """

    existing: dict[tuple[Relation, tuple[str, ...]], list[tuple[str | None, ...]]] = field(
        default_factory=dict
    )
    witnesses: dict[Relation, dict[str, list[str | None]]] = field(default_factory=dict)
