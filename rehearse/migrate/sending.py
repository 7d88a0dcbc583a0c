"""How each statement has to be sent, told from what it is."""

from __future__ import annotations

from rehearse.engines.postgres.command import Control
from rehearse.engines.postgres.lexer import dollar_body, tokens, words
from rehearse.engines.postgres.split import SqlStatement

# They touch no table, or act on the transaction itself: a probe behind them would tell nothing, and some
# (SET TRANSACTION) would no longer do what they do by themselves.
_UNPROBED = frozenset(
    {
        "CLOSE",
        "COMMIT PREPARED",
        "DEALLOCATE",
        "DISCARD",
        "LISTEN",
        "NOTIFY",
        "PREPARE TRANSACTION",
        "RESET",
        "ROLLBACK PREPARED",
        "SET",
        "SHOW",
        "UNLISTEN",
    }
)
_ALONE = frozenset(
    {
        "ALTER DATABASE",
        "ALTER SYSTEM",
        "CREATE DATABASE",
        "CREATE TABLESPACE",
        "DROP DATABASE",
        "DROP TABLESPACE",
        "REINDEX DATABASE",
        "REINDEX SCHEMA",
        "REINDEX SYSTEM",
        "VACUUM",
        "VACUUM FULL",
    }
)
# refused outside of a transaction block; with a probe behind them they would stand in one
_IN_A_BLOCK = ("DECLARE", "LOCK")
_CONCURRENT = ("CREATE", "DROP", "REINDEX")
_ENDING = frozenset({"COMMIT", "ROLLBACK"})

# The server's words for "not in a transaction block" and "COMMIT is not possible in this context"
NEEDS_TO_BE_ALONE = frozenset({"25001", "2D000"})


def is_probed(statement: SqlStatement, *, in_transaction: bool) -> bool:
    """Whether what the statement did is read within its transaction."""
    if statement.control is not None or statement.command in _UNPROBED:
        return False
    return in_transaction or statement.command not in _IN_A_BLOCK


def sends_alone(statement: SqlStatement) -> bool:
    """Whether the statement can run only outside a transaction block."""
    command = statement.command
    if command in _ALONE or is_concurrent_detach(statement):
        return True
    if command.endswith(" CONCURRENTLY") and command.startswith(_CONCURRENT):
        return True
    return command == "DO" and _ends_transactions(statement.text)


def is_concurrent_detach(statement: SqlStatement) -> bool:
    """ALTER TABLE ... DETACH PARTITION ... CONCURRENTLY."""
    if statement.command != "ALTER TABLE":
        return False
    found = list(words(statement.text))
    return "DETACH" in found and "PARTITION" in found and found[-1] == "CONCURRENTLY"


def changes_settings(statement: SqlStatement) -> bool:
    """Whether lock_timeout may differ after it."""
    return statement.command in {"SET", "RESET", "DISCARD"} or statement.control is Control.ROLLBACK_TO


def _ends_transactions(text: str) -> bool:
    """Whether the body of a DO block has COMMIT or ROLLBACK outside its strings and comments."""
    bodies = [body for token in tokens(text) if (body := dollar_body(token)) is not None]
    try:
        return any(word in _ENDING for body in bodies for word in words(body))
    except ValueError:
        return False  # an open quote in the body is for the server to refuse
