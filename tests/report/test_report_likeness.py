"""Environments that differ are told apart, and by what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rehearse.model.record import Environment, RunRecord
from rehearse.report.likeness import Difference, differences
from tests.report import records
from tests.report.build import ENVIRONMENT

RECORD = records.instant_alter()[0]
CONTAINER = replace(
    ENVIRONMENT,
    provisioner="docker",
    limits=(("cpus", "1"), ("memory", "1024MB"), ("shm_size", "1024MB"), ("storage", "volume")),
    cpus=1,
    memory_bytes=2**30,
)


def run_in(environment: Environment | None) -> RunRecord:
    return replace(RECORD, environment=environment)


def test_the_same_environment_differs_in_nothing() -> None:
    later = replace(ENVIRONMENT, notes=("another note",), memory_bytes=ENVIRONMENT.memory_bytes + 4096)
    assert differences([run_in(ENVIRONMENT), run_in(later), run_in(ENVIRONMENT)]) == ()


@pytest.mark.parametrize(
    ("there", "what", "values"),
    [
        (replace(ENVIRONMENT, cpus=2), "cpus", ("8", "2")),
        (replace(ENVIRONMENT, server_version="17.2"), "server version", ("18.1", "17.2")),
        (replace(ENVIRONMENT, platform="other"), "platform", ("Linux 6.8 x86_64", "other")),
        (
            replace(ENVIRONMENT, settings=(("shared_buffers", "1GB"),)),
            "setting max_wal_size",
            ("8GB", "default"),
        ),
    ],
)
def test_each_difference_is_named_with_its_values(
    there: Environment, what: str, values: tuple[str, str]
) -> None:
    assert differences([run_in(ENVIRONMENT), run_in(there)]) == (Difference(what, values),)


def test_limits_of_containers_are_told_once_and_so_is_what_follows_from_memory() -> None:
    large = replace(
        CONTAINER,
        cpus=2,
        memory_bytes=4 * 2**30,
        settings=(("shared_buffers", "1GB"), ("max_wal_size", "8GB")),
        limits=(("cpus", "1.5"), ("memory", "4096MB"), ("shm_size", "1024MB"), ("storage", "tmpfs")),
    )
    small = replace(CONTAINER, settings=(("shared_buffers", "256MB"), ("max_wal_size", "8GB")))
    found = {d.what: d.values for d in differences([run_in(small), run_in(large)])}
    assert found.keys() == {"cpus", "memory", "container storage"}
    assert found["cpus"] == ("1", "1.5")
    assert Difference("cpus", ("1", "2")).sentence(["small", "large"]) == "cpus: 1 (small), 2 (large)"


def test_an_unknown_environment_is_like_no_other() -> None:
    assert differences([run_in(None), run_in(ENVIRONMENT)]) == (
        Difference("environment", ("unknown", "known")),
    )
