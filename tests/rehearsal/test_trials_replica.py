"""The replica trial on a real server with a real standby."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rehearse.acts.casting import make_cast
from rehearse.acts.lag import Course
from rehearse.acts.loading import build_base
from rehearse.acts.trial import TrialContext
from rehearse.acts.trials import make_trial
from rehearse.engines.postgres.standby_state import Positions
from rehearse.errors import ProvisionError
from rehearse.model.migration import SqlFile
from rehearse.model.scenario import (
    DatabaseSpec,
    DatasetSpec,
    MigrationSpec,
    RowCounts,
    Scenario,
    WorkloadSpec,
)
from rehearse.model.trials import TrialKind, TrialsSpec
from rehearse.model.workload import ScriptSource
from rehearse.provision import provision

SCHEMA = "CREATE TABLE orders (id bigint PRIMARY KEY, note text NOT NULL);"
ROWS = 30_000
READ = "\\set id sample(orders.id)\nSELECT note FROM orders WHERE id = :id;\n"
WRITE = "\\set id sample(orders.id)\nUPDATE orders SET note = 'x' WHERE id = :id;\n"
UP = """
UPDATE orders SET note = note || 'x';
ALTER TABLE orders ADD COLUMN more int;
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialContext]:
    scenario = Scenario(
        name="replica",
        dataset=DatasetSpec(SqlFile("schema.sql", SCHEMA), RowCounts(tables=(("orders", ROWS),))),
        migration=MigrationSpec(up=(SqlFile("up.sql", UP),)),
        workload=WorkloadSpec(scripts=(ScriptSource("read", READ), ScriptSource("write", WRITE))),
        trials=TrialsSpec((TrialKind.REPLICA,), standby_reader_s=60.0),
    )
    settings = (("max_standby_streaming_delay", "2s"),)
    with provision(DatabaseSpec(settings=settings)) as server:
        base = build_base(server.target, scenario, lambda _: None)
        spool = tmp_path_factory.mktemp("spool") / "traffic"
        cast = make_cast(base, scenario)
        yield TrialContext(server, base, cast, scenario, spool, lambda _: None, lambda _: None)


def test_a_backfill_makes_log_and_a_strong_lock_cancels_the_long_reader(prepared: TrialContext) -> None:
    trial = make_trial(TrialKind.REPLICA, prepared)
    assert trial.unmeasured is None
    facts = trial.replica
    assert facts is not None
    # one UPDATE of every row, in one transaction
    assert facts.wal_bytes > 100 * ROWS
    assert facts.unreplayed_max_bytes > 0
    # the ALTER TABLE is replayed once the reader has been given its 2 s
    assert facts.lag_max_ns > 100_000_000
    assert facts.caught_up_ns is not None
    assert [(each.script, each.sqlstate, each.count) for each in facts.cancelled if not each.script] == [
        ("", "40001", 1)
    ]
    assert sum(count for _, count in facts.conflicts) >= 1
    # the application's own readers, and they alone, were sent there
    assert facts.scripts == ("read",)
    assert facts.finished > 0
    assert dict(facts.settings)["max_standby_streaming_delay"] == "2s"
    assert facts.samples
    assert prepared.server.alive()


def test_a_server_without_a_standby_says_so(prepared: TrialContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise ProvisionError("a server given by a DSN gets no standby")

    monkeypatch.setattr(type(prepared.server), "standby", refuse)
    trial = make_trial(TrialKind.REPLICA, prepared)
    assert trial.unmeasured == "a server given by a DSN gets no standby"


def test_the_lag_counts_from_when_the_primary_was_first_seen_to_be_ahead() -> None:
    course = Course()
    for at_ns, written, replayed in (
        (0, 100, 100),
        (10, 200, 100),
        (20, 300, 100),
        (30, 300, 250),
        (40, 300, 300),
    ):
        course.add(at_ns, Positions(written, replayed, replayed))
    assert [sample.lag_ns for sample in course.samples] == [0, 0, 10, 10, 0]
    assert [sample.unreplayed_bytes for sample in course.samples] == [0, 100, 200, 50, 0]
    assert course.written(5, 25) == 200
    assert [sample.at_ns for sample in course.since(15)] == [20, 30, 40]
