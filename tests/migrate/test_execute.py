"""Schema and seed files run as psql would run them; dumps are taken as they stand."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.execute import Connection, execute_file
from rehearse.errors import SqlFileError
from rehearse.model.migration import SqlFile
from rehearse.model.target import Target
from rehearse.provision.binaries import embedded_installation

SCHEMA = """
CREATE EXTENSION hstore;
CREATE SCHEMA sales;
CREATE TABLE sales.orders (id bigserial PRIMARY KEY, note text, tags hstore, at timestamptz DEFAULT now());
INSERT INTO sales.orders (note) VALUES (E'tab\\tand\\\\backslash\\nnewline'), (NULL), ('ü; \\.');
CREATE FUNCTION sales.f(a int) RETURNS int LANGUAGE sql
  BEGIN ATOMIC SELECT CASE WHEN a > 1 THEN 1 ELSE 2 END; SELECT 3; END;
CREATE FUNCTION g() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$;
COMMENT ON TABLE sales.orders IS 'it''s; --';
CREATE TABLE "We;ird" ("a""b" int);
CREATE ROLE dump_owner;
ALTER TABLE sales.orders OWNER TO dump_owner;
GRANT SELECT ON "We;ird" TO dump_owner;
ALTER DEFAULT PRIVILEGES IN SCHEMA sales GRANT SELECT ON TABLES TO dump_owner;
ALTER TABLE sales.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY theirs ON sales.orders TO dump_owner USING (id > 0);
COMMENT ON POLICY theirs ON sales.orders IS 'of a role that is not here';
"""


@pytest.fixture
def connection(database: Target) -> Iterator[Connection]:
    with connect(database, "rehearse") as opened:
        yield opened


UNDO = """
DROP SCHEMA sales CASCADE; DROP FUNCTION g; DROP TABLE "We;ird"; DROP EXTENSION hstore;
DROP OWNED BY dump_owner; DROP ROLE dump_owner
"""


def pg_dump(database: Target) -> str:
    words = database.conninfo("rehearse")
    command = [str(embedded_installation().bindir / "pg_dump"), "-h", words["host"], "-p", words["port"]]
    return subprocess.run(
        [*command, "-U", words["user"], words["dbname"]],
        env=os.environ | {"PGPASSWORD": words.get("password", "")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_a_dump_is_loaded_as_it_stands(database: Target, connection: Connection) -> None:
    connection.execute(SCHEMA)
    expected = connection.execute("SELECT * FROM sales.orders ORDER BY id").fetchall()
    dump = pg_dump(database)
    connection.execute(UNDO + "; SET search_path = sales")
    notes = execute_file(connection, SqlFile("dump.sql", "SET from_the_future = 1;\n" + dump))
    assert connection.execute("SELECT * FROM sales.orders ORDER BY id").fetchall() == expected
    assert connection.execute('SELECT sales.f(2), count(*) FROM "We;ird"').fetchone() == (3, 0)
    assert connection.execute("SHOW search_path").fetchone() == ('"$user", public',)
    assert any("from_the_future" in note for note in notes)
    assert any("dump_owner" in note for note in notes)


def test_what_is_left_out_inside_a_transaction_does_not_end_it(connection: Connection) -> None:
    text = "BEGIN; CREATE TABLE a (); GRANT SELECT ON a TO nobody_here; CREATE TABLE b (); COMMIT;"
    assert execute_file(connection, SqlFile("s.sql", text))
    assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (2,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1;\n\nSELECT\n  nope;", r"s\.sql:4: column \"nope\" does not exist"),
        ("CREATE EXTENSION postgis;", r"s\.sql:1: extension \"postgis\" is not available.*docker"),
        ("BEGIN;\nCREATE TABLE a ();\n", r"s\.sql:2: a transaction is still open"),
        ("CREATE TABLE a (i int);\nCOPY a FROM stdin;\nx\n\\.\n", r"s\.sql:2: invalid input syntax"),
        ("CREATE SCHEMA z AUTHORIZATION nobody_here;", r"nobody_here\" does not exist; make it in .*init"),
        ("CREATE SCHEMA a;\nCREATE SCHEMA a;", r"s\.sql:2: schema \"a\" already exists"),
    ],
)
def test_errors_name_file_line_and_the_servers_words(text: str, message: str, connection: Connection) -> None:
    with pytest.raises(SqlFileError, match=message):
        execute_file(connection, SqlFile("s.sql", text))
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_error_does_not_quote_the_rows_of_a_seed_file(connection: Connection) -> None:
    text = "CREATE TABLE a (i int);\nCOPY a FROM stdin;\nann@example.org\n\\.\n"
    with pytest.raises(SqlFileError, match=r"s\.sql:2: invalid input syntax for type integer") as caught:
        execute_file(connection, SqlFile("s.sql", text))
    assert "ann" not in str(caught.value)
