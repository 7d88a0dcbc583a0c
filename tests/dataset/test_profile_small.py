"""Small tables: what chance makes of few rows is no difference, and what is one in many rows stays one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rehearse.dataset.bits import row_numbers
from rehearse.dataset.facts import Facts
from rehearse.dataset.generate import Generator
from rehearse.dataset.generators.resolve import wishes_of
from rehearse.dataset.needs import ColumnNeed
from rehearse.dataset.plan import plan_dataset
from rehearse.dataset.profile.columns import ColumnMaker
from rehearse.dataset.profile.fan import ProfiledFan
from rehearse.dataset.profile.fidelity import fidelity
from rehearse.dataset.recipe import Earlier, FannedEarlier
from rehearse.dataset.session import Connection
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.generation import ChildrenSpec, TableSpec
from rehearse.model.migration import SqlFile
from rehearse.model.profile import ColumnProfile, CommonValue, Profile, TableProfile
from rehearse.model.relation import Relation
from rehearse.model.scenario import DatasetSpec, RowCounts
from rehearse.model.schema import DataType, TypeKind


def profile(column: ColumnProfile, rows: int) -> Profile:
    return Profile("", "", (TableProfile(Relation("public", "t"), rows, columns=(column,)),))


def seats(below: float) -> ColumnProfile:
    """Of 1 to 20, so that a step is five hundredths of the range; so many are below 11."""
    common = [CommonValue(below / 10, str(n)) for n in range(1, 11)]
    common += [CommonValue((1 - below) / 10, str(n)) for n in range(11, 21)]
    return ColumnProfile("seats", "integer", width_bytes=4, distinct=20, common=tuple(common))


@pytest.mark.parametrize(("rows", "alike"), [(2_000, True), (100_000, False)])
def test_a_step_of_the_median(rows: int, alike: bool) -> None:
    off = fidelity(profile(seats(0.51), rows), profile(seats(0.49), rows)).columns[0].deviations
    assert (off["quantiles"] < 0.03) is alike


def test_days_that_the_common_ones_have_taken_are_not_missed() -> None:
    # of 1,800 rows over 1,096 days; the hundred luckiest are as lucky again
    days = tuple(str(np.datetime64("2025-01-01") + np.timedelta64(round(10.96 * n), "D")) for n in range(101))
    due = ColumnProfile(
        "due",
        "date",
        0.1,
        4,
        -0.4355,
        quantiles=days,
        common=(CommonValue(0.0025),) * 100,
        withheld="few rows",
    )
    said = [
        fidelity(profile(due, 2_000), profile(replace(due, distinct=-share), 2_000)).columns[0].worst
        for share in (0.40, 0.34)
    ]
    assert said[0] < 0.03 < said[1]


def test_elements_that_are_made_up_are_as_long_as_the_real_ones() -> None:
    elements = tuple(CommonValue(0.3, None, 12) for _ in range(6))
    scopes = ColumnProfile("scopes", "text[]", 0.0, 60, elements=elements, element_count=2.5)
    text = DataType("text", "text", TypeKind.BASE)
    kind = DataType("text[]", "_text", TypeKind.ARRAY, element=text)
    need = ColumnNeed("scopes", kind, Facts(), not_null=True, has_default=False)
    table = TableProfile(Relation("public", "keys"), 2_000, columns=(scopes,))
    generator, _ = ColumnMaker(table, scopes, need, 2_000).generator()
    assert generator is not None
    made = generator.draw(row_numbers(0, 2_000), np.random.default_rng(3).random(2_000)).to_list()
    words = [word.strip('"') for array in made for word in array.strip("{}").split(",") if word]
    assert len(words) > 4_000
    assert {len(word) for word in words} == {12}
    assert len({word for word in words if word.startswith("w1x")}) == 1


def test_rows_of_their_own_table_are_referred_to_as_often_and_come_before() -> None:
    rows = row_numbers(0, 20_000)
    real = Earlier(5, 20_000).index(rows)
    bounds = np.quantile(real / 20_000, np.linspace(0, 1, 101))
    fan = ProfiledFan((), tuple(bounds.tolist()), len(set(real.tolist())) / 20_000, 20_000)
    made = FannedEarlier(7, 20_000, fan).index(rows)
    assert (made[1:] < rows[1:]).all()
    assert np.abs(np.quantile(made / 20_000, np.linspace(0, 1, 101)) - bounds).max() < 0.015
    correlations = [float(np.corrcoef(rows, parents)[0, 1]) for parents in (real, made)]
    assert correlations[1] == pytest.approx(correlations[0], abs=0.03)
    # where the late rows are referred to most, not all can come before; they come as they may
    late = FannedEarlier(7, 20_000, ProfiledFan((), (0.9, 1.0), 0.1, 20_000)).index(rows)
    assert (late[1:] < rows[1:]).all()


LINES = """
CREATE TABLE parents (id int PRIMARY KEY);
CREATE TABLE lines (parent_id int REFERENCES parents, line_no smallint, PRIMARY KEY (parent_id, line_no));
"""


def test_numbers_within_a_parent_begin_with_the_first(connection: Connection) -> None:
    # of so many rows a smallint has no room for numbers of their own, and none is needed
    connection.execute(LINES)
    schema = introspect(connection)
    rows = RowCounts(None, (("parents", 10_000), ("lines", 70_000)))
    spec = DatasetSpec(SqlFile("", ""), rows, tables=(TableSpec("lines", (ChildrenSpec("parents"),)),))
    plan = plan_dataset(
        schema, None, rows, touched=frozenset(), loaded={}, seed=1, wishes=wishes_of(spec, schema)
    )
    text = Generator(plan).csv(Relation("public", "lines"), 0, 70_000)
    numbers = {int(line.split(b",")[1]) for line in text.splitlines()}
    assert numbers == set(range(1, len(numbers) + 1))
