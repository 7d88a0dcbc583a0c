"""Columns in which no two rows are alike, though no key says so: their twin has none alike either."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rehearse.dataset.bits import row_numbers
from rehearse.dataset.facts import Facts
from rehearse.dataset.needs import ColumnNeed
from rehearse.dataset.profile.columns import ColumnMaker
from rehearse.dataset.profile.shapes import Apiece
from rehearse.model.profile import ColumnProfile, TableProfile
from rehearse.model.relation import Relation
from rehearse.model.schema import DataType, TypeKind

ROWS = 5_000
DATES = tuple(str(np.datetime64("1950-01-02") + np.timedelta64(50 * n, "D")) for n in range(101))


def maker(column: ColumnProfile, name: str, *, leads: bool = False) -> ColumnMaker:
    table = TableProfile(Relation("public", "people"), ROWS, "statistics", columns=(column,))
    need = ColumnNeed(
        column.name, DataType(column.type, name, TypeKind.BASE), Facts(), not_null=True, has_default=False
    )
    return ColumnMaker(table, column, need, ROWS, leads)


def texts_of(of: ColumnMaker) -> list[str]:
    generator, _ = of.generator()
    assert generator is not None
    rows = row_numbers(0, ROWS)
    places = np.random.default_rng(3).random(ROWS)
    made: list[str] = generator.draw(rows, places).to_list()
    return made


BORN = ColumnProfile("born", "date", 0.0, 4, -1.0, correlation=1.0, quantiles=DATES)
NAME = ColumnProfile(
    "first_name", "text", 0.0, 8, -1.0, correlation=0.34, lengths=(5, 7, 7, 8), withheld="its name"
)


@pytest.mark.parametrize("correlation", [1.0, 0.0])
def test_dates_that_fill_their_range_come_once_each(correlation: float) -> None:
    made = texts_of(maker(replace(BORN, correlation=correlation), "date"))
    assert len(set(made)) == ROWS
    assert (sorted(made) == made) is (correlation == 1)
    assert min(made) == DATES[0]
    assert max(made) <= str(np.datetime64(DATES[-1]) + np.timedelta64(100, "D"))


def test_what_finds_no_room_or_leads_others_is_drawn_as_ever() -> None:
    narrow = replace(BORN, quantiles=DATES[:50])
    for other in (maker(narrow, "date"), maker(BORN, "date", leads=True)):
        generator, _ = other.generator()
        assert generator is not None
        assert not isinstance(generator, Apiece)


def test_short_texts_differ_and_keep_their_order_on_disk() -> None:
    made = texts_of(maker(NAME, "text"))
    assert len(set(made)) == ROWS
    order = np.argsort(np.argsort(np.array(made, dtype="S"), kind="stable"), kind="stable")
    assert np.corrcoef(np.arange(ROWS), order)[0, 1] == pytest.approx(0.34, abs=0.04)
