"""A record with nothing in it but what a judge is to look at."""

from __future__ import annotations

from rehearse.model.record import (
    SCHEMA_VERSION,
    RunRecord,
    ScriptInfo,
    Stage,
    TableFacts,
    Trial,
)
from rehearse.model.scenario import Scenario
from rehearse.model.workload import Footprint


def bare_record(
    scenario: Scenario,
    trials: tuple[Trial, ...],
    *,
    tables: tuple[TableFacts, ...] = (),
    scripts: tuple[ScriptInfo, ...] = (),
    footprints: tuple[Footprint, ...] = (),
) -> RunRecord:
    """The record of a run that came as far as the judge."""
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        run_id="0",
        started_at="2030-01-01T00:00:00+00:00",
        origin_ns=0,
        stage=Stage.JUDGE,
        scenario=scenario,
        tables=tables,
        scripts=scripts,
        footprints=footprints,
        trials=trials,
    )
