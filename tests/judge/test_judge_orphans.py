"""Rows without a parent, by foreign keys that were off for a while and are called valid again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.content import prepare
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.execute import execute_file
from rehearse.engines.postgres.orphans import new_orphans
from rehearse.judge.judge import judge
from rehearse.model.migration import SqlFile
from rehearse.model.record import Trial, TrialKind
from rehearse.model.relation import Relation
from rehearse.model.target import Target
from rehearse.model.trials import IntegrityFacts, Orphans
from rehearse.model.verdict import Finding, Severity, Verdict
from rehearse.provision import Server
from tests.judge.build import AX, ORDERS, lock, migration, quiet, record, statement

# One orphan was there before; equality of an extension, a composite key, partitions, a reference to itself.
SCHEMA = """
CREATE EXTENSION citext;
CREATE TABLE parents (id bigint PRIMARY KEY, a int, b int, word citext UNIQUE, UNIQUE (a, b));
INSERT INTO parents VALUES (1, 1, 1, 'One'), (2, 2, 2, 'Two');
CREATE TABLE kids (id bigint, parent bigint CONSTRAINT kin REFERENCES parents ON DELETE CASCADE)
  PARTITION BY RANGE (id);
CREATE TABLE kids_1 PARTITION OF kids FOR VALUES FROM (0) TO (1000);
CREATE TABLE others (
  id bigint PRIMARY KEY, up bigint CONSTRAINT own REFERENCES others, a int, b int,
  word citext CONSTRAINT spelled REFERENCES parents (word),
  CONSTRAINT pair FOREIGN KEY (a, b) REFERENCES parents (a, b));
INSERT INTO kids VALUES (1, 1), (2, 2), (3, NULL);
INSERT INTO others VALUES (1, NULL, 1, 1, 'ONE'), (2, 1, 1, NULL, 'two'), (3, 1, 2, 2, NULL);
SET session_replication_role = replica;
INSERT INTO others VALUES (4, 99, NULL, NULL, NULL);
RESET session_replication_role;
"""
BASE, COPY = "orphans_base", "orphans_copy"
OTHERS, PARENTS = Relation("public", "others"), Relation("public", "parents")


@pytest.fixture(scope="module")
def base(server: Server) -> Iterator[Target]:
    create_database(server.target, BASE)
    with connect(server.target.on(BASE), "rehearse") as connection:
        execute_file(connection, SqlFile("schema.sql", SCHEMA))
    create_database(server.target, COPY, template=BASE)
    yield server.target
    for name in (BASE, COPY):
        drop_database(server.target, name)


def by(base: Target, text: str, untouched: frozenset[Relation] = frozenset()) -> set[tuple[str, int | None]]:
    """Key and count after `text` in the copy of the base, in which nothing stays."""
    with connect(base.on(BASE), "rehearse") as one, connect(base.on(COPY), "rehearse") as other:
        prepare(one)
        prepare(other)
        with other.transaction(force_rollback=True):
            other.execute(f"SET LOCAL search_path = public; {text}; SET LOCAL search_path = ''".encode())
            return {(each.key, each.rows) for each in new_orphans(one, other, untouched)}


REPLICA = "SET session_replication_role = replica; {} SET session_replication_role = origin"


def test_rows_that_lost_their_parent_are_counted_by_key_and_those_from_before_are_not(base: Target) -> None:
    assert by(base, REPLICA.format("DELETE FROM parents WHERE id = 1;")) == {
        ("kin", 1),
        ("pair", 1),
        ("spelled", 1),
    }
    off = "ALTER TABLE others DISABLE TRIGGER ALL; {} ALTER TABLE others ENABLE TRIGGER ALL"
    assert by(base, off.format("UPDATE others SET up = 77 WHERE id IN (2, 3);")) == {("own", 2)}
    untouched = frozenset({OTHERS})
    assert by(base, off.format("UPDATE others SET up = 77 WHERE id IN (2, 3);"), untouched) == set()
    assert (
        by(base, REPLICA.format("UPDATE kids SET parent = parent; DELETE FROM kids WHERE id = 1;")) == set()
    )
    new = "ALTER TABLE kids ADD other bigint CONSTRAINT late REFERENCES others; {}"
    assert by(base, new.format(REPLICA.format("UPDATE kids SET other = 50 + id;"))) == {("late", 3)}


def test_what_the_catalog_does_not_promise_is_not_counted(base: Target) -> None:
    text = (
        "ALTER TABLE kids DROP CONSTRAINT kin; DELETE FROM parents WHERE id = 3; UPDATE kids SET parent = 9;"
    )
    assert by(base, text + "ALTER TABLE others ADD FOREIGN KEY (id) REFERENCES parents NOT VALID;") == set()


def test_what_cannot_be_counted_is_said(base: Target) -> None:
    assert ("kin", None) in by(base, "SET LOCAL ROLE pg_monitor")


def concluded(*orphans: Orphans) -> tuple[Verdict, list[Finding]]:
    text = "ALTER TABLE orders DISABLE TRIGGER ALL"
    run = migration(statement(text, lock(ORDERS, AX), timeout_ms=100))
    made = record(run)
    trial = Trial(TrialKind.INTEGRITY, integrity=IntegrityFacts((), 3, orphans=orphans))
    judgement = judge(replace(made, trials=(*made.trials, trial)), quiet(run))
    return judgement.verdict, [f for f in judgement.findings if f.rule == "enforcement-lost"]


def test_orphans_are_a_failure_and_none_that_could_be_counted_are_unmeasured() -> None:
    assert concluded() == (Verdict.GO, [])
    verdict, (finding,) = concluded(Orphans(OTHERS, "own", OTHERS, 2))
    assert verdict is Verdict.NO_GO
    assert finding.severity is Severity.FAILURE
    assert "2 rows of others refer to no row of others" in finding.message
    assert "since up.sql:1" in finding.message
    assert finding.observed is not None
    assert finding.observed.value == 2
    verdict, (finding,) = concluded(Orphans(OTHERS, "pair", PARENTS, None))
    assert verdict is Verdict.INCONCLUSIVE
    assert finding.severity is Severity.UNMEASURED
