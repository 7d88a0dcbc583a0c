from __future__ import annotations

import json
from array import array
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rehearse.errors import InputError, RecordError
from rehearse.model.migration import SqlFile
from rehearse.model.record import RunRecord, Stage, Trial, TrialKind
from rehearse.model.scenario import DatasetSpec, MigrationSpec, Scenario
from rehearse.model.workload import SampleColumns
from rehearse.record.folder import RunFolder

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def a_record() -> RunRecord:
    scenario = Scenario(
        name="one",
        dataset=DatasetSpec(schema=SqlFile("schema.sql", "CREATE TABLE t (id int)")),
        migration=MigrationSpec(up=(SqlFile("up.sql", "DROP TABLE t"),)),
    )
    return RunRecord(
        schema_version=1,
        run_id="x",
        started_at=NOW.isoformat(),
        origin_ns=1,
        stage=Stage.BASELINE,
        scenario=scenario,
    )


def some_samples() -> SampleColumns:
    return SampleColumns(
        scripts=("a", "b"),
        sqlstates=("42703",),
        script=array("h", [0, 1, 1]),
        scheduled_ns=array("q", [1, 2, 3_000_000_000_000]),
        started_ns=array("q", [1, 2, 0]),
        ended_ns=array("q", [5, 6, 7]),
        outcome=array("h", [0, 1, 3]),
        sqlstate=array("h", [-1, 0, -1]),
        statement=array("h", [-1, 2, -1]),
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "my scenario/../x", NOW)
    name = folder.write_samples(some_samples())
    record = replace(a_record(), trials=(Trial(kind=TrialKind.TRAFFIC, samples_file=name),))
    folder.write_record(record)
    again = RunFolder(folder.path)
    assert again.read_record() == record
    assert again.read_samples(record) == some_samples()
    assert folder.path.parent == tmp_path.resolve()
    assert sorted(path.name for path in folder.path.iterdir()) == ["run.json", "samples.parquet"]


def test_each_trial_has_samples_of_its_own(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x", NOW)
    kept = {TrialKind.TRAFFIC: some_samples(), TrialKind.ROLLBACK: SampleColumns(scripts=("back",))}
    names = {kind: folder.write_samples(samples, kind) for kind, samples in kept.items()}
    trials = tuple(Trial(kind=kind, samples_file=name) for kind, name in names.items())
    record = replace(a_record(), trials=trials)
    assert {kind: folder.read_samples(record, kind) for kind in kept} == kept
    assert folder.read_samples(replace(record, trials=trials[1:])) is None


def test_no_samples_at_all_are_kept_as_none_at_all(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x", NOW)
    folder.write_samples(SampleColumns(scripts=("a",)))
    record = replace(a_record(), trials=(Trial(kind=TrialKind.TRAFFIC, samples_file="samples.parquet"),))
    assert folder.read_samples(record) == SampleColumns(scripts=("a",))
    assert folder.read_samples(a_record()) is None


def test_two_runs_in_one_second_do_not_share_a_folder(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path, "x", NOW).path != RunFolder.create(tmp_path, "x", NOW).path


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"a file is in the way.*--out"):
            RunFolder.create(out, "x", NOW)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read"), ("{}", "not a record"), ("{", "not a record"), ("other", "schema version 99")],
)
def test_a_folder_that_holds_no_record_says_so(tmp_path: Path, content: str | None, says: str) -> None:
    folder = RunFolder(tmp_path)
    if content == "other":
        folder.write_record(a_record())
        document = json.loads((tmp_path / "run.json").read_text())
        content = json.dumps(document | {"schema_version": 99})
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(RecordError, match=says):
        folder.read_record()


def test_a_broken_sample_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "samples.parquet").write_text("not parquet")
    record = replace(a_record(), trials=(Trial(kind=TrialKind.TRAFFIC, samples_file="samples.parquet"),))
    with pytest.raises(RecordError, match=r"samples\.parquet"):
        RunFolder(tmp_path).read_samples(record)
