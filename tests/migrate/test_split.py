"""Files are taken apart exactly as psql does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearse.engines.postgres.split import Control, SqlStatement, split
from rehearse.errors import SqlFileError
from rehearse.model.migration import SqlFile
from tests.migrate.conftest import PIECES_OF_SQL


def statements(text: str, name: str = "up.sql") -> tuple[SqlStatement, ...]:
    return split(SqlFile(name, text))


def texts(text: str) -> list[str]:
    return [statement.text for statement in statements(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        (";; SELECT 1;;", ["SELECT 1"]),
        ("", []),
        ("-- nothing but a comment; really\n/* ; */", []),
        ("SELECT 'a;''b'; SELECT 2", ["SELECT 'a;''b'", "SELECT 2"]),
        (r"SELECT E'a\';b'; SELECT 2", [r"SELECT E'a\';b'", "SELECT 2"]),
        (r"SELECT 'a\'; SELECT 2", [r"SELECT 'a\'", "SELECT 2"]),
        (r"SELECT U&'d\0061;t'; SELECT 2", [r"SELECT U&'d\0061;t'", "SELECT 2"]),
        ('SELECT ";""x;"; SELECT 2', ['SELECT ";""x;"', "SELECT 2"]),
        ("SELECT $$a;b$$; SELECT 2", ["SELECT $$a;b$$", "SELECT 2"]),
        ("SELECT $a$ $$ ; $b$ $a$; SELECT 2", ["SELECT $a$ $$ ; $b$ $a$", "SELECT 2"]),
        ("SELECT foo$a$; SELECT 2", ["SELECT foo$a$", "SELECT 2"]),
        ("SELECT $1; SELECT 2", ["SELECT $1", "SELECT 2"]),
        ("SELECT 1 /* ; /* ; */ ; */ + 1; SELECT 2", ["SELECT 1 /* ; /* ; */ ; */ + 1", "SELECT 2"]),
        ("SELECT 1 -- ;\n + 1; SELECT 2", ["SELECT 1 -- ;\n + 1", "SELECT 2"]),
        ("-- a\n/* b */ SELECT 1 -- c\n;", ["SELECT 1"]),
        ("CREATE RULE r AS ON INSERT TO t DO (a; b); SELECT 2", None),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a THEN 1 END; END; X",
            None,
        ),
        ("create or replace procedure p() begin atomic insert into t values (1); end; X", None),
        ("\ufeffSELECT 1;\r\nSELECT 2;\r\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT a[1:2], b::int, :unset; SELECT 2", ["SELECT a[1:2], b::int, :unset", "SELECT 2"]),
        ("SELECT 1 \\g\nSELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1;\n\\q\nSELECT 2;", ["SELECT 1"]),
    ],
)
def test_statements_end_where_psql_ends_them(text: str, expected: list[str] | None) -> None:
    found = texts(text)
    if expected is None:
        assert len(found) == 2
    else:
        assert found == expected


def test_begin_is_no_block_outside_routines() -> None:
    assert [s.control for s in statements("BEGIN; SELECT 1; END;")] == [Control.BEGIN, None, Control.COMMIT]


def test_lines_are_those_of_the_statement_proper() -> None:
    text = "-- one\n\nSELECT\n 1;\r\n/* four\n*/ SELECT 2;\nCOPY t FROM stdin;\n1\n2\n\\.\nSELECT 3"
    assert [s.line for s in statements(text)] == [3, 6, 7, 11]


def test_copy_data_follows_its_line() -> None:
    copy, between, last = statements("COPY t (a) FROM stdin; SELECT 1;\n1\t;\n'\n\\.\nSELECT 2;")
    assert copy.copy_data == "1\t;\n'\n"
    assert (between.text, last.text) == ("SELECT 1", "SELECT 2")


def test_copy_data_may_be_empty_or_end_with_the_file() -> None:
    assert [s.copy_data for s in statements("COPY t FROM STDIN;\n\\.\nCOPY u FROM stdin;\n1\n")] == [
        "",
        "1\n",
    ]
    assert statements("COPY t FROM 'file'; COPY (SELECT 1 FROM stdin) TO stdout")[0].copy_data is None


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ("BEGIN WORK", Control.BEGIN),
        ("start transaction isolation level serializable", Control.BEGIN),
        ("COMMIT AND CHAIN", Control.COMMIT),
        ("END", Control.COMMIT),
        ("ABORT", Control.ROLLBACK),
        ("ROLLBACK", Control.ROLLBACK),
        ("ROLLBACK WORK TO SAVEPOINT a", Control.ROLLBACK_TO),
        ("ROLLBACK PREPARED 'a'", None),
        ("COMMIT PREPARED 'a'", None),
        ("SAVEPOINT a", Control.SAVEPOINT),
        ("RELEASE a", Control.RELEASE),
        ("SELECT 1", None),
    ],
)
def test_transaction_control(text: str, control: Control | None) -> None:
    assert statements(text)[0].control is control


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("alter table if exists only a add b int", "ALTER TABLE"),
        ("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)", "CREATE INDEX CONCURRENTLY"),
        ("create unique index concurrently on t (a)", "CREATE UNIQUE INDEX CONCURRENTLY"),
        ("DROP INDEX CONCURRENTLY i", "DROP INDEX CONCURRENTLY"),
        ("REINDEX (VERBOSE, CONCURRENTLY) TABLE t", "REINDEX TABLE CONCURRENTLY"),
        ("REINDEX (CONCURRENTLY off) TABLE t", "REINDEX TABLE"),
        ("REINDEX INDEX CONCURRENTLY i", "REINDEX INDEX CONCURRENTLY"),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", "REFRESH MATERIALIZED VIEW CONCURRENTLY"),
        ("CREATE OR REPLACE FUNCTION f() RETURNS int AS ''", "CREATE FUNCTION"),
        ("CREATE TEMP TABLE t ()", "CREATE TABLE"),
        ("create unlogged table t ()", "CREATE TABLE"),
        ("VACUUM (FULL, ANALYZE) t", "VACUUM FULL"),
        ("VACUUM (FULL false) t", "VACUUM"),
        ("vacuum full t", "VACUUM FULL"),
        ("WITH a AS (SELECT 1) DELETE FROM t", "DELETE"),
        ("with recursive a as (delete from t returning *) insert into u select * from a", "INSERT"),
        ("DO $$ BEGIN END $$", "DO"),
        ('"select" 1', ""),
    ],
)
def test_command_is_the_normalised_first_words(text: str, command: str) -> None:
    assert statements(text)[0].command == command


def test_psql_commands_that_change_nothing_are_passed_over() -> None:
    text = (
        "\\restrict k\n\\set ON_ERROR_STOP on\n\\pset pager off\n\\echo it's\nSELECT 1;\n"
        "\\timing \\\\ SELECT 2;\n\\unrestrict k\n"
    )
    assert texts(text) == ["SELECT 1", "SELECT 2"]


def test_variables_are_interpolated_as_psql_does() -> None:
    text = "\\set name 'it''s'\n\\set t orders\n\\set both :t _x\nSELECT :'name', :\"t\", :both, ':t', :t.id"
    assert texts(text) == ["SELECT 'it''s', \"orders\", orders_x, ':t', orders.id"]


def test_a_variable_may_hold_several_statements_until_it_is_unset() -> None:
    assert texts("\\set two 'SELECT 1; SELECT 2'\n:two;\n\\unset two\nSELECT :two") == [
        "SELECT 1",
        "SELECT 2",
        "SELECT :two",
    ]


@pytest.mark.parametrize(
    "command", ["\\connect x", "\\gexec", "\\copy t from f", "\\! ls", "\\if true", "\\;"]
)
def test_other_psql_commands_are_refused_by_line_and_name(command: str) -> None:
    with pytest.raises(SqlFileError, match=r"up\.sql:3: ") as caught:
        statements(f"SELECT 1;\n\n  {command}\n")
    assert command.split(maxsplit=1)[0] in str(caught.value)


def test_autocommit_off_is_refused() -> None:
    with pytest.raises(SqlFileError, match="AUTOCOMMIT"):
        statements("\\set AUTOCOMMIT off\nSELECT 1;")


@pytest.mark.parametrize(
    "text", ["SELECT 1;\n'a\n\n", 'SELECT 1;\n"a;\n', "SELECT 1;\n$x$ a $$ ;\n", "SELECT 1;\n/* a /* */ ;\n"]
)
def test_what_never_ends_is_refused_with_the_line_where_it_began(text: str) -> None:
    with pytest.raises(SqlFileError, match=r"up\.sql:2: .* is never closed"):
        statements(text)


def test_the_string_rule_follows_the_files_own_setting() -> None:
    assert texts(r"SET standard_conforming_strings = off; SELECT 'a\';b'; SELECT 2") == [
        "SET standard_conforming_strings = off",
        r"SELECT 'a\';b'",
        "SELECT 2",
    ]


def test_includes_are_read_with_their_own_names_and_lines(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.sql").write_text("\\ir b.sql\nSELECT 'a';\n")
    (tmp_path / "more" / "b.sql").write_text("\nSELECT :'v';\n")
    main = str(tmp_path / "main.sql")
    found = statements("\\set v 7\n\\i more/a.sql\nSELECT 'main';", main)
    assert [(Path(s.file).name, s.line, s.text) for s in found] == [
        ("b.sql", 2, "SELECT '7'"),
        ("a.sql", 2, "SELECT 'a'"),
        ("main.sql", 3, "SELECT 'main'"),
    ]


def test_an_include_that_is_missing_or_includes_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SqlFileError, match=r"main\.sql:2: .*nowhere\.sql cannot be included"):
        statements("\n\\i nowhere.sql", str(tmp_path / "main.sql"))
    (tmp_path / "main.sql").write_text("\\ir main.sql")
    with pytest.raises(SqlFileError, match="includes itself"):
        statements("\\ir main.sql", str(tmp_path / "main.sql"))


_PIECES = st.sampled_from([*PIECES_OF_SQL, "SELECT 1", "CASE END"])


@given(st.lists(st.lists(_PIECES, min_size=1, max_size=6), max_size=6))
def test_splitting_what_was_joined_gives_the_same_statements(pieces: list[list[str]]) -> None:
    found = texts(";\n".join(" ".join(parts) for parts in pieces))
    assert texts(";\n".join(found)) == found
    assert texts("\n;\n".join(["SELECT 0", *found, "SELECT 9"])) == ["SELECT 0", *found, "SELECT 9"]
