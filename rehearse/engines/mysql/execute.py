"""A SQL file run as the `mysql` client runs it: statement by statement, to the first that fails."""

from __future__ import annotations

import pymysql

from rehearse.engines.mysql.connect import Connection, code, message
from rehearse.engines.mysql.split import split
from rehearse.errors import SqlFileError
from rehearse.model.migration import SqlFile

# The server's messages on these quote a value, which may be that of a row.
_QUOTES_VALUES = (1062, 1265, 1292, 1366, 1411, 1525, 1690, 3140, 4025)


def execute_file(connection: Connection, file: SqlFile) -> None:
    """Run `file` as a schema or seed. SqlFileError names file, line and the server's message."""
    for statement in split(file):
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement.text)
                while cursor.nextset():  # of a procedure that was called
                    pass
        except pymysql.MySQLError as error:
            said = message(error)
            if code(error) in _QUOTES_VALUES:
                said = without_values(said)
            raise SqlFileError(file.name, statement.line, said) from None


def without_values(text: str) -> str:
    """`Duplicate entry 'a name' for key 't.k'` loses the first, which is a value. Pure."""
    begin, quote, _ = text.partition("'")
    if not quote:
        return text
    # a value may say the same, but the last is the server's own
    own = max(text.rfind("' for key "), text.rfind("' for column "))
    return f"{begin}'...'" + (text[own + 1 :] if own >= 0 else "")
