"""How statements are sent, and what is known of those that cannot be looked into."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearse.engines.postgres.probe import Counters, milliseconds
from rehearse.engines.postgres.split import SqlStatement, split
from rehearse.migrate.documented import tables_named
from rehearse.migrate.ledger import telling_modes
from rehearse.migrate.sending import is_probed, sends_alone
from rehearse.model.locks import LockMode
from rehearse.model.migration import SqlFile


def one(text: str) -> SqlStatement:
    (statement,) = split(SqlFile("up.sql", text))
    return statement


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", True),
        ("CREATE INDEX i ON t (a)", False),
        ("DROP INDEX CONCURRENTLY i", True),
        ("REINDEX (CONCURRENTLY) TABLE t", True),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", False),
        ("VACUUM t", True),
        ("CLUSTER t USING i", False),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", True),
        ("ALTER TABLE t DETACH PARTITION p", False),
        ('ALTER TABLE t DETACH PARTITION "CONCURRENTLY"', False),
        ("DO $$ BEGIN COMMIT; END $$", True),
        ("DO LANGUAGE plpgsql $x$ BEGIN PERFORM 'COMMIT'; /* ROLLBACK */ END $x$", False),
        ("ALTER SYSTEM SET a = 1", True),
    ],
)
def test_what_has_to_be_sent_alone(text: str, alone: bool) -> None:
    assert sends_alone(one(text)) is alone


@pytest.mark.parametrize(
    "text", ["BEGIN", "SET a = 1", "SAVEPOINT s", "LOCK TABLE t", "DECLARE c CURSOR FOR SELECT 1"]
)
def test_what_a_probe_would_change_is_not_probed(text: str) -> None:
    assert not is_probed(one(text), in_transaction=False)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("VACUUM", ()),
        ("VACUUM FULL orders", ("orders",)),
        (
            'VACUUM (FULL, ANALYZE) sales.orders (a, b), "We;ird", public . t',
            ("sales.orders", '"We;ird"', "public.t"),
        ),
        ("VACUUM ANALYZE a, b", ("a", "b")),
        ("CLUSTER t", ()),
    ],
)
def test_tables_that_vacuum_names(text: str, names: tuple[str, ...]) -> None:
    assert tables_named(one(text)) == names


@pytest.mark.parametrize(
    ("shown", "ms"),
    [("0", 0), ("500ms", 500), ("2s", 2000), ("1min", 60_000), ("1h", 3_600_000), ("1d", 86_400_000)],
)
def test_time_settings(shown: str, ms: int) -> None:
    assert milliseconds(shown) == ms


@given(st.sets(st.sampled_from(LockMode)))
def test_telling_modes_keep_out_what_all_of_them_keep_out(modes: set[LockMode]) -> None:
    told = telling_modes(modes)
    assert set(told) <= modes
    for victim in LockMode:
        assert any(m.conflicts_with(victim) for m in told) == any(m.conflicts_with(victim) for m in modes)


def test_counters_that_were_set_back_count_from_zero() -> None:
    assert Counters(10, 5, 1, 0).since(Counters(4, 5, 0, 0)) == Counters(6, 0, 1, 0)
    assert Counters(3, 0, 0, 0).since(Counters(4, 0, 0, 0)) == Counters(3, 0, 0, 0)
