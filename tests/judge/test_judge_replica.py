"""What the judge makes of a standby that follows the migration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.judge.judge import judge
from rehearse.model.gates import Gate
from rehearse.model.record import RunRecord, Trial
from rehearse.model.replica import Cancelled, ReplicaFacts, ReplicaSample
from rehearse.model.trials import TrialKind
from rehearse.model.verdict import Finding, GateStatus, Severity, Verdict
from tests.judge.build import AX, MS, ORDERS, gate, lock, migration, quiet, record, statement

INSTANT = migration(statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), timeout_ms=1000))
CALM = ReplicaFacts(
    lag_max_ns=400 * MS,
    unflushed_max_bytes=0,
    unreplayed_max_bytes=9_000_000,
    wal_bytes=25_000_000,
    caught_up_ns=120 * MS,
    waited_ns=130 * MS,
    scripts=("read_order",),
    finished=90,
)
DISTURBED = replace(
    CALM, conflicts=(("lock", 1),), cancelled=(Cancelled("read_order", "40001", 2),), reader_s=5.0
)


def made(facts: ReplicaFacts | None, *gates: Gate, unmeasured: str | None = None) -> RunRecord:
    whole = record(INSTANT, gates=gates)
    trial = Trial(TrialKind.REPLICA, migration=INSTANT, replica=facts, unmeasured=unmeasured)
    return replace(whole, trials=(*whole.trials, trial))


def findings(made_of: RunRecord) -> list[Finding]:
    return [each for each in judge(made_of, quiet(INSTANT)).findings if each.rule == "replica-lag"]


@pytest.mark.parametrize(
    ("metric", "observed"),
    [("replica.lag.max", 0.4), ("replica.lag.bytes", 9e6), ("replica.conflicts", 2.0)],
)
def test_a_gate_on_each_metric_passes_and_fails(metric: str, observed: float) -> None:
    kept = judge(made(DISTURBED, gate(metric, "<=", observed)), quiet(INSTANT))
    assert kept.gates[0].status is GateStatus.PASSED
    assert dict(kept.metrics)[metric].value == pytest.approx(observed)  # type: ignore[union-attr] # it is there
    missed = made(DISTURBED, gate(metric, "<", observed))
    assert Severity.FAILURE in {finding.severity for finding in findings(missed)}
    assert judge(missed, quiet(INSTANT)).verdict is Verdict.NO_GO


def test_a_gate_without_the_trial_says_how_to_make_it() -> None:
    (result,) = judge(record(INSTANT, gates=(gate("replica.lag.max", "<=", 1),)), quiet(INSTANT)).gates
    assert result.status is GateStatus.UNMEASURED
    assert "--trials replica" in result.note


def test_a_server_without_a_standby_is_inconclusive() -> None:
    none = made(None, gate("replica.lag.max", "<=", 1), unmeasured="a server given by a DSN gets no standby")
    judgement = judge(none, quiet(INSTANT))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.gates[0].note == "a server given by a DSN gets no standby"
    assert "trial-missing" in {finding.rule for finding in judgement.findings}


def test_where_nobody_read_nobody_was_spared() -> None:
    unread = replace(CALM, scripts=(), finished=0)
    (result,) = judge(made(unread, gate("replica.conflicts", "<=", 0)), quiet(INSTANT)).gates
    assert result.status is GateStatus.UNMEASURED
    assert "standby_reader" in result.note


def test_cancelled_readers_are_a_warning_where_no_gate_says_how_many_may_be() -> None:
    (finding,) = findings(made(DISTURBED))
    assert (finding.severity, finding.statement, finding.subject) == (Severity.WARNING, 0, "orders")
    assert "cancelled 2 readers" in finding.message
    assert any("40001" in line for line in finding.evidence)


def test_a_strong_lock_that_nobody_stood_in_the_way_of_is_noted() -> None:
    (finding,) = findings(made(CALM))
    assert finding.severity is Severity.NOTE
    assert "standby_reader" in finding.advice
    assert not findings(made(replace(CALM, reader_s=5.0)))  # somebody did, and nothing came of it


def test_a_standby_that_never_caught_up_is_never_passed() -> None:
    lost = replace(CALM, caught_up_ns=None, waited_ns=90_000 * MS)
    judgement = judge(made(lost, gate("replica.lag.max", "<=", 100)), quiet(INSTANT))
    assert judgement.gates[0].observed is not None
    assert judgement.gates[0].observed.value == pytest.approx(90.0)  # at least
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judge(made(lost, gate("replica.lag.max", "<=", 10)), quiet(INSTANT)).verdict is Verdict.NO_GO


def test_gates_on_the_standby_say_what_could_have_been_seen() -> None:
    course = tuple(ReplicaSample(20 * MS * n, 0, 0, 1000 * n * n) for n in range(5))
    limits = {"replica.lag.max": 9, "replica.lag.bytes": 9e9, "replica.conflicts": 9}
    gates = [gate(name, "<=", limit) for name, limit in limits.items()]
    results = judge(made(replace(CALM, samples=course), *gates), quiet(INSTANT)).gates
    seen = [result.resolution.value for result in results if result.resolution]
    assert seen == pytest.approx([0.02, 7000, 1])
