"""The contract of column generators, over every kind there is; and that they draw what they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy import stats

from rehearse.dataset.bits import fractions, row_numbers
from rehearse.dataset.facts import Bound, Facts
from rehearse.dataset.generators import ColumnGenerator, Fan, Given
from rehearse.dataset.generators.computed import compiled
from rehearse.dataset.generators.fans import EvenFan, HotFan, LognormalFan, ZipfFan
from rehearse.dataset.generators.making import Place, made
from rehearse.dataset.generators.placing import joined
from rehearse.dataset.generators.words import widths
from rehearse.errors import DatasetError
from rehearse.model import generation as said
from rehearse.model.schema import DataType

N = 20_000
ROWS = row_numbers(0, N)
PLACES = fractions(ROWS, 11)
TYPES = {
    name: DataType(
        name, name, precision=10 if name == "numeric" else None, scale=2 if name == "numeric" else None
    )
    for name in (
        "int4",
        "int8",
        "numeric",
        "float8",
        "text",
        "date",
        "timestamptz",
        "time",
        "interval",
        "bytea",
    )
} | {"jsonb": DataType("jsonb", "jsonb"), "varchar(9)": DataType("character varying(9)", "varchar", length=9)}


def given(kind: said.Kind, type_: str, facts: Facts | None = None) -> Given:
    place = Place(
        "t.c: `k`", "t", "c", TYPES[type_], facts or Facts(), {"a": "int4", "b": "text"}, "en_US", 1
    )
    return made(kind, place)


def drawn(kind: said.Kind, type_: str, facts: Facts | None = None) -> pl.Series:
    generator = given(kind, type_, facts).generator
    assert generator is not None
    return generator.draw(ROWS, PLACES)


def numbers(kind: said.Kind, type_: str = "float8", facts: Facts | None = None) -> NDArray[np.float64]:
    return drawn(kind, type_, facts).cast(pl.Float64).to_numpy()


EVERY_KIND: list[tuple[said.Kind, str]] = [
    (said.WeightedValues((("a", 3.0), ("b", 1.0))), "text"),
    (said.WeightedValues((("1", 1.0), ("20", 1.0))), "int4"),
    (said.Uniform(1, 6), "int4"),
    (said.Uniform(0.5, 1.5), "float8"),
    (said.Uniform("2024-01-01", "2024-12-31"), "date"),
    (said.Normal(100, 15), "numeric"),
    (said.Normal("2024-06-01 12:00", "36h"), "timestamptz"),
    (said.Lognormal(50, 1.0, 1, 500), "numeric"),
    (said.Zipf(1.1, 500), "text"),
    (said.Zipf(1.0, 90, 10), "int4"),
    (said.Zipf(1.3, 10_000_000), "int8"),
    (said.Sequence(100, 5), "int8"),
    (said.Sequence("2024-01-01", "1h"), "timestamptz"),
    (said.Pattern("INV-[0-9]{8}"), "text"),
    (said.Pattern("[a-z]{40}"), "text"),
    (said.FakerWords("company"), "text"),
    (said.Width(80, 300), "text"),
    (said.Width(80, 300), "jsonb"),
    (said.Width(20, 30), "bytea"),
]


@pytest.mark.parametrize(("kind", "type_"), EVERY_KIND, ids=lambda part: getattr(part, "kind", part))
def test_every_kind_keeps_the_contract(kind: said.Kind, type_: str) -> None:
    one, other = given(kind, type_).generator, given(kind, type_).generator
    assert one is not None
    assert other is not None
    assert (one, hash(one)) == (other, hash(other))
    whole = one.draw(ROWS, PLACES)
    assert len(whole) == N
    assert whole.null_count() == 0
    assert whole.dtype == pl.String or whole.dtype.is_numeric()
    # whatever the rows come in, and in whatever order, each has its value
    cut = [
        other.draw(ROWS[start : start + 7919], PLACES[start : start + 7919]) for start in range(0, N, 7919)
    ]
    assert pl.concat(cut).equals(whole)
    assert other.draw(ROWS[::-1], PLACES[::-1]).reverse().equals(whole)
    assert len(one.draw(ROWS[:0], PLACES[:0])) == 0
    # the ends of [0, 1) have values too
    assert one.draw(ROWS[:2], np.array([0.0, 1 - 2.0**-53])).null_count() == 0
    if one.distinct is not None:
        assert whole.n_unique() <= one.distinct


@pytest.mark.parametrize(
    ("kind", "cdf"),
    [
        (said.Uniform(-2.5, 7.5), stats.uniform(-2.5, 10).cdf),
        (said.Normal(10, 3), stats.norm(10, 3).cdf),
        (said.Normal(10, 3, 8, 30), stats.truncnorm(-2 / 3, 20 / 3, 10, 3).cdf),
        (said.Lognormal(20, 0.8), stats.lognorm(0.8, scale=20 * np.exp(-0.32)).cdf),
    ],
    ids=["uniform", "normal", "cut normal", "lognormal"],
)
def test_continuous_kinds_have_their_distribution(kind: said.Kind, cdf: Callable[[float], float]) -> None:
    assert stats.kstest(numbers(kind), cdf).pvalue > 1e-3


def test_values_come_as_often_as_their_weights_say() -> None:
    series = drawn(said.WeightedValues((("open", 70), ("paid", 25), ("void", 5))), "text")
    counts = [series.to_list().count(item) for item in ("open", "paid", "void")]
    assert stats.chisquare(counts, [0.70 * N, 0.25 * N, 0.05 * N]).pvalue > 1e-3


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.5])
def test_zipf_ranks_fall_off_by_their_exponent(exponent: float) -> None:
    # more values than are summed up one by one: the tail is an integral
    count = 1_000_000
    ranks = numbers(said.Zipf(exponent, count, 1), "int8")
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    edges = np.unique(np.geomspace(1, count + 1, 25).astype(int))
    expected = np.add.reduceat(weights / weights.sum(), edges[:-1] - 1)
    observed, _ = np.histogram(ranks, edges)
    keep = expected * N > 5
    seen, wanted = observed[keep], expected[keep]
    # those in the other pieces are few: the rest of the whole, so that both sums are the same
    seen, wanted = np.append(seen, N - seen.sum()) + 1.0, np.append(wanted, 1 - wanted.sum()) * N + 1.0
    assert stats.chisquare(seen, wanted).pvalue > 1e-3
    assert ranks.max() <= count


def test_whole_numbers_have_every_point_alike() -> None:
    dice = numbers(said.Uniform(1, 6), "int4")
    assert stats.chisquare(np.bincount(dice.astype(int))[1:]).pvalue > 1e-3


def test_constraints_cut_what_has_no_ends_of_its_own() -> None:
    cut = numbers(said.Normal(0, 10), "numeric", Facts(bounds=(Bound(">", "0"), Bound("<=", "12.5"))))
    assert cut.min() > 0
    assert cut.max() <= 12.5
    assert stats.kstest(cut, stats.truncnorm(0, 1.25, 0, 10).cdf).pvalue > 1e-4


@pytest.mark.parametrize("correlation", [-1.0, -0.6, 0.0, 0.5, 0.9, 1.0])
def test_places_correlate_and_stay_uniform(correlation: float) -> None:
    other = fractions(ROWS, 12)
    places = joined(PLACES, other, correlation)
    assert stats.spearmanr(places, other).statistic == pytest.approx(correlation, abs=0.02)
    assert stats.kstest(places, "uniform").pvalue > 1e-3
    assert places.max() < 1


@pytest.mark.parametrize("most", [100, 130, 400, 4000])
def test_widths_have_their_mean_and_their_end(most: int) -> None:
    lengths = widths(100, most, 1024)
    assert np.mean(lengths) == pytest.approx(100, abs=1)
    assert max(lengths) <= most


@pytest.mark.parametrize(("type_", "least"), [("text", 1), ("jsonb", 12), ("bytea", 4)])
def test_texts_are_as_long_as_their_widths_say(type_: str, least: int) -> None:
    lengths = drawn(said.Width(80, 300), type_).str.len_chars().to_numpy()
    each = 2 if type_ == "bytea" else 1  # two digits a byte
    assert lengths.mean() == pytest.approx(80 * each, rel=0.03)
    assert least <= lengths.min() <= lengths.max() <= 300 * each + 2


FANS: list[Fan] = [
    EvenFan(),
    ZipfFan(1.0),
    LognormalFan(1.0),
    HotFan(0.05, 0.5, EvenFan()),
    HotFan(0.1, 0.9, ZipfFan(0.5)),
]


@pytest.mark.parametrize("fan", FANS, ids=lambda fan: type(fan).__name__)
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_every_fan_keeps_to_the_parents_there_are(fan: Fan, size: int) -> None:
    parents = fan.parents(PLACES, size)
    assert parents.dtype == np.uint64
    assert int(parents.max()) < size
    assert np.array_equal(fan.parents(PLACES[:100], size), parents[:100])


def _busiest(fan: Fan, size: int, share: float) -> float:
    counts = np.sort(np.bincount(fan.parents(PLACES, size).astype(np.intp), minlength=size))[::-1]
    return float(counts[: round(size * share)].sum() / N)


def test_fans_share_the_children_out_as_they_say() -> None:
    assert _busiest(EvenFan(), 100, 0.1) == pytest.approx(0.1, abs=0.02)
    assert _busiest(HotFan(0.05, 0.5, EvenFan()), 1000, 0.05) == pytest.approx(0.5, abs=0.02)
    harmonic = float(np.sum(1 / np.arange(1, 1001)))
    assert _busiest(ZipfFan(1.0), 1000, 0.01) == pytest.approx(
        np.sum(1 / np.arange(1, 11)) / harmonic, abs=0.02
    )
    # the Lorenz curve of a lognormal: the upper tenth has 1 - ndtr(ndtri(0.9) - sigma)
    assert _busiest(LognormalFan(1.0), 1000, 0.1) == pytest.approx(1 - stats.norm.cdf(1.2816 - 1), abs=0.02)


@pytest.mark.parametrize(
    ("sql", "type_", "expected"),
    [
        ("a * 2", "int4", [2, 4, None]),
        ("a / 2.0", "float8", [0.5, 1.0, None]),
        ("upper(b) || '-' || a", "text", ["X-1", "Y-2", None]),
        ("case when a > 1 then 'many' else 'one' end", "text", ["one", "many", "one"]),
        ("coalesce(a, 0) = 0", "bool", ["false", "false", "true"]),
        ("d + interval '1 day'", "date", ["2024-02-29", "2024-03-02", "2024-01-02"]),
        ("7", "int4", [7, 7, 7]),
    ],
)
def test_expressions_are_evaluated_row_by_row(sql: str, type_: str, expected: list[object]) -> None:
    columns = {
        "a": pl.Series([1, 2, None], dtype=pl.Int64),
        "b": pl.Series(["x", "y", "z"]),
        "d": pl.Series(["2024-02-28", "2024-03-01", "2024-01-01"]),
    }
    expression = compiled(sql, {"a": "int4", "b": "text", "d": "date"}, type_, "t.c: `expression`")
    assert expression.draw({name: columns[name] for name in expression.columns}, 3).to_list() == expected


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("prise * 2", "did you mean price"),
        ("sum(price)", "sum is not part of the language"),
        ("row_number() over ()", "window is not part of the language"),
        ("(select 1)", "subquery is not part of the language"),
        ("pg_read_file('/etc/passwd')", "pg_read_file is not part of the language"),
        ("lowr(name)", "did you mean lower"),
        ("price; drop table t", "is not part of the language"),
        ("price +", "cannot be read"),
        ("other.price", "names a table"),
        ("price + name", "cannot be evaluated"),
    ],
)
def test_expressions_outside_the_language_are_refused(sql: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        compiled(sql, {"price": "numeric", "name": "text"}, "numeric", "t.c: `expression`")


@pytest.mark.parametrize(
    ("kind", "type_", "message"),
    [
        (said.Normal(1, 1), "text", "for numbers and moments"),
        (said.Uniform("soon", "later"), "date", "no date"),
        (said.Uniform(1, 2), "date", "moments in quotes"),
        (said.Uniform(5, 4), "int4", "min above its max"),
        (said.Pattern("(?=x)"), "text", "turned round"),
        (said.Pattern("x"), "int4", "for text"),
        (said.FakerWords("compny"), "text", "did you mean company"),
        (said.FakerWords("seed_instance"), "text", "no provider"),
        (said.Width(30, 40), "varchar(9)", "takes 9"),
        (said.WeightedValues((("x", 1.0),)), "int4", "no int4"),
        (said.Zipf(1.0, 10**6), "varchar(9)", None),
    ],
)
def test_what_a_type_does_not_take_is_refused(kind: said.Kind, type_: str, message: str | None) -> None:
    if message is None:
        assert given(kind, type_).generator is not None
        return
    with pytest.raises(DatasetError, match=message):
        given(kind, type_)


def _is_a_generator(generator: ColumnGenerator) -> ColumnGenerator:
    return generator
