"""What of production's settings can hold here, decided without a server."""

from __future__ import annotations

import pytest

from rehearse.engines.postgres.server_facts import KnownSetting
from rehearse.provision.takeover import Here, Takeover, take_over

GB = 1024**3
KNOWN = {
    "work_mem": KnownSetting("4096", "kB", "Resource Usage / Memory"),
    "shared_buffers": KnownSetting("65536", "8kB", "Resource Usage / Memory"),
    "effective_cache_size": KnownSetting("524288", "8kB", "Query Tuning / Planner Cost Constants"),
    "random_page_cost": KnownSetting("4", "", "Query Tuning / Planner Cost Constants"),
    "jit": KnownSetting("on", "", "Query Tuning / Other Planner Options"),
    "max_connections": KnownSetting("200", "", "Connections and Authentication / Connection Settings"),
    "shared_preload_libraries": KnownSetting(
        "pg_stat_statements", "", "Client Connection Defaults", text=True
    ),
    "data_directory": KnownSetting("/here", "", "File Locations", text=True),
    "ssl": KnownSetting("off", "", "Connections and Authentication / SSL"),
    "archive_mode": KnownSetting("off", "", "Write-Ahead Log / Archiving"),
    "log_statement": KnownSetting("none", "", "Reporting and Logging / What to Log"),
    "autovacuum": KnownSetting("off", "", "Vacuuming / Automatic Vacuuming"),
    "block_size": KnownSetting("8192", "", "Preset Options", internal=True),
    "statement_timeout": KnownSetting("0", "ms", "Client Connection Defaults / Statement Behavior"),
    "port": KnownSetting("5432", "", "Connections and Authentication / Connection Settings"),
}


def taken(name: str, value: str, own: tuple[str, ...] = ()) -> Takeover:
    here = Here(KNOWN, 4 * GB, lambda library: library == "auto_explain")
    return take_over(((name, value),), here, own=own)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("work_mem", "32MB"),
        ("random_page_cost", "1.1"),
        ("jit", "off"),
        ("max_connections", "500"),
        ("effective_cache_size", "192GB"),
        ("shared_buffers", "1GB"),
    ],
)
def test_what_decides_plans_and_waits_is_taken(name: str, value: str) -> None:
    assert taken(name, value) == Takeover({name: value}, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("work_mem", "4MB"),
        ("work_mem", "4096"),
        ("work_mem", "4194304B"),
        ("jit", "true"),
        ("random_page_cost", "4.0"),
        ("shared_buffers", "512MB"),
        ("archive_mode", "off"),
    ],
)
def test_what_is_so_already_is_counted_however_it_is_written(name: str, value: str) -> None:
    assert taken(name, value) == Takeover({}, {}, same=1)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("no_such_thing", "1", "does not know"),
        ("citus.shard_count", "8", "extensions"),
        ("data_directory", "/srv/pg", "files or addresses"),
        ("port", "6000", "files or addresses"),
        ("ssl", "on", "files or addresses"),
        ("archive_mode", "on", "archive to"),
        ("primary_conninfo", "password=hunter2", "replicate to"),
        ("synchronous_standby_names", "a", "replicate to"),
        ("log_statement", "all", "rows"),
        ("autovacuum", "on", "one run and not into the next"),
        ("statement_timeout", "5s", "rehearsal's own sessions"),
        ("block_size", "16384", "built into"),
        ("max_connections", "20", "200 connections"),
        ("include", "other.conf", "other files"),
        ("shared_buffers", "64GB", "40.0% of the 4096 MB of memory here; it stays 512MB"),
    ],
)
def test_what_cannot_be_had_here_is_left_for_a_reason(name: str, value: str, why: str) -> None:
    takeover = taken(name, value)
    assert takeover.taken == {}
    assert why in takeover.left[name]
    assert "hunter2" not in repr(takeover)


def test_memory_beyond_the_machine_is_scaled_down() -> None:
    takeover = taken("work_mem", "2GB")
    assert takeover.taken == {"work_mem": "64MB"}
    assert "set to 64MB" in takeover.left["work_mem"]


def test_of_libraries_those_that_are_there_are_loaded() -> None:
    takeover = taken("shared_preload_libraries", "timescaledb, auto_explain")
    assert takeover.taken == {"shared_preload_libraries": "auto_explain,pg_stat_statements"}
    assert "timescaledb" in takeover.left["shared_preload_libraries"]


def test_what_the_user_sets_and_what_a_session_says_of_itself_is_passed_over() -> None:
    assert taken("work_mem", "1GB", own=("Work_Mem",)) == Takeover({}, {})
    assert taken("application_name", "psql") == Takeover({}, {})


def test_notes_group_names_by_reason_and_hold_no_value() -> None:
    takeover = Takeover({"a": "1"}, {"b": "why", "c": "why"}, same=2).without({"a": "out of range"})
    assert takeover.notes("p.conf") == (
        "0 settings taken over from p.conf, 2 were the same here",
        "not from p.conf: b, c: why",
        "not from p.conf: a: the server refuses: out of range",
    )
