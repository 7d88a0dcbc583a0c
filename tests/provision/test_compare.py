"""`rehearse compare` on finished runs: side by side where they are like, named apart where they are not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from typer.testing import CliRunner

from rehearse.cli.main import app
from rehearse.model.record import Environment, RunRecord
from rehearse.record.folder import RunFolder
from tests.report import records
from tests.report.build import ENVIRONMENT

GO, NO_GO = records.instant_alter()[0], records.naive_index()[0]
INCONCLUSIVE = records.inconclusive()[0]


def finished(root: Path, name: str, record: RunRecord, environment: Environment = ENVIRONMENT) -> str:
    folder = RunFolder.create(root, name, datetime(2025, 3, 1, tzinfo=UTC))
    folder.write_record(replace(record, environment=environment))
    return str(folder.path)


def compared(*folders: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["compare", *folders], env={"COLUMNS": "160", "TERM": "dumb"})
    return done.exit_code, done.output


def test_like_runs_answer_whether_there_is_a_way(tmp_path: Path) -> None:
    code, text = compared(finished(tmp_path, "safe", GO), finished(tmp_path, "naive", NO_GO))
    assert code == 0
    assert "not comparable" not in text
    assert "NO-GO" in text
    assert compared(finished(tmp_path, "a", INCONCLUSIVE), finished(tmp_path, "b", NO_GO))[0] == 4
    assert compared(finished(tmp_path, "c", NO_GO))[0] == 1


def test_unlike_runs_are_not_set_side_by_side_as_equals(tmp_path: Path) -> None:
    slow = replace(ENVIRONMENT, cpus=1, server_version="17.2")
    code, text = compared(finished(tmp_path, "fast", GO), finished(tmp_path, "slow", NO_GO, slow))
    assert code == 1  # of the worst: here the question is whether it goes everywhere
    assert "not comparable: server version: 18.1 (20250301T000000Z-fast), 17.2 (" in text
    assert "not comparable: cpus: 8 (20250301T000000Z-fast), 1 (20250301T000000Z-slow)" in text
    assert text.count("not comparable") > 2  # at the durations too
    again = compared(finished(tmp_path, "x", GO), finished(tmp_path, "y", INCONCLUSIVE, slow))
    assert again[0] == 4


def test_a_run_without_a_verdict_is_refused(tmp_path: Path) -> None:
    folder = finished(tmp_path, "died", records.aborted()[0])
    done = CliRunner().invoke(app, ["compare", folder])
    assert "has no verdict: the disk is full" in str(done.exception)


def test_containers_of_different_size_are_unlike(tmp_path: Path) -> None:
    folders = []
    for name, size in (("small", 1), ("large", 2)):
        sized = replace(ENVIRONMENT, provisioner="docker", cpus=size, memory_bytes=size * 1024**3)
        folders.append(finished(tmp_path, name, GO, sized))
    code, text = compared(*folders)
    assert code == 0
    assert "not comparable: cpus: 1 (20250301T000000Z-small), 2 (20250301T000000Z-large)" in text
    assert "not comparable: memory: 1 GiB (20250301T000000Z-small)" in text
