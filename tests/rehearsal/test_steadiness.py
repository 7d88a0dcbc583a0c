"""When a trial is run again, and which one then speaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.acts.steadiness import MOST_TRIALS, deciding, enough, rests_on_timing
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


def judged(verdict: Verdict, *rules: str, stall_s: float = 1.5, behind_s: float = 0.0) -> Judgement:
    grave = Severity.FAILURE if verdict is Verdict.NO_GO else Severity.UNMEASURED
    return Judgement(
        verdict=verdict,
        findings=tuple(Finding(rule, grave, "it is so") for rule in rules),
        gates=(),
        metrics=(
            ("stall.max", Quantity(stall_s, Unit.SECONDS)),
            ("blocking.held", Quantity(behind_s, Unit.SECONDS)),
            ("blocking.max", None),
        ),
    )


GO = judged(Verdict.GO, stall_s=0.1)
HICCUP = judged(Verdict.NO_GO, "stall")
NOISY = judged(Verdict.INCONCLUSIVE, "baseline-noisy")
HELD = judged(Verdict.NO_GO, "stall", behind_s=1.4)
REWRITE = judged(Verdict.NO_GO, "rewrite-under-lock", "stall")


def locked(status: GateStatus, verdict: Verdict, *, disturbed: bool) -> Judgement:
    """A gate on locks that is not passed, and the rule on them that says the same."""
    gate = GateResult(
        "blocking.projected <= 1s", "blocking.projected", status, None, None, disturbed=disturbed
    )
    made = judged(verdict, "stall", "lock-held-across-statements", stall_s=1.2, behind_s=1.2)
    findings = tuple(replace(finding, disturbed=disturbed) for finding in made.findings)
    return replace(made, gates=(gate,), findings=findings)


STRETCHED = locked(GateStatus.UNMEASURED, Verdict.INCONCLUSIVE, disturbed=True)
LOCKED = locked(GateStatus.FAILED, Verdict.NO_GO, disturbed=False)
SLOW_AFTERWARDS = replace(
    STRETCHED,
    verdict=Verdict.NO_GO,
    findings=(*STRETCHED.findings, Finding("latency", Severity.FAILURE, "it is so")),
)
NOT_READ = locked(GateStatus.UNMEASURED, Verdict.INCONCLUSIVE, disturbed=False)


def test_structure_and_explained_stalls_need_no_second_look() -> None:
    assert not rests_on_timing(GO)
    assert not rests_on_timing(HELD)
    assert not rests_on_timing(REWRITE)
    assert rests_on_timing(HICCUP)
    assert rests_on_timing(NOISY)


def test_a_lock_is_looked_at_again_only_where_a_standstill_stretched_it() -> None:
    assert rests_on_timing(STRETCHED)
    assert rests_on_timing(SLOW_AFTERWARDS)
    assert not rests_on_timing(LOCKED)
    assert not rests_on_timing(NOT_READ)
    stalled = GateResult("stall.max <= 1s", "stall.max", GateStatus.FAILED, None, None)
    assert not rests_on_timing(replace(SLOW_AFTERWARDS, gates=(*STRETCHED.gates, stalled)))


@pytest.mark.parametrize(
    ("trials", "place"),
    [
        ([GO], 0),
        ([REWRITE], 0),
        ([HICCUP, GO, GO], 2),
        ([HICCUP, HICCUP], 1),
        ([HICCUP, GO, HICCUP], 2),
        ([NOISY, GO], 1),
        ([NOISY, NOISY, GO], 2),
        ([NOISY, NOISY, NOISY], 2),
        ([HICCUP, REWRITE], 1),
        ([NOISY, HICCUP, GO], 1),
        ([HICCUP, NOISY, HICCUP], 2),
        ([STRETCHED, GO], 1),
        ([STRETCHED, LOCKED], 1),
        ([STRETCHED, STRETCHED, STRETCHED], 2),
        ([HICCUP, STRETCHED, GO], 0),
        ([SLOW_AFTERWARDS, SLOW_AFTERWARDS], 1),
        ([SLOW_AFTERWARDS, GO, GO], 2),
    ],
)
def test_the_majority_speaks_and_noise_has_no_vote(trials: list[Judgement], place: int) -> None:
    assert [enough(trials[: n + 1]) for n in range(len(trials))] == [*[False] * (len(trials) - 1), True]
    assert deciding(trials) == place
    assert len(trials) <= MOST_TRIALS
