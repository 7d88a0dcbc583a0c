"""What the picture shows, before it is drawn."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rehearse.model.migration import StatementOutcome
from rehearse.model.waits import Role
from rehearse.report.labels import Ruler, beside, spread
from rehearse.report.palette import Work
from rehearse.report.timeline import MAX_STATEMENT_ROWS, Timeline, timeline
from rehearse.report.work import merged, wait_groups, work_of
from tests.report import records
from tests.report.build import phases


def drawn(name: str) -> Timeline:
    time = timeline(*records.ALL[name]())
    assert time is not None
    return time


def test_the_stall_of_the_naive_index() -> None:
    time = drawn("naive-index")
    (band,) = time.stalls
    assert (band.start, band.end, band.label, band.scripts) == (0.0, 2.9, "stalled 2.9 s", ("place_order",))
    (bar,) = time.statements
    assert bar.work is Work.BUILD
    assert bar.spans == ((0.0, 2.9),)
    assert bar.labels[0] == "CREATE INDEX orders_customer_id_idx on orders · index build · SHARE · 2.9 s"
    (wait,) = time.waits
    assert wait.role is Role.TRAFFIC
    assert wait.labels[0].startswith("place_order ×32 · ROW EXCLUSIVE on orders · ≥ 2.9 s")


def test_stalls_of_two_scripts_at_one_time_are_one_band() -> None:
    (band,) = drawn("failed-migration").stalls
    assert band.scripts == ("read_order", "place_order")
    assert band.label == "stalled 4.5 s"


def test_one_transaction_is_one_shade_and_its_wait_is_hollow() -> None:
    time = drawn("failed-migration")
    (shade,) = time.transactions
    assert (shade.first, shade.last) == (0, 2)
    assert time.not_run == 1
    assert [bar.work for bar in time.statements] == [Work.INSTANT, Work.ROWS, Work.FAILED]
    assert time.statements[0].waiting == ((0.02, 1.49),)
    assert time.waits[0].role is Role.MIGRATION


def test_forty_statements_fit() -> None:
    time = drawn("many-statements")
    assert len(time.statements) == MAX_STATEMENT_ROWS
    assert {Work.REWRITE, Work.SCAN} <= {bar.work for bar in time.statements}
    assert time.statements[-1].labels[-1] == "27 other statements"
    assert len(time.statements[-1].spans) == 27


def test_a_failed_statement_is_never_among_the_others() -> None:
    record, samples = records.many_statements(60)
    trial = record.trials[0]
    assert trial.migration is not None
    run = trial.migration
    shortest = min(run.statements, key=lambda s: s.ended_ns - s.started_ns)
    statements = tuple(
        replace(s, outcome=StatementOutcome.FAILED) if s is shortest else s for s in run.statements
    )
    record = replace(record, trials=(replace(trial, migration=replace(run, statements=statements)),))
    time = timeline(record, samples)
    assert time is not None
    assert Work.FAILED in {bar.work for bar in time.statements[:-1]}


def test_nothing_to_draw() -> None:
    assert timeline(*records.aborted()) is None
    record, _ = records.naive_index()
    empty = replace(record, trials=(replace(record.trials[0], phases=(), migration=None, waits=()),))
    assert timeline(empty, None) is None


def test_a_trial_that_ended_in_its_baseline() -> None:
    record, samples = records.naive_index()
    short = replace(record.trials[0], phases=phases(1.0)[:2], migration=None, waits=())
    time = timeline(replace(record, trials=(short,), judgement=None), samples)
    assert time is not None
    assert time.migration is None
    assert time.end - time.start == 11.0
    assert time.end == 0.0  # nothing was migrated: times count to the end of what there was


def test_what_took_long_is_not_called_instant() -> None:
    record, _ = records.instant_alter()
    run = record.trials[0].migration
    assert run is not None
    quick = run.statements[0]
    assert work_of(quick) is Work.INSTANT
    assert work_of(replace(quick, ended_ns=quick.started_ns + 2 * 10**9)) is Work.SLOW
    assert (
        work_of(replace(quick, ended_ns=quick.started_ns + 2 * 10**9, waited_ns=19 * 10**8)) is Work.INSTANT
    )


def test_waits_behind_a_queue_are_put_down_to_the_migration() -> None:
    record, _ = records.failed_migration()
    groups = wait_groups(record.trials[0].waits)
    assert [group.waiter for group in groups] == ["the migration", "place_order", "read_order"]
    assert [group.sessions for group in groups] == [1, 12, 20]
    assert groups[0].blockers == ("long-reader",)


SPANS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 100)).map(lambda p: (p[0], p[0] + p[1])))


@given(SPANS)
def test_merged_spans_are_disjoint_and_cover_the_same(spans: list[tuple[int, int]]) -> None:
    union = merged(spans)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(union))
    covered = {t for a, b in spans for t in range(a, b + 1)}
    assert covered == {t for a, b in union for t in range(a, b + 1)}


LABELS = st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 1.2)), max_size=6).map(sorted)


@given(LABELS)
def test_spread_labels_do_not_overlap(labels: list[tuple[float, float]]) -> None:
    widths = [width for _, width in labels]
    lefts = spread([centre for centre, _ in labels], widths, 10.0, 0.1)
    ends = [left + width for left, width in zip(lefts, widths, strict=True)]
    assert all(left >= -1e-9 for left in lefts)
    assert all(end <= 10.0 + 1e-9 for end in ends)
    assert all(left - end >= 0.1 - 1e-9 for left, end in zip(lefts[1:], ends, strict=False))


@given(st.floats(0, 10), st.floats(0, 10), st.text(max_size=200))
def test_a_label_beside_a_bar_stays_on_the_sheet(start: float, length: float, text: str) -> None:
    ruler = Ruler()
    bar = (start, min(start + length, 10.0))
    placed = beside(ruler, [text, text[:10]], 8.0, bar, 10.0)
    if placed is not None:
        width = ruler.width(placed.text, 8.0)
        left = placed.x if placed.align == "left" else placed.x - width
        assert left >= -1e-6
        assert left + width <= 10.0 + 1e-6
