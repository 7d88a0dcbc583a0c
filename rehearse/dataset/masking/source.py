"""Where rows come from: a live server, in one snapshot that is only read, or a dump."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.copy_stream import Snapshot, copy_out
from rehearse.engines.postgres.dump import CopyRows, Dump, Sections, live_sections
from rehearse.engines.postgres.execute import execute_file
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.migration import SqlFile
from rehearse.model.relation import Relation
from rehearse.model.schema import Schema, Table, TableKind
from rehearse.model.target import Target

_WITH_ROWS = (TableKind.TABLE, TableKind.PARTITION)


class Source(Protocol):
    """Its schema, and its rows, table after table, as often as they are asked for and in the same order."""

    @property
    def schema(self) -> Schema:
        """What is in it."""
        ...

    def sections(self) -> Sections:
        """SQL that makes the schema."""
        ...

    def copies(self) -> Iterator[CopyRows]:
        """The rows; each table's blocks are read to their end before the next one's."""
        ...


@dataclass(frozen=True, slots=True)
class LiveSource:
    """A database as a snapshot sees it. `bindir` has pg_dump."""

    target: Target
    snapshot: Snapshot
    schema: Schema
    bindir: Path

    @classmethod
    def of(cls, target: Target, snapshot: Snapshot, bindir: Path) -> LiveSource:
        """Reads its schema."""
        return cls(target, snapshot, introspect(snapshot.connection), bindir)

    def sections(self) -> Sections:
        """By pg_dump, in the same snapshot."""
        return live_sections(self.target, self.snapshot.name, self.bindir)

    def copies(self) -> Iterator[CopyRows]:
        """Every table that holds rows of its own."""
        for table in self.schema.tables:
            columns = stored_columns(table)
            if table.kind in _WITH_ROWS and columns:
                blocks = copy_out(self.snapshot.connection, table.relation, columns)
                yield CopyRows(table.relation, columns, blocks)


@dataclass(frozen=True, slots=True)
class DumpSource:
    """A dump, and the schema that it makes."""

    dump: Dump
    schema: Schema
    found: Sections

    @classmethod
    def of(cls, dump: Dump, scratch: Target) -> DumpSource:
        """Makes the schema, without any rows, in an empty database that nobody needs."""
        sections = dump.sections()
        with connect(scratch, "rehearse mask") as connection:
            for name, text in (("before", sections.before), ("after", sections.after)):
                execute_file(connection, SqlFile(f"{dump.path} ({name} the rows)", text))
            schema = introspect(connection)
        return cls(dump, schema, sections)

    def sections(self) -> Sections:
        """As the dump has them."""
        return self.found

    def copies(self) -> Iterator[CopyRows]:
        """In the dump's order."""
        for rows in self.dump.copies():
            columns = rows.columns
            if columns is None:
                columns = stored_columns(self.schema.table(rows.relation))
            if columns:
                yield CopyRows(rows.relation, columns, rows.blocks)
            else:
                for _ in rows.blocks:
                    pass


def stored_columns(table: Table) -> tuple[str, ...]:
    """The columns that COPY takes: generated ones are the server's."""
    return tuple(column.name for column in table.columns if not column.generated)


def leaves_of(schema: Schema) -> tuple[Relation, ...]:
    """The tables that hold rows of their own."""
    return tuple(table.relation for table in schema.tables if table.kind in _WITH_ROWS)
