"""Which of several traffic trials is kept, and what is kept of the others."""

from __future__ import annotations

import pytest

from rehearse.acts.repeats import Repeats, kept_of, raise_if_disk_full
from rehearse.errors import EnvironmentFailure
from rehearse.model.gates import Aborted
from rehearse.model.migration import MigrationRun, Statement, StatementOutcome, TransactionMode
from rehearse.model.record import Trial, TrialKind
from rehearse.model.verdict import (
    Finding,
    GateResult,
    GateStatus,
    Judgement,
    Quantity,
    Severity,
    Unit,
    Verdict,
)
from rehearse.model.workload import SampleColumns

TRIAL = Trial(TrialKind.TRAFFIC)


def judged(verdict: Verdict, *rules: str, stall_s: float = 0.1, gate: str = "") -> Judgement:
    grave = Severity.FAILURE if verdict is Verdict.NO_GO else Severity.UNMEASURED
    return Judgement(
        verdict=verdict,
        findings=tuple(Finding(rule, grave, "it is so", gate=gate) for rule in rules),
        gates=(GateResult(gate, "stall.max", GateStatus.FAILED, None, None),) if gate else (),
        metrics=(("stall.max", Quantity(stall_s, Unit.SECONDS)), ("blocking.max", None)),
    )


GO = judged(Verdict.GO)
NOISY = judged(Verdict.INCONCLUSIVE, "baseline-noisy")
REWRITE = judged(Verdict.NO_GO, "rewrite-under-lock")
HICCUP = judged(Verdict.NO_GO, "stall", gate="stall.max <= 1s", stall_s=1.5)


def made(asked: int, *judgements: Judgement) -> Repeats:
    repeats = Repeats(asked)
    for judgement in judgements:
        assert repeats.wanted
        repeats.add(TRIAL, SampleColumns(), judgement)
    return repeats


def test_as_many_as_are_asked_for_whatever_they_say() -> None:
    assert made(3, REWRITE, GO).wanted
    assert not made(3, GO, GO, GO).wanted
    assert not made(1, GO).wanted
    assert made(1, HICCUP).wanted


def test_one_that_found_something_besides_times_is_kept_else_the_middle_one() -> None:
    assert made(3, GO, REWRITE, GO).chosen == 1
    stalls = [judged(Verdict.GO, stall_s=seconds) for seconds in (0.9, 0.2, 0.5)]
    assert made(3, *stalls).chosen == 2
    assert made(3, NOISY, GO, NOISY).chosen == 1
    assert made(2, NOISY, NOISY).chosen in (0, 1)


def test_a_deadlock_seen_once_is_not_lost_behind_a_gate_or_what_most_say() -> None:
    deadlock = judged(Verdict.NO_GO, "deadlock")
    assert made(3, HICCUP, GO, deadlock).chosen == 2
    assert made(3, judged(Verdict.INCONCLUSIVE, "workload-missed-table"), deadlock, GO).chosen == 1


def test_of_what_is_slower_ever_after_the_greater_part_speaks() -> None:
    slower = [judged(Verdict.NO_GO, "query-regression", stall_s=seconds) for seconds in (0.9, 0.8)]
    assert made(3, GO, *slower).chosen == 1
    assert made(3, GO, slower[0], GO).chosen in (0, 2)


def test_a_gate_that_broke_off_ends_it_there() -> None:
    repeats = made(5, GO)
    broken_off = Trial(TrialKind.TRAFFIC, aborted=Aborted("stall.max > 10s", 10.1, 1))
    repeats.add(broken_off, SampleColumns(), judged(Verdict.NO_GO, "aborted"))
    assert not repeats.wanted
    assert repeats.chosen == 1


def test_what_spoke_against_each_is_kept_and_told() -> None:
    repeats = made(1, HICCUP, GO, GO)
    first = repeats.kept()[0]
    assert first.against == ("stall.max <= 1s",)
    assert dict(first.metrics) == {"stall.max": 1.5, "blocking.max": None}
    assert repeats.note().endswith("NO-GO (stall.max <= 1s), GO, GO")
    assert kept_of(NOISY).noisy
    assert not kept_of(HICCUP).noisy
    assert made(1, GO).kept() == ()


def test_a_full_disk_is_the_environments_fault() -> None:
    full = Statement(
        0,
        "CREATE INDEX",
        "up.sql",
        1,
        "CREATE INDEX",
        0,
        0,
        1,
        StatementOutcome.FAILED,
        "53100",
        "No space left",
    )
    trial = Trial(TrialKind.TRAFFIC, migration=MigrationRun(TransactionMode.AS_WRITTEN, 0, 1, (full,), ()))
    with pytest.raises(EnvironmentFailure, match=r"statement 1 .*53100") as raised:
        raise_if_disk_full(trial)
    assert raised.value.exit_code == 3
    raise_if_disk_full(TRIAL)
