"""What may stand in a profile, and what may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.dataset.profile.take import profile_of
from rehearse.dataset.profile.withhold import Rules, rounded
from rehearse.engines.postgres.statistics import ColumnStatistics, DatabaseStatistics, TableStatistics
from rehearse.errors import InputError
from rehearse.model.profile import ColumnProfile
from rehearse.model.profile_file import parse_profile, profile_text
from rehearse.model.relation import Relation

RELATION = Relation("public", "people")
LABELS = ColumnStatistics(
    "status",
    "text",
    "text",
    "S",
    known=True,
    distinct=2.0,
    values=("new", "in progress"),
    frequencies=(0.7, 0.3),
)
NUMBERS = ColumnStatistics(
    "weight",
    "numeric",
    "numeric",
    "N",
    known=True,
    distinct=-0.5,
    values=("70",),
    frequencies=(0.1,),
    bounds=tuple(f"{n}.123" for n in range(50, 151)),
)


HEAD = '{"format": "rehearse-profile", "version": 1, "taken_at": "", "server": "", "tables":'


def taken(column: ColumnStatistics, rules: Rules | None = None, rows: int = 10_000) -> ColumnProfile:
    table = TableStatistics(RELATION, rows, False, rows, 0, 0, 0, 0, (), (column,), (), ())
    statistics = DatabaseStatistics("PostgreSQL 18", "2026-01-01T00:00:00Z", (table,))
    return profile_of(statistics, rules or Rules()).tables[0].columns[0]


def test_labels_that_many_share_are_written() -> None:
    made = taken(LABELS)
    assert not made.withheld
    assert [common.value for common in made.common] == ["new", "in progress"]


@pytest.mark.parametrize(
    "column",
    [
        replace(LABELS, name="full_name"),
        replace(LABELS, name="contact_email"),
        replace(LABELS, values=("Anna Smith", "new")),
        replace(LABELS, values=("0171 1234567", "new")),
        replace(LABELS, values=("a@b.example", "new")),
        replace(LABELS, frequencies=(0.0002, 0.0001)),
        replace(LABELS, bounds=("abc", "xyz")),
        replace(LABELS, values=("x" * 60, "new")),
        replace(LABELS, base="inet", category="I"),
        replace(LABELS, base="uuid", category="U"),
        replace(LABELS, base="jsonb", category="U"),
        replace(LABELS, key=True),
        replace(NUMBERS, name="salary"),
        replace(NUMBERS, name="phone", key=True),
        replace(NUMBERS, name="birth_date", base="date", category="D"),
        replace(
            LABELS,
            base="_text",
            category="A",
            values=(),
            frequencies=(),
            elements=("Jo Doe",),
            element_frequencies=(0.5,),
        ),
    ],
    ids=lambda column: f"{column.name}-{column.base}-{column.values[:1]}",
)
def test_whatever_may_be_personal_is_withheld(column: ColumnStatistics) -> None:
    made = taken(column)
    assert made.withheld
    assert not made.quantiles
    assert all(common.value is None for common in (*made.common, *made.elements))


def test_a_withheld_column_keeps_frequencies_and_lengths() -> None:
    made = taken(replace(LABELS, name="first_name", bounds=("Al", "Bob", "Caroline")))
    assert [(common.frequency, common.length) for common in made.common] == [(0.7, 3), (0.3, 11)]
    assert made.lengths == (2, 3, 8)


def test_the_user_has_the_last_word() -> None:
    assert taken(LABELS, Rules(personal=frozenset({"people.status"}))).withheld == "said to be personal"
    name = replace(LABELS, name="first_name")
    assert not taken(name, Rules(safe={"public.people.first_name": "invented"})).withheld
    with pytest.raises(InputError, match=r"--safe people\.frist_name.*no such column"):
        taken(name, Rules(safe={"people.frist_name": "invented"}))


def test_rare_values_and_the_quantiles_of_few_rows_are_not_written() -> None:
    rare = taken(replace(LABELS, frequencies=(0.7, 0.0001)))
    assert [common.value for common in rare.common] == ["new", None]
    assert taken(NUMBERS).common[0].value == "70"
    assert taken(NUMBERS, rows=50).common[0].value is None
    assert len(taken(NUMBERS).quantiles) == 101
    assert len(taken(NUMBERS, rows=50).quantiles) == 5
    assert not taken(NUMBERS, rows=20).quantiles


def test_keys_and_references_name_nobody() -> None:
    made = taken(replace(NUMBERS, name="customer_id", key=True))
    assert made.quantiles
    assert made.common[0].value is None


def test_quantiles_are_rounded_to_a_thousandth_of_their_range() -> None:
    assert rounded(["0", "12345", "20000"], "int4") == ("0", "12340", "20000")
    assert rounded(["10000001", "10000777", "10002000"], "int8") == ("10000001", "10000777", "10002000")
    assert rounded(["1.5", "2.25"], "numeric") == ("1.5", "2.25")
    # one far out does not blur the others
    values = [f"{n}.1234" for n in range(20)] + ["987654321.5"]
    assert rounded(values, "numeric")[5] == "5.12"
    assert rounded(values, "numeric")[-1] == "987700000"
    assert rounded(["2024-01-01 10:11:12+00", "2024-03-05 06:07:08.9+00"], "timestamptz") == (
        "2024-01-01 10:00:00+00",
        "2024-03-05 06:00:00+00",
    )
    assert rounded(["2024-01-01 10:11:12", "2024-01-05 12:13:14"], "timestamp")[1] == "2024-01-05 12:13:00"


def test_a_profile_comes_back_as_it_was_written() -> None:
    table = TableStatistics(
        RELATION, 5_000, False, 5_000, 50, 0, 8192, 0, (("k", 9),), (LABELS, NUMBERS), (), ()
    )
    made = profile_of(DatabaseStatistics("PostgreSQL 18", "2026-01-01T00:00:00Z", (table,)), Rules())
    text = profile_text(made)
    assert profile_text(parse_profile(text, "p.json")) == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[", "not JSON"),
        ("{}", "`format` is missing"),
        ('{"format": "other"}', "is not a profile"),
        ('{"format": "rehearse-profile", "version": 9}', "version 9"),
        (
            f'{HEAD} [{{"schema": "a", "name": "b", "rows": -1}}]}}',
            r"tables\[0\]: `rows`",
        ),
        (
            (
                f'{HEAD} [{{"schema": "a", "name": "b", "rows": 1, "columns":'
                f' [{{"name": "c", "type": "t", "nulls": 1}}]}}]}}'
            ),
            "`nulls` is not a key",
        ),
    ],
)
def test_a_file_that_is_no_profile_is_refused_by_its_place(text: str, named: str) -> None:
    with pytest.raises(InputError, match=rf"p\.json.*{named}"):
        parse_profile(text, "p.json")
