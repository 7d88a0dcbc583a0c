"""Masking, beside plain COPY and beside a script that asks Faker for every row.

Run as `python -m bench.mask [--rows N] [--rounds N]`. Both take the same rows of six columns out of one table
and put them into an empty one of the same shape, on one server, in turns: COPY to COPY as they are, and
masked. A table of people, in which every column is personal, and one of orders. Then row by row with Faker,
on a sample, since it takes so long.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from rehearse.dataset.masking.flow import ahead, brisk
from rehearse.dataset.masking.plan import plan_masks
from rehearse.dataset.masking.prf import MaskKey
from rehearse.dataset.masking.rules import parse_rules
from rehearse.dataset.masking.run import Job, run_masking
from rehearse.dataset.masking.sink import DatabaseSink
from rehearse.dataset.masking.source import LiveSource
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.copy_stream import copy_in, copy_out, read_snapshot
from rehearse.engines.postgres.databases import create_database
from rehearse.model.relation import Relation
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Secret, Target
from rehearse.provision import provision
from rehearse.provision.binaries import embedded_installation


@dataclass(frozen=True, slots=True)
class Case:
    """A table, rows for it, and the rules that mask it."""

    name: str
    table: str
    rows: str
    columns: tuple[str, ...]
    rules: dict[str, object]

    @property
    def relation(self) -> Relation:
        """The table's name."""
        return Relation("public", self.name)


CASES = (
    Case(
        "people",
        """CREATE TABLE people (id bigint NOT NULL, firm_id integer NOT NULL, email text NOT NULL,
               name text NOT NULL, amount numeric(12, 2) NOT NULL, seen_at timestamptz NOT NULL)""",
        """INSERT INTO people SELECT i, i % 20000 + 1, 'first' || i || '.last@firm' || i % 20000 || '.test',
               'Given' || i % 4001 || ' Family' || i % 7919 % 300, (i % 1000003) / 100.0,
               timestamptz '2020-01-01' + i * interval '41.123 s' FROM generate_series(1, {}) i""",
        ("id", "firm_id", "email", "name", "amount", "seen_at"),
        {
            "id": "key",
            "firm_id": "key",
            "email": "email",
            "name": "name",
            "amount": "number",
            "seen_at": "date",
        },
    ),
    Case(
        "orders",
        """CREATE TABLE orders (id bigint NOT NULL, customer_id integer NOT NULL, status text NOT NULL,
               amount numeric(12, 2) NOT NULL, placed_at timestamptz NOT NULL, contact text)""",
        """INSERT INTO orders SELECT i, i * 7919::bigint % 200000 + 1,
               (ARRAY['new', 'paid', 'sent'])[i % 3 + 1],
               (i % 1000003) / 100.0, timestamptz '2020-01-01' + i * interval '41.123 s',
               CASE WHEN i % 2 = 0 THEN 'user' || i || '@mail.test' END FROM generate_series(1, {}) i""",
        ("id", "customer_id", "status", "amount", "placed_at", "contact"),
        {
            "id": "key",
            "customer_id": "key",
            "status": {"mask": "keep", "reason": "one of three"},
            "amount": "number",
            "placed_at": "date",
            "contact": "email",
        },
    ),
)


def plain(case: Case, source: Target, target: Target) -> float:
    """Seconds of COPY to COPY, reading in a thread ahead of writing, as the masking does."""
    with read_snapshot(source) as snapshot, connect(target, "bench") as connection:
        _emptied(case, target)
        connection.execute("SET synchronous_commit = off")
        started = time.monotonic()
        with brisk(), ahead(copy_out(snapshot.connection, case.relation, case.columns)) as blocks:
            copy_in(connection, case.relation, case.columns, blocks)
        return time.monotonic() - started


def masked(case: Case, source: Target, target: Target) -> tuple[float, float]:
    """Seconds of the same with every column masked and sampled, and seconds of the leak check."""
    rules = parse_rules({"columns": {f"{case.name}.{k}": v for k, v in case.rules.items()}}, "bench")
    with read_snapshot(source) as snapshot, DatabaseSink(target) as sink:
        live = LiveSource.of(source, snapshot, embedded_installation().bindir)
        key = MaskKey(Secret(secrets.token_hex(32)))  # a new one: nothing is known from the round before
        result = run_masking(Job(live, plan_masks(live.schema, rules), key, sink))
    return result.mask_seconds, result.check_seconds


def faker(source: Target, target: Target, rows: int) -> float:
    """Seconds that a script takes which asks Faker for each row's new values."""
    from faker import Faker  # noqa: PLC0415 - heavy, and needed here alone

    fake = Faker()
    with connect(source, "bench") as reading, connect(target, "bench") as writing:
        _emptied(CASES[0], target)
        query = sql.SQL("SELECT * FROM people LIMIT {}").format(rows)
        command = sql.SQL("COPY people FROM STDIN")
        started = time.monotonic()
        with writing.cursor().copy(command) as copy:
            for row in _streamed(reading.execute(query).fetchall()):
                number, firm, *_, amount, seen = row
                copy.write_row((number, firm, fake.email(), fake.name(), amount, seen))
        return time.monotonic() - started


def _streamed(rows: Sequence[tuple[object, ...]]) -> Iterator[tuple[object, ...]]:
    yield from rows


def _emptied(case: Case, target: Target) -> None:
    with connect(target, "bench") as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        connection.execute(case.table.encode())
        connection.execute("CHECKPOINT")


def main() -> None:
    """Provision, make the rows, copy them all three ways in turns, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with provision(DatabaseSpec()) as server:
        create_database(server.target, "copy")
        for case in CASES:
            create_database(server.target, case.name)
            source = server.target.on(case.name)
            with connect(source, "bench") as connection:
                connection.execute(case.table.encode())
                connection.execute(sql.SQL(case.rows).format(given.rows))
                connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(case.name)))
            rate = compare(case, source, server.target.on("copy"), given.rows, given.rounds)
            if case is CASES[0]:
                by_faker = given.rows // 200 / faker(source, server.target.on("copy"), given.rows // 200)
                sys.stdout.write(
                    f"  Faker row by row {by_faker:,.0f} rows/s, masked {rate / by_faker:.0f} times as fast\n"
                )


def compare(case: Case, source: Target, target: Target, rows: int, rounds: int) -> float:
    """Prints both in turns; the median of the masked rates."""
    sys.stdout.write(f"{rows:,} rows of {case.name}\n")
    ratios, rates = [], []
    for number in range(rounds):
        rate = rows / plain(case, source, target)
        seconds, check = masked(case, source, target)
        rates.append(rows / seconds)
        ratios.append(rates[-1] / rate)
        sys.stdout.write(
            f"  round {number + 1}: COPY to COPY {rate:>9,.0f} rows/s, masked {rates[-1]:>9,.0f} rows/s, "
            f"ratio {ratios[-1]:.2f}; leak check {rows / check:,.0f} rows/s\n"
        )
        sys.stdout.flush()
    sys.stdout.write(f"  median ratio to plain COPY {statistics.median(ratios):.2f}\n")
    return statistics.median(rates)


if __name__ == "__main__":
    main()
