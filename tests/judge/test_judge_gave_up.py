"""A lock_timeout that expires while the machine stands still says nothing of the migration."""

from __future__ import annotations

import pytest

from rehearse.acts.steadiness import enough, rests_on_timing
from rehearse.judge.judge import judge
from rehearse.model.migration import StatementOutcome
from rehearse.model.spans import Spans
from rehearse.model.verdict import Finding, Judgement, Severity, Verdict
from rehearse.model.waits import Blocker, LockWait, ObserverCost, Party, Role
from rehearse.model.workload import DriverHealth
from tests.judge.build import AX, MS, ORDERS, START, S, migration, quiet, record, statement, with_trial

GAVE_UP = migration(
    statement(
        "ALTER TABLE orders ADD COLUMN a int",
        took_s=2,
        timeout_ms=2000,
        outcome=StatementOutcome.FAILED,
        sqlstate="55P03",
    )
)
STILL = ((START + 100 * MS, START + 1800 * MS),)


def concluded(driver: Spans = (), disk: Spans = (), blocked_by: Role | None = None) -> Judgement:
    health = DriverHealth(1, 32, 3000, 3000, 1600, 1598, MS, 2 * MS, 5 * MS, 0.2, 3, pauses=driver)
    observer = ObserverCost(500, 1, 100, 20 * MS, 100 * MS, unflushed=disk)
    waits: tuple[LockWait, ...] = ()
    if blocked_by is not None:
        other = Blocker(Party(1, blocked_by), AX, queued=False)
        waiter = Party(2, Role.MIGRATION, statement=0)
        waits = (LockWait(waiter, (other,), "relation", AX, ORDERS, START, START + 2 * S),)
    made = with_trial(record(GAVE_UP), driver=health, observer=observer, waits=waits)
    return judge(made, quiet(GAVE_UP))


def failed(judgement: Judgement) -> Finding:
    return next(f for f in judgement.findings if f.rule == "migration-failed")


@pytest.mark.parametrize(("driver", "disk"), [(STILL, ()), ((), STILL)])
def test_it_is_unmeasured_and_the_trial_made_again(driver: Spans, disk: Spans) -> None:
    judgement = concluded(driver, disk, blocked_by=Role.TRAFFIC)
    assert failed(judgement).severity is Severity.UNMEASURED
    assert failed(judgement).disturbed
    assert "this machine" in failed(judgement).advice
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert rests_on_timing(judgement)
    assert not enough([judgement])


@pytest.mark.parametrize(
    "judgement",
    [
        concluded(),
        concluded(((START - S, START), (START + 2 * S, START + 3 * S))),
        concluded(((START, START + 900 * MS),)),  # for less than half of the wait
        concluded(STILL, blocked_by=Role.ADVERSARY),
        concluded(STILL, blocked_by=Role.OTHER),
    ],
)
def test_it_is_a_failure_where_that_does_not_explain_it(judgement: Judgement) -> None:
    assert failed(judgement).severity is Severity.FAILURE
    assert judgement.verdict is Verdict.NO_GO
