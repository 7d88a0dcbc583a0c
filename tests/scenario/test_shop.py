"""The shop that comes with the tool: two ways to make one change, and the traffic of its application."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.execute import execute_file
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.scenario import Scenario
from rehearse.model.schema import Schema
from rehearse.model.target import Target
from rehearse.scenario.load import load_scenario
from rehearse.workload.script import parse_script

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scenarios(monkeypatch: pytest.MonkeyPatch) -> dict[str, Scenario]:
    monkeypatch.chdir(ROOT)
    return {name: load_scenario(Path("scenarios/shop") / f"{name}.toml") for name in ("naive", "safe")}


def comparable(schema: Schema) -> list[object]:
    """All of the schema but the order of constraints and the oids."""
    return [replace(table, oid=0, checks=tuple(sorted(table.checks, key=str))) for table in schema.tables]


def stages(target: Target, scenario: Scenario) -> list[list[object]]:
    """The schema before the migration, after it, and after it was taken back."""
    with connect(target, "rehearse") as connection:
        execute_file(connection, scenario.dataset.schema)
        found = [comparable(introspect(connection))]
        for file in (*scenario.migration.up, *scenario.migration.down):
            execute_file(connection, file)
            found.append(comparable(introspect(connection)))
    return found


def test_both_ways_lead_to_the_same_schema_and_back(database: Target, scenarios: dict[str, Scenario]) -> None:
    other = f"{database.dbname}_safe"
    create_database(database, other)
    try:
        naive = stages(database, scenarios["naive"])
        safe = stages(database.on(other), scenarios["safe"])
    finally:
        drop_database(database, other)

    assert naive[1] == safe[1] != naive[0]
    assert naive[2] == naive[0]
    assert safe[2] == safe[0]


def test_the_application_works_before_and_after(database: Target, scenarios: dict[str, Scenario]) -> None:
    scenario = scenarios["naive"]
    statements = [
        statement
        for source in scenario.workload.scripts
        for statement in parse_script(source).statements
        if statement not in ("BEGIN", "COMMIT")
    ]
    with connect(database, "rehearse") as connection:
        execute_file(connection, scenario.dataset.schema)
        for number, statement in enumerate(statements):
            connection.execute(f"PREPARE before_{number} AS {statement}".encode())
        execute_file(connection, scenario.migration.up[0])
        for number, statement in enumerate(statements):
            connection.execute(f"PREPARE after_{number} AS {statement}".encode())
