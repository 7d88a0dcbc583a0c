"""Sessions that stand in a migration's way, as production has them.

Each kind is a function `(hold: Hold) -> None` that takes its stand, says so with `hold.taken()`, and returns
after `hold.duration_s`, or as soon as it is told to end; whoever runs it ends the transaction.

The real autovacuum cannot be had on call: it comes once in `autovacuum_naptime` to tables with enough
dead rows, and to change that for one table is DDL on the very table that is rehearsed on. So its part is
played by a plain VACUUM, slowed down by the cost delay as an autovacuum worker is, that reads every page
again and again. Like a worker it gives way: when somebody has waited behind it for `deadlock_timeout` it
is cancelled, and does not come back. A table of a few pages is vacuumed in no time, and between two
rounds the lock is free for a moment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import psycopg
from psycopg import errors, sql

from rehearse.errors import ScenarioError
from rehearse.model.relation import Relation

Connection = psycopg.Connection[tuple[Any, ...]]

_CHECK_S = 0.05
_LATE_S = 10.0  # how much longer than it is to last a VACUUM may take until it is seen to hold its lock

_TABLES = """
SELECT n.nspname, c.relname
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
 ORDER BY n.nspname, c.relname
"""

# A column that may be written as it stands: not generated, not an identity that is always generated.
_WRITABLE = """
SELECT attname FROM pg_attribute
 WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
   AND attgenerated = '' AND attidentity <> 'a'
 ORDER BY attnum DESC LIMIT 1
"""

# A row that nobody else has locked: to begin with, the traffic is not to be in the way.
_FREE_ROW = "SELECT tableoid, ctid::text FROM {table} LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"
_SAME_AGAIN = "UPDATE {table} SET {column} = {column} WHERE ctid = %s::tid AND tableoid = %s"
_ANY_ROW = "SELECT 1 FROM {table} LIMIT 1"

_SLOW_VACUUM = "SET vacuum_cost_delay = 20; SET vacuum_cost_limit = 1"
_VACUUM = "VACUUM (DISABLE_PAGE_SKIPPING, TRUNCATE FALSE, PARALLEL 0) {table}"
_VACUUM_STATE = """
SELECT coalesce(bool_or(granted AND pid = %(pid)s AND mode = 'ShareUpdateExclusiveLock'), false),
       coalesce(bool_or(CASE
           WHEN statement_timestamp() - waitstart >= current_setting('deadlock_timeout')::interval
           THEN %(pid)s = ANY (pg_blocking_pids(pid)) END), false)
  FROM pg_lock_status()
"""


@dataclass(slots=True)
class Hold:
    """One adversary's session, what it is to hold and for how long; `ended` tells it to let go."""

    connection: Connection
    watcher: Connection | None
    relation: Relation
    duration_s: float
    ended: threading.Event = field(default_factory=threading.Event)
    on_taken: Callable[[], None] = lambda: None

    def taken(self) -> None:
        """To be called when the stand is taken."""
        self.on_taken()

    def run(self, template: str) -> psycopg.Cursor[tuple[Any, ...]]:
        """Execute SQL in which `{table}` is the table."""
        return self.connection.execute(_about(template, self.relation))

    def sleep(self) -> None:
        """Stay at work in the server for as long as this lasts: a query that takes its time."""
        self.connection.execute("SELECT pg_sleep(%s)", (self.duration_s,))


def long_reader(hold: Hold) -> None:
    """A transaction that has read from the table (ACCESS SHARE) and is busy with a long query."""
    hold.connection.execute("BEGIN")
    hold.run(_ANY_ROW)
    hold.taken()
    hold.sleep()


def idle_in_transaction(hold: Hold) -> None:
    """A transaction that has read from the table (ACCESS SHARE) and was left open then."""
    hold.connection.execute("BEGIN")
    hold.run(_ANY_ROW)
    hold.taken()
    hold.ended.wait(hold.duration_s)


def long_writer(hold: Hold) -> None:
    """A transaction that has updated a row of the table (ROW EXCLUSIVE and the row), to the value it had,
    and is busy. Of an empty table it has updated no row. Triggers for UPDATE run as ever.
    """
    hold.connection.execute("BEGIN")
    name = sql.Identifier(hold.relation.schema, hold.relation.name).as_string(hold.connection)
    column = hold.connection.execute(_WRITABLE, (name,)).fetchone()
    row = hold.run(_FREE_ROW).fetchone()
    if column is not None and row is not None:
        update = _about(_SAME_AGAIN, hold.relation, column=column[0])
        hold.connection.execute(update, (row[1], row[0]))
    else:
        hold.run("LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
    hold.taken()
    hold.sleep()


def snapshot(hold: Hold) -> None:
    """What pg_dump does: a read-only transaction in REPEATABLE READ that has locked the table (ACCESS SHARE)
    and reads on from one snapshot.
    """
    hold.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    hold.run("LOCK TABLE {table} IN ACCESS SHARE MODE")
    hold.run(_ANY_ROW)
    hold.taken()
    hold.sleep()


def autovacuum(hold: Hold) -> None:
    """VACUUM of the table (SHARE UPDATE EXCLUSIVE) that gives way as an autovacuum worker does: see above."""
    assert hold.watcher is not None  # KINDS says that this one needs it
    hold.connection.execute(_SLOW_VACUUM)
    over, done = threading.Event(), threading.Event()
    guard = threading.Thread(target=_guard, args=(hold, hold.watcher, over, done), daemon=True)
    guard.start()
    try:
        while not over.is_set() and not hold.ended.is_set():
            hold.run(_VACUUM)
    except errors.QueryCanceled:
        if not over.is_set():
            raise  # by somebody else: the caller knows whether it was told to end
    finally:
        done.set()
        guard.join()


def _guard(hold: Hold, watcher: Connection, over: threading.Event, done: threading.Event) -> None:
    """Tell when the VACUUM has its lock, and cancel it when its time is over or when somebody has waited
    behind it for as long as an autovacuum worker lets them. Until it is `done`: it may be between two rounds.
    """
    until = time.monotonic() + hold.duration_s + _LATE_S
    pid = hold.connection.info.backend_pid
    taken = False
    while not done.wait(_CHECK_S):
        try:
            holds, has_to_go = watcher.execute(_VACUUM_STATE, {"pid": pid}).fetchone() or (False, False)
            if holds and not taken:
                taken = True
                hold.taken()
                until = time.monotonic() + hold.duration_s
            if has_to_go or time.monotonic() >= until:
                over.set()
            if over.is_set():
                hold.connection.cancel_safe()
        except psycopg.Error:
            over.set()  # where the server is gone, the VACUUM's own session says so, too
            return


@dataclass(frozen=True, slots=True)
class Kind:
    """How an adversary is played; `watched` if it needs a second connection to see who waits for it."""

    play: Callable[[Hold], None]
    watched: bool = False


KINDS: Mapping[str, Kind] = {
    "long-reader": Kind(long_reader),
    "idle-in-transaction": Kind(idle_in_transaction),
    "long-writer": Kind(long_writer),
    "snapshot": Kind(snapshot),
    "autovacuum": Kind(autovacuum, watched=True),
}


def find_table(connection: Connection, name: str) -> Relation:
    """The table that a person means by `name`: `schema.table`, or a bare name that only one schema has or
    that `public` has. ScenarioError, with the nearest name, if there is none.
    """
    tables = [Relation(schema, table) for schema, table in connection.execute(_TABLES)]
    named = [r for r in tables if f"{r.schema}.{r.name}" == name]
    bare = [r for r in tables if r.name == name]
    found = named or [r for r in bare if r.schema == "public"] or bare
    if len(found) == 1:
        return found[0]
    if found:
        schemas = ", ".join(r.schema for r in found)
        raise ScenarioError(f"several schemas have a table {name!r}: {schemas}", "name the schema, too")
    raise ScenarioError(
        f"an adversary is to stand on table {name!r}, which is not there", _nearest(name, tables)
    )


def _nearest(name: str, tables: Sequence[Relation]) -> str:
    names = {r.name: r for r in tables} | {f"{r.schema}.{r.name}": r for r in tables}
    close = get_close_matches(name, list(names), n=1)
    if close:
        return f"did you mean {str(names[close[0]])!r}?"
    return "the database has no tables" if not tables else f"there is, for one, {str(tables[0])!r}"


def _about(template: str, relation: Relation, column: str = "") -> sql.Composed:
    return sql.SQL(template).format(
        table=sql.Identifier(relation.schema, relation.name), column=sql.Identifier(column or "ctid")
    )
