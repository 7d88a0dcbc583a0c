"""When a trial is run again, and which one then speaks."""

from __future__ import annotations

import pytest

from rehearse.acts.steadiness import MOST_TRIALS, deciding, enough, rests_on_timing
from rehearse.model.verdict import Finding, Judgement, Quantity, Severity, Unit, Verdict


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


def test_structure_and_explained_stalls_need_no_second_look() -> None:
    assert not rests_on_timing(GO)
    assert not rests_on_timing(HELD)
    assert not rests_on_timing(REWRITE)
    assert rests_on_timing(HICCUP)
    assert rests_on_timing(NOISY)


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
    ],
)
def test_the_majority_speaks_and_noise_has_no_vote(trials: list[Judgement], place: int) -> None:
    assert [enough(trials[: n + 1]) for n in range(len(trials))] == [*[False] * (len(trials) - 1), True]
    assert deciding(trials) == place
    assert len(trials) <= MOST_TRIALS
