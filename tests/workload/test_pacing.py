"""Rates that change, traces, and the switch from one rate to another: drawn without a clock."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from rehearse.model.workload import Arrivals, Pacing, RateStep, Trace
from rehearse.scenario.pacing import as_steps, check_steps, parse_rate, parse_retry
from rehearse.scenario.trace import parse_trace
from rehearse.scenario.values import RefusedError
from rehearse.workload.agenda import NEVER, Agenda
from rehearse.workload.schedule import arrivals, repeated, share_of_pacing

UP_AND_DOWN = (RateStep(200.0, 10.0), RateStep(1000.0, 30.0, ramp=True), RateStep(400.0))


def due_s(
    steps: tuple[RateStep, ...], until_s: float, seed: int = 1, pattern: Arrivals = Arrivals.POISSON
) -> NDArray[np.float64]:
    found = []
    for chunk in arrivals(steps, np.random.SeedSequence(seed), pattern=pattern):
        found.append(chunk / 1e9)
        if chunk[-1] > until_s * 1e9:
            break
    times = np.concatenate(found)
    return times[times < until_s]


def expected(steps: tuple[RateStep, ...], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The integral of the rate, worked out numerically."""
    grid = np.linspace(0.0, float(times.max()), 400_001)
    rates = np.zeros_like(grid)
    start, before = 0.0, 0.0
    for step in steps:
        end = step.until_s if step.until_s is not None else np.inf
        mine = (grid >= start) & (grid < end)
        if step.ramp:
            rates[mine] = before + (step.rate - before) * (grid[mine] - start) / (end - start)
        else:
            rates[mine] = step.rate
        start, before = end, step.rate
    rates[grid >= start] = before
    whole = np.concatenate(([0.0], np.cumsum((rates[1:] + rates[:-1]) / 2 * np.diff(grid))))
    return np.interp(times, grid, whole)


def test_each_piece_has_its_count_and_the_whole_its_distribution() -> None:
    times = due_s(UP_AND_DOWN, 40.0)
    counts = np.histogram(times, [0, 10, 30, 40])[0]
    for count, mean in zip(counts, (2000, 12_000, 4000), strict=True):
        assert abs(count - mean) < 5 * mean**0.5
    ordinal = expected(UP_AND_DOWN, times)
    assert stats.kstest(np.diff(ordinal), "expon").pvalue > 1e-4  # a Poisson stream of rate 1, once unrolled


def test_evenly_spaced_ones_keep_their_order_in_a_ramp() -> None:
    times = due_s((RateStep(0.0, 1.0), RateStep(100.0, 11.0, ramp=True)), 20.0, pattern=Arrivals.UNIFORM)
    assert times[0] == pytest.approx(1.0)
    assert len(times) == pytest.approx(500 + 900, abs=2)
    gaps = np.diff(times)
    assert (np.diff(gaps[:490]) < 0).all()
    assert gaps[-100:] == pytest.approx(0.01, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 2000), st.floats(0.1, 20), st.booleans()), min_size=1, max_size=5),
    st.floats(1, 2000),
    st.integers(0, 2**32),
)
def test_arrivals_never_go_back(pieces: list[tuple[float, float, bool]], last: float, seed: int) -> None:
    ends = np.cumsum([length for _, length, _ in pieces]).tolist()
    steps = tuple(RateStep(rate, end, ramp) for (rate, _, ramp), end in zip(pieces, ends, strict=True))
    chunks = islice(arrivals((*steps, RateStep(last)), np.random.SeedSequence(seed), chunk=500), 4)
    times = np.concatenate(list(chunks))
    assert (np.diff(times) >= 0).all()
    assert (times >= 0).all()
    quiet = [end for end, (rate, _, ramp) in zip(ends, pieces, strict=True) if rate == 0 and not ramp]
    for end in quiet:
        length = pieces[ends.index(end)][1]
        inside = (times > (end - length) * 1e9 + 1000) & (times < end * 1e9 - 1000)
        assert not inside.any()


def test_a_last_rate_of_nothing_ends_the_stream() -> None:
    agenda = Agenda(None, [1], np.random.SeedSequence(3), Pacing(steps=(RateStep(500, 1.0), RateStep(0.0))))
    agenda.start(0)
    count = agenda.queued(10**12)
    assert abs(count - 500) < 120
    for _ in range(count):
        assert agenda.due_ns <= 1_000_000_000
        agenda.take()
    assert agenda.due_ns == NEVER
    assert agenda.queued(10**12) == 0


def test_a_trace_comes_at_its_times_and_again_after_its_length() -> None:
    trace = parse_trace("seconds,script\n10.5,b\n10.0,a\n# told\n\n11.0,a\n", "t.csv", ("a", "b"))
    assert (trace.due_ns, trace.script, trace.length_ns) == (
        (0, 500_000_000, 10**9),
        (0, 1, 0),
        1_500_000_000,
    )
    agenda = Agenda(None, [1, 1], np.random.SeedSequence(1), Pacing(trace=trace))
    agenda.start(7)
    taken = []
    for _ in range(5):
        taken.append((agenda.due_ns - 7, agenda.script))
        agenda.take()
    assert taken == [(0, 0), (500_000_000, 1), (10**9, 0), (1_500_000_000, 0), (2 * 10**9, 1)]
    once = Trace("t", 10, (1, 2), (0, 0), repeat=False)
    assert [chunk.tolist() for chunk, _ in repeated(once)] == [[1, 2]]


def test_processes_share_a_trace_and_rates_without_loss() -> None:
    trace = Trace("t", 100, tuple(range(10)), tuple(range(10)))
    parts = [share_of_pacing(Pacing(trace=trace, steps=UP_AND_DOWN), part, 3, 1 / 3) for part in range(3)]
    due = [at for part in parts if part.trace for at in part.trace.due_ns]
    assert sorted(due) == list(range(10))
    assert sum(part.steps[1].rate for part in parts) == pytest.approx(1000)


@pytest.mark.parametrize("late_ns", [0, 300_000_000])
def test_a_change_of_rate_keeps_what_is_due_and_draws_the_rest_anew(late_ns: int) -> None:
    agenda = Agenda(1000, [1], np.random.SeedSequence(9))
    agenda.start(0)
    at = 2_000_000_000
    while agenda.due_ns <= at - late_ns:
        agenda.take()
    waiting, taken = agenda.queued(at), agenda.taken
    agenda.change(at, (RateStep(1000, 1e-6), RateStep(0.0, 1.0, ramp=True)))
    assert agenda.queued(at) == waiting
    assert agenda.taken == taken
    more = agenda.queued(at + 10**12) - waiting
    assert abs(more - 500) < 120  # half of a thousand a second, over the second in which it goes to nothing
    for _ in range(waiting + more):
        agenda.take()
    assert agenda.due_ns == NEVER


@pytest.mark.parametrize(
    ("given_rate", "what"),
    [
        ([], "must not be empty"),
        ("fast", "must be a number, not text"),
        (True, "must be a number"),
        (0, "must be above 0, not 0"),
        (float("nan"), "must be a finite number, not nan"),
    ],
)
def test_rates_that_make_no_sense(given_rate: object, what: str) -> None:
    with pytest.raises(RefusedError, match=what):
        as_steps(given_rate)


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ((RateStep(1.0), RateStep(2.0)), "every step but the last"),
        ((RateStep(1.0, 5.0), RateStep(2.0, 4.0)), "later times"),
        ((RateStep(1.0, 5.0), RateStep(2.0, None, ramp=True)), "needs `until` in a step with `ramp`"),
        ((RateStep(1.0, 5.0), RateStep(0.0)), "must not end with a rate of 0"),
    ],
)
def test_steps_that_make_no_sense(steps: tuple[RateStep, ...], what: str) -> None:
    with pytest.raises(RefusedError, match=what):
        check_steps(steps)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("0.1,a,b", "line 1, which is not `seconds,script`"),
        ("seconds,script\nsoon,a", "line 2, where `soon` is no time"),
        ("0.1,c", "line 1, where `c` is no script"),
        ("# nothing", "has no transaction"),
    ],
)
def test_a_trace_that_is_wrong_is_told_by_its_line(text: str, what: str) -> None:
    with pytest.raises(RefusedError, match=what):
        parse_trace(text, "t.csv", ("a", "b"))


def test_rates_of_a_command_line() -> None:
    assert parse_rate("0.5") == (RateStep(0.5),)
    assert parse_rate("closed-loop") == ()
    assert parse_rate("200 until 10s, to 1000 until 30s, 400") == UP_AND_DOWN
    for wrong, what in (
        ("fast", "`fast`, which is no rate"),
        ("200 for 10s", "`200 for 10s`, which is no rate"),
        ("-5", "must be from 0 to 1000000, not -5"),
        ("nan", "not nan"),
        ("5, 6", "every step but the last"),
        ("5 until 3s, 6 until 2s", "later times"),
        ("5 until 3s, 0", "must not end with a rate of 0"),
        ("5 until soon, 6", "must be a duration"),
    ):
        with pytest.raises(RefusedError, match=what):
            parse_rate(wrong)


def test_retry_policies_by_name() -> None:
    assert parse_retry("none") is None
    policy = parse_retry("40001, 40P01:5")
    assert policy is not None
    assert (policy.sqlstates, policy.attempts) == (("40001", "40P01"), 5)
    for wrong in ("40001:1", "deadlock", "4000a"):
        with pytest.raises(RefusedError):
            parse_retry(wrong)
