"""What a profile is taken from, what it may say, and that taking it disturbs nobody."""

from __future__ import annotations

import psycopg
import pytest

from rehearse.dataset.profile.fidelity import fidelity
from rehearse.dataset.profile.take import take_profile
from rehearse.dataset.profile.withhold import Rules
from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.statistics import read_statistics, snapshot
from rehearse.errors import EnvironmentFailure, InputError
from rehearse.model.profile_file import profile_text
from rehearse.model.relation import Relation
from rehearse.model.target import Target
from tests.dataset.twins import CUSTOMERS, ORDERS, Twins


def test_a_planted_value_never_reaches_the_profile(twins: Twins) -> None:
    text = profile_text(twins.profile)
    assert "canary" not in text.lower()
    assert "7654321" not in text
    assert "vip" in text  # what many share and is a label is there
    words = twins.source.conninfo("x")
    assert words["host"] not in text
    assert twins.source.dbname not in text


def test_a_scan_withholds_as_much(twins: Twins) -> None:
    profile = take_profile(twins.source, scan=True)
    text = profile_text(profile)
    assert "canary" not in text.lower()
    assert "7654321" not in text
    orders = profile.table(Relation("public", "orders"))
    assert orders is not None
    assert (orders.rows, orders.rows_from) == (ORDERS, "scan")
    assert fidelity(twins.profile, profile).within(0.03), fidelity(twins.profile, profile).columns[:2]


def test_profiling_reads_no_table_and_locks_only_the_catalog(twins: Twins) -> None:
    with snapshot(twins.source) as connection:
        read_statistics(connection)
        scans = connection.execute(
            "SELECT sum(seq_scan + coalesce(idx_scan, 0)) FROM pg_stat_xact_user_tables"
        )
        assert scans.fetchone() == (0,)
        held = connection.execute(
            "SELECT DISTINCT mode, relation::int8 >= 16384 FROM pg_locks"
            " WHERE pid = pg_backend_pid() AND locktype = 'relation'"
        ).fetchall()
        assert held == [("AccessShareLock", False)]
        settings = connection.execute(
            "SELECT current_setting('transaction_read_only'), current_setting('transaction_isolation'),"
            " current_setting('lock_timeout'), current_setting('application_name')"
        ).fetchone()
        assert settings == ("on", "repeatable read", "1s", "rehearse")


def test_profiling_cannot_write_and_waits_for_nobody(twins: Twins) -> None:
    with pytest.raises(EnvironmentFailure, match="read-only"), snapshot(twins.source) as connection:
        connection.execute("DELETE FROM public.orders")
    with connect(twins.source, "test", autocommit=False) as other:
        other.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        profile = take_profile(twins.source)
        other.rollback()
    assert any("locked exclusively" in note for note in profile.notes)
    customers = profile.table(Relation("public", "customers"))
    assert customers is not None
    assert customers.rows == CUSTOMERS
    assert customers.heap_bytes > 0


def test_sizes_keys_and_joint_statistics_are_there(twins: Twins) -> None:
    orders = twins.profile.table(Relation("public", "orders"))
    assert orders is not None
    assert orders.heap_bytes > 1_500_000
    assert dict(orders.indexes).keys() == {"orders_pkey", "orders_customer_id_idx"}
    reference = next(r for r in orders.references if r.columns == ("courier_id",))
    assert reference.null_fraction == pytest.approx(0.4, abs=0.02)
    assert reference.largest_share == pytest.approx(0.12, abs=0.02)
    (joint,) = orders.joint
    assert joint.columns == ("status", "quantity")
    assert joint.distinct[0][0] == ("quantity", "status") or joint.distinct[0][0] == ("status", "quantity")
    assert joint.frequencies
    readings = twins.profile.table(Relation("public", "readings"))
    assert readings is not None
    assert readings.rows == 5_000


def test_what_was_never_analyzed_is_said(database: Target) -> None:
    with connect(database, "test") as connection:
        connection.execute("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 100)")
    profile = take_profile(database)
    assert any("t was never analyzed" in note for note in profile.notes)
    assert not fidelity(profile, profile).within(0.03)
    with pytest.raises(InputError, match="no tables in the schema nowhere"):
        take_profile(database, schemas=["nowhere"])


def test_the_users_rules_reach_the_file(twins: Twins) -> None:
    rules = Rules(frozenset({"orders.status"}), {"customers.full_name": "invented"})
    text = profile_text(take_profile(twins.source, rules=rules))
    assert "delivered" not in text
    assert "Canary Jones" in text


def test_a_refused_role_is_told_in_one_line(twins: Twins) -> None:
    with pytest.raises(EnvironmentFailure) as caught, snapshot(twins.source):
        raise psycopg.errors.InsufficientPrivilege("permission denied\nDETAIL: canary")
    assert "\n" not in str(caught.value)
