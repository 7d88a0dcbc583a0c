"""What stands in the way of a fast load, set aside and put back exactly.

Nothing is dropped where that can be helped. As superuser, indexes are marked as not ready, so that COPY
leaves them alone, and rebuilt by REINDEX: their names, comments, storage parameters, statistics targets,
and whatever depends on them never go away. Foreign keys and triggers sleep in the replica role. Anyone
else gets foreign keys dropped and added again, triggers disabled, and indexes kept up row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg import sql

from rehearse.dataset.session import Connection, name_of, verbatim
from rehearse.model.relation import Relation

# below this an index kept up to date costs less than building it again
_WORTHWHILE_ROWS = 20_000

_MEMBERS = """
    SELECT DISTINCT t.relid::oid FROM unnest(%(tables)s::text[]) AS name,
           LATERAL pg_catalog.pg_partition_tree(name::regclass) AS t
    UNION SELECT unnest(%(tables)s::text[])::regclass::oid
"""
_READY = f"""
    SELECT i.indexrelid, n.nspname, x.relname, t.relname
      FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
      JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
     WHERE i.indrelid IN ({_MEMBERS}) AND x.relkind = 'i' AND i.indislive AND i.indisready AND i.indisvalid
     ORDER BY x.relname
"""  # noqa: S608 - the only thing put in is the constant above
# REINDEX takes an index in this state for the remains of a failed build and makes it whole.
_SET_ASIDE = """
    UPDATE pg_catalog.pg_index SET indisready = false, indisvalid = false WHERE indexrelid = ANY(%(indexes)s)
"""
_SIZES = """
    SELECT indexrelid, pg_catalog.pg_relation_size(indrelid) FROM pg_catalog.pg_index
     WHERE indexrelid = ANY(%(indexes)s)
"""
_LEFT = """
    SELECT x.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
     WHERE i.indexrelid = ANY(%(indexes)s) AND NOT (i.indisready AND i.indisvalid)
"""
# In the replica role triggers enabled ALWAYS or REPLICA still fire; in the origin role the others do.
_FIRING = f"""
    SELECT n.nspname, c.relname, t.tgname, t.tgenabled::text
      FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled::text = ANY(%(modes)s)
       AND t.tgrelid IN ({_MEMBERS})
     ORDER BY c.relname, t.tgname
"""  # noqa: S608 - of constants alone
_FOREIGN_KEYS = f"""
    SELECT n.nspname, c.relname, f.conname, pg_catalog.pg_get_constraintdef(f.oid),
           pg_catalog.obj_description(f.oid, 'pg_constraint')
      FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE f.contype = 'f' AND f.conparentid = 0 AND f.conrelid IN ({_MEMBERS})
     ORDER BY c.relname, f.conname
"""  # noqa: S608 - of constants alone
_ENABLE = {"O": "ENABLE TRIGGER", "A": "ENABLE ALWAYS TRIGGER", "R": "ENABLE REPLICA TRIGGER"}


@dataclass(frozen=True, slots=True)
class SetAsideIndex:
    """An index to rebuild."""

    oid: int
    relation: Relation
    table: Relation


@dataclass(frozen=True, slots=True)
class _Trigger:
    table: Relation
    name: str
    mode: str


@dataclass(frozen=True, slots=True)
class _ForeignKey:
    table: Relation
    name: str
    definition: str
    comment: str | None


@dataclass(slots=True)
class Suspension:
    """What was set aside, to be put back."""

    superuser: bool
    indexes: list[SetAsideIndex] = field(default_factory=list)
    _triggers: list[_Trigger] = field(default_factory=list)
    _foreign_keys: list[_ForeignKey] = field(default_factory=list)

    def begin(self, connection: Connection, rows: dict[Relation, int]) -> None:
        """Sets aside, on the tables that get these rows, what can be."""
        tables = [quoted(connection, relation) for relation, count in rows.items() if count]
        modes = ["A", "R"] if self.superuser else ["O", "A"]
        for schema, table, name, mode in connection.execute(
            _FIRING, {"tables": tables, "modes": modes}
        ).fetchall():
            trigger = _Trigger(Relation(schema, table), name, mode)
            _alter(connection, trigger.table, "DISABLE TRIGGER", name)
            self._triggers.append(trigger)
        if self.superuser:
            self._set_indexes_aside(connection, rows)
        else:
            self._drop_foreign_keys(connection, tables)

    def _set_indexes_aside(self, connection: Connection, rows: dict[Relation, int]) -> None:
        large = [quoted(connection, table) for table, count in rows.items() if count >= _WORTHWHILE_ROWS]
        found = connection.execute(_READY, {"tables": large}).fetchall()
        self.indexes = [
            SetAsideIndex(oid, Relation(schema, name), Relation(schema, table))
            for oid, schema, name, table in found
        ]
        connection.execute(_SET_ASIDE, {"indexes": [index.oid for index in self.indexes]})

    def _drop_foreign_keys(self, connection: Connection, tables: Sequence[str]) -> None:
        for schema, table, name, definition, comment in connection.execute(
            _FOREIGN_KEYS, {"tables": list(tables)}
        ).fetchall():
            key = _ForeignKey(Relation(schema, table), name, definition, comment)
            _alter(connection, key.table, "DROP CONSTRAINT", name)
            self._foreign_keys.append(key)

    def told(self, connection: Connection, rows: dict[Relation, int]) -> tuple[str, ...]:
        """What the role that loads costs: indexes of large tables that only a superuser sets aside."""
        large = [quoted(connection, table) for table, count in rows.items() if count >= _WORTHWHILE_ROWS]
        if self.superuser or not large:
            return ()
        kept = len(connection.execute(_READY, {"tables": large}).fetchall())
        many = f"{kept} indexes of large tables were" if kept > 1 else "the index of a large table was"
        return (f"{many} kept up row by row: only a superuser's load builds them afterwards",) if kept else ()

    def restore(self, connection: Connection) -> None:
        """Puts back everything but the indexes, which are rebuilt by whoever has the connections for it."""
        while self._foreign_keys:
            key = self._foreign_keys[-1]
            _alter(connection, key.table, "ADD CONSTRAINT", key.name, key.definition)
            if key.comment is not None:
                words = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}")
                connection.execute(
                    words.format(sql.Identifier(key.name), name_of(key.table), sql.Literal(key.comment))
                )
            self._foreign_keys.pop()
        while self._triggers:
            trigger = self._triggers[-1]
            _alter(connection, trigger.table, _ENABLE[trigger.mode], trigger.name)
            self._triggers.pop()

    def with_sizes(self, connection: Connection) -> list[tuple[SetAsideIndex, int]]:
        """The indexes, each with the bytes of its table."""
        found = connection.execute(_SIZES, {"indexes": [index.oid for index in self.indexes]}).fetchall()
        sizes = {oid: size for oid, size in found}  # noqa: C416 - rows are tuples of any length to mypy
        return [(index, sizes.get(index.oid, 0)) for index in self.indexes]

    def left_behind(self, connection: Connection) -> list[str]:
        """Indexes that are still not usable."""
        rows = connection.execute(_LEFT, {"indexes": [index.oid for index in self.indexes]}).fetchall()
        return [name for (name,) in rows]


def quoted(connection: Connection, relation: Relation) -> str:
    """A relation as text that `::regclass` reads."""
    return name_of(relation).as_string(connection)


def _alter(connection: Connection, table: Relation, action: str, name: str, rest: str = "") -> None:
    """`action` is a constant of this module, `rest` what the catalog printed."""
    words = [sql.SQL("ALTER TABLE"), name_of(table), verbatim(action), sql.Identifier(name), verbatim(rest)]
    connection.execute(sql.SQL(" ").join(words))
