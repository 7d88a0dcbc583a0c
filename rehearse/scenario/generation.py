"""How a scenario says what generated columns and tables are like: `[dataset.columns]`, `[dataset.tables]`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from rehearse.model.generation import (
    CHILDREN_SHAPES,
    ChildrenSpec,
    ColumnSpec,
    Computed,
    FakerWords,
    Kind,
    Lognormal,
    Normal,
    Pattern,
    Sequence,
    TableSpec,
    Uniform,
    WeightedValues,
    Width,
    Zipf,
)
from rehearse.scenario.lines import Loc
from rehearse.scenario.nearest import suggestion
from rehearse.scenario.places import Places
from rehearse.scenario.values import RefusedError

_SPREAD = 4  # how much longer the longest text is than the mean, where nobody says


def _as_text(value: object) -> object:
    """TOML's own dates and times as the text that PostgreSQL reads."""
    return (
        value.isoformat(" ")
        if isinstance(value, datetime)
        else str(value)
        if isinstance(value, date | time)
        else value
    )


def _as_weights(value: object) -> object:
    """A list is values of one weight; numbers and booleans among them are meant as texts."""
    if isinstance(value, list):
        texts = [str(item).lower() if isinstance(item, bool) else _as_text(item) for item in value]
        return {item if isinstance(item, str) else str(item): 1.0 for item in texts}
    return value


def _some_weight(weights: dict[str, float]) -> dict[str, float]:
    if not weights or any(weight < 0 for weight in weights.values()) or sum(weights.values()) <= 0:
        raise RefusedError("must give at least one value a weight above 0, and none below")
    return weights


def _as_width(value: object) -> object:
    return {"mean": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _as_sequence(value: object) -> object:
    return {} if value is True else value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, dict) else value


def _known_shape(shape: str) -> str:
    if shape not in CHILDREN_SHAPES:
        raise RefusedError(
            f'must not be "{shape}"', suggestion(shape, CHILDREN_SHAPES, otherwise="it is one of")
        )
    return shape


def _filled(text: str) -> str:
    if not text.strip():
        raise RefusedError("must not be empty")
    return text


_ANY_SCALAR = WithJsonSchema({"type": ["number", "string"]})
Scalar = Annotated[float | str, BeforeValidator(_as_text), _ANY_SCALAR]
Text = Annotated[str, AfterValidator(_filled)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def _either(model: type[BaseModel], *others: dict[str, object]) -> WithJsonSchema:
    """The schema of a table that may be written in another way as well; all that it refers to is in it."""
    schema = model.model_json_schema()
    inner = schema.pop("$defs", {})

    def whole(value: object) -> object:
        if isinstance(value, list):
            return [whole(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return whole(inner[value["$ref"].rpartition("/")[2]])
        return {key: whole(item) for key, item in value.items()}

    table = whole(schema)
    several = {"type": "array", "items": table}
    return WithJsonSchema({"anyOf": [table, *(several if o == {"type": "array"} else o for o in others)]})


class UniformTable(_Table):
    """Any value from min to max."""

    min: Scalar = Field(description="The least: a number, or a moment.")
    max: Scalar = Field(description="The greatest.")


class NormalTable(_Table):
    """A bell."""

    mean: Scalar = Field(description="Its middle: a number, or a moment.")
    sigma: Scalar = Field(
        description='Standard deviation: a number, or a duration such as "12h" for moments.'
    )
    min: Scalar | None = Field(None, description="Nothing below it.")
    max: Scalar | None = Field(None, description="Nothing above it.")


class LognormalTable(_Table):
    """Many small values, a few large ones."""

    mean: Positive = Field(description="Of the values, before min and max cut them.")
    sigma: Positive = Field(description="Standard deviation of their natural logarithm.")
    min: float | None = Field(None, description="Nothing below it.")
    max: float | None = Field(None, description="Nothing above it.")


class ZipfTable(_Table):
    """A few values most of the time, and a long tail."""

    exponent: Annotated[float, Field(gt=0, le=10)] = Field(
        1.0, description="How steep: the k-th has k^-exponent."
    )
    distinct: Annotated[int, Field(ge=1, le=10**12)] = Field(1000, description="How many different values.")
    min: float | None = Field(None, description="Numbers count up from it; without it, values as usual.")


class SequenceTable(_Table):
    """Counting."""

    start: Scalar = Field(1.0, description="The first row's: a number, or a moment.")
    step: Scalar = Field(1.0, description='From row to row: a number, or a duration such as "90s".')


class WidthTable(_Table):
    """How long texts, bytes and documents are."""

    mean: Annotated[int, Field(ge=1, le=10**7)] = Field(description="Characters on average.")
    max: Annotated[int, Field(ge=1, le=10**7)] | None = Field(None, description="Characters at most.")


class ColumnTable(_Table):
    """How one column is filled: at most one kind of generator, and what goes with any of them."""

    values: (
        Annotated[
            dict[str, float],
            BeforeValidator(_as_weights),
            AfterValidator(_some_weight),
            WithJsonSchema({"type": ["object", "array"]}),
        ]
        | None
    ) = Field(None, description="Values with their weights, or a list of values.")
    uniform: UniformTable | None = Field(None, description="Any value from min to max.")
    normal: NormalTable | None = Field(None, description="A bell round mean.")
    lognormal: LognormalTable | None = Field(None, description="Many small values, a few large ones.")
    zipf: ZipfTable | None = Field(None, description="A few values most of the time, and a long tail.")
    sequence: (
        Annotated[SequenceTable, BeforeValidator(_as_sequence), _either(SequenceTable, {"type": "boolean"})]
        | None
    ) = Field(None, description="Counting; true for 1, 2, 3.")
    pattern: Text | None = Field(None, description="Texts that match a regular expression.")
    faker: Text | None = Field(None, description="Words of a provider of Faker, such as company.")
    expression: Text | None = Field(None, description="SQL over the other columns of the row.")
    width: (
        Annotated[WidthTable, BeforeValidator(_as_width), _either(WidthTable, {"type": "integer"})] | None
    ) = Field(None, description="Characters: their mean, or mean and max.")
    null_fraction: Fraction | None = Field(None, description="The share of rows without a value.")
    correlated_with: Text | None = Field(
        None, description="A column of the same table that this one goes with."
    )
    correlation: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        None, description="How closely: of ranks, from -1 to 1; 1 if not given."
    )


class HotTable(_Table):
    """Hot spots."""

    fraction: Annotated[float, Field(gt=0, lt=1)] = Field(description="So many of the parents ...")
    share: Annotated[float, Field(gt=0, lt=1)] = Field(description="... have so many of the children.")


class ChildrenTable(_Table):
    """How many rows refer to each row of a parent."""

    per: Text = Field(description="The parent table.")
    distribution: Annotated[
        str, AfterValidator(_known_shape), WithJsonSchema({"enum": list(CHILDREN_SHAPES)})
    ] = Field("uniform", description="Of the number of children over the parents.")
    mean: Positive | None = Field(
        None, description="Children of a parent on average; it sets the table's rows."
    )
    exponent: Annotated[float, Field(gt=0, le=10)] = Field(1.0, description="Of zipf.")
    sigma: Annotated[float, Field(gt=0, le=10)] = Field(1.0, description="Of lognormal.")
    hot: HotTable | None = Field(None, description="Some parents with most of the children.")


class TableTable(_Table):
    """One table as a whole."""

    children: Annotated[
        list[ChildrenTable], BeforeValidator(_as_list), _either(ChildrenTable, {"type": "array"})
    ] = Field([], description="How many rows refer to each row of a parent.")
    dead_fraction: Annotated[float, Field(ge=0, le=0.95)] = Field(
        0.0, description="The share of row versions that are dead after the load: bloat."
    )


_KINDS = (
    "values",
    "uniform",
    "normal",
    "lognormal",
    "zipf",
    "sequence",
    "pattern",
    "faker",
    "expression",
    "width",
)


def described(
    columns: Mapping[str, ColumnTable], tables: Mapping[str, TableTable], places: Places
) -> tuple[tuple[ColumnSpec, ...], tuple[TableSpec, ...]]:
    """The model's form of both tables. Raises ScenarioError for a column with two kinds of generator."""
    return (
        tuple(_column(name, table, places) for name, table in columns.items()),
        tuple(_table(name, table) for name, table in tables.items()),
    )


def _column(name: str, table: ColumnTable, places: Places) -> ColumnSpec:
    loc: Loc = ("dataset", "columns", name)
    named = [kind for kind in _KINDS if getattr(table, kind) is not None]
    if len(named) > 1:
        raise places.error(
            (*loc, named[1]), f"{{}} cannot be given beside `{named[0]}`", "keep one of the two"
        )
    if table.correlation is not None and table.correlated_with is None:
        raise places.error((*loc, "correlation"), "{} needs `correlated_with`")
    if not named and table.null_fraction is None and table.correlated_with is None:
        raise places.error(
            loc, "{} says nothing", f"give one of {', '.join(_KINDS)}, null_fraction, correlated_with"
        )
    correlation = 1.0 if table.correlation is None else table.correlation
    return ColumnSpec(name, _kind(table), table.null_fraction, table.correlated_with, correlation)


def _kind(table: ColumnTable) -> Kind | None:  # noqa: C901, PLR0911 - one arm a kind
    if table.values is not None:
        return WeightedValues(tuple(table.values.items()))
    if (uniform := table.uniform) is not None:
        return Uniform(uniform.min, uniform.max)
    if (normal := table.normal) is not None:
        return Normal(normal.mean, normal.sigma, normal.min, normal.max)
    if (lognormal := table.lognormal) is not None:
        return Lognormal(lognormal.mean, lognormal.sigma, lognormal.min, lognormal.max)
    if (zipf := table.zipf) is not None:
        return Zipf(zipf.exponent, zipf.distinct, zipf.min)
    if (sequence := table.sequence) is not None:
        return Sequence(sequence.start, sequence.step)
    if table.pattern is not None:
        return Pattern(table.pattern)
    if table.faker is not None:
        return FakerWords(table.faker)
    if table.expression is not None:
        return Computed(table.expression)
    if (width := table.width) is not None:
        return Width(width.mean, width.max or _SPREAD * width.mean)
    return None


def _table(name: str, table: TableTable) -> TableSpec:
    children = tuple(
        ChildrenSpec(
            per=child.per,
            shape=child.distribution,
            mean=child.mean,
            exponent=child.exponent,
            sigma=child.sigma,
            hot_fraction=child.hot.fraction if child.hot else None,
            hot_share=child.hot.share if child.hot else None,
        )
        for child in table.children
    )
    return TableSpec(name, children, table.dead_fraction)
