"""What a migration tool is told and says, and how what it sends is told apart: no process, no server."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.engines.postgres.messages import Message, Messages, values_of
from rehearse.errors import ScenarioError
from rehearse.migrate.reading import statements_of, work_of
from rehearse.migrate.telling import excerpt, plain, repeats, telling_line
from rehearse.migrate.tool import Address, Mask, environment, require_tool
from rehearse.migrate.toolbook import shown
from rehearse.model.migration import SqlFile, ToolSpec

ADDRESS = Address("127.0.0.1", 5433, "me", "p/ss word", "shop", "rehearse-migration")


def test_the_url_is_quoted() -> None:
    env = environment({}, ToolSpec(("x",)), ADDRESS)
    assert env["DATABASE_URL"] == "postgresql://me:p%2Fss%20word@127.0.0.1:5433/shop"
    assert env["PGPASSWORD"] == "p/ss word"


def test_a_scenarios_variables_come_on_top_but_for_the_address() -> None:
    spec = ToolSpec(("x",), (("A", "1"), ("DATABASE_URL", "jdbc:postgresql://${PGHOST}/${PGDATABASE}")))
    env = environment({"A": "0", "B": "2", "PGHOST": "production"}, spec, ADDRESS)
    assert (env["A"], env["B"], env["PGHOST"]) == ("1", "2", "127.0.0.1")
    assert env["DATABASE_URL"] == "jdbc:postgresql://127.0.0.1/shop"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("token is s3cr3t-value", "token is ***"),
        ("at postgres://u:whatever@h/d", "at postgres://u:***@h/d"),
        ("connect host=h password='a b' user=u", "connect host=h password=*** user=u"),
        ("name is not secret", "name is not secret"),
    ],
)
def test_secrets_are_masked(said: str, shown: str) -> None:
    assert Mask({"API_TOKEN": "s3cr3t-value", "NAME": "not secret", "KEY": "a"}).of(said) == shown


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ToolSpec(("no-such-tool-here", "up")), "is not there: no-such-tool-here"),
        (ToolSpec(("./absent.sh",)), r"is not there: \./absent\.sh"),
        (ToolSpec(("sh",), cwd="/no/such/folder"), "no folder to run in"),
        (ToolSpec(("sh", "postgres://u:hidden@production/x")), "names a database itself"),
        (ToolSpec(("sh",), (("SQLALCHEMY_URL", "postgresql+psycopg://u:hidden@h/x"),)), "SQLALCHEMY_URL"),
        (ToolSpec(("sh",), (("PGHOST", "production"),)), "PGHOST"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(spec: ToolSpec, message: str) -> None:
    with pytest.raises(ScenarioError, match=message) as refused:
        require_tool([SqlFile("tool", "tool", spec)])
    assert "hidden" not in str(refused.value)


def test_what_can_be_run_is_not_refused(tmp_path: Path) -> None:
    script = tmp_path / "go.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    good = ToolSpec(("./go.sh",), (("URL", "postgresql+psycopg://$PGUSER@${PGHOST}/x"),), str(tmp_path))
    require_tool([SqlFile("go", "go", good), SqlFile("up.sql", "SELECT 1")])


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("ALTER TABLE a ADD b int; -- done", ["ALTER TABLE"]),
        ("BEGIN; SELECT ';'; COMMIT", ["BEGIN", "SELECT", "COMMIT"]),
        ("", []),
        ("SELECT 'open", None),
        ("\\i other.sql", None),
        ("\\echo hi\nSELECT 1", None),
        ("COPY t FROM STDIN;\nSELECT 1", None),
    ],
)
def test_a_query_is_told_apart_as_the_server_does_or_not_at_all(
    text: str, commands: list[str] | None
) -> None:
    found = statements_of(text)
    assert (None if found is None else [s.command for s in found]) == commands


@pytest.mark.parametrize(
    ("text", "status", "how"),
    [
        ("ALTER TABLE a ADD b int", b"I", "probed"),
        ("CREATE INDEX CONCURRENTLY i ON a (b)", b"I", "alone"),
        ("CALL p()", b"I", "alone"),
        ("CALL p()", b"T", "probed"),
        ("REINDEX TABLE a", b"I", "alone"),
        ("DROP SUBSCRIPTION s", b"I", "alone"),
        ("DO $$BEGIN CALL p(); END$$", b"I", "alone"),
        ("DO $$BEGIN PERFORM 1; END$$", b"I", "probed"),
        ("DO 'BEGIN UPDATE a SET b = 1; COMMIT; END'", b"I", "alone"),
        ("DO 'BEGIN PERFORM 1; END'", b"I", "probed"),
        ("LOCK TABLE a", b"I", ""),
        ("LOCK TABLE a", b"T", "probed"),
        ("SET lock_timeout = 1", b"T", "quiet"),
        ("COMMIT", b"T", "quiet"),
        ("COPY a FROM STDIN", b"T", ""),
        ("SELECT 1", b"E", ""),
    ],
)
def test_how_a_statement_is_looked_into(text: str, status: bytes, how: str) -> None:
    (source,) = statements_of(text) or ()
    work = work_of(source, status, in_query=False)
    assert [name for name in ("probed", "alone", "quiet") if getattr(work, name)] == ([how] if how else [])


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([b"Q", b"D", b"Z"]), st.binary(max_size=40))), st.integers(1, 7))
def test_messages_come_out_as_they_went_in(pairs: list[tuple[bytes, bytes]], size: int) -> None:
    sent = [Message(*pair) for pair in pairs]
    data = b"".join(message.data for message in sent)
    stream = Messages()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert [message for piece in pieces for message in stream.feed(piece)] == sent


def test_a_row_is_read() -> None:
    assert values_of(b"\0\2\0\0\0\1a\xff\xff\xff\xff") == ("a", None)


def test_secrets_in_statements_are_not_kept() -> None:
    text = "CREATE SUBSCRIPTION s CONNECTION 'host=h password=hidden' PUBLICATION p"
    assert shown(text) == "CREATE SUBSCRIPTION s CONNECTION '***' PUBLICATION p"
    assert shown("ALTER ROLE a PASSWORD 'hi''dden'") == "ALTER ROLE a PASSWORD '***'"


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (("starting", "no such revision"), "no such revision"),
        (
            (
                'File "x.py", line 3, in f',
                'sqlalchemy.exc.ProgrammingError: (psycopg.errors.DuplicateColumn) column "a" is there',
                "  ^",
                "[SQL: ALTER TABLE t",
                "ADD COLUMN a int]",
                "(Background on this error at: https://sqlalche.me/e/20/f405)",
            ),
            'sqlalchemy.exc.ProgrammingError: (psycopg.errors.DuplicateColumn) column "a" is there',
        ),
        (("FAILED: nothing found", "(Background on this error at: x)"), "FAILED: nothing found"),
        (("(Background on this error at: x)",), ""),
        ((), ""),
        (
            (
                "Error executing:",
                'error: relation "t" does not exist',
                "    at Parser.parse (/app/node_modules/pg-protocol/parser.js:9:3) {",
                "  severity: 'ERROR',",
                "  inner: [",
                "    'a value'",
                "  ],",
                "}",
            ),
            'error: relation "t" does not exist',
        ),
        (
            ("Error: no such thing", "    at up (/app/up.js:1:2)", "    at async run (/app/a.js:3:4)"),
            "Error: no such thing",
        ),
        (("error: gone {", "  code: '42P01'", "}"), "error: gone"),
        (("}",), "}"),
    ],
)
def test_the_line_that_says_why_a_tool_failed(output: tuple[str, ...], told: str) -> None:
    assert telling_line(output) == told


def test_a_dumped_object_is_not_shown() -> None:
    lines = [
        "Error: it failed",
        "    at up (/app/up.js:1:2) {",
        "  parameters: [",
        "    'a name'",
        "  ]",
        "}",
    ]
    assert excerpt([*(["before"] * 20), *lines]) == (*(["before"] * 11), "Error: it failed")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("a\rbc\r", "bc"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("[1] wait\x1b[2K\x1b[1G[2] wait\x1b[2K\x1b[1Gdone", "done"),
        ("bell\x07 and tab\tstay", "bell and tab\tstay"),
        ("\x1b]0;title", "0;title"),
        ("", ""),
    ],
)
def test_a_line_is_shown_as_it_looks_in_the_end(line: str, shown: str) -> None:
    assert plain(line) == shown


@pytest.mark.parametrize(
    ("line", "message", "whether"),
    [
        ('psycopg.errors.X: relation "t" does not exist', 'relation "t" does not exist', True),
        ('error: relation "public.t" does not exist', 'relation "t" does not exist', True),
        ("something else does not exist", 'relation "t" does not exist', False),
        ("anything", '"..."', False),
        ("anything", "", False),
    ],
)
def test_whether_a_tool_says_what_the_server_said(line: str, message: str, whether: bool) -> None:
    assert repeats(["first", line], message) is whether
