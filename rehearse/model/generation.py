"""How a scenario wants columns and tables filled, as the user said it: names unresolved, nothing looked up.

A `Scalar` is a number, or a moment as text, whichever the column's type turns out to need; a `Span` is a
number in the column's own units (days for dates, seconds for other moments), or a duration in seconds where
`spans_in_seconds` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Scalar: TypeAlias = float | str


@dataclass(frozen=True, slots=True)
class WeightedValues:
    """These values, each as often as its weight says."""

    items: tuple[tuple[str, float], ...]
    kind: Literal["values"] = "values"


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any value from `low` to `high`, both included."""

    low: Scalar
    high: Scalar
    kind: Literal["uniform"] = "uniform"


@dataclass(frozen=True, slots=True)
class Normal:
    """A bell round `mean`; what lies beyond `low` and `high` is left out."""

    mean: Scalar
    sigma: Scalar
    low: Scalar | None = None
    high: Scalar | None = None
    kind: Literal["normal"] = "normal"


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Many small values and a few large ones: `mean` is that of the values (before `low` and `high` cut
    them), `sigma` the standard deviation of their natural logarithm.
    """

    mean: float
    sigma: float
    low: float | None = None
    high: float | None = None
    kind: Literal["lognormal"] = "lognormal"


@dataclass(frozen=True, slots=True)
class Zipf:
    """`distinct` values, the k-th of them in proportion to k ** -exponent; numbers count up from `low`."""

    exponent: float = 1.0
    distinct: int = 1000
    low: float | None = None
    kind: Literal["zipf"] = "zipf"


@dataclass(frozen=True, slots=True)
class Sequence:
    """`start`, `start + step`, ... by the row's number."""

    start: Scalar = 1.0
    step: Scalar = 1.0
    kind: Literal["sequence"] = "sequence"


@dataclass(frozen=True, slots=True)
class Pattern:
    """Texts that match a regular expression."""

    regex: str
    kind: Literal["pattern"] = "pattern"


@dataclass(frozen=True, slots=True)
class FakerWords:
    """Words of one of Faker's providers."""

    provider: str
    kind: Literal["faker"] = "faker"


@dataclass(frozen=True, slots=True)
class Computed:
    """A SQL expression over the other columns of the row."""

    sql: str
    kind: Literal["expression"] = "expression"


@dataclass(frozen=True, slots=True)
class Width:
    """Texts, bytes or documents of `mean` characters, none longer than `most`."""

    mean: int
    most: int
    kind: Literal["width"] = "width"


Kind: TypeAlias = (
    WeightedValues | Uniform | Normal | Lognormal | Zipf | Sequence | Pattern | FakerWords | Computed | Width
)


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column, as `[schema.]table.column`. What is None is as it would be anyway."""

    column: str
    kind: Kind | None = None
    null_fraction: float | None = None
    correlated_with: str | None = None
    correlation: float = 1.0


@dataclass(frozen=True, slots=True)
class ChildrenSpec:
    """How many rows refer to each row of the table `per`.

    `shape` is uniform, zipf (with `exponent`) or lognormal (with `sigma`). `hot_fraction` of the
    parents get `hot_share` of the references first of all. `mean` sets the number of rows, unless that is
    given.
    """

    per: str
    shape: str = "uniform"
    mean: float | None = None
    exponent: float = 1.0
    sigma: float = 1.0
    hot_fraction: float | None = None
    hot_share: float | None = None


CHILDREN_SHAPES = ("uniform", "zipf", "lognormal")


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table as a whole: its references, and the share of its row versions that is dead."""

    table: str
    children: tuple[ChildrenSpec, ...] = ()
    dead_fraction: float = 0.0
