"""A table's rows through COPY: in slices, each a command of its own, so that several streams share a table.

Rows go in binary where every column's type has that form, else as CSV. Which of them it is makes no
difference to the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from rehearse.dataset.binary import HEADER, TRAILER, NotBinaryError, encodable, pieces
from rehearse.dataset.generate import CHUNK_ROWS, NULL_MARK, Generator
from rehearse.dataset.session import Connection, Job, name_of, translated
from rehearse.model.relation import Relation
from rehearse.model.schema import DataType

_SLICE_CHUNKS = 4
_SLICES, _LEAST_SLICE = 30, 10_000
# of rows generated at a time, in each stream: it bounds the memory that a load of wide rows takes
_CHUNK_BYTES = 8 << 20
_FEWEST_ROWS = 250

_BINARY = sql.SQL("(FORMAT binary)")
_CSV = sql.SQL("(FORMAT csv, NULL {})").format(sql.Literal(NULL_MARK))


@dataclass(slots=True)
class TableCopy:
    """How the rows of one table are sent: columns of these `types`, some `row_bytes` wide together.

    `sent` is told of each chunk; what is taken back and sent again counts down first.
    """

    generator: Generator
    relation: Relation
    types: tuple[DataType, ...]
    row_bytes: int
    sent: Callable[[Relation, int], None]
    _binary: bool = field(init=False)

    def __post_init__(self) -> None:
        self._binary = encodable(self.types)

    def jobs(self, rows: int) -> Iterator[Job]:
        """One COPY command each, which together load the rows from 0 to `rows`."""
        step = self._chunk_rows * _SLICE_CHUNKS
        if rows > step:
            # streams write side by side: the shorter their pieces, the nearer the rows lie to their order
            step = max(_LEAST_SLICE, min(step, rows // _SLICES))
        for start in range(0, rows, step):
            yield self._slice(start, min(start + step, rows))

    @property
    def _chunk_rows(self) -> int:
        return max(_FEWEST_ROWS, min(CHUNK_ROWS, _CHUNK_BYTES // max(1, self.row_bytes)))

    def _slice(self, start: int, stop: int) -> Job:
        def job(connection: Connection) -> None:
            try:
                try:
                    self._copy(connection, start, stop, binary=self._binary)
                except NotBinaryError:
                    self._binary = False
                    self._copy(connection, start, stop, binary=False)
            except psycopg.Error as error:
                raise translated(error, self.relation) from None

        return job

    def _copy(self, connection: Connection, start: int, stop: int, *, binary: bool) -> None:
        done = 0
        try:
            with connection.cursor().copy(self._command(binary=binary)) as copy:
                copy.write(HEADER if binary else b"")
                for first in range(start, stop, self._chunk_rows):
                    last = min(first + self._chunk_rows, stop)
                    for piece in self._written(first, last, binary=binary):
                        copy.write(piece)
                    self.sent(self.relation, last - first)
                    done += last - first
                copy.write(TRAILER if binary else b"")
        except NotBinaryError:
            self.sent(self.relation, -done)
            raise

    def _command(self, *, binary: bool) -> sql.Composed:
        columns = [
            sql.Identifier(column.name) for column in self.generator.plan.tables[self.relation].columns
        ]
        return sql.SQL("COPY {} ({}) FROM STDIN {}").format(
            name_of(self.relation), sql.SQL(", ").join(columns), _BINARY if binary else _CSV
        )

    def _written(self, start: int, stop: int, *, binary: bool) -> Iterator[bytes]:
        if binary:
            return pieces(self.generator.cells(self.relation, start, stop), self.types, stop - start)
        return iter((self.generator.csv(self.relation, start, stop),))
