"""A loop around a lock_timeout holds nothing between its attempts; the lock counts from the last of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.locks import LockMode
from rehearse.model.verdict import Verdict
from rehearse.model.waits import LockWait, Party, Role
from tests.judge.build import (
    AS,
    AX,
    MS,
    ORDERS,
    ROW_SHARE,
    SHARE,
    START,
    S,
    lock,
    migration,
    quiet,
    record,
    statement,
    with_trial,
)

TRIES = tuple(START + number * 330 * MS for number in range(12))
LOOP = replace(
    statement("DO $$ ... ALTER TABLE orders ADD c int ... $$", lock(ORDERS, AX), took_s=4.0, timeout_ms=30),
    retries=len(TRIES) - 1,
    waited_ns=len(TRIES) * 30 * MS,
)


def waits(mode: LockMode | None = AX) -> tuple[LockWait, ...]:
    party = Party(1, Role.MIGRATION, statement=0)
    return tuple(LockWait(party, (), "relation", mode, ORDERS, at, at + 30 * MS) for at in TRIES)


def test_a_lock_got_at_the_last_attempt_is_held_from_then_on() -> None:
    run = migration(replace(LOOP, ended_ns=TRIES[-1] + 40 * MS - START))
    judgement = judge(with_trial(record(run), waits=waits()), quiet(run))
    assert judgement.verdict is Verdict.GO, judgement.findings
    blocking = dict(judgement.metrics)["blocking.projected"]
    assert blocking is not None
    assert blocking.value == pytest.approx(0.01, abs=0.001)


def test_what_it_does_afterwards_counts() -> None:
    run = migration(replace(LOOP, ended_ns=TRIES[-1] + 2 * S - START))
    judgement = judge(with_trial(record(run), waits=waits()), quiet(run))
    assert judgement.verdict is Verdict.NO_GO


@pytest.mark.parametrize("seen", [(), waits(None)])
def test_attempts_that_were_not_seen_leave_it_held_from_the_start(seen: tuple[LockWait, ...]) -> None:
    run = migration(replace(LOOP, ended_ns=TRIES[-1] + 40 * MS - START))
    judgement = judge(with_trial(record(run), waits=seen), quiet(run))
    assert judgement.verdict is Verdict.NO_GO


def test_a_weaker_lock_that_it_had_before_is_held_from_the_start() -> None:
    """Between the attempts at the strong one it keeps its own share of the traffic out."""
    effects = LOOP.effects
    assert effects is not None
    ended_ns = TRIES[-1] + 40 * MS - START
    for weaker, verdict in (((ROW_SHARE, SHARE), Verdict.NO_GO), ((AS, ROW_SHARE), Verdict.GO)):
        locks = tuple(replace(one, weaker=weaker) for one in effects.locks)
        loop = replace(LOOP, ended_ns=ended_ns, effects=replace(effects, locks=locks))
        run = migration(loop)
        judgement = judge(with_trial(record(run), waits=waits()), quiet(run))
        assert judgement.verdict is verdict, weaker
