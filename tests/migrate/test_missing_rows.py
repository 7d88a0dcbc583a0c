"""How many rows the traffic has put where, told from its scripts and what the server answered."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import pytest

from rehearse.acts.losses import committed, count_missing, insertions
from rehearse.engines.postgres.connect import connect
from rehearse.model.record import ScriptInfo, Trial, TrialKind
from rehearse.model.relation import Relation
from rehearse.model.target import Target
from rehearse.model.trials import MissingRows
from rehearse.model.workload import Outcome, SampleColumns

if TYPE_CHECKING:
    from tests.migrate.conftest import Migrate

ORDERS = Relation("public", "orders")
INSERT = "INSERT INTO orders (id, note) VALUES ($1, $2)"


def script(*statements: str, name: str = "write") -> ScriptInfo:
    return ScriptInfo(name, 1, statements)


def test_committed_transactions_alone_are_counted() -> None:
    samples = SampleColumns(scripts=("read", "write"))
    samples.script = array("h", [0, 1, 1, 1, 1])
    samples.outcome = array("h", [Outcome.OK, Outcome.OK, Outcome.ERROR, Outcome.CONNECTION_LOST, Outcome.OK])
    assert committed(samples) == {"read": 1, "write": 2}


def test_each_statement_of_one_row_counts() -> None:
    scripts = [
        script(INSERT, "UPDATE orders SET note = $1", INSERT.lower()),
        script('insert into "Odd"."t b" (a) values (1)', name="odd"),
        script("SELECT 1", name="read"),
    ]
    found = insertions(scripts, {"write": 10, "odd": 3, "read": 99})
    assert found == {"orders": 20, '"Odd"."t b"': 3}


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 2",
        "INSERT INTO orders (id) SELECT 1 WHERE false",
        "INSERT INTO orders (id) VALUES (1), (2)",
    ],
)
def test_what_may_insert_another_number_is_not_counted(statement: str) -> None:
    assert insertions([script(statement)], {"write": 10}) == {}


@pytest.mark.parametrize("statement", ["DELETE FROM lines", "TRUNCATE lines", "CALL tidy()"])
def test_where_rows_are_taken_away_nothing_is_promised(statement: str) -> None:
    assert insertions([script(INSERT), script(statement, name="tidy")], {"write": 10}) == {}


@pytest.mark.parametrize(("written", "missing"), [(1, ()), (0, (MissingRows(ORDERS, 2001, 2000),))])
def test_rows_behind_a_view_of_the_old_name_are_not_missing(
    written: int, missing: tuple[MissingRows, ...], migrate: Migrate, shop: Target, database: Target
) -> None:
    with connect(database, "rehearse") as base:
        base.execute("CREATE TABLE orders AS SELECT generate_series(1, 2000) AS id")
    run = migrate(
        "ALTER TABLE orders RENAME TO purchases; CREATE VIEW orders AS SELECT * FROM purchases;",
        setup="INSERT INTO orders (id) VALUES (5000)" if written else "",
    )
    samples = SampleColumns(scripts=("write",))
    samples.script, samples.outcome = array("h", [0]), array("h", [Outcome.OK])
    trial = Trial(TrialKind.TRAFFIC, migration=run)
    assert count_missing(database, shop, trial, samples, [script(INSERT)]) == missing
