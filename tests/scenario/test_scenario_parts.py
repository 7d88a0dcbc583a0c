"""Counts, durations, and the lines of keys."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearse.scenario.lines import Loc, key_lines
from rehearse.scenario.scripts import ScriptChoice, parse_choice
from rehearse.scenario.values import RefusedError, parse_count, parse_duration


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (0, 0),
        (1_000, 1000),
        ("7", 7),
        ("200k", 200_000),
        ("1.5M", 1_500_000),
        ("2 B", 2 * 10**9),
        ("1_0K", 10_000),
    ],
)
def test_counts(text: int | str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "wrong", ["", "M", "1.5", "-1", -1, True, 1.5, None, "1e6", "2MB", "10000000B", "１"]
)
def test_what_is_no_count_is_refused(wrong: object) -> None:
    with pytest.raises(RefusedError, match="must be"):
        parse_count(wrong)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3s", 3.0),
        ("500ms", 0.5),
        ("2m", 120.0),
        ("1.5h", 5400.0),
        ("-1s", -1.0),
        ("1 min", 60.0),
        ("7us", 7e-6),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("wrong", [3, 3.0, True, "3", "s", "3 parsecs", "", None, ["3s"], "infs"])
def test_what_is_no_duration_is_refused(wrong: object) -> None:
    with pytest.raises(RefusedError, match="must be"):
        parse_duration(wrong)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("a.sql", ScriptChoice("a.sql", 1)),
        ("a.sql@9", ScriptChoice("a.sql", 9)),
        ("at@home/a.sql", ScriptChoice("at@home/a.sql", 1)),
        ("at@home/a.sql@2", ScriptChoice("at@home/a.sql", 2)),
        ("tpcb-like@3", ScriptChoice("tpcb-like", 3)),
    ],
)
def test_a_script_and_its_weight(text: str, choice: ScriptChoice) -> None:
    assert parse_choice(text) == choice


@pytest.mark.parametrize("wrong", ["@3", "a.sql@", "a.sql@x", "a.sql@1.5", "a.sql@-3", "a.sql@9999999"])
def test_a_weight_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(RefusedError):
        parse_choice(wrong)


TOML = """\
# a comment with [brackets] and "quotes
name = "x" # a = 1
dotted . key."in quotes" = 1

[table]
text = \"\"\"
not = "a key"
[nor a table]
\"\"\"
items = [ # first
    "a", # ]
    ["b",
     "c"],
    { d = 1, e = { f = "}" } },
]
raw = 'C:\\'

[[many]]
one = 1
[[many]]
one = 2
[many.inner]
deep = 1979-05-27T07:32:00Z
"""


def test_every_key_is_found_on_its_line() -> None:
    expected: dict[Loc, int] = {
        ("name",): 2,
        ("dotted", "key", "in quotes"): 3,
        ("table",): 5,
        ("table", "text"): 6,
        ("table", "items"): 10,
        ("table", "items", 0): 11,
        ("table", "items", 1): 12,
        ("table", "items", 1, 1): 13,
        ("table", "items", 2, "d"): 14,
        ("table", "items", 2, "e", "f"): 14,
        ("table", "raw"): 16,
        ("many",): 18,
        ("many", 0, "one"): 19,
        ("many", 1): 20,
        ("many", 1, "one"): 21,
        ("many", 1, "inner"): 22,
        ("many", 1, "inner", "deep"): 23,
    }
    lines = key_lines(TOML)

    assert {loc: lines.get(loc) for loc in expected} == expected
    assert ("not",) not in lines
    assert ("nor a table",) not in lines


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=5),
        st.one_of(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"))), st.integers(0, 99)),
        max_size=6,
    )
)
def test_keys_of_any_spelling_are_found(table: dict[str, str | int]) -> None:
    # JSON's strings are TOML's basic strings, as long as there are no control characters in them.
    text = "\n".join(
        f"{json.dumps(key, ensure_ascii=False)} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in table.items()
    )
    assert [key_lines(text)[key,] for key in table] == list(range(1, len(table) + 1))
