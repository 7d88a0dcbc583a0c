"""The parts of provisioning that are functions: settings, limits, logs, DSNs, guards."""

from __future__ import annotations

import dataclasses
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.engines.postgres.guards import GUARDS, DatabaseState, failed_guard
from rehearse.errors import InputError
from rehearse.model.scenario import ContainerSpec
from rehearse.model.target import Secret
from rehearse.provision import log
from rehearse.provision.dsn import parse_dsn
from rehearse.provision.limits import as_recorded, described, memory_mounts, resources
from rehearse.provision.settings import notes_for, settings_for

MB, GB = 1024**2, 1024**3


@given(memory=st.integers(64 * MB, 4096 * GB))
def test_buffers_are_a_quarter_of_memory_within_bounds(memory: int) -> None:
    settings = settings_for(memory)
    buffers = int(settings["shared_buffers"].removesuffix("MB"))
    assert 64 <= buffers <= 2048
    assert buffers <= max(64, memory // 4 // MB)
    assert int(settings["effective_cache_size"].removesuffix("MB")) >= buffers


def test_durability_is_not_touched() -> None:
    assert not {"fsync", "full_page_writes", "synchronous_commit", "wal_level"} & settings_for(8 * GB).keys()


def test_the_users_settings_come_last() -> None:
    settings = settings_for(8 * GB, preload=["pg_stat_statements"], overrides=[("shared_buffers", "1MB")])
    assert settings["shared_buffers"] == "1MB"
    assert settings["shared_preload_libraries"] == "pg_stat_statements"


@pytest.mark.parametrize(("value", "noted"), [("off", True), ("FALSE", True), ("on", False)])
def test_autovacuum_is_noted_while_it_is_off(value: str, noted: bool) -> None:
    assert bool(notes_for({"autovacuum": value})) is noted


def test_limits_are_told_to_the_engine_and_to_the_reader() -> None:
    spec = ContainerSpec(cpus=1.5, memory_bytes=GB, shm_size_bytes=256 * MB, tmpfs=True)
    assert memory_mounts(spec, ["/data"]) == {"/data": "rw,mode=1777"}
    assert resources(spec) == {
        "nano_cpus": 1_500_000_000,
        "mem_limit": GB,
        "memswap_limit": GB,
        "shm_size": 256 * MB,
    }
    assert dict(as_recorded(spec)) == {
        "cpus": "1.5",
        "memory": "1024MB",
        "shm_size": "256MB",
        "storage": "tmpfs",
    }
    assert described(spec)[0] == "container: 1.5 CPUs, 1024 MB memory, 256 MB shared memory"
    assert "in memory" in described(spec)[1]


def test_without_limits_there_is_room_for_parallel_queries() -> None:
    assert resources(ContainerSpec()) == {"shm_size": GB}
    assert memory_mounts(ContainerSpec(), ["/data"]) == {}
    assert dict(as_recorded(ContainerSpec()))["cpus"] == "all"


CRASHED = """\
2025-01-01 10:00:00.000 UTC [7] LOG:  server process (PID 9) was terminated by signal 9: Killed
2025-01-01 10:00:00.100 UTC [8] FATAL:  the database system is in recovery mode
2025-01-01 10:00:00.200 UTC [7] LOG:  all server processes terminated; reinitializing
"""


def test_a_crash_is_told_without_the_noise_around_it() -> None:
    assert log.crash(CRASHED) == "LOG: server process (PID 9) was terminated by signal 9: Killed"
    assert log.reason("2025-01-01 10:00:00.100 UTC [8] FATAL:  the database system is starting up\n") == ""
    assert log.crash('2025-01-01 10:00:00.000 UTC [8] FATAL:  role "x" does not exist\n') == ""


def test_a_refusal_to_start_is_told() -> None:
    text = '2025-01-01 10:00:00.000 UTC [8] FATAL:  could not access file "nope": No such file or directory\n'
    assert log.reason(text) == 'FATAL: could not access file "nope": No such file or directory'


@settings(max_examples=40, deadline=None)
@given(
    user=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=10),
    password=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20),
    dbname=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=10),
)
def test_a_dsn_says_what_it_was_made_of(user: str, password: str, dbname: str) -> None:
    text = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@h:6000/{quote(dbname, safe='')}"
    target = parse_dsn(text)
    assert (target.user, target.password, target.dbname) == (user, Secret(password), dbname)
    assert (target.host, target.port) == ("h", 6000)


def test_a_dsn_may_be_words_and_has_the_usual_port() -> None:
    target = parse_dsn("host=/run/postgresql dbname=d user=u sslmode=require")
    assert (target.host, target.port, target.options) == ("/run/postgresql", 5432, (("sslmode", "require"),))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgresql:///d", "names no host, no user"),
        ("postgresql://u:hunter2@h", "names no database"),
        ("postgresql://u:hunter2@a,b/d", "several hosts"),
        ("postgresql://u:hunter2@h/d?service=x", "service cannot be given"),
        ("postgresql://u:hunter2@h/d?nonsense=x", "cannot be read"),
        ("postgresql://u:hunter2@h:port/d", "port"),
        ("host=h user=u dbname=d password='hunter2", "cannot be read"),
    ],
)
def test_a_dsn_that_leaves_something_open_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        parse_dsn(text)
    assert "hunter2" not in str(caught.value)


GOOD = DatabaseState(
    in_recovery=False,
    standbys=0,
    sessions_here=0,
    sessions_elsewhere=3,
    marked=False,
    objects=0,
    superuser=False,
    may_create_databases=True,
)


@pytest.mark.parametrize(
    ("state", "guard"),
    [
        (dataclasses.replace(GOOD, in_recovery=True), "not-in-recovery"),
        (dataclasses.replace(GOOD, standbys=1), "no-standbys"),
        (dataclasses.replace(GOOD, slots=1), "no-slots"),
        (dataclasses.replace(GOOD, of_the_server=True, marked=True), "not-the-servers-own"),
        (dataclasses.replace(GOOD, prepared=1, marked=True), "no-prepared"),
        (dataclasses.replace(GOOD, sessions_here=1), "no-sessions"),
        (dataclasses.replace(GOOD, objects=1), "empty-or-marked"),
        (dataclasses.replace(GOOD, objects=1, marked=True), None),
        (GOOD, None),
    ],
)
def test_each_guard_stands_alone(state: DatabaseState, guard: str | None) -> None:
    failed = failed_guard(state)
    assert (failed[0] if failed else None) == guard


def test_guards_have_names_of_their_own() -> None:
    assert len({name for name, _, _ in GUARDS}) == len(GUARDS)
