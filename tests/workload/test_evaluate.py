from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.engines.postgres.wire import Value, to_literal, to_text
from rehearse.workload.evaluate import Lots, Scope, compile_expression
from rehearse.workload.expression import INT_MAX, INT_MIN, parse_expression
from rehearse.workload.lots import DrawError
from rehearse.workload.operations import EvaluationError

_integers = st.one_of(
    st.integers(-20, 20), st.integers(INT_MIN, INT_MAX), st.sampled_from((INT_MIN, INT_MAX))
)


def value_of(text: str, /, **variables: Value) -> Value:
    scope = Scope({"default_seed": 7, **variables}, Lots(np.random.default_rng(1)))
    return compile_expression(parse_expression(text))(scope)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # the examples of the manual's tables
        ("5 or 0", True),
        ("3 and 0", False),
        ("not false", True),
        ("1 is null", False),
        ("1 notnull", True),
        ("3 - 2.0", 1.0),
        ("5 / 3", 1),
        ("3 % 2", 1),
        ("1 # 3", 2),
        ("~ 1", -2),
        ("8 >> 2", 2),
        ("abs(-17)", 17),
        ("double(5432)", 5432.0),
        ("exp(1.0)", math.e),
        ("greatest(5, 4, 3, 2)", 5),
        ("hash(10, 5432)", -5817877081768721676),
        ("hash_murmur2(10, 5432)", -5817877081768721676),
        ("hash_fnv1a(10, 5432)", -7793829335365542153),
        ("int(5.4 + 3.8)", 9),
        ("least(5, 4, 3, 2.1)", 2.1),
        ("ln(2.718281828459045)", 1.0),
        ("mod(54, 32)", 22),
        ("pi()", math.pi),
        ("pow(2.0, 10)", 1024.0),
        ("power(2.0, 10)", 1024.0),
        ("sqrt(2.0)", math.sqrt(2)),
        # signs, rounding, and the edges of IEEE
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("7 % -3", 1),
        ("int(2.5)", 2),
        ("int(3.5)", 4),
        ("1 / 0.0", math.inf),
        ("exp(1000)", math.inf),
        ("ln(0)", -math.inf),
        ("1 << 70", 64),
        ("1 << 63", INT_MIN),
        ("greatest(1, 2.5)", 2.5),
        # NULL and truth
        ("null and false", None),
        ("false and null", False),
        ("null or true", None),
        ("not null", None),
        ("null + 1", None),
        ("greatest(1, null)", None),
        ("random(null, 3)", None),
        ("case when null then 1 when 2 then 3 end", 3),
        ("case when false then 1 end", None),
        ("1 is true", False),
        ("null is not true", True),
    ],
)
def test_values_are_those_of_pgbench(text: str, value: Value) -> None:
    found = value_of(text)
    assert type(found) is type(value)
    assert found == pytest.approx(value, rel=1e-12) if isinstance(value, float) else found == value


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775807 + 1",
        "-9223372036854775808 - 1",
        "5000000000 * 5000000000",
        "-9223372036854775808 / -1",
        "abs(-9223372036854775808)",
        "- :least",
        "1 / 0",
        "1 % 0",
        "int(1e30)",
        "int(ln(-1))",
        "true + 1",
        "1 = true",
        ":text + 1",
    ],
)
def test_what_has_no_value_is_an_error(text: str) -> None:
    with pytest.raises(EvaluationError):
        value_of(text, least=INT_MIN, text=b"abc")


@pytest.mark.parametrize(
    "text",
    [
        "random(5, 1)",
        "random(-9223372036854775808, 9223372036854775807)",
        "random_gaussian(1, 10, 1.5)",
        "random_zipfian(1, 10, 1)",
        "random_exponential(1, 10, 0)",
        "permute(3, 0)",
    ],
)
def test_a_distribution_that_cannot_be_is_an_error(text: str) -> None:
    with pytest.raises(DrawError):
        value_of(text)


@settings(max_examples=60, deadline=None)
@given(_integers, _integers, st.sampled_from("+-*"))
def test_integer_arithmetic_is_exact_or_an_error(a: int, b: int, operator: str) -> None:
    exact = {"+": a + b, "-": a - b, "*": a * b}[operator]
    if INT_MIN <= exact <= INT_MAX:
        assert value_of(f":a {operator} :b", a=a, b=b) == exact
    else:
        with pytest.raises(EvaluationError, match="out of range"):
            value_of(f":a {operator} :b", a=a, b=b)


@settings(max_examples=60, deadline=None)
@given(_integers, _integers.filter(bool))
def test_quotient_and_remainder_belong_together(a: int, b: int) -> None:
    if (a, b) != (INT_MIN, -1):
        quotient, remainder = value_of(":a / :b", a=a, b=b), value_of(":a % :b", a=a, b=b)
        assert isinstance(quotient, int)
        assert isinstance(remainder, int)
        assert quotient * b + remainder == a
        assert abs(remainder) < abs(b)


def test_a_text_from_the_server_counts_as_what_it_looks_like() -> None:
    assert value_of(":n + 1", n=b"41") == 42
    assert value_of(":x * 2", x=b"1.5") == 3.0
    assert value_of(":flag is true", flag=b"t") is True
    assert value_of(":name is null", name=b"abc") is False
    assert value_of(":name is null", name=None) is True


def test_debug_shows_and_returns_its_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert value_of("debug(6 * 7)") == 42
    assert "42" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "text", "literal"),
    [
        (None, None, b"NULL"),
        (True, b"true", b"true"),
        (-5, b"-5", b" -5"),  # `a -:x` must not become a comment
        (0.1, b"0.1", b"0.1"),
        (math.inf, b"Infinity", b"'Infinity'"),
        (math.nan, b"NaN", b"'NaN'"),
        (b"O'Neil", b"O'Neil", b"'O''Neil'"),
        (b"a\\b'", b"a\\b'", b" E'a\\\\b'''"),
    ],
)
def test_values_as_parameters_and_as_literals(value: Value, text: bytes | None, literal: bytes) -> None:
    assert to_text(value) == text
    assert to_literal(value) == literal
