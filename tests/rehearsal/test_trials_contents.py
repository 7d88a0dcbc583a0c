"""What a migration did to the data, told by comparing every value with what it was, in kind and number."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rehearse.acts.contents import Contents, compare_contents
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.introspect import introspect
from rehearse.migrate.run import run_migration
from rehearse.model.migration import SqlFile, TransactionMode
from rehearse.model.relation import Relation
from rehearse.model.trials import ColumnIntegrity, Difference, TableIntegrity
from rehearse.provision import Server

BEFORE = """
CREATE TABLE quiet (id int PRIMARY KEY, note text);
INSERT INTO quiet SELECT g, 'n' || g FROM generate_series(1, 50) g;
CREATE TABLE orders (
  id int PRIMARY KEY, note text, amount numeric(10,4), placed timestamptz, code varchar(40), status text,
  shelf int, payload json, extra text, untouched text, raw text, name text, blob text);
INSERT INTO orders SELECT g, repeat('x', g), g + 0.25 * (g % 2),
  '2024-05-01 10:00:00Z'::timestamptz + g * interval '1 hour', 'c' || g,
  CASE WHEN g % 10 = 0 THEN NULL ELSE 'new' END, g, '{"a":  1}', 'e' || g, 'u' || g,
  'raw ' || g, 'Müller ' || g, repeat('blob', 30) || g
  FROM generate_series(1, 100) g;
CREATE TABLE keyless (note varchar(20), at date);
INSERT INTO keyless SELECT repeat('y', g), '2024-01-01' FROM generate_series(1, 20) g;
CREATE TABLE swapped (a int, b int, PRIMARY KEY (a, b));
INSERT INTO swapped SELECT g, g FROM generate_series(1, 30) g;
CREATE TABLE dropped (id int PRIMARY KEY);
INSERT INTO dropped SELECT generate_series(1, 7);
CREATE TABLE copied (id int PRIMARY KEY, note text);
INSERT INTO copied SELECT g, 'n' || g FROM generate_series(1, 40) g;
CREATE TABLE parts (id int, at date, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
INSERT INTO parts SELECT g, '2024-01-01' FROM generate_series(1, 19) g;
CREATE TABLE thinned (id uuid PRIMARY KEY, at timestamp);
INSERT INTO thinned SELECT gen_random_uuid(), '2024-01-01' FROM generate_series(1, 25) g;
CREATE TABLE logged (id int PRIMARY KEY, note text);
INSERT INTO logged SELECT g, 'n' FROM generate_series(1, 5) g;
"""

MIGRATION = """
ALTER TABLE orders ALTER COLUMN note TYPE varchar(90) USING left(note, 90);
ALTER TABLE orders ALTER COLUMN amount TYPE numeric(10,1);
ALTER TABLE orders ALTER COLUMN id TYPE numeric(9,1), ALTER COLUMN payload TYPE jsonb;
UPDATE orders SET placed = placed + interval '2 hours' WHERE id <= 40;
UPDATE orders SET status = coalesce(status, 'new'), code = CASE WHEN id < 4 THEN NULL ELSE code END;
ALTER TABLE orders ADD COLUMN shelf_new bigint;
UPDATE orders SET shelf_new = shelf;
ALTER TABLE orders DROP COLUMN shelf;
ALTER TABLE orders RENAME COLUMN shelf_new TO shelf;
ALTER TABLE orders DROP COLUMN extra;
ALTER TABLE orders ALTER COLUMN raw TYPE bytea USING convert_to(raw, 'UTF8');
UPDATE orders SET name = convert_from(convert_to(name, 'UTF8'), 'LATIN1') WHERE id <= 60;
UPDATE orders SET blob = encode(convert_to(blob, 'UTF8'), 'base64') WHERE id <= 70;
ALTER TABLE keyless ALTER COLUMN note TYPE varchar(15) USING note::varchar(15);
UPDATE swapped SET b = b + 1;
DROP TABLE dropped;
CREATE TABLE copied_new (LIKE copied INCLUDING ALL);
INSERT INTO copied_new SELECT id, upper(note) FROM copied;
DROP TABLE copied;
ALTER TABLE copied_new RENAME TO copied;
ALTER TABLE parts DETACH PARTITION parts_1;
UPDATE parts SET at = '2024-02-01' WHERE id = 15;
WITH few AS (SELECT id FROM thinned LIMIT 10) DELETE FROM thinned WHERE id IN (SELECT id FROM few);
INSERT INTO thinned SELECT gen_random_uuid(), now() FROM generate_series(1, 3);
ALTER TABLE logged RENAME TO logged_old;
CREATE TABLE logged (LIKE logged_old INCLUDING ALL);
"""


@pytest.fixture(scope="module")
def contents(server: Server) -> Iterator[Contents]:
    base, target = server.target.on("contents_base"), server.target.on("contents_trial")
    create_database(server.target, "contents_base")
    with connect(base, "test") as connection:
        connection.execute(BEFORE)
        schema = introspect(connection)
    create_database(server.target, "contents_trial", template="contents_base")
    try:
        run = run_migration(
            target,
            [SqlFile("up.sql", MIGRATION)],
            TransactionMode.AS_WRITTEN,
            timeout_s=60,
            on_state=lambda _: None,
        )
        assert run.failed is None, run.failed
        yield compare_contents(base, schema, target)
    finally:
        drop_database(server.target, "contents_trial")
        drop_database(server.target, "contents_base")


def table(contents: Contents, name: str) -> TableIntegrity:
    return next(each for each in contents.tables if each.table == Relation("public", name))


def column(contents: Contents, name: str) -> ColumnIntegrity:
    found = table(contents, "orders").column(name)
    assert found is not None
    return found


def test_a_table_that_nothing_was_done_to_is_not_read(contents: Contents) -> None:
    assert contents.untouched == 1
    assert Relation("public", "quiet") not in {each.table for each in contents.tables}


@pytest.mark.parametrize(
    ("name", "differences"),
    [
        ("note", ((Difference.CUT, 10),)),
        ("amount", ((Difference.ROUNDED, 50),)),
        ("placed", ((Difference.SHIFTED, 40),)),
        ("code", ((Difference.NULLED, 3),)),
        ("status", ((Difference.FILLED, 10),)),
        ("raw", ((Difference.RECODED, 100),)),
        ("name", ((Difference.RECODED, 60),)),
        ("blob", ((Difference.RECODED, 70),)),
        ("id", ()),
        ("payload", ()),
        ("shelf", ()),
        ("untouched", ()),
    ],
)
def test_values_that_differ_are_counted_in_kind(
    contents: Contents, name: str, differences: tuple[tuple[Difference, int], ...]
) -> None:
    found = column(contents, name)
    assert found.differences == differences
    assert found.after == name
    assert (table(contents, "orders").lost, table(contents, "orders").added) == (0, 0)


def test_a_column_that_is_gone_is_told_with_what_it_held(contents: Contents) -> None:
    assert (column(contents, "extra").after, column(contents, "extra").values) == (None, 100)


def test_without_a_key_values_are_compared_as_they_lie(contents: Contents) -> None:
    keyless = table(contents, "keyless")
    note = keyless.column("note")
    assert not keyless.keyed
    assert note is not None
    assert note.differences == ((Difference.CUT, 5),)


def test_rows_of_another_key_are_other_rows(contents: Contents) -> None:
    swapped = table(contents, "swapped")
    assert (swapped.rows_before, swapped.lost, swapped.rows_after) == (30, 30, 30)


def test_what_is_dropped_is_lost_as_a_whole(contents: Contents) -> None:
    dropped = table(contents, "dropped")
    assert (dropped.after, dropped.rows_before, dropped.lost) == (None, 7, 7)


def test_a_table_that_took_its_place_is_compared_instead(contents: Contents) -> None:
    copied = table(contents, "copied")
    note = copied.column("note")
    assert (copied.after, copied.lost) == (Relation("public", "copied"), 0)
    assert note is not None
    assert note.differences == ((Difference.CHANGED, 40),)


def test_a_partition_that_was_detached_has_taken_no_rows_away(contents: Contents) -> None:
    parts = table(contents, "parts")
    at = parts.column("at")
    assert (parts.rows_before, parts.lost) == (19, 0)
    assert at is not None
    assert at.differing == 1


def test_rows_lost_and_rows_added_are_both_counted(contents: Contents) -> None:
    thinned = table(contents, "thinned")
    assert (thinned.rows_before, thinned.lost, thinned.added) == (25, 10, 3)


def test_rows_under_another_name_are_not_lost(contents: Contents) -> None:
    logged = table(contents, "logged")
    assert (logged.after, logged.lost, logged.elsewhere) == (Relation("public", "logged_old"), 0, 5)
    assert table(contents, "copied").elsewhere == 0
