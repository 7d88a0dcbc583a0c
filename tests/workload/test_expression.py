from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.model.workload import PoolKey
from rehearse.workload.expression import (
    INT_MAX,
    INT_MIN,
    Binary,
    Call,
    Case,
    Const,
    Draw,
    Expression,
    ExpressionError,
    Is,
    Unary,
    Var,
    parse_expression,
)

_names = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True)
_parts = st.text(
    st.characters(codec="utf-8", exclude_characters=".\x00\n", categories=("L", "N", "P", "Zs")), min_size=1
)
_constants = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(INT_MIN, INT_MAX),
    st.floats(allow_nan=False, allow_infinity=False),
).map(Const)
_draws = st.builds(
    lambda kind, table, column: Draw(PoolKey(kind, ".".join(table), column)),
    st.sampled_from(("sample", "fresh")),
    st.lists(_parts, min_size=1, max_size=2),
    _parts,
)
_leaves = st.one_of(_constants, _names.map(Var), _draws)
_OPERATORS = (
    "+",
    "-",
    "*",
    "/",
    "%",
    "|",
    "#",
    "&",
    "<<",
    ">>",
    "=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "and",
    "or",
)


def _is_plain_number(expression: Expression) -> bool:
    return isinstance(expression, Const) and type(expression.value) in {int, float}


def _grown(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    operands = inner.filter(lambda expression: not _is_plain_number(expression))
    return st.one_of(
        st.builds(Unary, st.just("-"), operands),  # a minus before a literal belongs to the literal
        st.builds(Unary, st.sampled_from(("~", "not")), inner),
        st.builds(Binary, st.sampled_from(_OPERATORS), inner, inner),
        st.builds(Is, inner, st.sampled_from((None, True, False)), st.booleans()),
        st.builds(Case, st.lists(st.tuples(inner, inner), min_size=1, max_size=2).map(tuple), inner),
        st.builds(Call, st.just("random"), st.tuples(inner, inner)),
        st.builds(Call, st.just("greatest"), st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.just(Call("pi", ())),
    )


@settings(max_examples=60, deadline=None)
@given(st.recursive(_leaves, _grown, max_leaves=12))
def test_what_is_printed_is_read_as_the_same(expression: Expression) -> None:
    assert parse_expression(str(expression)) == expression


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("1 | 2 + 4 # 1 & 3", "(((1 | (2 + 4)) # 1) & 3)"),
        ("2 - 3 - 4 * 5 % 6", "((2 - 3) - ((4 * 5) % 6))"),
        ("not 1 isnull", "(not (1 is null))"),
        ("not :a = 1 and :b notnull or true", "(((not (:a = 1)) and (:b is not null)) or true)"),
        ("~ 5 + 1", "(~ (5 + 1))"),
        ("- 5 << 1", "(-5 << 1)"),
        ("-:x * 3", "((- :x) * 3)"),
        ("- -5", "(- -5)"),
        ("1 != 2", "(1 <> 2)"),
        ("1 is not null is true", "((1 is not null) is true)"),
        ("CASE WHEN :n > 3 THEN Random(1,2) END", "case when (:n > 3) then random(1, 2) else null end"),
        ("-9223372036854775808", "-9223372036854775808"),
        (".5 + 5. + 1e3 + 2.5E-1", "(((0.5 + 5.0) + 1000.0) + 0.25)"),
        ('sample("My Shop".Orders."Id")', 'sample("My Shop"."orders"."Id")'),
    ],
)
def test_precedence_is_that_of_the_manual(text: str, printed: str) -> None:
    assert str(parse_expression(text)) == printed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 < 2 < 3", "cannot be chained"),
        ("5 +", "the end is not expected"),
        ("rando(1, 2)", "did you mean random"),
        ("abs()", "abs takes 1 arguments, not 0"),
        ("hash(1, 2, 3)", "hash takes 1 to 2"),
        ("0x10", "cannot be read"),
        ("1 @ 2", "cannot be read"),
        ("1 2", "'2' is not expected"),
        ("sample(orders)", "sample takes table.column"),
        ("fresh(a.b.c.d)", "fresh takes table.column"),
        ("sample(orders.*)", "is no name"),
        ("case 1 when 2 then 3 end", "WHEN is expected"),
        ("case when 1 then 2", "END is expected"),
        ("1 is 5", "NULL, TRUE or FALSE"),
        ("9223372036854775808", "does not fit into 64 bits"),
        ("random(1, 2", "is expected instead of the end"),
    ],
)
def test_what_is_no_expression_says_why(text: str, why: str) -> None:
    with pytest.raises(ExpressionError, match=why):
        parse_expression(text)
