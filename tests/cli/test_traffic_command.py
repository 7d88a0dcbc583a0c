"""`rehearse traffic` as a user of pgbench would call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rehearse.cli.main import app
from rehearse.engines.postgres.connect import connect
from rehearse.model.target import Target


def dsn(target: Target) -> str:
    assert target.password is not None
    secret = target.password.reveal()
    return f"postgresql://{target.user}:{secret}@{target.host}:{target.port}/{target.dbname}?sslmode=disable"


@pytest.fixture
def bench(database: Target) -> Target:
    """Two branches: pgbench's scale 2, with one account in each ten of pgbench's."""
    with connect(database, "rehearse") as connection:
        connection.execute("create table pgbench_branches (bid int primary key)")
        connection.execute("create table pgbench_accounts (aid int primary key, abalance int not null)")
        connection.execute("insert into pgbench_branches values (1), (2)")
        connection.execute("insert into pgbench_accounts select i, 0 from generate_series(1, 20000) i")
    return database


def traffic(target: Target, *words: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["traffic", "--dsn", dsn(target), "--json", *map(str, words)])
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_scale_is_read_from_the_branches_as_pgbench_does(bench: Target, tmp_path: Path) -> None:
    (tmp_path / "scale.sql").write_text("select 1 / (:scale = 2)::int;\n")
    known = ("-f", tmp_path / "scale.sql", "-b", "select-only@3", "-c", "2", "-T", "0.5", "-R", "100")
    document = traffic(bench, *known, "--arrivals", "uniform", "-M", "simple")
    assert document["errors"] == {}
    # evenly spaced; all that was due is sent, and the end may come late on a busy machine
    assert 45 <= document["transactions"] <= 110 * document["seconds"] + 10
    # in steps, which say how long it lasts as well: 0.2 s, 0.1 s of nothing, 0.2 s
    rate = "100 until 200ms, 0 until 300ms, 200 until 500ms"
    words = ("-f", tmp_path / "scale.sql", "-D", "scale=3", "--arrivals", "uniform", "-R", rate)
    given = traffic(bench, *words)
    assert given["errors"] == {"22012": given["failed"]}
    assert given["failed"] >= 58
    assert given["seconds"] >= 0.5


def test_a_trace_is_sent_once_and_retries_are_told(bench: Target, tmp_path: Path) -> None:
    (tmp_path / "ask.sql").write_text("select case when nextval('s') % 2 = 1 then refuse() end;\n")
    (tmp_path / "trace.csv").write_text("seconds,script\n" + "".join(f"{n / 20},ask\n" for n in range(10)))
    with connect(bench, "rehearse") as connection:
        connection.execute("create sequence s")
        connection.execute(
            "create function refuse() returns int language plpgsql as"
            " $$ begin raise serialization_failure; end $$"
        )
    words = ("-f", tmp_path / "ask.sql", "--trace", tmp_path / "trace.csv", "-c", "1")
    document = traffic(bench, *words, "--retry", "application")
    assert (document["transactions"], document["errors"], document["retries"]) == (10, {}, {"40001": 10})
    document = traffic(bench, *words)
    assert (document["transactions"], document["errors"], document["retries"]) == (5, {"40001": 5}, {})


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--arrivals", "poisonous"], "`--arrivals` must not be `poisonous`"),
        (["--retry", "always"], "`--retry` names `always`"),
        (["--trace", "none.csv"], "`--trace`"),
        (["--trace", "none.csv", "-R", "5"], "exclude each other"),
        (["-R", "5 until 2s, to 9"], "`--rate` needs `until` in a step with `ramp`"),
        (["-f", "fresh.sql"], "fresh(t.id) draws the rows that generation would have made next"),
    ],
)
def test_what_cannot_be_is_one_line(
    database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fresh.sql").write_text("\\set id fresh(t.id)\nselect :id;\n")
    result = CliRunner().invoke(app, ["traffic", "--dsn", dsn(database), "-b", "select-only", *words])
    assert result.exit_code != 0
    assert what in str(result.exception) + result.output
