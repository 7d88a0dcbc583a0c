"""Stalls: what they are, and the laws they keep."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.judge.stalls import SHORTEST_STALL_NS, find_stalls, total_ns
from rehearse.judge.traffic import FOREVER, Span, Traffic
from rehearse.model.waits import Stall
from rehearse.model.workload import Outcome, SampleColumns
from tests.judge.build import (
    AX,
    MS,
    ORDERS,
    READ,
    START,
    WRITE,
    Blocked,
    S,
    add,
    lock,
    migration,
    samples,
    statement,
)

ALL = Span(0, FOREVER)
relaxed = settings(deadline=None)  # other work on the machine fails no law

transactions = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 20 * S),
        st.integers(0, 3 * S),
        st.sampled_from([Outcome.OK, Outcome.ERROR, Outcome.CONNECTION_LOST, Outcome.SKIPPED]),
    ),
    max_size=60,
)


def columns(drawn: list[tuple[int, int, int, Outcome]]) -> SampleColumns:
    made = SampleColumns(scripts=(READ, WRITE))
    for script, due, latency, outcome in drawn:
        add(made, script, due, due + latency, outcome)
    return made


def found(made: SampleColumns, span: Span = ALL) -> tuple[Stall, ...]:
    return find_stalls(Traffic.of(made), span)


@relaxed
@given(transactions)
def test_a_stall_is_never_longer_than_the_longest_response_time_of_its_script(
    drawn: list[tuple[int, int, int, Outcome]],
) -> None:
    for stall in found(columns(drawn)):
        number = (READ, WRITE).index(stall.script)
        longest = max(
            took for script, _, took, how in drawn if script == number and how is not Outcome.SKIPPED
        )
        assert SHORTEST_STALL_NS <= stall.end_ns - stall.start_ns <= longest
        assert stall.due >= 1


@relaxed
@given(transactions)
def test_nothing_is_answered_and_something_is_due_throughout_a_stall(
    drawn: list[tuple[int, int, int, Outcome]],
) -> None:
    for stall in found(columns(drawn)):
        number = (READ, WRITE).index(stall.script)
        mine = [
            (due, due + took)
            for script, due, took, how in drawn
            if script == number and how is not Outcome.SKIPPED
        ]
        assert not any(stall.start_ns < ended < stall.end_ns for _, ended in mine)
        assert any(due <= stall.start_ns and ended >= stall.end_ns for due, ended in mine)
        assert stall.due == sum(due < stall.end_ns <= ended for due, ended in mine)


@relaxed
@given(transactions)
def test_stalls_of_one_script_do_not_overlap(drawn: list[tuple[int, int, int, Outcome]]) -> None:
    for script in (READ, WRITE):
        mine = [stall for stall in found(columns(drawn)) if stall.script == script]
        assert all(a.end_ns <= b.start_ns for a, b in pairwise(mine))
    assert total_ns(found(columns(drawn))) <= sum(s.end_ns - s.start_ns for s in found(columns(drawn)))


@relaxed
@given(st.lists(st.tuples(st.integers(0, 20 * S), st.integers(0, SHORTEST_STALL_NS - 1)), max_size=60))
def test_a_stream_that_is_always_fast_has_none(drawn: list[tuple[int, int]]) -> None:
    assert not found(columns([(0, due, took, Outcome.OK) for due, took in drawn]))


@relaxed
@given(transactions, st.integers(0, 20 * S))
def test_stalls_are_cut_to_the_span(drawn: list[tuple[int, int, int, Outcome]], start: int) -> None:
    assert all(stall.start_ns >= start for stall in found(columns(drawn), Span(start, FOREVER)))


@pytest.mark.parametrize("locked_s", [0.3, 1.5, 6.0])
def test_a_lock_comes_out_at_its_length_while_other_scripts_go_on(locked_s: float) -> None:
    end = START + round(locked_s * S)
    made = samples(end_ns=30 * S, blocked=[Blocked(START, end, (WRITE,))])
    stalls = found(made, Span(START, FOREVER))
    assert {stall.script for stall in stalls} == {WRITE}
    assert max(stall.end_ns - stall.start_ns for stall in stalls) / S == pytest.approx(locked_s, rel=0.05)


def test_what_never_finished_holds_the_stall_open_to_the_end_of_the_run() -> None:
    made = SampleColumns(scripts=(READ,))
    for number in range(100):
        due = number * 10 * MS
        late = number >= 50
        add(made, 0, due, 3 * S if late else due + MS, Outcome.UNFINISHED if late else Outcome.OK)
    (stall,) = found(made)
    assert (stall.start_ns, stall.end_ns, stall.due) == (500 * MS, 3 * S, 50)


def test_an_idle_script_does_not_stall() -> None:
    assert not found(columns([(0, 0, MS, Outcome.OK), (0, 10 * S, MS, Outcome.OK)]))


def test_one_slow_transaction_among_others_is_no_stall() -> None:
    drawn = [(0, number * 10 * MS, MS, Outcome.OK) for number in range(300)]
    assert not found(columns([*drawn, (0, 0, 3 * S - 10 * MS, Outcome.OK)]))


def test_a_stall_is_blamed_on_the_statement_that_ran_for_most_of_it() -> None:
    run = migration(
        statement("ALTER TABLE orders ADD COLUMN a int", lock(ORDERS, AX), took_s=0.2, transaction=1),
        statement("UPDATE orders SET a = 1", took_s=2.0, transaction=1),
        statement("COMMIT", took_s=0.01, transaction=1),
    )
    made = samples(end_ns=20 * S, blocked=[Blocked(START, run.ended_ns)])
    stalls = find_stalls(Traffic.of(made), Span(START, FOREVER), run)
    assert [stall.statement for stall in stalls] == [1, 1]


def test_a_million_samples_take_little_time() -> None:
    size = 1_000_000
    generator = np.random.default_rng(1)
    made = SampleColumns(scripts=tuple("abcdefgh"))
    due = np.sort(generator.integers(0, 600 * S, size))
    made.scheduled_ns.frombytes(due.astype(np.int64).tobytes())
    made.started_ns.frombytes(due.astype(np.int64).tobytes())
    made.ended_ns.frombytes((due + generator.integers(MS, 50 * MS, size)).astype(np.int64).tobytes())
    made.script.frombytes(generator.integers(0, 8, size).astype(np.int16).tobytes())
    made.outcome.frombytes(np.zeros(size, np.int16).tobytes())
    made.sqlstate.frombytes(np.full(size, -1, np.int16).tobytes())
    made.statement.frombytes(np.full(size, -1, np.int16).tobytes())
    began = time.process_time()
    found(made)
    assert time.process_time() - began < 5
