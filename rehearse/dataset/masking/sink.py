"""Where masked rows go: a database that may be destroyed, or a folder. Either is whole or gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import psycopg
from psycopg import sql

from rehearse.dataset.masking.source import leaves_of, stored_columns
from rehearse.dataset.settle import move_sequences_on, refresh_views
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.copy_stream import (
    BLOCK_BYTES,
    copy_in,
    copy_out,
    is_raised,
    read_snapshot,
    refused,
)
from rehearse.engines.postgres.dump import CopyRows, Sections
from rehearse.engines.postgres.execute import execute_file
from rehearse.engines.postgres.introspect import introspect
from rehearse.errors import InputError, SqlFileError
from rehearse.model.migration import SqlFile
from rehearse.model.relation import Relation
from rehearse.model.target import Target

MANIFEST = "manifest.json"
SCHEMA = "schema.sql"
FORMAT = 1
_ROWS_HERE = "-- the rows are loaded here\n"
_OWN_SCHEMAS = """
    SELECT nspname FROM pg_catalog.pg_namespace
     WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_namespace'::regclass
                          AND d.objid = pg_namespace.oid AND d.deptype = 'e')
"""


class Sink(Protocol):
    """Begun, filled table by table, read back, and finished. `discard` leaves nothing of it."""

    def begin(self, sections: Sections) -> None:
        """Makes the tables."""
        ...

    def write(self, relation: Relation, columns: Sequence[str], blocks: Iterable[bytes]) -> None:
        """Rows of a table."""
        ...

    def written(self) -> Iterator[CopyRows]:
        """Everything that was written, as it now stands there."""
        ...

    def finish(self, summary: dict[str, object]) -> tuple[str, ...]:
        """What comes after the rows; notes for people."""
        ...

    def discard(self) -> None:
        """Removes all that was written."""
        ...


class DatabaseSink:
    """A database named as disposable. What is in it goes first: the caller has asked its guards."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection = connect(target, "rehearse mask")
        self._sections = Sections("", "")

    def __enter__(self) -> DatabaseSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def begin(self, sections: Sections) -> None:
        """Empties the database, and makes the tables without indexes, keys and triggers."""
        self._sections = sections
        self.discard()
        self._connection.execute("SET synchronous_commit = off")
        self._connection.execute("SET maintenance_work_mem = '256MB'")
        execute_file(self._connection, SqlFile("the schema before the rows", sections.before))

    def write(self, relation: Relation, columns: Sequence[str], blocks: Iterable[bytes]) -> None:
        """One COPY."""
        copy_in(self._connection, relation, columns, blocks)

    def written(self) -> Iterator[CopyRows]:
        """Read back from the server."""
        with read_snapshot(self._target) as snapshot:
            schema = introspect(snapshot.connection)
            for relation in leaves_of(schema):
                columns = stored_columns(schema.table(relation))
                if columns:
                    yield CopyRows(relation, columns, copy_out(snapshot.connection, relation, columns))

    def finish(self, summary: dict[str, object]) -> tuple[str, ...]:
        """Indexes, constraints, triggers, sequences, views, statistics."""
        del summary
        return finished(self._connection, self._sections.after)

    def discard(self) -> None:
        """Drops every schema of the database's own, and makes an empty `public`."""
        if self._connection.closed or self._connection.broken:
            self._connection = connect(self._target, "rehearse mask")
        try:
            self._connection.rollback()
            for (name,) in self._connection.execute(_OWN_SCHEMAS).fetchall():
                self._connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
            self._connection.execute("CREATE SCHEMA public")
        except psycopg.Error as error:
            raise refused(error, f"database {self._target.dbname!r}") from None


@dataclass(slots=True)
class FolderSink:
    """A folder: the schema, one file of COPY's text format a table, and a manifest. It gets its name when
    it has passed the check, not before.
    """

    path: Path
    _tables: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """InputError if something is there already."""
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise InputError(f"{self.path} exists", "name a folder that is not there yet")

    @property
    def _partial(self) -> Path:
        return self.path.with_name(self.path.name + ".partial")

    def begin(self, sections: Sections) -> None:
        """Writes the schema."""
        self.discard()
        (self._partial / "rows").mkdir(parents=True)
        text = f"{sections.before}{_ROWS_HERE}{sections.after}"
        (self._partial / SCHEMA).write_text(text, encoding="utf-8")

    def write(self, relation: Relation, columns: Sequence[str], blocks: Iterable[bytes]) -> None:
        """One file."""
        name = f"rows/{len(self._tables) + 1:04d}.copy"
        rows = 0
        with (self._partial / name).open("wb") as file:
            for block in blocks:
                rows += block.count(b"\n")
                file.write(block)
        entry = {"schema": relation.schema, "table": relation.name, "columns": list(columns)}
        self._tables.append({**entry, "rows": rows, "file": name})

    def written(self) -> Iterator[CopyRows]:
        """Read back from the files."""
        for entry in self._tables:
            yield _rows_of(self._partial, entry)

    def finish(self, summary: dict[str, object]) -> tuple[str, ...]:
        """Writes the manifest, and gives the folder its name."""
        document = {"format": FORMAT, "tables": self._tables, **summary}
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        (self._partial / MANIFEST).write_text(text, encoding="utf-8")
        if self.path.exists():
            self.path.rmdir()
        self._partial.rename(self.path)
        return ()

    def discard(self) -> None:
        """Removes the unfinished folder."""
        shutil.rmtree(self._partial, ignore_errors=True)


def load_snapshot(target: Target, folder: Path) -> tuple[str, ...]:
    """A folder that `rehearse data mask --out` wrote, into an empty database. Raises InputError."""
    manifest = read_manifest(folder)
    before, _, after = (folder / SCHEMA).read_text(encoding="utf-8").partition(_ROWS_HERE)
    with connect(target, "rehearse") as connection:
        connection.execute("SET synchronous_commit = off")
        execute_file(connection, SqlFile(str(folder / SCHEMA), before))
        for entry in manifest:
            rows = _rows_of(folder, entry)
            copy_in(connection, rows.relation, rows.columns or (), rows.blocks)
        return finished(connection, after)


def read_manifest(folder: Path) -> list[dict[str, object]]:
    """The tables of a masked snapshot. InputError if `folder` is none."""
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{folder} is no masked snapshot", "make one: rehearse data mask ... --out FOLDER")
    return list(document["tables"])


def finished(connection: psycopg.Connection[tuple[Any, ...]], after: str) -> tuple[str, ...]:
    """What comes after the rows: the rest of the schema, sequences, materialized views, statistics."""
    try:
        notes = execute_file(connection, SqlFile("the schema after the rows", after))
    except SqlFileError as error:
        if not is_raised(error.__context__):
            raise
        what = "a function of the schema raised an error"
        raise SqlFileError(error.file, error.line, what, "give what it reads a rule") from None
    schema = introspect(connection)
    try:
        move_sequences_on(connection, schema, frozenset(table.relation for table in schema.tables))
        notes += refresh_views(connection, schema)
        connection.execute("ANALYZE")
    except psycopg.Error as error:
        raise refused(error, "the masked snapshot") from None
    return notes


def _rows_of(folder: Path, entry: dict[str, object]) -> CopyRows:
    columns = entry["columns"]
    assert isinstance(columns, list)
    relation = Relation(str(entry["schema"]), str(entry["table"]))
    return CopyRows(relation, tuple(columns), _blocks(folder / str(entry["file"])))


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        rest = b""
        while block := file.read(BLOCK_BYTES):
            whole = block.rfind(b"\n") + 1
            if whole:
                yield rest + block[:whole]
                rest = block[whole:]
            else:
                rest += block
