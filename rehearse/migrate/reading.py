"""What a migration tool sends, told apart into statements, and how each can be looked into."""

from __future__ import annotations

from rehearse.engines.postgres.lexer import dollar_body, tokens, words
from rehearse.engines.postgres.split import SqlStatement, split
from rehearse.errors import SqlFileError
from rehearse.migrate.course import RENAMES, Work
from rehearse.migrate.sending import is_probed, sends_alone
from rehearse.model.migration import SqlFile


def statements_of(text: str) -> tuple[SqlStatement, ...] | None:
    """The statements of what the server is sent as one query; None where they cannot be told apart as it
    does: psql's rules are its own but for backslashes, and for the data that follows a COPY in a file.
    """
    try:
        found = split(SqlFile("", text))
    except SqlFileError:
        return None
    place = 0
    between: list[str] = []
    for statement in found:
        start = text.find(statement.text, place)
        if start < 0 or (statement.copy_data or "").strip():
            return None
        between.append(text[place:start])
        place = start + len(statement.text)
    between.append(text[place:])
    return found if not any(map(_says_something, between)) else None


def _says_something(text: str) -> bool:
    """Whether there is more than blanks, comments and semicolons."""
    try:
        return any(token.kind.significant and token.text != ";" for token in tokens(text))
    except ValueError:
        return True


def work_of(source: SqlStatement, status: bytes, *, in_query: bool) -> Work:
    """How `source` is looked into, sent while the transaction's `status` is as the server last said (I: none,
    T: open, E: failed). `in_query`: by the simple protocol, which alone can have a question behind a COPY.
    """
    if status == b"E":
        return Work(source, quiet=source.control is not None)
    fresh = status == b"I"
    if fresh and (sends_alone(source) or _may_be_alone(source)):
        return Work(source, alone=True)
    if source.command == RENAMES:
        return Work(source)
    if not is_probed(source, in_transaction=not fresh):
        # LOCK succeeds in a transaction alone: then one was open, of which we had not heard yet
        return Work(source, quiet=source.command != "LOCK")
    return Work(source, probed=in_query or not takes_data(source))


def _may_be_alone(source: SqlStatement) -> bool:
    """What the server refuses in a transaction in some of its forms, or with some procedures."""
    command = source.command
    if command == "DO":
        return "CALL" in source.text.upper() or _ends_transactions(source)
    return command in ("CALL", "CLUSTER") or command.startswith("REINDEX") or "SUBSCRIPTION" in command


def _ends_transactions(source: SqlStatement) -> bool:
    """Whether a block whose body is an ordinary literal has a word in it that ends transactions."""
    seen = [token for token in tokens(source.text) if token.kind.significant]
    text = source.text.upper()
    return not any(map(dollar_body, seen)) and ("COMMIT" in text or "ROLLBACK" in text)


def takes_data(source: SqlStatement) -> bool:
    """COPY ... FROM STDIN."""
    return source.command == "COPY" and "STDIN" in words(source.text)
