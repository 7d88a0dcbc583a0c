"""What is left of a scenario when it is written down: nobody's rows and no passwords."""

from __future__ import annotations

import pytest

from rehearse.model.migration import SqlFile
from rehearse.model.scenario import DatabaseSpec, DatasetSpec, MigrationSpec, Scenario
from rehearse.scenario.redact import redact

SCHEMA = "CREATE TABLE people (email text, password text);"


def scenario(schema: str) -> Scenario:
    return Scenario(
        name="s",
        database=DatabaseSpec(init=(SqlFile("roles.sql", "CREATE ROLE r PASSWORD 'hunter2'"),)),
        dataset=DatasetSpec(
            schema=SqlFile("s.sql", schema),
            load=(SqlFile("seed.sql", "INSERT INTO people VALUES ('ann@example.org')"),),
        ),
        migration=MigrationSpec(up=(SqlFile("up.sql", "SELECT 1"),)),
    )


def test_seed_files_and_init_scripts_are_named_and_not_kept() -> None:
    kept = redact(scenario(SCHEMA))
    assert kept.dataset.schema.text == SCHEMA
    assert [file.name for file in (*kept.dataset.load, *kept.database.init)] == ["seed.sql", "roles.sql"]
    assert "ann@example.org" not in repr(kept)
    assert "hunter2" not in repr(kept)
    assert "45 bytes" in kept.dataset.load[0].text


@pytest.mark.parametrize(
    "rows",
    [
        "COPY people (email) FROM stdin;\nann@example.org\n\\.\n",
        "INSERT INTO people VALUES ('ann@example.org');",
        "CREATE USER MAPPING FOR me SERVER s OPTIONS (password 'ann@example.org');",
    ],
)
def test_a_schema_with_rows_or_passwords_is_not_kept(rows: str) -> None:
    kept = redact(scenario(f"{SCHEMA}\n{rows}"))
    assert "ann@example.org" not in repr(kept)
    assert kept.dataset.schema.name == "s.sql"
