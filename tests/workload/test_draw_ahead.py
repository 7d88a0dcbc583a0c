"""What is drawn ahead, when there is time, is what would have been drawn later."""

from __future__ import annotations

import numpy as np
import pytest

from rehearse.engines.postgres.frames import prepared
from rehearse.model.workload import Pool, RateStep, ScriptSource
from rehearse.workload.agenda import Agenda
from rehearse.workload.bulk import Blocks
from rehearse.workload.pools import Pools
from rehearse.workload.schedule import CHUNK
from rehearse.workload.script import parse_script
from rehearse.workload.variables import default_variables

ROWS = Pool("sample", "t", {"id": [b"%d" % number for number in range(50)]})
VARIABLES = default_variables(42, [])
COUNT = 3000  # more than a block has


@pytest.mark.parametrize(
    "text",
    [
        "\\set a random(1, 1000)\n\\set b :a * 2\nselect :a, :b, :a;\nselect :b;",
        "\\set a sample(t.id)\nselect :a;",
        "\\set a hash(random(1, 9))\nselect :a;",
    ],
)
def test_the_same_rows_are_sent_whenever_they_were_drawn(text: str) -> None:
    script = parse_script(ScriptSource("app", text))
    envelopes = [prepared(b"r0_%d" % place, len(sql.names)) for place, sql in enumerate(script.sql)]
    sent = []
    for often in (0, 1, 700):
        pools = Pools([ROWS], np.random.default_rng(1))
        blocks = Blocks(script, VARIABLES, pools, np.random.default_rng(2), literal=False)
        rows = blocks.rows(envelopes)
        taken = []
        for place in range(COUNT):
            if often and place % often == 0:
                blocks.draw_ahead()
            taken.append(next(rows))
        sent.append(taken)
    assert sent[0] == sent[1] == sent[2]
    assert len(set(sent[0])) > 1


@pytest.mark.parametrize("rate", [1000.0, None])
def test_the_same_arrivals_are_due_whenever_they_were_drawn(rate: float | None) -> None:
    due = []
    for often in (0, 1, 900):
        agenda = Agenda(rate, [1, 2], np.random.SeedSequence(3))
        agenda.start(5)
        taken = []
        for place in range(3 * CHUNK):
            if often and place % often == 0:
                agenda.draw_ahead()
            taken.append((agenda.due_ns, agenda.script))
            agenda.take()
        due.append(taken)
    assert due[0] == due[1] == due[2]


def test_what_is_due_after_a_change_does_not_hang_on_what_was_drawn_before() -> None:
    due = []
    for ahead in (False, True):
        agenda = Agenda(1000.0, [1, 2], np.random.SeedSequence(3))
        agenda.start(0)
        if ahead:
            agenda.draw_ahead()
        agenda.change(10**8, (RateStep(500.0),))
        taken = []
        for _ in range(2 * CHUNK):
            taken.append((agenda.due_ns, agenda.script))
            agenda.take()
        due.append(taken)
    assert due[0] == due[1]
