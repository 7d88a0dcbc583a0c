from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from rehearse.workload.agenda import NEVER, Agenda
from rehearse.workload.schedule import Arrivals, arrivals, choices


def _first(rate: float, seed: int, chunks: int, **options: float | Arrivals) -> NDArray[np.int64]:
    stream = arrivals(rate, np.random.SeedSequence(seed), chunk=1000, **options)  # type: ignore[arg-type]  # by name
    return np.concatenate(list(islice(stream, chunks)))


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.diff(_first(500, 1, 40)) / 1e9
    assert gaps.mean() == pytest.approx(1 / 500, rel=0.02)
    assert gaps.std() == pytest.approx(1 / 500, rel=0.03)
    assert stats.kstest(gaps, "expon", args=(0, 1 / 500)).pvalue > 1e-4


def test_counts_of_equal_times_vary_as_their_mean() -> None:
    due = _first(1000, 2, 100)
    counts = np.bincount(due // 100_000_000)[:-1]  # a hundred expected in each tenth of a second
    assert counts.mean() == pytest.approx(100, rel=0.02)
    assert counts.var() == pytest.approx(100, rel=0.2)


def test_no_memory_across_chunks() -> None:
    due = _first(1000, 3, 50)
    assert (np.diff(due) >= 0).all()
    gaps = np.diff(due)
    across = gaps[999::1000]  # from the last of a chunk to the first of the next
    assert across.mean() == pytest.approx(gaps.mean(), rel=0.5)


def test_several_streams_make_one() -> None:
    streams = [_first(250, seed, 12) for seed in range(4)]
    end = min(stream[-1] for stream in streams)
    merged = np.sort(np.concatenate([stream[stream <= end] for stream in streams]))
    gaps = np.diff(merged) / 1e9
    assert stats.kstest(gaps, "expon", args=(0, 1 / 1000)).pvalue > 1e-4


def test_uniform_is_evenly_spaced_and_streams_interleave() -> None:
    first = _first(10, 1, 1, pattern=Arrivals.UNIFORM)
    second = _first(10, 1, 1, pattern=Arrivals.UNIFORM, offset=0.5)
    assert first[:3].tolist() == [0, 100_000_000, 200_000_000]
    assert second[:2].tolist() == [50_000_000, 150_000_000]


def test_the_same_seed_draws_the_same() -> None:
    assert _first(100, 7, 3).tolist() == _first(100, 7, 3).tolist()
    assert _first(100, 7, 3).tolist() != _first(100, 8, 3).tolist()


def test_scripts_are_chosen_by_weight() -> None:
    chosen = next(choices(np.array([7.0, 3.0, 0.0]), np.random.SeedSequence(1), 20_000))
    shares = np.bincount(chosen, minlength=3) / len(chosen)
    assert shares.tolist() == pytest.approx([0.7, 0.3, 0.0], abs=0.02)


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        next(arrivals(0, np.random.SeedSequence(1)))


class TestAgenda:
    def agenda(self, rate: float | None) -> Agenda:
        agenda = Agenda(rate, [1, 1], np.random.SeedSequence(5))
        assert agenda.due_ns == NEVER
        agenda.start(1_000)
        return agenda

    def test_queue_is_what_is_due_and_not_taken(self) -> None:
        agenda = self.agenda(1000)
        at = agenda.due_ns + 20_000_000_000  # some twenty thousand are due: several chunks
        queued = agenda.queued(at)
        assert queued == pytest.approx(20_000, rel=0.05)
        for taken in range(1, queued + 1):
            assert agenda.due_ns <= at
            agenda.take()
            if taken % 5000 == 0:
                assert agenda.queued(at) == queued - taken
        assert agenda.taken == queued
        assert agenda.due_ns > at
        assert agenda.queued(at) == 0

    def test_what_is_due_after_the_end_never_is(self) -> None:
        agenda = self.agenda(1000)
        end = agenda.due_ns + 1_000_000_000
        agenda.end(end)
        queued = agenda.queued(NEVER)
        for _ in range(queued):
            assert agenda.due_ns <= end
            agenda.take()
        assert agenda.due_ns == NEVER

    def test_a_closed_loop_is_always_due_until_its_end(self) -> None:
        agenda = self.agenda(None)
        for _ in range(10_000):
            agenda.take()
        assert agenda.due_ns == 0
        assert agenda.queued(10**12) == 0
        agenda.end(10**12)
        assert agenda.due_ns == NEVER
