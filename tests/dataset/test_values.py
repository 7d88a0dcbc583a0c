"""Values, digits and patterns by their laws: no database."""

from __future__ import annotations

import contextlib
import math
import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rehearse.dataset.bits import below, key_of, row_numbers
from rehearse.dataset.expressions import NotUnderstoodError, parse
from rehearse.dataset.facts import Bound, Facts, alternatives
from rehearse.dataset.keys import Carrier, KeySpec, allocate
from rehearse.dataset.kinds import Wanted, values_of
from rehearse.dataset.lattices import lattice
from rehearse.dataset.patterns import from_like, from_regex
from rehearse.dataset.recipe import Ascending, Digit, Earlier
from rehearse.dataset.values import Lattice, Template
from rehearse.model.schema import DataType, TypeKind

ROWS = row_numbers(0, 3000)
TYPES = [
    DataType("integer", "int4"),
    DataType("numeric(9,3)", "numeric", precision=9, scale=3),
    DataType("text", "text"),
    DataType("character varying(9)", "varchar", length=9),
    DataType("character(4)", "bpchar", length=4),
    DataType("date", "date"),
    DataType("timestamp with time zone", "timestamptz"),
    DataType("interval", "interval"),
    DataType("uuid", "uuid"),
    DataType("inet", "inet"),
    DataType("jsonb", "jsonb"),
    DataType("bytea", "bytea"),
    DataType("int4range", "int4range", TypeKind.RANGE, element=DataType("integer", "int4")),
    DataType("integer[]", "_int4", TypeKind.ARRAY, element=DataType("integer", "int4")),
]


@pytest.mark.parametrize("type_", TYPES, ids=lambda type_: type_.name)
@pytest.mark.parametrize("column", ["id", "email", "code", "x"])
def test_exact_values_differ(type_: DataType, column: str) -> None:
    values = values_of(type_, Facts(), Wanted("t", column, len(ROWS), exact=True, key=1))
    assert values.size >= len(ROWS)
    assert values.at(ROWS).n_unique() == len(ROWS)


@given(st.integers(1, 2**63), st.integers(1, 2**62), st.booleans())
def test_drawn_places_are_below_the_size(key: int, size: int, skewed: bool) -> None:
    drawn = below(row_numbers(0, 100), key, size, skewed=skewed)
    assert int(drawn.max()) < size


def test_skewed_draws_prefer_the_first() -> None:
    drawn = below(row_numbers(0, 20_000), key_of("x"), 10, skewed=True)
    counts = np.bincount(drawn.astype(np.int64), minlength=10)
    assert counts[0] > 1.5 * counts[9]
    assert counts[9] > 500


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 1500), st.booleans())
def test_keys_have_no_duplicates_within_their_limit(sizes: list[int], rows: int, shared: bool) -> None:
    carriers = tuple(Carrier(f"c{place}", size, shared=shared) for place, size in enumerate(sizes))
    made = allocate(rows, [KeySpec("k", tuple(c.name for c in carriers), carriers)], {}, ())
    assert made.limit >= min(rows, math.prod(sizes))
    numbers = row_numbers(0, min(rows, made.limit))
    columns = [made.digits[c.name].index(numbers) for c in carriers if c.name in made.digits]
    assert all(int(column.max()) < c.size for column, c in zip(columns, carriers, strict=False) if shared)
    assert len({tuple(row) for row in np.column_stack(columns).tolist()}) == len(numbers)


@given(st.integers(2, 30), st.integers(2, 30), st.integers(2, 30))
def test_two_keys_that_share_a_column(a: int, b: int, c: int) -> None:
    first, second, third = (Carrier(n, size, shared=True) for n, size in (("a", a), ("b", b), ("c", c)))
    keys = [KeySpec("ab", ("a", "b"), (first, second)), KeySpec("bc", ("b", "c"), (second, third))]
    made = allocate(10, keys, {}, ())
    numbers = row_numbers(0, min(500, made.limit))
    digits = {name: made.digits[name].index(numbers).tolist() for name in "abc"}
    for pair in ("ab", "bc"):
        together = list(zip(digits[pair[0]], digits[pair[1]], strict=True))
        assert len(set(together)) == len(together)


@given(st.integers(1, 500), st.integers(1, 20), st.integers(0, 2**40))
def test_earlier_rows_are_earlier_and_of_the_same_stratum(rows: int, strata: int, key: int) -> None:
    assume(strata <= rows)
    numbers = row_numbers(0, rows + 50)  # fresh rows refer to loaded ones, too
    chosen = Earlier(key, rows, strata).index(numbers)
    assert (chosen % strata == numbers % strata).all()
    assert ((chosen < numbers) | (numbers < strata)).all()
    assert (chosen[strata:] < rows).all()


def test_ascending_places_rise_and_stay_inside() -> None:
    places = Ascending(5, 100, 1000).index(row_numbers(0, 120)).astype(np.int64)
    assert (np.diff(places) >= 0).all()
    assert places.max() == 999


def test_values_do_not_depend_on_how_rows_are_asked_for() -> None:
    digit = Digit(7, 11, turn=3)
    whole = digit.index(ROWS)
    assert (np.concatenate([digit.index(ROWS[:100]), digit.index(ROWS[100:])]) == whole).all()


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(in|out|both)$",
        r"^[A-Z]{3}-\d{2,4}$",
        r"^[^@]+@[^@]+\.[^@]+$",
        r"^\+?[0-9]{7,15}$",
        r"^#[0-9a-fA-F]{6}$",
        r"^(?:a|b)c?[.]x*$",
        r"^[a-z][a-z0-9_]*$",
        r"ab|cd",
        r"^(\w+\.)+\w{2,}$",
    ],
)
def test_texts_match_the_pattern_they_are_made_from(pattern: str) -> None:
    texts = Template(from_regex(pattern), exact=False).at(row_numbers(0, 300)).to_list()
    assert all(re.search(pattern, text) for text in texts)


def test_texts_match_a_like_pattern() -> None:
    texts = Template(from_like(r"a\_%@_.com"), exact=False).at(row_numbers(0, 50)).to_list()
    assert all(re.fullmatch(r"a_.*@.\.com", text) for text in texts)


@given(st.integers(-100, 100), st.integers(0, 50), st.sampled_from(["<", "<="]), st.sampled_from([">", ">="]))
def test_lattices_keep_to_their_bounds(low: int, width: int, upper: str, lower: str) -> None:
    assume(width >= 2)
    facts = Facts(bounds=(Bound(lower, str(low)), Bound(upper, str(low + width))))
    made = lattice(DataType("integer", "int4"), facts, "x", exact=False, rows=10)
    raw = made.raw(row_numbers(0, made.size))
    assert ((raw > low) | ((raw == low) & (lower == ">="))).all()
    assert ((raw < low + width) | ((raw == low + width) & (upper == "<="))).all()


def test_lattice_of_several_pieces_counts_through_all_of_them() -> None:
    made = Lattice("integer", ((0, 4), (10, 14)), step=2)
    assert made.raw(row_numbers(0, made.size)).tolist() == [0, 2, 4, 10, 12, 14]


@pytest.mark.parametrize(
    ("form", "raw", "text"),
    [
        ("date", 19723, "2024-01-01"),
        ("timestamp", 1704067199, "2023-12-31 23:59:59"),
        ("timestamptz", -1, "1969-12-31 23:59:59+00"),
        ("time", 3661, "01:01:01"),
        ("interval", 90, "90 seconds"),
    ],
)
def test_instants_as_the_server_reads_them(form: str, raw: int, text: str) -> None:
    assert Lattice(form, ((raw, raw),)).at(row_numbers(0, 1)).to_list() == [text]


@pytest.mark.parametrize(
    "text",
    [
        "(a % 2) = 0 AND CASE",
        "EXTRACT(year FROM d) > 2000",
        "a IS OF (x)",
        "a[1] > 2",
        "-(a) > 1",
        "a ==> b)",
    ],
)
def test_strange_expressions_are_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstoodError):
        alternatives(parse(text))


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_not_understood(text: str) -> None:
    with contextlib.suppress(NotUnderstoodError):
        alternatives(parse(text))
