"""What the driver does where the server, a session or a statement fails."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from rehearse.errors import EnvironmentFailure, InputError, SqlFileError
from rehearse.model.target import Target
from rehearse.model.workload import (
    Outcome,
    ScriptSource,
)
from rehearse.workload.driver import Driver
from rehearse.workload.script import parse_script
from tests.workload.driving import (
    PERHAPS_ENCRYPTED,
    READ,
    SESSIONS,
    WRITE,
    Load,
    execute,
    fetch,
    make,
    password_of,
    run,
    until,
)

DIVIDE = "\\set id random(1, 2)\nbegin;\nupdate t set n = n + 1 where id = :id;\nselect 1 / (:id - 1);\nend;"

CONDITIONS = """\\set id random(3, 100)
select id % 2 as odd, payload from t where id = :id \\gset got_
\\if :got_odd = 1
update t set n = n + 1 where id = :id and payload = :got_payload;
\\else
\\sleep 1 ms
\\startpipeline
update t set n = n - 1 where id = :id;
select :client_id, :scale;
\\syncpipeline
select 1;
\\endpipeline
\\endif
"""

NO_ROW = "begin;\nselect n from t where id = 0 \\gset\nend;"

PIPED = "begin;\n\\startpipeline\nselect 1;\nselect 1 / 0;\nselect 2;\n\\endpipeline\nend;"


@pytest.mark.parametrize("options", [(), PERHAPS_ENCRYPTED])
def test_terminated_sessions_come_back(
    table: Target, tmp_path: Path, options: tuple[tuple[str, str], ...]
) -> None:
    table = replace(table, options=(*table.options, *options))

    def terminate(driver: Driver) -> None:
        until(lambda: driver.live().finished > 20 and len(driver.pids()) == 4)
        old = driver.pids()
        execute(table, f"select pg_terminate_backend(pid) {SESSIONS}")
        until(lambda: len(driver.pids() - old - {0}) == 4 and not driver.pids() & old)
        before = driver.live().finished
        until(lambda: driver.live().finished > before + 50)

    ran = run(table, tmp_path, Load(processes=2), WRITE, meanwhile=terminate)
    assert set(ran.outcomes) <= {Outcome.OK, Outcome.CONNECTION_LOST}
    assert ran.outcomes[Outcome.CONNECTION_LOST] <= 4
    assert ran.health.reconnects == 4
    assert ran.outcomes[Outcome.OK] > 60


@pytest.mark.parametrize("options", [(), PERHAPS_ENCRYPTED])
def test_an_error_ends_its_transaction_and_nothing_else(
    table: Target, tmp_path: Path, options: tuple[tuple[str, str], ...]
) -> None:
    table = replace(table, options=(*table.options, *options))
    ran = run(table, tmp_path, Load(), DIVIDE, CONDITIONS, NO_ROW, PIPED)
    samples = ran.samples
    ends = Counter(
        (script, samples.sqlstates[state] if state >= 0 else "", statement)
        for script, state, statement in zip(samples.script, samples.sqlstate, samples.statement, strict=True)
    )
    assert set(ends) == {(0, "", -1), (0, "22012", 2), (1, "", -1), (2, "P0002", 1), (3, "22012", 2)}
    assert set(ran.outcomes) == {Outcome.OK, Outcome.ERROR}
    assert fetch(table, "select sum(n), max(n) filter (where id = 1) from t where id < 3") == [
        (ends[0, "", -1], 0)
    ]
    ((odd, even),) = fetch(
        table,
        "select sum(n) filter (where id % 2 = 1), sum(n) filter (where id % 2 = 0) from t where id > 2",
    )
    assert isinstance(odd, int)
    assert isinstance(even, int)
    assert odd > 0 > even


def test_a_changed_result_type_fails_once_a_connection(table: Target, tmp_path: Path) -> None:
    def change(driver: Driver) -> None:
        until(lambda: driver.live().finished > 30)  # so that each connection has been used
        execute(table, "alter table t add column extra int")
        before = driver.live().finished
        until(lambda: driver.live().finished > before + 50)

    text = "\\set id random(1, 100)\nselect * from t where id = :id;"
    ran = run(table, tmp_path, Load(), text, meanwhile=change)
    assert ran.errors == {"0A000": 4}
    assert ran.outcomes[Outcome.OK] > 60


def test_statements_that_are_gone_are_prepared_again(table: Target, tmp_path: Path) -> None:
    ran = run(table, tmp_path, Load(clients=1, rate=100), READ, "deallocate all;")
    assert set(ran.errors) == {"26000"}
    assert ran.outcomes[Outcome.OK] > 10


def test_a_missing_column_is_reported_as_such_until_it_is_back(table: Target, tmp_path: Path) -> None:
    def rename(driver: Driver) -> None:
        until(lambda: driver.live().finished > 20)
        execute(table, "alter table t rename payload to body")
        execute(table, f"select pg_terminate_backend(pid) {SESSIONS}")
        until(lambda: driver.live().failed > 30)
        execute(table, "alter table t rename body to payload")
        before = driver.live()
        until(lambda: driver.live().finished > before.finished + 50)

    ran = run(table, tmp_path, Load(), READ, meanwhile=rename)
    assert ran.errors["42703"] > 20  # the connections made anew could not prepare it either
    last = [outcome for outcome, due in zip(ran.samples.outcome, ran.samples.scheduled_ns, strict=True)][-20:]
    assert set(last) == {Outcome.OK}


def test_a_wrong_statement_is_named_before_the_run(table: Target, tmp_path: Path) -> None:
    driver = make(table, tmp_path, Load(), READ, "select 1;\n\nselect payload,\n  nonsense from t;")
    with pytest.raises(SqlFileError, match="nonsense") as caught:
        driver.start()
    assert (caught.value.file, caught.value.line) == ("s1.sql", 4)


def test_no_connection_is_an_environment_failure(table: Target, tmp_path: Path) -> None:
    nowhere = replace(table, dbname="nowhere")
    with pytest.raises(EnvironmentFailure, match="nowhere") as caught:
        make(nowhere, tmp_path, Load(), READ).start()
    assert password_of(table) not in str(caught.value)


def test_scripts_of_no_weight_are_refused(table: Target, tmp_path: Path) -> None:
    script = parse_script(ScriptSource("s", READ, weight=0))
    with pytest.raises(InputError, match="weight"):
        Driver(table, [script], [], Load(), 1, tmp_path)
