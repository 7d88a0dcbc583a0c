from __future__ import annotations

from rehearse.dataset.alone import load_alone
from rehearse.engines.postgres.connect import connect
from rehearse.model.migration import SqlFile
from rehearse.model.scenario import RowCounts
from rehearse.model.target import Target

READINGS = """
CREATE TABLE readings (
    device_id bigint NOT NULL, at timestamptz NOT NULL, value double precision, PRIMARY KEY (device_id, at)
) PARTITION BY RANGE (at);
CREATE TABLE readings_a PARTITION OF readings FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE readings_b PARTITION OF readings FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
"""


def test_a_key_that_counts_moments_fills_every_partition(database: Target) -> None:
    counts = RowCounts(tables=(("readings", 4_000),))
    load_alone(database, SqlFile("s.sql", READINGS), counts, seed=1, on_progress=lambda _progress: None)
    with connect(database, "rehearse") as connection:
        rows = connection.execute(
            "SELECT tableoid::regclass::text, count(*) FROM readings GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert [name for name, _count in rows] == ["readings_a", "readings_b"]
    assert min(count for _name, count in rows) > 1_000
