"""Loading, beside what the server can do by itself.

Run as `python -m bench.load [--rows N] [--scale N]`. First: our load of a table of six columns against one
server-side `COPY ... FROM` of the very same rows from a file. Then: pgbench's tables against `pgbench -i`,
from start to ready, keys and statistics included. Both sides on one server in one run.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

from psycopg import sql

from bench.driver import Bench
from rehearse.dataset.alone import load_alone
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.model.migration import SqlFile
from rehearse.model.scenario import DatabaseSpec, RowCounts
from rehearse.provision import Server, provision

SIX = """
CREATE TABLE events (
    id bigint NOT NULL, account_id integer NOT NULL, kind text NOT NULL,
    amount numeric(12, 2) NOT NULL, happened_at timestamptz NOT NULL, note text
);
"""
PGBENCH = """
CREATE TABLE pgbench_history (
    tid integer, bid integer, aid integer, delta integer, mtime timestamp, filler character(22)
);
CREATE TABLE pgbench_tellers (tid integer PRIMARY KEY, bid integer, tbalance integer, filler character(84));
CREATE TABLE pgbench_accounts (aid integer PRIMARY KEY, bid integer, abalance integer, filler character(84));
CREATE TABLE pgbench_branches (bid integer PRIMARY KEY, bbalance integer, filler character(88));
"""


def six_columns(server: Server, rows: int) -> None:
    """Our COPY of generated rows against the server's COPY of the same rows from a file of its own."""
    create_database(server.target, "six")
    target = server.target.on("six")
    counts = RowCounts(tables=(("events", rows),))
    loaded = load_alone(target, SqlFile("six.sql", SIX), counts, seed=1, on_progress=lambda _progress: None)
    assert server.data_directory is not None
    file = sql.Literal(str(Path(server.data_directory, "events.copy")))
    with connect(target, "rehearse") as connection:
        connection.execute(sql.SQL("COPY events TO {}").format(file))
        connection.execute("CREATE TABLE again (LIKE events)")
        connection.execute("CHECKPOINT")
        started = time.monotonic()
        connection.execute(sql.SQL("COPY again FROM {}").format(file))
        took = time.monotonic() - started
    drop_database(server.target, "six")
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    sys.stdout.write(
        f"{rows:,} rows of six columns\n"
        f"  COPY from a file   {rows / took:>12,.0f} rows/s\n"
        f"  rehearse           {rows / loaded.load_seconds:>12,.0f} rows/s   "
        f"ratio {took / loaded.load_seconds:.2f}\n"
        f"  peak memory        {peak / 1024:>12,.0f} MiB\n"
    )
    sys.stdout.flush()


def pgbench_tables(server: Server, scale: int) -> None:
    """From start to ready, with primary keys, VACUUM and ANALYZE."""
    for name in ("theirs", "ours"):
        create_database(server.target, name)
    bench = Bench(server.target.on("theirs"), 1, 1, scale)
    started = time.monotonic()
    bench.pgbench("-i", "-q", "-s", str(scale))
    theirs = time.monotonic() - started
    counts = RowCounts(
        tables=(
            ("pgbench_accounts", 100_000 * scale),
            ("pgbench_branches", scale),
            ("pgbench_tellers", 10 * scale),
            ("pgbench_history", 0),
        )
    )
    started = time.monotonic()
    target = server.target.on("ours")
    load_alone(target, SqlFile("p.sql", PGBENCH), counts, seed=1, on_progress=lambda _progress: None)
    ours = time.monotonic() - started
    sys.stdout.write(
        f"pgbench's tables at scale {scale}, from start to ready\n"
        f"  pgbench -i         {theirs:>12.1f} s\n"
        f"  rehearse           {ours:>12.1f} s        {theirs / ours:.2f} times as fast\n"
    )


def main() -> None:
    """Provision, load both ways, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--scale", type=int, default=50)
    given = parser.parse_args()
    with provision(DatabaseSpec()) as server:
        six_columns(server, given.rows)
        pgbench_tables(server, given.scale)


if __name__ == "__main__":
    main()
