"""A column computed from the others of its row: SQL scalar expressions, evaluated by polars in bulk.

The language is a small, closed part of SQL: arithmetic, comparison, AND/OR/NOT, CASE, CAST, IN, BETWEEN,
LIKE, `||` and the functions of `FUNCTIONS`. There are no aggregates, windows or subqueries: a row's value
depends on that row alone. Nothing in it can reach the server, a file or Python.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from rehearse.dataset.lattices import INTEGERS
from rehearse.errors import DatasetError

if TYPE_CHECKING:
    from sqlglot import exp

FUNCTIONS = (
    *("abs", "ceil", "coalesce", "concat", "exp", "extract", "floor", "greatest", "least", "left", "length"),
    *("ln", "lower", "ltrim", "mod", "nullif", "power", "replace", "right", "round", "rtrim", "sign", "sqrt"),
    *("substring", "trim", "upper"),
)
# sqlglot's classes of nodes that make up the language
_NODES = frozenset(
    (
        *("Abs", "Add", "And", "Between", "Boolean", "Case", "Cast", "Ceil", "Coalesce", "Column", "Concat"),
        *("DPipe", "DataType", "Div", "EQ", "Exp", "Extract", "Floor", "GT", "GTE", "Greatest", "Identifier"),
        *("If", "In", "Interval", "Is", "LT", "LTE", "Least", "Left", "Length", "Like", "Literal", "Ln"),
        *("Lower", "Mod", "Mul", "NEQ", "Neg", "Not", "Null", "Nullif", "Or", "Paren", "Pow", "Replace"),
        *("Right", "Round", "Sign", "Sqrt", "Sub", "Substring", "Trim", "Upper", "Var"),
    )
)
_PARSED: dict[str, tuple[pl.Date | pl.Datetime, str]] = {
    "date": (pl.Date(), "%Y-%m-%d"),
    "timestamp": (pl.Datetime("us"), "%Y-%m-%d %H:%M:%S"),
    "timestamptz": (pl.Datetime("us"), "%Y-%m-%d %H:%M:%S+00"),
}
_NUMBERS = frozenset({"numeric", "float4", "float8", "money"})


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression over `columns` (in it `c0`, `c1` ...) whose result becomes a value of type `type_`.

    `types` are the base types of the columns.
    """

    sql: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    type_: str

    def draw(self, columns: Mapping[str, pl.Series], length: int) -> pl.Series:
        """A value for each row from the values of the columns; text, or numbers. ValueError where polars
        cannot evaluate it.
        """
        read = {
            f"c{place}": _read(columns[name], type_)
            for place, (name, type_) in enumerate(zip(self.columns, self.types, strict=True))
        }
        # at least one column: an expression of constants is still a value a row
        frame = pl.DataFrame({**read, "row": pl.repeat(0, length, eager=True)})
        try:
            result = frame.select(pl.sql_expr(self.sql).alias("value"))["value"]
            written = _written(result, self.type_)
        except pl.exceptions.PolarsError as error:
            raise ValueError(str(error).splitlines()[0]) from None
        return written if len(written) == length else written.new_from_index(0, length)


def compiled(sql: str, types: Mapping[str, str], type_: str, what: str) -> Expression:
    """The expression over columns of these base types. `what` names it in messages. Raises DatasetError
    for what is not of the language, and names the nearest column or function.
    """
    tree = _parsed(sql, what)
    names: dict[str, int] = {}
    for node in tree.walk():
        _require_known(node, what)
    for column in list(_columns(tree)):
        name = _resolved(column, types, what)
        place = names.setdefault(name, len(names))
        column.args["this"].set("this", f"c{place}")
        column.args["this"].set("quoted", False)
    expression = Expression(tree.sql(dialect="postgres"), tuple(names), tuple(types[n] for n in names), type_)
    _try(expression, what)
    return expression


def _parsed(sql: str, what: str) -> exp.Expr:
    from sqlglot import parse_one  # noqa: PLC0415 - slow to import, and few commands need it
    from sqlglot.errors import SqlglotError  # noqa: PLC0415 - as above

    try:
        return parse_one(sql, dialect="postgres")
    except (SqlglotError, RecursionError):
        raise DatasetError(f"{what} cannot be read as a SQL expression", "such as quantity * price") from None


def _columns(tree: exp.Expr) -> Iterator[exp.Expr]:
    from sqlglot import exp  # noqa: PLC0415 - as above

    yield from tree.find_all(exp.Column)


def _require_known(node: exp.Expr, what: str) -> None:
    kind = type(node).__name__
    if kind in _NODES:
        return
    name = str(node.args.get("this") if kind == "Anonymous" else kind).lower()
    near = difflib.get_close_matches(name, FUNCTIONS, n=1)
    mend = f"did you mean {near[0]}?" if near else f"there are: {', '.join(FUNCTIONS)}"
    raise DatasetError(f"{what}: {name} is not part of the language of expressions", mend)


def _resolved(column: exp.Expr, types: Mapping[str, str], what: str) -> str:
    name = str(column.args["this"].this)
    if column.args.get("table") is not None:
        raise DatasetError(f"{what}: {column.sql()} names a table", "an expression is over its own row")
    if name in types:
        return name
    if not column.args["this"].args.get("quoted") and name.lower() in types:
        return name.lower()
    near = difflib.get_close_matches(name, list(types), n=1)
    mend = f"did you mean {near[0]}?" if near else f"there are: {', '.join(list(types)[:10])}"
    raise DatasetError(f"{what}: there is no column {name} to compute it from", mend)


def _try(expression: Expression, what: str) -> None:
    """Evaluates it for a few rows: what polars cannot do is known before anything is loaded."""
    examples = {
        name: _example(type_) for name, type_ in zip(expression.columns, expression.types, strict=True)
    }
    try:
        expression.draw(examples, 2)
    except ValueError as error:
        raise DatasetError(f"{what} cannot be evaluated: {error}") from None


def _example(type_: str) -> pl.Series:
    if type_ in INTEGERS | _NUMBERS:
        return pl.Series([1, 2])
    texts = {
        "bool": ["true", "false"],
        "date": ["2024-01-01", "2024-02-29"],
        "timestamp": ["2024-01-01 00:00:00", "2024-02-29 12:00:00"],
        "timestamptz": ["2024-01-01 00:00:00+00", "2024-02-29 12:00:00+00"],
    }
    return pl.Series(texts.get(type_, ["a", "b"]))


def _read(series: pl.Series, type_: str) -> pl.Series:
    if type_ in _PARSED:
        into, form = _PARSED[type_]
        return series.cast(pl.String).str.strptime(into, form, strict=False)
    if type_ == "bool":
        return series.cast(pl.String) == "true"
    if type_ in INTEGERS:
        return series.cast(pl.Int64, strict=False)
    return series.cast(pl.Float64, strict=False) if type_ in _NUMBERS else series.cast(pl.String)


def _written(series: pl.Series, type_: str) -> pl.Series:
    """As the server reads a value of `type_`."""
    if series.dtype in (pl.Date(), pl.Datetime("us")) or series.dtype.is_temporal():
        form = "%Y-%m-%d" if series.dtype == pl.Date() or type_ == "date" else "%Y-%m-%d %H:%M:%S"
        return series.dt.to_string(form)
    if series.dtype == pl.Boolean():
        return series.cast(pl.String)
    if series.dtype.is_numeric():
        if series.dtype.is_float():
            # what has no value (a division by zero) is no value
            series = series.to_frame("x").select(pl.when(pl.col("x").is_finite()).then(pl.col("x")))["x"]
        return series.round().cast(pl.Int64, strict=False) if type_ in INTEGERS else series
    return series.cast(pl.String)
