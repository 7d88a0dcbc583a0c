"""What the judge makes of the same migration at several sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.growth import Law
from rehearse.model.migration import Effects, MigrationRun, Statement
from rehearse.model.record import RunRecord, Trial
from rehearse.model.scale import ScaleFacts, ScaleRun
from rehearse.model.trials import TrialKind
from rehearse.model.verdict import GateResult, GateStatus, Judgement, Severity, Verdict
from tests.judge.build import (
    AUDIT,
    AX,
    CUSTOMERS,
    ORDERS,
    PRODUCTION,
    ROWS,
    build,
    gate,
    lock,
    migration,
    quiet,
    record,
    statement,
    work,
)

MB = 1_000_000
TIMES = PRODUCTION / ROWS
At = Callable[[float], Statement]


def made(at: At, *limits: tuple[str, float], production: int | None = PRODUCTION) -> RunRecord:
    """A traffic trial of the whole, and the migration at a quarter, a half and all of the rows."""
    gates = tuple(gate(metric, "<=", limit) for metric, limit in limits)
    whole = record(migration(at(1.0)), production=production, gates=gates)
    runs = tuple(size(part, migration(at(part))) for part in (0.25, 0.5, 1.0) for _ in range(3))
    return replace(whole, trials=(*whole.trials, Trial(TrialKind.SCALE, scale=ScaleFacts(runs))))


def size(part: float, run: MigrationRun) -> ScaleRun:
    rows = tuple((table, round(ROWS * part)) for table in (ORDERS, CUSTOMERS, AUDIT))
    return ScaleRun(part, rows, run, 50 * MB, round(50 * MB + part * 30 * MB), 50 * MB)


def judged(made_of: RunRecord) -> Judgement:
    run = made_of.trials[0].migration
    assert run is not None
    return judge(made_of, quiet(run))


def value(judgement: Judgement, metric: str) -> float | None:
    quantity = dict(judgement.metrics)[metric]
    return quantity.value if quantity else None


def only_gate(judgement: Judgement) -> GateResult:
    (result,) = judgement.gates
    return result


def scanning(seconds: Callable[[float], float], wal: Callable[[float], float] = lambda _: 1000) -> At:
    def at(part: float) -> Statement:
        effects = Effects(scanned=(work(rows=round(ROWS * part)),), wal_bytes=round(wal(part)))
        return statement(
            "ALTER TABLE orders ADD CHECK (amount > 0)",
            lock(ORDERS, AX),
            took_s=seconds(part),
            effects=effects,
        )

    return at


def adding(seconds: Callable[[float], float]) -> At:
    def at(part: float) -> Statement:
        return statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), took_s=seconds(part))

    return at


def test_what_does_not_grow_is_not_multiplied() -> None:
    """400 ms, of which 100 ms grow: without the trial all of it would."""
    judgement = judged(made(scanning(lambda part: 0.3 + 0.1 * part)))
    projected = value(judgement, "blocking.projected")
    assert projected == pytest.approx(0.3 + 0.1 * TIMES, rel=0.05)
    assert value(judgement, "duration.projected") == pytest.approx(projected, rel=0.05)
    duration = next(growth for growth in judgement.growths if growth.what == "duration")
    assert (duration.law, duration.table, duration.production_rows) == (Law.LINEAR, "orders", PRODUCTION)
    assert len(duration.points) == 9
    assert duration.projected is not None
    assert duration.projected.low < 0.3 + 0.1 * TIMES < duration.projected.high


def test_the_log_and_the_disk_are_projected() -> None:
    judgement = judged(made(scanning(lambda part: part, wal=lambda part: 10 * MB * part)))
    assert value(judgement, "wal.projected") == pytest.approx(10 * MB * TIMES, rel=0.01)
    assert value(judgement, "disk.projected") == pytest.approx(30 * MB * TIMES, rel=0.01)
    assert [growth.what for growth in judgement.growths] == [
        "duration",
        "blocking",
        "write-ahead log",
        "disk space",
    ]


def test_a_gate_between_the_estimate_and_its_end_is_not_measured() -> None:
    at = scanning(lambda part: 0.1 * part)
    estimate = 0.1 * TIMES
    for limit, status in (
        (0.5 * estimate, GateStatus.FAILED),
        (1.02 * estimate, GateStatus.UNMEASURED),
        (3 * estimate, GateStatus.PASSED),
    ):
        result = only_gate(judged(made(at, ("duration.projected", limit))))
        assert result.status is status, limit
    doubted = judged(made(at, ("blocking.projected", 1.02 * estimate)))
    assert "anything from" in only_gate(doubted).note
    scan = next(finding for finding in doubted.findings if finding.rule == "scan-under-lock")
    assert scan.severity is Severity.UNMEASURED
    assert doubted.verdict is Verdict.INCONCLUSIVE


def test_noise_of_what_cannot_grow_is_no_growth() -> None:
    judgement = judged(made(adding(lambda part: 0.004 + 0.02 * (part == 1.0)), ("blocking.projected", 1.0)))
    assert only_gate(judgement).status is GateStatus.PASSED
    assert value(judgement, "blocking.projected") == pytest.approx(0.024)


def test_growth_that_no_effect_explains_is_seen() -> None:
    judgement = judged(made(adding(lambda part: 0.01 + part), ("blocking.projected", 1.0)))
    assert only_gate(judgement).status is GateStatus.FAILED
    assert value(judgement, "duration.projected") == pytest.approx(TIMES, rel=0.1)
    found = next(finding for finding in judgement.findings if finding.rule == "lock-held-across-statements")
    assert "work that grows with the tables" in found.message


def test_an_index_build_grows_as_n_log_n() -> None:
    def at(part: float) -> Statement:
        effects = Effects(built=(build(rows=round(ROWS * part)),), wal_bytes=1000)
        return statement(
            "CREATE INDEX i ON orders (note)", lock(ORDERS, AX), took_s=0.1 + part, effects=effects
        )

    judgement = judged(made(at))
    assert judgement.growths[0].law is Law.N_LOG_N


def test_traffic_that_makes_it_slower_makes_its_projection_longer() -> None:
    quick = made(scanning(lambda part: 0.1 * part))
    slow = replace(quick.trials[0], migration=migration(scanning(lambda _: 0.4)(1.0)))
    judgement = judged(replace(quick, trials=(slow, quick.trials[1])))
    assert value(judgement, "blocking.projected") == pytest.approx(0.4 * TIMES, rel=0.2)


def test_without_production_rows_nothing_is_projected() -> None:
    for growing in (scanning, adding):  # by what it does, and by what was measured alone
        judgement = judged(made(growing(lambda part: part), ("duration.projected", 1e9), production=None))
        assert only_gate(judgement).status is GateStatus.UNMEASURED
    assert judgement.growths[0].law is Law.LINEAR
    assert judgement.growths[0].projected is None


def test_a_gate_on_disk_space_without_the_trial_says_what_to_change() -> None:
    whole = record(migration(scanning(lambda part: part)(1.0)), gates=(gate("disk.projected", "<=", 1e9),))
    result = only_gate(judged(whole))
    assert result.status is GateStatus.UNMEASURED
    assert "--trials scale" in result.note


def test_a_trial_that_was_not_made_to_its_end_says_nothing() -> None:
    whole = made(scanning(lambda part: 0.3 + 0.1 * part))
    broken = replace(whole.trials[1], unmeasured="the disk was full")
    judgement = judged(replace(whole, trials=(whole.trials[0], broken)))
    assert value(judgement, "blocking.projected") == pytest.approx(0.4 * TIMES)
    assert judgement.growths == ()
    assert "trial-missing" in [finding.rule for finding in judgement.findings]
