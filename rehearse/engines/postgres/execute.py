"""Runs a schema or seed file as psql would, and takes what pg_dump prints as it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from rehearse.engines.postgres.lexer import words
from rehearse.engines.postgres.primary import without_values
from rehearse.engines.postgres.split import SqlStatement, split
from rehearse.engines.postgres.standins import stand_in
from rehearse.errors import ServerLostError, SqlFileError
from rehearse.model.migration import SqlFile

Connection = psycopg.Connection[tuple[Any, ...]]

_RESET = ("RESET SESSION AUTHORIZATION", "RESET ROLE", "RESET ALL")


def execute_file(connection: Connection, file: SqlFile) -> tuple[str, ...]:
    """Runs every statement of `file` on an autocommit connection.

    What a dump says about the server it came from and this one need not know (owners and grants of
    roles that do not exist here, settings of a newer release) is left out; the notes returned say so.
    Settings that the file makes for its session do not outlive the call. Raises SqlFileError with file,
    line and the server's message, ServerLostError when the server went away.
    """
    assert connection.autocommit, "the file says where its transactions begin"
    notes: list[str] = []
    try:
        for statement in split(file):
            note = _run(connection, statement)
            if note and note not in notes:
                notes.append(note)
        _refuse_open_transaction(connection, file)
    finally:
        _reset(connection)
    return tuple(notes)


def _run(connection: Connection, statement: SqlStatement) -> str | None:
    """One statement; the note if it was left out."""
    if _sets_client_encoding(statement):
        return None  # the text was decoded when it was read, and is sent in the connection's own encoding
    excuses = [excuse for excuse in _EXCUSES if excuse.applies(statement)]
    guarded = bool(excuses) and connection.info.transaction_status is TransactionStatus.INTRANS
    try:
        if guarded:
            connection.execute("SAVEPOINT rehearse")
        _send(connection, statement)
        if guarded:
            connection.execute("RELEASE rehearse")
    except psycopg.Error as error:
        if connection.closed or connection.broken:
            raise ServerLostError(_broke_off(statement), "see the server's log") from None
        excuse = next((e for e in excuses if error.sqlstate in e.sqlstates), None)
        if excuse is None:
            raise _refused(statement, error) from None
        if guarded:
            connection.execute("ROLLBACK TO rehearse")
        if statement.command == "CREATE EXTENSION":
            return _stood_in(connection, statement, error)
        return f"{excuse.note}: {error.diag.message_primary}"
    return None


def _stood_in(connection: Connection, statement: SqlStatement, error: psycopg.Error) -> str:
    """Functions in the place of an extension that this server does not have; refused if there are none."""
    instead = stand_in(statement.text)
    if instead is None:
        raise _refused(statement, error) from None
    extension, functions = instead
    for function in functions:
        connection.execute(function)
    return f"the extension {extension} is not here: its most used functions were stood in for"


def _send(connection: Connection, statement: SqlStatement) -> None:
    # the text is the user's own program: it is sent as it stands, not composed from values
    with connection.cursor() as cursor:
        if statement.copy_data is None:
            cursor.execute(statement.text, prepare=False)
            return
        with cursor.copy(statement.text) as copy:
            copy.write(statement.copy_data)


def _refused(statement: SqlStatement, error: psycopg.Error) -> SqlFileError:
    position = int(error.diag.statement_position or 1)
    line = statement.line + statement.text.count("\n", 0, position - 1)
    message = without_values(error.sqlstate, error.diag.message_primary or type(error).__name__)
    mend = ""
    if statement.command == "CREATE EXTENSION":
        mend = "rehearse on a server that has it: docker:IMAGE, local:BINDIR or a DSN"
    if error.sqlstate == "42704" and "role " in message:
        mend = "make it in a file that [database] init names"
    return SqlFileError(statement.file, line, message, mend)


def _broke_off(statement: SqlStatement) -> str:
    return f"{statement.file}:{statement.line}: the server closed the connection during {statement.command}"


def _refuse_open_transaction(connection: Connection, file: SqlFile) -> None:
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        line = file.text.rstrip().count("\n") + 1
        raise SqlFileError(file.name, line, "a transaction is still open at the end", "add COMMIT;")


def _reset(connection: Connection) -> None:
    if connection.closed or connection.broken:
        return
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        connection.rollback()
    for statement in _RESET:
        connection.execute(statement)


@dataclass(frozen=True, slots=True)
class _Excuse:
    """A statement that a rehearsal can do without, when the server refuses it for one of `sqlstates`."""

    applies: Callable[[SqlStatement], bool]
    sqlstates: frozenset[str]
    note: str


def _is_ownership(statement: SqlStatement) -> bool:
    if statement.command in {"GRANT", "REVOKE", "ALTER DEFAULT PRIVILEGES"}:
        return True
    found = list(words(statement.text)) if statement.command.startswith("ALTER ") else []
    return "OWNER" in found and found[found.index("OWNER") + 1 :][:1] == ["TO"]


def _sets_client_encoding(statement: SqlStatement) -> bool:
    return statement.command == "SET" and "CLIENT_ENCODING" in list(words(statement.text))[1:3]


_EXCUSES = (
    _Excuse(_is_ownership, frozenset({"42704"}), "left out, no such role here"),
    _Excuse(
        lambda s: s.command in {"CREATE POLICY", "ALTER POLICY"},
        frozenset({"42704"}),
        "left out, no such role here",
    ),
    _Excuse(
        lambda s: s.command == "COMMENT" and list(words(s.text))[2:3] == ["POLICY"],
        frozenset({"42704"}),
        "left out",
    ),
    _Excuse(lambda s: s.command == "SET", frozenset({"42704", "22023"}), "left out, no such setting here"),
    _Excuse(
        lambda s: s.command == "CREATE SCHEMA" and "PUBLIC" in list(words(s.text)),
        frozenset({"42P06"}),
        "left out",
    ),
    _Excuse(
        lambda s: s.command == "COMMENT" and list(words(s.text))[2:3] == ["EXTENSION"],
        frozenset({"42501", "42704"}),
        "left out",
    ),
    _Excuse(lambda s: s.command == "CREATE EXTENSION", frozenset({"0A000", "58P01"}), "stood in for"),
)
