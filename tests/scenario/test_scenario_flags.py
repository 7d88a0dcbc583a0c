"""Flags become the same Scenario as a file would, and an error names the flag."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearse.errors import ScenarioError
from rehearse.model.scenario import RowCounts
from rehearse.model.workload import Protocol
from rehearse.scenario.flags import (
    Flags,
    parse_protocol,
    parse_rows,
    parse_scripts,
    parse_variables,
    read_sql,
    scenario_from_flags,
)

SCHEMA = Path("schema.sql")
UP = Path("up.sql")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current directory with the files that the flags of these tests name."""
    monkeypatch.chdir(tmp_path)
    for name in ("schema.sql", "up.sql", "app.sql"):
        Path(name).write_text(f"SELECT '{name}';\n", encoding="utf-8")


def refusal(flags: Flags) -> str:
    with pytest.raises(ScenarioError) as caught:
        scenario_from_flags(Flags(schema=SCHEMA, migration=[UP]) | flags)
    return str(caught.value)


def test_a_schema_and_a_migration_are_enough() -> None:
    scenario = scenario_from_flags(Flags(schema=SCHEMA, migration=[UP]))

    assert scenario.name == "up"
    assert scenario.source == "rehearse run --schema schema.sql --migration up.sql"
    assert len(scenario.gates) == 4


def test_flags_say_what_a_file_can_say() -> None:
    scenario = scenario_from_flags(
        Flags(
            schema=SCHEMA,
            migration=[UP, Path("app.sql")],
            down=[UP],
            load=[Path("app.sql")],
            workload=["app.sql@9"],
            define=["scale=3"],
            rows=["1M", "orders=2M"],
            production_rows=["sales.orders=200M"],
            rate=50.0,
            clients=4,
            processes=2,
            protocol="extended",
            warm_up="1s",
            baseline="5s",
            recovery="2s",
            seed=0,
            engine="postgres",
            provision="local:/opt/pgsql/bin",
            settings=["work_mem=64MB"],
            transaction="per-file",
            expendable=["orders.note"],
            timeout="1m",
            gates=["stall.max <= 2s", "errors.rate off"],
            name="it",
        )
    )

    assert scenario.name == "it"
    assert scenario.seed == 0
    assert scenario.dataset.rows == RowCounts(1_000_000, (("orders", 2_000_000),))
    assert scenario.production == RowCounts(None, (("sales.orders", 200_000_000),))
    assert scenario.workload.scripts[0].weight == 9
    assert scenario.workload.variables == (("scale", 3),)
    assert scenario.workload.protocol is Protocol.EXTENDED
    assert scenario.workload.phases.baseline_s == 5.0
    assert scenario.database.settings == (("work_mem", "64MB"),)
    assert scenario.migration.timeout_s == 60.0
    assert scenario.gates[0].text == "stall.max <= 2s"
    assert len(scenario.gates) == 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (Flags(rate=-1.0), "`--rate` must be above 0, not -1"),
        (Flags(clients=0), "`--clients` must be at least 1, not 0"),
        (Flags(rows=["orders=lots"]), "`--rows orders=lots` must be a count such as"),
        (Flags(production_rows=["0"]), "`--production-rows 0` must be at least 1"),
        (Flags(schema=Path("no.sql")), "`--schema` names `no.sql`, which does not exist"),
        (Flags(migration=[UP, Path("no.sql")]), "`--migration` names `no.sql`, which does not exist"),
        (Flags(workload=["no.sql@3"]), "`--workload` names `no.sql`, which does not exist"),
        (Flags(workload=["app.sql@x"]), "`--workload` has the weight `x`"),
        (Flags(gates=["stal.max <= 1s"]), "`--gate`: unknown metric `stal.max`; did you mean `stall.max`?"),
        (Flags(gates=["stall.max"]), "`--gate`: `stall.max` is not a gate"),
        (Flags(warm_up="3"), "`--warm-up` must be a duration"),
        (Flags(transaction="perfile"), '`--transaction` must not be "perfile"; did you mean `per-file`?'),
        (Flags(settings=["work_mem"]), "`--setting work_mem` has no value"),
        (Flags(define=["scale=x"]), "`--define scale=x` must be a whole number"),
        (Flags(define=["9=1"]), "`--define 9=1` is not a variable's name"),
        (Flags(schema=None), "`--schema` is missing"),
        (Flags(migration=[]), "`--migration` is missing"),
    ],
)
def test_a_wrong_flag_is_named(flags: Flags, message: str) -> None:
    assert refusal(flags).startswith(message)


def test_the_command_line_in_a_record_has_no_address_in_it() -> None:
    flags = Flags(schema=SCHEMA, migration=[UP], provision="postgresql://me:hunter2@db/shop", rate=5.0)
    scenario = scenario_from_flags(flags)

    assert "hunter2" not in scenario.source
    assert scenario.source.endswith("--provision '***' --rate 5.0")


def test_parts_of_a_scenario_by_themselves() -> None:
    assert parse_rows(["5k", "a=1", "a=2"], "--rows") == RowCounts(5000, (("a", 2),))
    assert parse_rows(["*=5k", "a=1"], "--rows") == RowCounts(5000, (("a", 1),))
    assert [script.name for script in parse_scripts(["app.sql@2", "select-only"])] == ["app", "select-only"]
    assert parse_variables(["a=1", "b=-2"]) == (("a", 1), ("b", -2))
    assert parse_protocol("simple") is Protocol.SIMPLE
    assert read_sql(UP, "--schema").text == "SELECT 'up.sql';\n"

    for wrong, message in (
        (lambda: parse_rows(["a=x"], "--rows"), "`--rows a=x` must be a count"),
        (lambda: parse_scripts(["app.sql@0"]), "`--script` gives no script a weight above 0"),
        (lambda: parse_scripts(["no.sql"]), "`--script` names `no.sql`"),
        (lambda: parse_protocol("simpel"), "did you mean `simple`?"),
        (lambda: read_sql(Path("no.sql"), "--schema"), "`--schema` names `no.sql`"),
    ):
        with pytest.raises(ScenarioError) as caught:
            wrong()
        assert message in str(caught.value)
