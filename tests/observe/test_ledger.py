from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from rehearse.engines.postgres.activity import Obstacle, Session, Snapshot, Waiting
from rehearse.model.locks import LockMode
from rehearse.model.migration import MigrationState
from rehearse.model.relation import Relation
from rehearse.model.waits import Role
from rehearse.observe.ledger import Sighting, WaitLedger, fold
from rehearse.observe.party import MIGRATION, TRAFFIC, ScriptNames

MS = 1_000_000
ORDERS = Relation("public", "orders")
HOLDER = Session(10, MIGRATION, "ALTER TABLE", "client backend", "active")


def waiting(
    pid: int,
    since_us: int,
    *obstacles: Obstacle,
    name: str = TRAFFIC,
    query: str = "",
    relation: Relation = ORDERS,
) -> Waiting:
    session = Session(pid, name, query, "client backend", "active")
    return Waiting(session, "relation", "relation/1/2", LockMode.ACCESS_SHARE, relation, since_us, obstacles)


def seen_at(ms: int, *waits: Waiting, before: MigrationState | None = None) -> Sighting:
    """A snapshot by a server whose clock is ours, answered in no time."""
    at_ns = ms * MS
    state = before or MigrationState()
    return Sighting(Snapshot(at_ns, at_ns, ms * 1_000, waits), state, state)


def test_sightings_of_one_wait_are_one_wait_from_its_true_beginning_to_its_last_sighting() -> None:
    holder = Obstacle(HOLDER, LockMode.ACCESS_EXCLUSIVE, queued=False)
    wait = waiting(1, 100_000, holder, query="SELECT 1")
    folded = fold([seen_at(ms, wait) for ms in (120, 140, 160)], ScriptNames({"SELECT 1": "read"}))
    (found,) = folded.waits
    assert 59.9 * MS < found.at_least_ns <= 60 * MS
    assert (found.relation, found.mode) == (ORDERS, LockMode.ACCESS_SHARE)
    assert (found.waiter.role, found.waiter.script) == (Role.TRAFFIC, "read")
    (blocker,) = found.blockers
    assert (blocker.party.role, blocker.mode, blocker.queued) == (
        Role.MIGRATION,
        LockMode.ACCESS_EXCLUSIVE,
        False,
    )


def test_a_session_that_waits_again_waits_twice() -> None:
    folded = fold([seen_at(120, waiting(1, 100_000)), seen_at(140, waiting(1, 125_000))])
    assert [round(wait.at_least_ns / MS) for wait in folded.waits] == [20, 15]


def test_blockers_of_all_sightings_are_kept_and_holding_is_more_than_queueing() -> None:
    state = MigrationState(pid=10, statement=3, text="ALTER", started_ns=0)
    queued = Obstacle(HOLDER, LockMode.ACCESS_EXCLUSIVE, queued=True)
    held = Obstacle(HOLDER, LockMode.ACCESS_EXCLUSIVE, queued=False)
    other = Obstacle(Session(11, "psql", "", "client backend"), LockMode.ACCESS_SHARE, queued=False)
    folded = fold(
        [
            seen_at(120, waiting(1, 100_000, queued), before=state),
            seen_at(140, waiting(1, 100_000, held, other), before=state),
            seen_at(160, waiting(1, 100_000, queued), before=state),
        ]
    )
    (found,) = folded.waits
    assert {(b.party.pid, b.party.statement, b.queued) for b in found.blockers} == {
        (10, 3, False),
        (11, None, False),
    }


def test_the_migrations_own_wait_belongs_to_the_statement_that_began_before_it() -> None:
    before = MigrationState(pid=1, statement=1, started_ns=50 * MS)
    after = MigrationState(pid=1, statement=2, started_ns=99 * MS)
    at_ns = 120 * MS
    snapshot = Snapshot(at_ns, at_ns, 120_000, (waiting(1, 100_000, name=MIGRATION),))
    (found,) = fold([Sighting(snapshot, before, after)]).waits
    assert (found.waiter.role, found.waiter.statement) == (Role.MIGRATION, 2)


def test_short_waits_are_kept_of_the_migration_alone() -> None:
    folded = fold([seen_at(105, waiting(1, 100_000), waiting(2, 100_000, name=MIGRATION))])
    assert [wait.waiter.pid for wait in folded.waits] == [2]
    assert folded.dropped == 0


def test_there_is_room_for_the_longest_only() -> None:
    ledger = WaitLedger(most_kept=3)
    ledger.add(seen_at(100, *(waiting(pid, 100_000 - pid * 1_000) for pid in range(20, 30))))
    folded = ledger.folded()
    assert [wait.waiter.pid for wait in folded.waits] == [29, 28, 27]
    assert folded.dropped == 7


def test_a_wait_did_not_begin_before_a_snapshot_that_did_not_have_it() -> None:
    """Even where the server's clock was set in the meantime."""
    (found,) = fold([seen_at(100), seen_at(150, waiting(1, 20_000))]).waits
    assert found.first_seen_ns >= 100 * MS


@dataclass(frozen=True)
class Truth:
    pid: int
    start_us: int
    end_us: int


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Truth], list[Sighting], list[bool]]:
    """Waits as they were, on our clock; what samples at any times saw of them by a server's clock that is
    off and drifts; and whether each wait was seen at all.
    """
    truths: list[Truth] = []
    for pid in range(1, draw(st.integers(1, 4)) + 1):
        at = draw(st.integers(0, 200_000))
        for _ in range(draw(st.integers(0, 4))):
            end = at + draw(st.integers(0, 2_000_000))
            truths.append(Truth(pid, at, end))
            at = end + draw(st.integers(1, 500_000))
    offset_us = draw(st.integers(-(10**15), 10**15))
    drift_ppm = draw(st.integers(-400, 400))

    def server_us(own_us: int) -> int:
        return offset_us + own_us + own_us * drift_ppm // 1_000_000

    sightings: list[Sighting] = []
    seen = [False] * len(truths)
    asked = 0
    for _ in range(draw(st.integers(0, 30))):
        asked += draw(st.integers(1, 400_000))
        clock, read, answered = (asked + s for s in sorted(draw(st.tuples(*[st.integers(0, 80_000)] * 3))))
        now = [truth for truth in truths if truth.start_us <= read <= truth.end_us]
        for truth in now:
            seen[truths.index(truth)] = True
        waits = tuple(waiting(truth.pid, server_us(truth.start_us), name=MIGRATION) for truth in now)
        clock_us = server_us(clock) if waits else None
        sightings.append(Sighting(Snapshot(asked * 1_000, answered * 1_000, clock_us, waits)))
        asked = answered
    return truths, sightings, seen


@given(histories())
def test_no_wait_is_reported_longer_than_it_was_nor_one_that_was_not(
    history: tuple[list[Truth], list[Sighting], list[bool]],
) -> None:
    truths, sightings, seen = history
    waits = fold(sightings).waits
    assert len(waits) == sum(seen), "each wait that was seen is reported once"
    for wait in waits:
        assert wait.at_least_ns >= 0
        if wait.at_least_ns:
            assert any(
                truth.pid == wait.waiter.pid
                and truth.start_us * 1_000 <= wait.first_seen_ns
                and wait.last_seen_ns <= truth.end_us * 1_000
                for truth in truths
            )
