"""The observer's pure parts: pace, parties, cost, resources, and questions to the waits."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.errors import InsufficientPrivilege

from rehearse.engines.postgres.activity import ServerState, Session
from rehearse.model.locks import LockMode
from rehearse.model.migration import MigrationState, Statement, StatementOutcome
from rehearse.model.waits import Blocker, LockWait, Party, Role
from rehearse.observe.clock import ClockBounds
from rehearse.observe.cost import LAPSE_LIMIT_NS, CostMeter
from rehearse.observe.pace import (
    CALM_NS,
    DENSE_NS,
    FURTHEST_NS,
    SUSPICIOUS_AGE_NS,
    WATCHFUL_NS,
    Situation,
    interval_ns,
)
from rehearse.observe.party import ScriptNames, party
from rehearse.observe.resources import MOST_KEPT, ResourceLog
from rehearse.observe.waits import behind_migration, longest_wait_behind_migration, migration_wait_ns

MS = 1_000_000
NOW = 10_000 * MS


def before(ms: int) -> int:
    return NOW - ms * MS


@pytest.mark.parametrize(
    ("situation", "expected_ns"),
    [
        (Situation(NOW), CALM_NS),
        (Situation(NOW, oldest_in_flight_ns=before(19)), CALM_NS),
        (Situation(NOW, oldest_in_flight_ns=before(21)), DENSE_NS),
        (Situation(NOW, oldest_in_flight_ns=before(900), in_vain=8), WATCHFUL_NS),
        (Situation(NOW, statement_started_ns=before(1)), WATCHFUL_NS),
        (Situation(NOW, statement_started_ns=before(11)), DENSE_NS),
        (Situation(NOW, blocked=1), DENSE_NS),
        (Situation(NOW, statement_started_ns=before(251)), WATCHFUL_NS),
        (Situation(NOW, blocked=1, statement_started_ns=before(251)), DENSE_NS),
        (Situation(NOW, blocked=1, cost_ns=2 * MS), 24 * MS),
        (Situation(NOW, blocked=1, cost_ns=900 * MS), FURTHEST_NS),
    ],
)
def test_pace(situation: Situation, expected_ns: int) -> None:
    assert interval_ns(situation) == expected_ns


@given(
    oldest_ms=st.none() | st.integers(21, 5_000),
    statement_ms=st.none() | st.integers(0, 5_000),
    blocked=st.integers(0, 3),
    in_vain=st.integers(0, 20),
    cost_ms=st.integers(0, 500),
)
def test_where_somebody_may_wait_no_wait_of_a_tenth_of_a_second_falls_between_two_samples(
    oldest_ms: int | None, statement_ms: int | None, blocked: int, in_vain: int, cost_ms: int
) -> None:
    situation = Situation(
        NOW,
        oldest_in_flight_ns=None if oldest_ms is None else before(oldest_ms),
        statement_started_ns=None if statement_ms is None else before(statement_ms),
        blocked=blocked,
        in_vain=in_vain,
        cost_ns=cost_ms * MS,
    )
    waits = oldest_ms is not None or statement_ms is not None or blocked
    assert interval_ns(situation) + LAPSE_LIMIT_NS < 100 * MS if waits else interval_ns(situation) == CALM_NS


@pytest.mark.parametrize("cost_ms", [0, 2, 500])
def test_nor_does_one_that_has_just_begun(cost_ms: int) -> None:
    noticed = Situation(NOW, oldest_in_flight_ns=NOW - SUSPICIOUS_AGE_NS - 1, cost_ns=cost_ms * MS)
    assert SUSPICIOUS_AGE_NS + interval_ns(noticed) + LAPSE_LIMIT_NS < 100 * MS


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        (Session(1, "rehearse-migration"), Party(1, Role.MIGRATION, statement=2)),
        (Session(7, "alembic"), Party(7, Role.MIGRATION, statement=2)),
        (Session(1, "rehearse-traffic", "SELECT 1"), Party(1, Role.TRAFFIC, script="read")),
        (Session(1, "rehearse-traffic", "SELECT 2"), Party(1, Role.TRAFFIC)),
        (Session(1, "rehearse-adversary long-reader"), Party(1, Role.ADVERSARY, label="long-reader")),
        (
            Session(1, "", "autovacuum: VACUUM t (to prevent wraparound)", "autovacuum worker"),
            Party(1, Role.SERVER, label="autovacuum worker (to prevent wraparound)"),
        ),
        (Session(1, "psql", "", "client backend"), Party(1, Role.OTHER, label="psql")),
        (Session(0), Party(0, Role.OTHER, label="prepared transaction")),
    ],
)
def test_party(session: Session, expected: Party) -> None:
    state = MigrationState(pid=7, statement=2)
    assert party(session, state, ScriptNames({"SELECT 1": "read"})) == expected


def test_a_text_that_the_server_has_cut_is_known_by_its_beginning_unless_two_scripts_share_it() -> None:
    long = "SELECT '" + "ä" * 600
    names = ScriptNames({long + "1'": "one", "short": "other"}, limit_bytes=1024)
    shown = long.encode()[:1023].decode(errors="ignore")
    assert names.of(shown) == "one"
    assert names.of("shor") is None
    both = ScriptNames({long + "1'": "one", long + "2'": "two"}, limit_bytes=1024)
    assert both.of(shown) is None


def test_gaps_are_counted_to_the_end() -> None:
    meter = CostMeter(0)
    meter.succeeded(100 * MS, 102 * MS)
    meter.succeeded(350 * MS, 351 * MS)
    meter.failed(600 * MS, 2_600 * MS)
    meter.succeeded(2_601 * MS, 2_602 * MS)
    cost = meter.cost(4_000 * MS)
    assert (cost.samples, cost.failed_samples) == (3, 1)
    assert cost.busy_ns == 2_004 * MS
    assert cost.gaps == ((350 * MS, 2_601 * MS), (2_601 * MS, 4_000 * MS))
    assert cost.max_gap_ns == 2_251 * MS
    assert cost.share == pytest.approx(0.501)


def test_a_lapse_is_a_stretch_in_which_the_observer_did_not_get_to_run() -> None:
    meter = CostMeter(0)
    for now_ms in (10, 20, 80, 140, 160, 200, 320, 340):
        meter.awake(now_ms * MS)
    cost = meter.cost(360 * MS)
    assert cost.lapses == ((20 * MS, 140 * MS), (200 * MS, 320 * MS))
    assert (cost.lapsed_ns, cost.lapse_limit_ns) == (240 * MS, LAPSE_LIMIT_NS)
    assert meter.cost(420 * MS).lapses[-1] == (360 * MS, 420 * MS)


@dataclass
class Source:
    states: int = 0
    sizes: int = 0
    closed: bool = False
    refuses: bool = False

    def state(self) -> ServerState:
        self.states += 1
        if self.refuses:
            raise InsufficientPrivilege
        return ServerState(self.states, 1, 0)

    def disk_bytes(self) -> tuple[int, int | None]:
        self.sizes += 1
        return 5, 2


def test_resources_are_taken_four_times_a_second_and_thinned_out_in_the_long_run() -> None:
    log, source = ResourceLog(), Source()
    for ms in range(0, 10_000, 10):
        log.take(source, NOW + ms * MS)
    assert 38 <= source.states <= 40
    log.take(source, NOW + 9_995 * MS, last=True)
    assert log.samples()[-1].database_bytes == 5
    for step in range(3 * MOST_KEPT):
        log.take(source, NOW + (20_000 + step * 250) * MS)
    positions = [sample.wal_position_bytes or 0 for sample in log.samples()]
    assert len(positions) <= MOST_KEPT
    assert positions == sorted(positions)


def test_what_the_server_will_not_tell_is_not_measured_and_a_lost_session_is_an_error() -> None:
    log = ResourceLog()
    log.take(Source(refuses=True), NOW)
    (sample,) = log.samples()
    assert sample.wal_position_bytes is None
    with pytest.raises(InsufficientPrivilege):
        log.take(Source(refuses=True, closed=True), NOW + CALM_NS)


MIGRATION = Party(1, Role.MIGRATION, statement=0)


def lock_wait(waiter: Party, first_ms: int, last_ms: int, *blockers: Party) -> LockWait:
    found = tuple(Blocker(blocker, LockMode.ACCESS_EXCLUSIVE, queued=False) for blocker in blockers)
    return LockWait(waiter, found, "relation", LockMode.ACCESS_SHARE, None, first_ms * MS, last_ms * MS)


def test_what_the_migration_waited_is_cut_to_the_statement_and_counted_once() -> None:
    statement = Statement(0, "ALTER", "up.sql", 1, "ALTER TABLE", 0, 100 * MS, 200 * MS, StatementOutcome.OK)
    waits = [
        lock_wait(MIGRATION, 90, 120),
        lock_wait(Party(2, Role.MIGRATION), 110, 130),
        lock_wait(MIGRATION, 150, 160),
        lock_wait(MIGRATION, 300, 400),
        lock_wait(Party(3, Role.TRAFFIC), 100, 200, MIGRATION),
    ]
    assert migration_wait_ns(waits, statement) == 40 * MS


def test_waits_behind_the_migration_include_those_behind_its_victims() -> None:
    first, second, third = (Party(pid, Role.TRAFFIC) for pid in (2, 3, 4))
    direct = lock_wait(first, 100, 200, MIGRATION)
    chained = lock_wait(second, 110, 400, first)
    later = lock_wait(third, 500, 900, first)
    own = lock_wait(MIGRATION, 100, 990, third)
    waits = (chained, direct, later, own)
    assert behind_migration(waits) == (chained, direct)
    assert longest_wait_behind_migration(waits) == chained
    assert longest_wait_behind_migration((own, later)) is None
    assert longest_wait_behind_migration(waits, Role.OTHER) is None


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1))
def test_clock_bounds_hold_the_true_difference(questions: list[tuple[int, int, int]]) -> None:
    difference_us, now_us = 1_234_567_890, 0
    bounds: ClockBounds | None = None
    for pause, there, back in questions:
        asked, read = now_us + pause, now_us + pause + there
        now_us = read + back
        times = (asked * 1_000, read + difference_us, now_us * 1_000)
        bounds = bounds.narrowed(*times) if bounds else ClockBounds.of(*times)
        assert bounds.low_ns <= -difference_us * 1_000 <= bounds.high_ns


def test_a_clock_that_was_set_is_believed_anew() -> None:
    bounds = ClockBounds.of(1_000 * MS, 1_000_000, 1_001 * MS)
    assert bounds.narrowed(2_000 * MS, 7_000_000, 2_001 * MS) == ClockBounds.of(
        2_000 * MS, 7_000_000, 2_001 * MS
    )
