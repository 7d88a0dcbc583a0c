"""Loading, beside what the server can do by itself.

Run as `python -m bench.load [--rows N] [--scale N] [--rounds N]`. First: our load of a table of six columns
against one server-side `COPY ... FROM` of the very same rows from a file. Then: pgbench's tables against
`pgbench -i`, from start to ready, keys and statistics included. Both sides on one server in one run, in
turns, each after a checkpoint. With more than ten million rows the first alone, once and without a peer:
the rate and the memory as the load goes on.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from psycopg import sql

from bench.driver import Bench
from rehearse.dataset.alone import LoadResult, load_alone
from rehearse.dataset.generators import Given, Wishes
from rehearse.dataset.generators.weighted import Weighted
from rehearse.dataset.load import LoadProgress, load
from rehearse.dataset.plan import plan_dataset
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.engines.postgres.execute import execute_file
from rehearse.engines.postgres.introspect import introspect
from rehearse.model.migration import SqlFile
from rehearse.model.relation import Relation
from rehearse.model.scenario import DatabaseSpec, RowCounts
from rehearse.model.target import Target
from rehearse.provision import Server, provision
from rehearse.scenario.values import parse_count

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
_ALONE = 10_000_000  # rows beyond which there is no peer
_STEP = 10_000_000


def six_columns(server: Server, rows: int, rounds: int) -> None:
    """Our COPY of generated rows against the server's COPY of the same rows from a file of its own."""
    pairs = []
    for _ in range(rounds):
        target = _fresh(server, "six")
        loaded = _load_six(target, rows)
        assert server.data_directory is not None
        file = sql.Literal(str(Path(server.data_directory, "events.copy")))
        with connect(target, "rehearse") as connection:
            connection.execute(sql.SQL("COPY events TO {}").format(file))
            connection.execute("CREATE TABLE again (LIKE events)")
            connection.execute("CHECKPOINT")
            started = time.monotonic()
            connection.execute(sql.SQL("COPY again FROM {}").format(file))
            pairs.append((rows / (time.monotonic() - started), rows / loaded.load_seconds))
        drop_database(server.target, "six")
    theirs, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    _print(
        f"{rows:,} rows of six columns, medians of {rounds}\n"
        f"  COPY from a file   {theirs:>12,.0f} rows/s\n"
        f"  rehearse           {ours:>12,.0f} rows/s   "
        f"ratio {statistics.median(b / a for a, b in pairs):.2f}\n"
        f"  peak memory        {_peak_mib():>12,.0f} MiB"
    )


def many_rows(server: Server, rows: int) -> None:
    """One load, with its rate and our memory at every ten million rows."""
    target = _fresh(server, "six")
    started = time.monotonic()
    marks = [(0, started)]

    def told(progress: LoadProgress) -> None:
        if progress.stage == "copy" and progress.rows_done >= marks[-1][0] + _STEP:
            now = time.monotonic()
            rate = (progress.rows_done - marks[-1][0]) / (now - marks[-1][1])
            marks.append((progress.rows_done, now))
            _print(
                f"  {progress.rows_done:>12,} rows  {now - started:>7.1f} s  {rate:>10,.0f} rows/s  "
                f"{_peak_mib():>5,.0f} MiB"
            )

    _print(f"{rows:,} rows of six columns")
    loaded = _load_six(target, rows, told)
    _print(
        f"  {loaded.size_bytes / 1e9:.1f} GB, loaded in {loaded.load_seconds:.1f} s "
        f"({loaded.rows_per_second:,.0f} rows/s), ready {loaded.index_seconds:.1f} s later; "
        f"peak memory {_peak_mib():,.0f} MiB"
    )


def pgbench_tables(server: Server, scale: int, rounds: int) -> None:
    """The same rows from start to ready, with primary keys, VACUUM and ANALYZE."""
    pairs = []
    for _ in range(rounds):
        bench = Bench(_fresh(server, "theirs"), 1, 1, scale)
        started = time.monotonic()
        bench.pgbench("-i", "-q", "-s", str(scale))
        theirs = time.monotonic() - started
        drop_database(server.target, "theirs")
        target = _fresh(server, "ours")
        started = time.monotonic()
        _load_pgbench(target, scale)
        pairs.append((theirs, time.monotonic() - started))
        drop_database(server.target, "ours")
    theirs, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    _print(
        f"pgbench's tables at scale {scale}, from start to ready, medians of {rounds}\n"
        f"  pgbench -i         {theirs:>12.1f} s\n"
        f"  rehearse           {ours:>12.1f} s        "
        f"{statistics.median(a / b for a, b in pairs):.2f} times as fast"
    )


def _load_pgbench(target: Target, scale: int) -> None:
    """As `load_alone` does, with columns described."""
    counts = RowCounts(
        tables=(
            ("pgbench_accounts", 100_000 * scale),
            ("pgbench_branches", scale),
            ("pgbench_tellers", 10 * scale),
            ("pgbench_history", 0),
        )
    )
    with connect(target, "rehearse") as connection:
        execute_file(connection, SqlFile("pgbench.sql", PGBENCH))
        schema = introspect(connection)
    plan = plan_dataset(
        schema, None, counts, touched=frozenset(), loaded={}, seed=1, wishes=_as_pgbench(scale)
    )
    load(target, plan, on_progress=lambda _progress: None)


def _as_pgbench(scale: int) -> Wishes:
    """What `pgbench -i` fills its columns with: branches, balances of nothing, and blanks."""
    branches = tuple(str(number) for number in range(1, scale + 1))
    contents = {"bid": branches, "abalance": ("0",), "tbalance": ("0",), "filler": ("",)}
    columns = {"pgbench_accounts": ("bid", "abalance", "filler"), "pgbench_tellers": ("bid", "tbalance")}
    return Wishes(
        columns={
            (Relation("public", table), name): Given(
                Weighted(contents[name], (1.0,) * len(contents[name])), null_fraction=0.0
            )
            for table, names in columns.items()
            for name in names
        }
    )


def _load_six(
    target: Target, rows: int, told: Callable[[LoadProgress], None] = lambda _progress: None
) -> LoadResult:
    counts = RowCounts(tables=(("events", rows),))
    return load_alone(target, SqlFile("six.sql", SIX), counts, seed=1, on_progress=told)


def _fresh(server: Server, name: str) -> Target:
    """An empty database on a server that has nothing left to write."""
    create_database(server.target, name)
    with connect(server.target, "rehearse") as connection:
        connection.execute("CHECKPOINT")
    return server.target.on(name)


def _peak_mib() -> float:
    """Of this process: the server's own is its shared buffers and a little more."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Provision, load both ways, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=parse_count, default=3_000_000)
    parser.add_argument("--scale", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with provision(DatabaseSpec()) as server:
        if given.rows > _ALONE:
            many_rows(server, given.rows)
            return
        six_columns(server, given.rows, given.rounds)
        pgbench_tables(server, given.scale, given.rounds)


if __name__ == "__main__":
    main()
