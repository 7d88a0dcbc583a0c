"""What the database no longer sees to, and what the traffic cannot have tried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.execute import execute_file
from rehearse.engines.postgres.loosened import guards, loosened
from rehearse.judge.judge import judge
from rehearse.model.migration import Effects, SqlFile
from rehearse.model.record import Trial, TrialKind
from rehearse.model.target import Target
from rehearse.model.trials import IntegrityFacts, Loosened, Loosening
from rehearse.model.verdict import Finding, Judgement, Severity, Verdict
from rehearse.provision import Server
from tests.judge.build import AX, ORDERS, SCRIPTS, lock, migration, quiet, record, statement

K = Loosening
SCHEMA = """
CREATE TABLE parents (id bigint PRIMARY KEY);
CREATE TABLE kids (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state text NOT NULL DEFAULT 'new',
    note text DEFAULT 'none', parent bigint CONSTRAINT kin REFERENCES parents
) PARTITION BY RANGE (id);
CREATE TABLE kids_1 PARTITION OF kids FOR VALUES FROM (1) TO (1000);
CREATE TABLE others (id bigint PRIMARY KEY, parent bigint CONSTRAINT kin2 REFERENCES parents);
CREATE FUNCTION same() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER keeps BEFORE INSERT ON others FOR EACH ROW EXECUTE FUNCTION same();
CREATE TRIGGER off_before BEFORE UPDATE ON others FOR EACH ROW EXECUTE FUNCTION same();
ALTER TABLE others DISABLE TRIGGER off_before;
"""
BASE, COPY = "loosened_base", "loosened_copy"


@pytest.fixture(scope="module")
def base(server: Server) -> Iterator[Target]:
    create_database(server.target, BASE)
    with connect(server.target.on(BASE), "rehearse") as connection:
        execute_file(connection, SqlFile("schema.sql", SCHEMA))
    yield server.target
    drop_database(server.target, BASE)


def by(base: Target, text: str) -> set[tuple[Loosening, str, str]]:
    """What `text` loosens in a copy of the base: kind, table and name."""
    with connect(base, "rehearse") as connection:
        connection.execute(f"CREATE DATABASE {COPY} TEMPLATE {BASE}".encode())
    try:
        with connect(base.on(COPY), "rehearse") as connection:
            execute_file(connection, SqlFile("up.sql", text))
        with connect(base.on(BASE), "rehearse") as one, connect(base.on(COPY), "rehearse") as other:
            found = loosened(guards(one), guards(other))
        return {(each.kind, str(each.table or ""), each.name) for each in found}
    finally:
        drop_database(base, COPY)


def test_what_is_switched_off_or_dropped_and_what_is_on_again(base: Target) -> None:
    assert by(
        base,
        "ALTER TABLE kids DISABLE TRIGGER ALL;"
        "ALTER TABLE others DISABLE TRIGGER keeps, DROP CONSTRAINT kin2;"
        "ALTER TABLE kids ALTER state DROP DEFAULT, ALTER note DROP DEFAULT, ALTER id DROP IDENTITY;"
        f"ALTER DATABASE {COPY} SET default_transaction_read_only = on;",
    ) == {
        (K.KEY_OFF, "kids", "kin"),
        (K.TRIGGER_OFF, "others", "keeps"),
        (K.KEY_DROPPED, "others", "kin2"),
        (K.DEFAULT_DROPPED, "kids", "state"),
        (K.DEFAULT_DROPPED, "kids", "id"),
        (K.SETTING, "", "default_transaction_read_only"),
    }
    assert by(base, "ALTER TABLE kids_1 DISABLE TRIGGER ALL") == {(K.KEY_OFF, "kids_1", "kin")}
    assert not by(
        base,
        "ALTER TABLE others DISABLE TRIGGER ALL; ALTER TABLE others ENABLE TRIGGER ALL;"
        "ALTER TABLE others RENAME TO siblings; ALTER TABLE siblings RENAME CONSTRAINT kin2 TO kin3;"
        "ALTER TABLE siblings DROP CONSTRAINT kin3;"
        "ALTER TABLE siblings ADD CONSTRAINT kin4 FOREIGN KEY (parent) REFERENCES parents NOT VALID;"
        "ALTER TABLE kids ALTER state SET DEFAULT 'old'; DROP TABLE kids CASCADE;",
    )


def judged(text: str, *found: Loosened, inferred: bool = False) -> Judgement:
    run = migration(statement(text, lock(ORDERS, AX), timeout_ms=9))
    made = record(run)
    trial = Trial(TrialKind.INTEGRITY, integrity=IntegrityFacts((), 3, loosened=found))
    scripts = tuple(replace(script, inferred=inferred) for script in SCRIPTS)
    return judge(replace(made, trials=(*made.trials, trial), scripts=scripts), quiet(run))


def of(judgement: Judgement, rule: str) -> list[Finding]:
    return [finding for finding in judgement.findings if finding.rule == rule]


@pytest.mark.parametrize(
    ("kind", "severity", "says"),
    [
        (K.KEY_OFF, Severity.WARNING, "leaves the foreign key kin unenforced on orders"),
        (K.TRIGGER_OFF, Severity.WARNING, "leaves the trigger kin of orders disabled"),
        (K.KEY_DROPPED, Severity.NOTE, "drops the foreign key kin of orders"),
    ],
)
def test_enforcement_lost_is_told_by_name(kind: Loosening, severity: Severity, says: str) -> None:
    judgement = judged("ALTER TABLE orders DISABLE TRIGGER ALL", Loosened(kind, "kin", ORDERS))
    (finding,) = of(judgement, "enforcement-lost")
    assert (finding.severity, finding.statement) == (severity, 0)
    assert says in finding.message
    assert judgement.verdict is Verdict.GO


@pytest.mark.parametrize(
    ("before", "after", "tells"),
    [
        ("SET session_replication_role = replica", "SELECT 1", True),
        ("SET LOCAL session_replication_role TO 'replica'", "SELECT 1", True),
        ("SELECT set_config('session_replication_role', 'replica', false)", "SELECT 1", True),
        ("SET session_replication_role = replica", "RESET session_replication_role", False),
        ("SET session_replication_role = replica", "SET session_replication_role = 'origin'", False),
        ("SET session_replication_role = origin", "SELECT 1", False),
    ],
)
def test_rows_that_are_changed_while_no_trigger_fires_are_told(before: str, after: str, tells: bool) -> None:
    changed = Effects(rows_changed=((ORDERS, 3),))
    run = migration(
        *(statement(text, transaction=0) for text in (before, after)),
        statement("UPDATE orders SET customer_id = 7 WHERE id < 4", transaction=0, effects=changed),
    )
    found = of(judge(record(run), quiet(run)), "enforcement-lost")
    assert [(f.statement, f.severity) for f in found] == ([(2, Severity.WARNING)] if tells else [])


def test_what_is_set_for_a_transaction_ends_with_it() -> None:
    changed = Effects(rows_changed=((ORDERS, 3),))
    run = migration(
        statement("SET LOCAL session_replication_role = replica", transaction=0),
        statement("UPDATE orders SET customer_id = 7 WHERE id < 4", transaction=1, effects=changed),
    )
    assert not of(judge(record(run), quiet(run)), "enforcement-lost")


def test_a_default_that_is_gone_was_not_missed_by_inferred_inserts() -> None:
    text, gone = "ALTER TABLE orders ALTER state DROP DEFAULT", Loosened(K.DEFAULT_DROPPED, "state", ORDERS)
    (finding,) = of(judged(text, gone, inferred=True), "breaks-running-application")
    assert finding.severity is Severity.WARNING
    assert finding.subject == "orders.state"
    assert "taken for granted" in finding.message
    assert not of(judged(text, gone), "breaks-running-application")  # the application's own INSERT tried it


@pytest.mark.parametrize(
    ("text", "name", "severity"),
    [
        (
            "DO $$ BEGIN EXECUTE 'ALTER DATABASE shop SET default_transaction_read_only = on'; END $$",
            "default_transaction_read_only",
            Severity.UNMEASURED,
        ),
        ("ALTER ROLE app IN DATABASE shop SET search_path = other", "search_path", Severity.UNMEASURED),
        ("ALTER SYSTEM SET statement_timeout = '1s'", "statement_timeout", Severity.UNMEASURED),
        ("ALTER DATABASE shop SET log_statement = 'all'", "log_statement", Severity.WARNING),
    ],
)
def test_settings_of_later_connections_were_not_tried(text: str, name: str, severity: Severity) -> None:
    judgement = judged(text, *([Loosened(K.SETTING, name)] if "DATABASE" in text else []))
    (finding,) = of(judgement, "breaks-running-application")
    assert (finding.subject, finding.severity) == (name, severity)
    assert judgement.verdict is (Verdict.INCONCLUSIVE if severity is Severity.UNMEASURED else Verdict.GO)


def test_a_setting_that_no_text_names_is_found_by_the_catalog() -> None:
    (finding,) = of(judged("CALL prepare()", Loosened(K.SETTING, "timezone")), "breaks-running-application")
    assert (finding.subject, finding.severity) == ("timezone", Severity.UNMEASURED)


@pytest.mark.parametrize(
    "text",
    [
        "ALTER DATABASE shop CHARACTER SET utf8mb4",
        "ALTER DATABASE shop SET TABLESPACE fast",
        "ALTER ROLE app RESET search_path",
        "ALTER TABLE orders SET (fillfactor = 90)",
    ],
)
def test_what_sets_nothing_for_connections(text: str) -> None:
    assert not of(judged(text), "breaks-running-application")


@pytest.mark.parametrize(("timeout_ms", "warns"), [(2000, False), (2001, True), (3_600_000, True), (0, True)])
def test_a_lock_timeout_that_bounds_nothing(timeout_ms: int, warns: bool) -> None:
    run = migration(statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), timeout_ms=timeout_ms))
    found = of(judge(record(run), quiet(run)), "unbounded-lock-queue")
    assert bool(found) is warns
    if timeout_ms == 3_600_000:
        assert "a lock_timeout of 60 min" in found[0].message
