"""PostgreSQL's wire, one step above libpq: values as text, errors as SQLSTATEs, waiting as generators.

Whatever has to wait for the socket is a generator that yields READ, WRITE, or the monotonic time in
nanoseconds until which it sleeps; whoever runs it may run a thousand others meanwhile. Before a
generator that yielded READ goes on, `consume_input` has been called.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import pq
from psycopg.pq.abc import PGconn, PGresult

from rehearse.engines.postgres.command import Control
from rehearse.engines.postgres.primary import without_values

READ: Final = -1
WRITE: Final = -2
Wait = Generator[int, None, None]
Answer = Generator[int, None, list[PGresult]]

Value = int | float | bool | bytes | None
_INTEGER_OIDS = frozenset({20, 21, 23, 26})
_BOOLEAN_OID = 16
_GOOD: Final = frozenset(
    {
        pq.ExecStatus.COMMAND_OK,
        pq.ExecStatus.TUPLES_OK,
        pq.ExecStatus.EMPTY_QUERY,
        pq.ExecStatus.PIPELINE_SYNC,
    }
)


@dataclass(frozen=True, slots=True)
class Execute:
    """One statement to be sent: `index` counts within its script, `line` is 1-based.

    `parts` and `values` alternate as in the script: part, value, part, ..., part. `control` is what it
    does to the transaction; `wants_rows` says that the answer's rows are to be sent back.
    """

    index: int
    line: int
    parts: tuple[str, ...]
    values: tuple[Value, ...]
    control: Control | None = None
    wants_rows: bool = False

    @property
    def text(self) -> str:
        """The statement with its parameters as `$1`, `$2`, ..."""
        return parametrised(self.parts)

    @property
    def parameters(self) -> list[bytes | None]:
        """The values as text, whose types the server infers."""
        return [to_text(value) for value in self.values]

    @property
    def literal(self) -> bytes:
        """The statement with its values written into it."""
        pieces = [self.parts[0].encode()]
        for value, part in zip(self.values, self.parts[1:], strict=True):
            pieces += (to_literal(value), part.encode())
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class Rows:
    """One result: how many rows, its columns' names, and the last row (None where there is none)."""

    count: int
    names: tuple[str, ...]
    last: tuple[Value, ...] | None


@dataclass(frozen=True, slots=True)
class Failure:
    """What the server said of a statement it refused. `message` is its primary message alone: the detail
    quotes rows. `position` is a 1-based offset in characters into the statement, 0 where there is none.
    """

    sqlstate: str
    message: str
    position: int = 0
    stale_plan: bool = False  # a prepared statement's result type has changed, or it is gone

    @property
    def is_mistake(self) -> bool:
        """Whether the statement itself is wrong (syntax, unknown names, rights, features), rather than
        the data, the time or another session.
        """
        return self.sqlstate[:2] in {"42", "0A", "3D", "3F", "26", "07"}


def to_text(value: Value) -> bytes | None:
    """A value as the server reads it as a parameter; None is NULL."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        return b"%d" % value
    if math.isfinite(value):
        return b"%.15g" % value
    return b"NaN" if math.isnan(value) else b"Infinity" if value > 0 else b"-Infinity"


def to_literal(value: Value) -> bytes:
    """A value as it stands in SQL. A blank goes before a minus, so that `a -:b` never makes a comment."""
    text = to_text(value)
    if text is None:
        return b"NULL"
    if isinstance(value, bytes) or (isinstance(value, float) and not math.isfinite(value)):
        return quoted(text)
    return b" " + text if text.startswith(b"-") else text


def quoted(text: bytes) -> bytes:
    """A text as a literal, whatever the setting of standard_conforming_strings."""
    literal = b"'" + text.replace(b"'", b"''").replace(b"\\", b"\\\\") + b"'"
    return b" E" + literal if b"\\" in text else literal


def parametrised(parts: Sequence[str]) -> str:
    """Parts of a statement with `$1`, `$2`, ... between them."""
    return parts[0] + "".join(f"${number}{part}" for number, part in enumerate(parts[1:], start=1))


def is_good(result: PGresult) -> bool:
    """Whether the server did what it was asked."""
    return result.status in _GOOD


def failure_of(result: PGresult) -> Failure:
    """The server's refusal in `result`; SQLSTATE 08006 where the connection broke before one came."""
    sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"08006").decode()
    primary = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message
    position = result.error_field(pq.DiagnosticField.STATEMENT_POSITION) or b"0"
    source = result.error_field(pq.DiagnosticField.SOURCE_FUNCTION)
    # the function's name is the same in every language that messages are translated to
    stale = sqlstate == "26000" or (sqlstate == "0A000" and source == b"RevalidateCachedQuery")
    lines = primary.decode(errors="replace").splitlines() or [""]
    return Failure(sqlstate, without_values(sqlstate, lines[0]), int(position), stale)


def rows_of(result: PGresult) -> Rows:
    """Column names and last row. Integers and booleans come as such, everything else as text."""
    names = tuple((result.fname(column) or b"").decode() for column in range(result.nfields))
    if not result.ntuples:
        return Rows(0, names, None)
    row = result.ntuples - 1
    last = tuple(
        _typed(result.get_value(row, column), result.ftype(column)) for column in range(result.nfields)
    )
    return Rows(result.ntuples, names, last)


def _typed(text: bytes | None, oid: int) -> Value:
    if text is None:
        return None
    if oid in _INTEGER_OIDS:
        return int(text)
    return text == b"t" if oid == _BOOLEAN_OID else text


def flushed(connection: PGconn) -> Wait:
    """Until everything has gone out. Reads meanwhile, as a server that waits for us may be writing."""
    while connection.flush():
        yield WRITE


def answer(connection: PGconn) -> Answer:
    """Every result of what was sent last. Where the connection breaks after a refusal came, as when the
    session is terminated, that is the answer.
    """
    yield from flushed(connection)
    results: list[PGresult] = []
    while True:
        try:
            while connection.is_busy():
                yield READ
        except ConnectionError:
            if failed(results):
                return results
            raise
        result = connection.get_result()
        if result is None:
            return results
        if result.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH):
            raise ConnectionError("COPY with the client was begun, which a script cannot do")
        results.append(result)


def failed(results: Sequence[PGresult]) -> Failure | None:
    """The first refusal among `results`."""
    for result in results:
        if not is_good(result):
            return failure_of(result)
    return None


def connecting(connection: PGconn) -> Wait:
    """Until the connection stands; ConnectionError, with libpq's first line, where it cannot be made.

    The socket may change from one step to the next.
    """
    connection.nonblocking = 1
    while True:
        step = connection.connect_poll()
        if step == pq.PollingStatus.OK:
            return
        if step == pq.PollingStatus.FAILED:
            lines = connection.error_message.decode(errors="replace").strip().splitlines()
            raise ConnectionError(lines[0] if lines else "no connection")
        yield READ if step == pq.PollingStatus.READING else WRITE
