"""A profile of a database with known skew, and a twin made of it: held against each other by counting."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rehearse.acts.loading import BASE, build_base
from rehearse.cli.main import app
from rehearse.dataset.profile.fidelity import fidelity
from rehearse.dataset.profile.take import take_profile
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import drop_database
from rehearse.errors import ScenarioError
from rehearse.model.profile import Profile, TableProfile
from rehearse.model.profile_file import profile_text
from rehearse.model.relation import Relation
from rehearse.model.target import Target
from rehearse.provision import Server
from rehearse.scenario.load import load_scenario
from rehearse.scenario.redact import redact
from tests.dataset.twins import CUSTOMERS, ORDERS, SCHEMA, Twins, load_twin, rows

COLUMNS = {
    "customers": ("plan", "region", "created_at", "active"),
    "orders": (
        "customer_id",
        "courier_id",
        "status",
        "amount",
        "quantity",
        "placed_at",
        "shipped_on",
        "score",
        "note",
    ),
    "readings": ("taken_on", "value"),
}
WITH_ORDER = ("amount", "quantity", "placed_at", "shipped_on", "score", "customer_id", "taken_on", "value")
WRITTEN = ("plan", "region", "active", "status", "quantity", "shipped_on")


NULLS = "SELECT avg(({1} IS NULL)::int) FROM {0}"
TOP = (
    "SELECT {1}::text, count(*)::float8 / sum(count(*)) OVER () FROM {0} GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
)


@pytest.mark.parametrize(("table", "column"), [(t, c) for t, of in COLUMNS.items() for c in of])
def test_null_fractions_are_within_three_percent(twins: Twins, table: str, column: str) -> None:
    (mine,), (theirs,) = (rows(target, NULLS, table, column) for target in (twins.source, twins.twin))
    assert float(theirs[0]) == pytest.approx(float(mine[0]), abs=0.015)


@pytest.mark.parametrize("column", WRITTEN)
def test_the_ten_most_common_values_have_their_frequencies(twins: Twins, column: str) -> None:
    table = next(table for table, of in COLUMNS.items() if column in of)
    mine, theirs = (dict(rows(target, TOP, table, column)) for target in (twins.source, twins.twin))
    for value, share in mine.items():
        assert theirs.get(value, 0.0) == pytest.approx(share, abs=0.015), value


@pytest.mark.parametrize("column", WITH_ORDER)
def test_quantiles_are_within_three_percent_of_the_range(twins: Twins, column: str) -> None:
    table = next(table for table, of in COLUMNS.items() if column in of)
    moment = column in {"placed_at", "shipped_on", "taken_on"}
    value = "extract(epoch FROM {1})" if moment else "{1}"
    query = f"""
        SELECT percentile_disc((SELECT array_agg(n / 100.0) FROM generate_series(1, 99) n))
               WITHIN GROUP (ORDER BY {value}::float8), max({value}::float8) - min({value}::float8)
          FROM {{0}} WHERE {{1}} IS NOT NULL
    """
    ((mine, span),), ((theirs, _),) = (rows(t, query, table, column) for t in (twins.source, twins.twin))
    # of some thirty whole numbers the next one is more than three percent away
    allowed = max(0.03 * span, 1.0 if column == "quantity" else 0.0)
    assert max(abs(a - b) for a, b in zip(mine, theirs, strict=True)) <= allowed


def test_parents_have_as_many_children(twins: Twins) -> None:
    """How many have any, and which share of all the busiest hundredth, tenth and half of them have."""
    query = """
        SELECT count(*), percentile_disc(0.5) WITHIN GROUP (ORDER BY n),
               sum(n) FILTER (WHERE place <= 0.01) / sum(n), sum(n) FILTER (WHERE place <= 0.1) / sum(n),
               sum(n) FILTER (WHERE place <= 0.5) / sum(n)
          FROM (SELECT count(*)::float8 AS n, cume_dist() OVER (ORDER BY count(*) DESC, {0}) AS place
                  FROM orders WHERE {0} IS NOT NULL GROUP BY {0}) counts
    """
    for column in ("customer_id", "courier_id"):
        (mine,), (theirs,) = (rows(target, query, column) for target in (twins.source, twins.twin))
        # the server guesses from a sample how many parents there are
        assert theirs[0] == pytest.approx(mine[0], rel=0.2), column
        assert theirs[1] == pytest.approx(mine[1], rel=0.35), column
        for here, there in zip(mine[2:], theirs[2:], strict=True):
            assert there == pytest.approx(here, abs=0.05), column


def test_the_order_on_disk_and_widths_are_alike(twins: Twins) -> None:
    query = """
        SELECT tablename || '.' || attname, correlation, avg_width FROM pg_stats
         WHERE tablename IN ('orders', 'customers')
    """
    mine, theirs = ({name: rest for name, *rest in rows(t, query)} for t in (twins.source, twins.twin))
    for name in ("customer_id", "status", "placed_at", "shipped_on", "quantity", "score"):
        assert theirs[f"orders.{name}"][0] == pytest.approx(mine[f"orders.{name}"][0], abs=0.04), name
    assert theirs["customers.email"][0] == pytest.approx(mine["customers.email"][0], abs=0.06)
    for name, (_, width) in mine.items():
        assert theirs[name][1] == pytest.approx(width, rel=0.05, abs=1.01), name


def test_distinct_values_of_skewed_columns_are_held_to_the_tolerance(twins: Twins) -> None:
    made = take_profile(twins.twin)
    alike = {column.column: column for column in fidelity(twins.profile, made).columns}
    for name in (
        "amount",
        "quantity",
        "courier_id",
        "customer_id",
        "salary",
        "taken_on",
        "note",
        "shipped_on",
    ):
        assert alike[name].deviations["distinct"] <= 0.03, name
        assert not alike[name].uncounted
    # counted for oneself, too
    for name, least in (("quantity", 20), ("courier_id", 290), ("customer_id", 6000)):
        counts = [rows(t, "SELECT count(DISTINCT {0}) FROM orders", name) for t in (twins.source, twins.twin)]
        ((mine,),), ((theirs,),) = counts
        assert mine >= least
        assert theirs == pytest.approx(mine, rel=0.03, abs=3), name
    # a tenth fewer of them does not pass, and of a table of another size nobody can tell
    orders = twins.profile.table(Relation("public", "orders"))
    assert orders is not None
    fewer = tuple(
        replace(c, distinct=0.9 * c.distinct) if c.name == "courier_id" else c for c in orders.columns
    )
    few = replace(orders, columns=fewer)
    assert [c.column for c in fidelity(of(twins.profile, few), twins.profile).columns if c.worst > 0.03] == [
        "courier_id"
    ]
    half = fidelity(of(twins.profile, replace(few, rows=orders.rows // 2)), twins.profile)
    assert {c.column: c.uncounted for c in half.columns}["courier_id"] == {"distinct"}


def of(profile: Profile, table: TableProfile) -> Profile:
    tables = tuple(table if other.relation == table.relation else other for other in profile.tables)
    return replace(profile, tables=tables)


def test_any_scale_keeps_the_shares(twins: Twins, database: Target) -> None:
    customers = twins.profile.table(Relation("public", "customers"))
    assert customers is not None
    load_twin(database, of(twins.profile, replace(customers, dead_fraction=0.3)), scale=0.25)
    with connect(database, "test") as connection:
        connection.execute("CREATE EXTENSION pgstattuple")
    # whoever reads a page may clear it of dead versions: the room that they leave stays
    ((worn,),) = rows(
        database, "SELECT (dead_tuple_len + free_space)::float8 / table_len FROM pgstattuple('customers')"
    )
    assert worn == pytest.approx(0.3, abs=0.06)
    counts = rows(database, "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM orders)")
    assert counts == [(CUSTOMERS // 4, ORDERS // 4)]
    (mine,), (theirs,) = (rows(t, NULLS, "orders", "note") for t in (twins.source, database))
    assert float(theirs[0]) == pytest.approx(float(mine[0]), abs=0.02)
    mine_top, twin_top = (dict(rows(t, TOP, "orders", "status")) for t in (twins.source, database))
    for value, share in mine_top.items():
        assert twin_top[value] == pytest.approx(share, abs=0.03)


def dsn_of(target: Target) -> str:
    words = target.conninfo("test")
    return f"postgresql://{words['user']}:{words['password']}@{words['host']}:{words['port']}/{target.dbname}"


def test_the_command_line_compares(twins: Twins, tmp_path: Path) -> None:
    runner = CliRunner()
    out = tmp_path / "profile.json"
    done = runner.invoke(app, ["data", "profile", "--dsn", dsn_of(twins.source), "--out", str(out)])
    assert done.exit_code == 0, done.output
    alike = ["data", "compare", "--profile", str(out), "--dsn", dsn_of(twins.twin)]
    done = runner.invoke(app, [*alike, "--json"])
    document = json.loads(done.stdout)
    assert done.exit_code == 0, document["columns"][:3]
    assert document["within"] is True
    worst = [column["worst"] for column in document["columns"]]
    assert worst == sorted(worst, reverse=True)
    assert worst[0] <= 0.03
    other = tmp_path / "other.json"
    orders = twins.profile.table(Relation("public", "orders"))
    assert orders is not None
    status = orders.column("status")
    assert status is not None
    common = (replace(status.common[0], frequency=status.common[0].frequency - 0.05), *status.common[1:])
    columns = tuple(replace(c, common=common) if c is status else c for c in orders.columns)
    tables = tuple(replace(t, columns=columns) if t is orders else t for t in twins.profile.tables)
    other.write_text(profile_text(replace(twins.profile, tables=tables)))
    done = runner.invoke(app, ["data", "compare", "--profile", str(out), "--profile", str(other)])
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1].startswith("orders.status")
    said = re.search(r" (\d\.\d\d) %!", done.stdout)
    assert said is not None
    assert 4 < float(said[1]) < 5  # what chance alone makes of so many rows is taken off


SCENARIO = """
[dataset]
schema = "schema.sql"
profile = "profile.json"
scale = 0.02
rows = {{ readings = 300 }}
columns = {{ "orders.status" = {{ values = {{ lost = 1 }} }} }}
[migration]
up = "up.sql"
[production]
rows = {{ customers = "9M" }}
"""


def test_a_rehearsal_is_given_the_profile(twins: Twins, server: Server, tmp_path: Path) -> None:
    (tmp_path / "schema.sql").write_text(SCHEMA)
    (tmp_path / "up.sql").write_text("ALTER TABLE orders ADD COLUMN n int;")
    (tmp_path / "profile.json").write_text(profile_text(twins.profile))
    path = tmp_path / "case.toml"
    path.write_text(SCENARIO.format())
    scenario = load_scenario(path)
    assert redact(scenario).dataset.profile == replace(twins.profile, tables=(), notes=())
    try:
        base = build_base(server.target, scenario, lambda _: None)
        counts = {str(table.relation): (table.rows, table.production_rows) for table in base.tables}
        assert counts["customers"] == (CUSTOMERS // 50, 9_000_000)
        assert counts["orders"] == (ORDERS // 50, ORDERS)
        assert counts["readings"] == (300, 5_000)
        # what somebody wrote by hand comes before the profile
        assert rows(base.target, "SELECT DISTINCT status FROM orders") == [("lost",)]
    finally:
        drop_database(server.target, BASE)


def test_a_profile_that_cannot_be_read_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "schema.sql").write_text(SCHEMA)
    (tmp_path / "up.sql").write_text("SELECT 1;")
    (tmp_path / "profile.json").write_text('{"format": "other"}')
    path = tmp_path / "case.toml"
    path.write_text(SCENARIO.format())
    with pytest.raises(ScenarioError, match=r"case\.toml:4: `dataset\.profile`.*is not a profile"):
        load_scenario(path)
    path.write_text(SCENARIO.format().replace('profile = "profile.json"\n', ""))
    with pytest.raises(ScenarioError, match=r"`dataset\.scale`.*there is none"):
        load_scenario(path)
