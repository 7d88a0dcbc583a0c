"""A rehearsal that is killed leaves its record and nothing else; one whose server dies says so."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from rehearse.provision.clean import clean
from rehearse.provision.engine import engine_client
from tests.provision.deaths import (
    MOMENTS,
    containers_of,
    dying,
    place,
    shared_memory,
    wait_for_nothing,
)
from tests.provision.runs import SLEEPS, Run, gone, running, until, write_case

GONE_WITHIN_S = 60.0
ENDED_WITHIN_S = 300.0


def postmaster(run: Run) -> int:
    return next(
        p.pid
        for p in run.processes()
        if p.name() == "postgres"
        and p.ppid() in {q.pid for q in run.processes() if "warden" in str(q.cmdline())}
    )


def in_baseline(run: Run) -> None:
    run.wait_for("baseline")


def in_migration(run: Run) -> None:
    run.wait_for("migration")


def test_kill_9_in_every_stage_leaves_the_record_alone() -> None:
    """All at once: each run has a directory of its own, and none is there to measure anything. Every second
    moment; `make deaths` goes through all.
    """
    before = shared_memory()
    with place() as directory, ExitStack() as stack:
        runs: list[tuple[str, Run]] = []
        for number, (stage, delay_s) in enumerate(MOMENTS[::2]):
            folder = directory / str(number)
            folder.mkdir()
            folder.chmod(0o711)
            runs.append((stage, stack.enter_context(dying(stage, delay_s, folder))))
        for stage, run in runs:
            assert run.child.wait(ENDED_WITHIN_S) == -signal.SIGKILL, (run.folder / "printed").read_text()
            wait_for_nothing(run.folder / "base", GONE_WITHIN_S)
            assert run.record()["stage"] == stage
            assert run.record()["judgement"] is None
    until(lambda: shared_memory() <= before, GONE_WITHIN_S)


def test_a_server_that_dies_is_said_and_the_record_kept(tmp_path: Path, base: Path) -> None:
    with running(write_case(tmp_path, rows="20k", baseline="20s"), base) as run:
        in_baseline(run)
        left = run.processes()
        psutil.Process(postmaster(run)).send_signal(signal.SIGKILL)
        _, said = run.child.communicate(timeout=ENDED_WITHIN_S)
        assert run.child.returncode == 3
        assert said.splitlines()[-1].startswith("rehearse: the database server died in the stage baseline: ")
        assert "killed by SIGKILL" in said
        record = run.record()
        assert record["stage"] == "baseline"
        assert "killed by SIGKILL" in record["error"]
        assert record["tables"]
        until(lambda: gone(left) and not any(base.iterdir()), GONE_WITHIN_S)


@pytest.mark.container
def test_a_container_that_dies_is_said_and_the_record_kept(
    tmp_path: Path, base: Path, container_images: frozenset[str]
) -> None:
    assert "postgres:18" in container_images
    scenario = write_case(tmp_path, provision="docker:postgres:18", rows="20k", baseline="20s")
    with running(scenario, base) as run:
        in_baseline(run)
        (container,) = containers_of(run.child.pid)
        container.kill()
        _, said = run.child.communicate(timeout=ENDED_WITHIN_S)
        assert run.child.returncode == 3
        assert "the database server died in the stage baseline: " in said.splitlines()[-1]
        assert "exit code 137" in said
        assert run.record()["stage"] == "baseline"
        assert "exit code 137" in run.record()["error"]
        assert containers_of(run.child.pid) == []


@pytest.mark.container
def test_kill_9_leaves_a_container_to_the_next_command(
    tmp_path: Path, base: Path, container_images: frozenset[str]
) -> None:
    assert "postgres:18" in container_images
    scenario = write_case(tmp_path, provision="docker:postgres:18", up=SLEEPS, rows="20k", baseline="1s")
    with running(scenario, base) as run:
        in_migration(run)
        (container,) = containers_of(run.child.pid)
        volumes = [mount["Name"] for mount in container.attrs["Mounts"]]
        run.child.kill()
        run.child.wait()
        clean()
        assert containers_of(run.child.pid) == []
        with engine_client() as client:
            assert not {volume.name for volume in client.volumes.list()} & set(volumes)
        assert volumes
        assert run.record()["stage"] == "migration"


@pytest.mark.container
def test_an_engine_that_goes_away_is_said(
    tmp_path: Path, base: Path, container_images: frozenset[str]
) -> None:
    """The engine is reached through a socket of ours, which we close; then its container ends, as it does
    when an engine is stopped.
    """
    from tests.provision.relay import Relay  # noqa: PLC0415 - a thread, wanted here alone

    assert "postgres:18" in container_images
    scenario = write_case(tmp_path, provision="docker:postgres:18", rows="20k", baseline="20s")
    before = os.environ.get("DOCKER_HOST")
    with Relay(tmp_path / "engine.sock") as relay:
        os.environ["DOCKER_HOST"] = relay.address
        try:
            with running(scenario, base) as run:
                in_baseline(run)
                (container,) = containers_of(run.child.pid)
                relay.close()
                _restore(before)
                (container,) = containers_of(run.child.pid)
                container.kill()
                _, said = run.child.communicate(timeout=ENDED_WITHIN_S)
        finally:
            _restore(before)
    container.remove(force=True, v=True)
    assert run.child.returncode == 3
    assert "the container engine does not answer" in said.splitlines()[-1]
    assert len(said.splitlines()[-1]) < 500
    assert run.record()["stage"] == "baseline"
    assert "the container engine does not answer" in run.record()["error"]


def _restore(host: str | None) -> None:
    if host is None:
        os.environ.pop("DOCKER_HOST", None)
    else:
        os.environ["DOCKER_HOST"] = host
