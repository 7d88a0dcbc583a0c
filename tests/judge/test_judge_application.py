"""What rules say of lost data and of the running application."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    ColumnChange,
    Effects,
    MigrationRun,
    RelationChange,
)
from rehearse.model.record import DatasetFacts, RunRecord
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, Severity, Verdict
from rehearse.model.waits import Blocker, LockWait, Party, Role
from rehearse.model.workload import SampleColumns
from tests.judge.build import (
    AUDIT,
    AX,
    CUSTOMERS,
    MS,
    ORDERS,
    READ,
    START,
    WRITE,
    Failing,
    S,
    end_of,
    lock,
    migration,
    quiet,
    record,
    samples,
    statement,
    with_trial,
)


def found(made: RunRecord, traffic: SampleColumns, rule: str) -> list[Finding]:
    return [f for f in judge(made, traffic).findings if f.rule == rule]


def altering(effects: Effects, text: str = "ALTER TABLE orders DROP COLUMN note") -> MigrationRun:
    return migration(statement(text, lock(ORDERS, AX), timeout_ms=9, effects=effects))


# --- data-loss ---


@pytest.mark.parametrize(
    ("expendable", "lost"),
    [
        ((), True),
        (("orders.memo",), False),
        (("public.orders.memo",), False),
        (("orders",), False),
        (('"orders"."memo"',), False),
        (("memo",), True),
        (("customers.memo",), True),
        (("orders.mem",), True),
    ],
)
def test_columns_that_may_go(expendable: tuple[str, ...], lost: bool) -> None:
    run = altering(Effects(columns=(ColumnChange(ORDERS, "memo", "dropped", rows_with_data=3),), wal_bytes=9))
    assert bool(found(record(run, expendable=expendable), quiet(run), "data-loss")) is lost


@pytest.mark.parametrize(("rows", "lost"), [(0, False), (7, True), (None, True)])
def test_what_was_empty_is_no_loss_and_what_was_not_counted_is(rows: int | None, lost: bool) -> None:
    run = altering(
        Effects(columns=(ColumnChange(ORDERS, "memo", "dropped", rows_with_data=rows),), wal_bytes=9)
    )
    assert bool(found(record(run), quiet(run), "data-loss")) is lost
    gone = RelationChange(AUDIT, "dropped", rows=rows)
    run = migration(
        statement("DROP TABLE audit", lock(AUDIT, AX), effects=Effects(relations=(gone,), wal_bytes=9))
    )
    assert bool(found(record(run), quiet(run), "data-loss")) is lost


def test_what_was_rolled_back_or_only_renamed_is_no_loss() -> None:
    dropping = Effects(columns=(ColumnChange(ORDERS, "memo", "dropped"),), wal_bytes=9)
    run = migration(
        statement("ALTER TABLE orders ...", lock(ORDERS, AX), transaction=7, effects=dropping),
        rolled_back=[7],
    )
    assert not found(record(run), quiet(run), "data-loss")
    renaming = Effects(columns=(ColumnChange(ORDERS, "memo", "renamed", "note"),), wal_bytes=9)
    run = altering(renaming)
    assert not found(record(run), quiet(run), "data-loss")


def test_a_table_of_the_migrations_own_may_go() -> None:
    scratch = Relation("public", "scratch")
    run = migration(
        statement("CREATE TABLE scratch (id int)", lock(scratch, AX, created_here=True)),
        statement(
            "DROP TABLE scratch",
            lock(scratch, AX, created_here=True),
            effects=Effects(relations=(RelationChange(scratch, "dropped"),), wal_bytes=9),
        ),
    )
    assert judge(record(run), quiet(run)).verdict is Verdict.GO


# --- breaks-running-application ---


def test_the_failing_text_and_the_statement_to_blame_are_named() -> None:
    retyped = Effects(columns=(ColumnChange(ORDERS, "status", "retyped", "text"),), wal_bytes=9)
    run = migration(
        statement(
            "ALTER TABLE orders ALTER status TYPE text", lock(ORDERS, AX), timeout_ms=9, effects=retyped
        ),
        statement(
            "ALTER TABLE orders RENAME COLUMN note TO remark",
            lock(ORDERS, AX),
            timeout_ms=9,
            effects=Effects(columns=(ColumnChange(ORDERS, "note", "renamed", "remark"),), wal_bytes=9),
        ),
        statement("ALTER TABLE customers ADD COLUMN b int", lock(CUSTOMERS, AX), timeout_ms=9),
    )
    traffic = samples(end_ns=end_of(run)[1], failing=[Failing(READ, "42703", START + 8 * MS, 60 * S)])
    (finding,) = found(record(run), traffic, "breaks-running-application")
    assert (finding.severity, finding.subject, finding.statement) == (Severity.FAILURE, READ, 1)
    assert any("SELECT id, status, note FROM orders" in line for line in finding.evidence)
    assert "42703" in finding.message


def test_errors_of_before_do_not_break_the_application() -> None:
    run = altering(Effects(wal_bytes=9))
    always = samples(end_ns=end_of(run)[1], failing=[Failing(WRITE, "23505", 0, 60 * S, every=40)])
    assert judge(record(run), always).verdict is Verdict.GO


@pytest.mark.parametrize("state", ["42703", "42P01", "23502", "23514", "23503", "22001", "42804", "P0001"])
def test_errors_never_seen_before_do(state: str) -> None:
    run = altering(Effects(wal_bytes=9))
    once = samples(end_ns=end_of(run)[1], failing=[Failing(WRITE, state, START, 60 * S, every=300)])
    assert judge(record(run), once).verdict is Verdict.NO_GO
    assert found(record(run), once, "breaks-running-application")


@pytest.mark.parametrize("state", ["55P03", "57014", "40P01", "40001"])
def test_locks_and_timeouts_belong_to_other_rules(state: str) -> None:
    run = altering(Effects(wal_bytes=9))
    failing = samples(end_ns=end_of(run)[1], failing=[Failing(WRITE, state, START, 60 * S, every=20)])
    assert judge(record(run), failing).verdict is Verdict.NO_GO
    assert not found(record(run), failing, "breaks-running-application")


def test_cached_plans_that_stay_broken_on_some_connections_fail() -> None:
    run = altering(Effects(wal_bytes=9))
    stubborn = samples(end_ns=end_of(run)[1], failing=[Failing(READ, "0A000", START, 60 * S)])
    assert judge(record(run), stubborn).verdict is Verdict.NO_GO
    rare = samples(end_ns=end_of(run)[1], failing=[Failing(READ, "0A000", START, 60 * S, every=20)])
    judgement = judge(record(run), rare)
    assert judgement.verdict is Verdict.GO  # 25 of 500, at most one for each of 32 clients
    assert [f.severity for f in judgement.findings if f.rule == "breaks-running-application"] == [
        Severity.WARNING
    ]


def test_a_cached_plan_is_the_doing_of_what_changed_the_table_and_not_of_what_ran_meanwhile() -> None:
    run = migration(
        statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), effects=Effects(wal_bytes=9)),
        statement("CREATE INDEX CONCURRENTLY c ON audit (id)", lock(AUDIT, LockMode.SHARE_UPDATE_EXCLUSIVE)),
        statement("UPDATE orders SET a = 1 WHERE id < 9", lock(ORDERS, LockMode.ROW_EXCLUSIVE), took_s=0.5),
    )
    failing = Failing(READ, "0A000", START + 100 * MS, START + 300 * MS)
    (finding,) = found(
        record(run), samples(end_ns=end_of(run)[1], failing=[failing]), "breaks-running-application"
    )
    assert finding.statement == 0


def test_what_a_transaction_did_last_may_have_failed_those_that_began_before_its_end() -> None:
    run = migration(
        statement("DROP SEQUENCE orders_seq", lock(ORDERS, AX), transaction=3, effects=Effects(wal_bytes=9)),
        statement(
            "ALTER TABLE orders ALTER id ADD GENERATED ALWAYS AS IDENTITY", lock(ORDERS, AX), transaction=3
        ),
    )
    failing = Failing(WRITE, "23505", START, START + S)
    (finding,) = found(
        record(run), samples(end_ns=end_of(run)[1], failing=[failing]), "breaks-running-application"
    )
    assert finding.statement == 1


def test_a_function_that_was_replaced_is_named_where_nothing_else_was_changed() -> None:
    text = "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN END $$"
    run = migration(
        replace(statement(text, effects=Effects(wal_bytes=9)), command="CREATE FUNCTION"),
        statement("SELECT 1"),
    )
    failing = Failing(WRITE, "42703", START + 100 * MS, START + 60 * S)
    (finding,) = found(
        record(run), samples(end_ns=end_of(run)[1], failing=[failing]), "breaks-running-application"
    )
    assert finding.statement == 0


def test_a_dropped_column_that_no_script_mentions_is_worth_a_warning() -> None:
    run = altering(Effects(columns=(ColumnChange(ORDERS, "memo", "dropped", rows_with_data=0),), wal_bytes=9))
    (finding,) = found(record(run), quiet(run), "breaks-running-application")
    assert finding.severity is Severity.WARNING
    assert judge(record(run), quiet(run)).verdict is Verdict.GO


@pytest.mark.parametrize(
    ("text", "severities"),
    [
        ("REVOKE UPDATE ON orders FROM app", [Severity.UNMEASURED]),
        ("ALTER TABLE orders FORCE ROW LEVEL SECURITY", [Severity.UNMEASURED]),
        ("REVOKE ALL ON new_table FROM PUBLIC", []),
        ("GRANT SELECT ON orders TO app", []),
        ("ALTER TABLE orders OWNER TO other", [Severity.UNMEASURED]),
        ("DROP POLICY mine ON orders", [Severity.UNMEASURED]),
        ("CREATE POLICY mine ON orders AS RESTRICTIVE USING (id > 0)", [Severity.UNMEASURED]),
        ("CREATE POLICY mine ON orders USING (id > 0)", []),
        ("REVOKE USAGE ON SEQUENCE orders_id_seq FROM app", [Severity.UNMEASURED]),
        ("REVOKE ALL ON ALL TABLES IN SCHEMA audit, public FROM app", [Severity.UNMEASURED]),
        ("REVOKE ALL ON ALL TABLES IN SCHEMA audit FROM app", []),
        ("REVOKE USAGE ON SCHEMA public FROM app", [Severity.UNMEASURED]),
        ("REVOKE CREATE ON SCHEMA public FROM PUBLIC", []),
        ("REVOKE writers FROM app", [Severity.UNMEASURED]),
        ("DROP OWNED BY app", [Severity.UNMEASURED]),
        ("ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM app", []),
        ("ALTER TABLE orders NO FORCE ROW LEVEL SECURITY", []),
        ("INSERT INTO notes VALUES ('we revoke orders from whoever asks')", []),
        ("REVOKE CONNECT ON DATABASE shop FROM PUBLIC", [Severity.UNMEASURED]),
        ("REVOKE CREATE ON DATABASE shop FROM PUBLIC", []),
        ("ALTER ROLE app WITH NOLOGIN", [Severity.UNMEASURED]),
        ("ALTER ROLE app CONNECTION LIMIT 5", [Severity.UNMEASURED]),
        ("ALTER ROLE app CONNECTION LIMIT -1 VALID UNTIL 'infinity'", []),
        ("ALTER USER app VALID UNTIL '2020-01-01'", [Severity.UNMEASURED]),
        ("ALTER DATABASE shop ALLOW_CONNECTIONS false", [Severity.UNMEASURED]),
        ("ALTER ROLE app NOSUPERUSER", [Severity.UNMEASURED]),
        ("ALTER ROLE app NOBYPASSRLS", [Severity.UNMEASURED]),
        ("ALTER ROLE app LOGIN SUPERUSER", []),
        ("CREATE ROLE readers NOLOGIN NOSUPERUSER", []),
        ("DROP ROLE IF EXISTS app", [Severity.UNMEASURED]),
        ("DROP USER app", [Severity.UNMEASURED]),
        ("DROP USER MAPPING FOR app SERVER far", []),
        ("ALTER GROUP writers DROP USER app", [Severity.UNMEASURED]),
        ("REVOKE EXECUTE ON FUNCTION price(numeric(10, 2)) FROM PUBLIC", [Severity.UNMEASURED]),
        ("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC", [Severity.UNMEASURED]),
        ("ALTER FUNCTION price(int) OWNER TO other", [Severity.UNMEASURED]),
        ("ALTER SCHEMA public OWNER TO other", [Severity.UNMEASURED]),
        ("ALTER SCHEMA audit OWNER TO other", []),
        ("ALTER SEQUENCE orders_id_seq OWNER TO other", [Severity.UNMEASURED]),
        ("ALTER VIEW public.orders OWNER TO other", [Severity.UNMEASURED]),
        ("REVOKE USAGE ON TYPE mood FROM PUBLIC", []),  # concerns only what is made of it
    ],
)
def test_rights_taken_away_are_not_put_to_the_test(text: str, severities: list[Severity]) -> None:
    run = migration(statement(text, effects=Effects(wal_bytes=9)))
    assert [f.severity for f in found(record(run), quiet(run), "breaks-running-application")] == severities


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (
            "CREATE FUNCTION price(a int) RETURNS int AS $$ SELECT 1 $$",
            "REVOKE ALL ON FUNCTION price(int) FROM PUBLIC",
        ),
        (
            "CREATE OR REPLACE FUNCTION shop.price() RETURNS int AS $$ $$",
            "ALTER FUNCTION shop.price() OWNER TO app",
        ),
        ("CREATE ROLE readers", "ALTER ROLE readers NOLOGIN NOINHERIT"),
    ],
)
def test_rights_on_what_the_migration_made_were_nobodys(made: str, text: str) -> None:
    run = migration(*(statement(each, effects=Effects(wal_bytes=9)) for each in (made, text)))
    assert not found(record(run), quiet(run), "breaks-running-application")
    run = migration(statement(text, effects=Effects(wal_bytes=9)))
    assert found(record(run), quiet(run), "breaks-running-application")


@pytest.mark.parametrize(
    ("first", "tried"),
    [("SET LOCAL ROLE app", True), ("SET ROLE NONE", False), ("SET SESSION AUTHORIZATION DEFAULT", False)],
)
def test_rights_are_tried_by_scripts_that_take_a_role(first: str, *, tried: bool) -> None:
    run = migration(statement("REVOKE UPDATE ON orders FROM app", effects=Effects(wal_bytes=9)))
    scripts = tuple(replace(script, statements=(first, *script.statements)) for script in record(run).scripts)
    findings = found(replace(record(run), scripts=scripts), quiet(run), "breaks-running-application")
    assert (findings == []) is tried
    login = migration(statement("ALTER ROLE app NOLOGIN", effects=Effects(wal_bytes=9)))
    made = replace(record(login), scripts=scripts)
    assert found(made, quiet(login), "breaks-running-application"), "no script connects anew"


def test_what_generation_saw_to_is_said_to_be_taken_for_granted() -> None:
    run = altering(Effects(wal_bytes=9), "ALTER TABLE orders ADD CHECK (amount > 0) NOT VALID")
    made = replace(
        record(run), dataset=DatasetFacts(1, 1, 0.1, 0.1, 42, ("public.orders.amount satisfies the check",))
    )
    (finding,) = found(made, quiet(run), "breaks-running-application")
    assert (finding.severity, finding.subject) == (Severity.WARNING, "public.orders.amount")
    assert "taken for granted" in finding.message


# --- deadlock ---


def test_a_deadlock_among_the_applications_own_is_a_warning() -> None:
    run = altering(Effects(wal_bytes=9))
    traffic = samples(
        end_ns=end_of(run)[1], failing=[Failing(WRITE, "40P01", START, START + 300 * MS, every=30)]
    )
    assert judge(record(run), traffic).verdict is Verdict.NO_GO
    mine = Party(5, Role.TRAFFIC, WRITE)
    wait = LockWait(
        mine,
        (Blocker(Party(6, Role.TRAFFIC, WRITE), None, False),),
        "transactionid",
        None,
        None,
        START - S,
        START,
    )
    made = with_trial(record(run, gates=()), waits=(wait,))
    assert judge(made, traffic).verdict is Verdict.GO
