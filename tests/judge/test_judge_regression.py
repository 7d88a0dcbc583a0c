"""A script that is slower ever after, told from a slow machine and from a backlog."""

from __future__ import annotations

import pytest

from rehearse.judge.judge import judge
from rehearse.model.verdict import Severity, Verdict
from rehearse.model.workload import SampleColumns
from tests.judge.build import AX, MS, ORDERS, READ, START, WRITE, S, add, lock, migration, record, statement

RUN = migration(statement("ALTER TABLE orders ADD FOREIGN KEY ... NOT VALID", lock(ORDERS, AX), timeout_ms=9))


def traffic(before_ms: int, after_ms: int, others_after_ms: int = 2, queued_ms: int = 0) -> SampleColumns:
    """`place_order` takes `after_ms` from the migration on, `read_order` went from 2 to `others_after_ms`."""
    made = SampleColumns(scripts=(READ, WRITE))
    for number in range(1400):
        due = number * 10 * MS
        late = due >= START
        for script, took in ((0, others_after_ms if late else 2), (1, after_ms if late else before_ms)):
            queued = queued_ms * MS if late else 0
            add(made, script, due, due + queued + took * MS)
            made.started_ns[-1] = due + queued + 1
    return made


@pytest.mark.parametrize(
    ("made", "severity"),
    [
        (traffic(2, 150), Severity.FAILURE),
        (traffic(2, 30), Severity.FAILURE),  # times as much as production is larger
        (traffic(2, 6), None),  # three times longer, four milliseconds
        (traffic(30, 150), None),  # five times
        (traffic(2, 150, others_after_ms=150), None),  # the machine
        (traffic(2, 150, queued_ms=40), None),  # a backlog
        (traffic(150, 2), None),
    ],
)
def test_what_is_a_regression(made: SampleColumns, severity: Severity | None) -> None:
    judgement = judge(record(RUN, gates=()), made)
    found = [f for f in judgement.findings if f.rule == "query-regression"]
    assert [f.severity for f in found] == ([severity] if severity else [])
    assert (judgement.verdict is Verdict.NO_GO) == (severity is Severity.FAILURE)
    assert all(f.subject == WRITE for f in found)
    assert START == 9 * S


def test_a_small_regression_of_a_table_of_unknown_size_is_a_warning() -> None:
    judgement = judge(record(RUN, production=None, gates=()), traffic(2, 30))
    assert [f.severity for f in judgement.findings if f.rule == "query-regression"] == [Severity.WARNING]
    assert judgement.verdict is Verdict.GO
