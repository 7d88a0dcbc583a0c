"""Production's settings on a server of ours: taken over where they can be, listed where not."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.errors import ProvisionError
from rehearse.model.migration import SqlFile
from rehearse.model.scenario import ContainerSpec, DatabaseSpec, ServerSettings
from rehearse.model.target import Target
from rehearse.provision import Server, provision
from rehearse.provision.requirements import with_extensions
from rehearse.scenario.exported import parse_settings

CONF = """
shared_buffers = 64TB
work_mem = 32MB
random_page_cost = 1.1
wal_level = logical
timezone = 'Europe/Lisbon'
listen_addresses = '*'
archive_mode = on
archive_command = 'cp %p /archive/%f # hunter2'
primary_conninfo = 'host=x password=hunter2'
shared_preload_libraries = 'no_such_module, auto_explain, pg_stat_statements'
enable_seqscan = perhaps
no_such_setting = 7
jit = on
"""


def exported(text: str) -> ServerSettings:
    return ServerSettings("production.conf", parse_settings(SqlFile("production.conf", text)))


def shown(server: Server, *names: str) -> list[str]:
    with connect(server.target, "rehearse") as connection:
        rows = [connection.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in names]
    return [row[0] for row in rows if row is not None]


@pytest.mark.parametrize(
    "kind",
    ["embedded", pytest.param("docker:postgres:17", marks=pytest.mark.container)],
)
def test_what_can_be_had_is_in_force_and_the_rest_is_listed(
    kind: str, request: pytest.FixtureRequest
) -> None:
    container = None
    if kind != "embedded":
        assert kind.removeprefix("docker:") in request.getfixturevalue("container_images")
        container = ContainerSpec(memory_bytes=1024**3)
    spec = DatabaseSpec(
        provision=kind, settings=(("jit", "off"),), production=exported(CONF), container=container
    )
    with provision(spec) as server:
        names = ("work_mem", "random_page_cost", "wal_level", "TimeZone", "jit", "archive_mode")
        taken = ["16MB" if container else "32MB", "1.1", "logical", "Europe/Lisbon", "off", "off"]
        assert shown(server, *names) == taken
        assert "auto_explain" in shown(server, "shared_preload_libraries")[0]
        notes = "\n".join(server.environment.notes)
    for word in (
        "archive_command",
        "primary_conninfo",
        "no_such_setting: this version does not know",
        "no_such_module",
        "shared_buffers",
        "enable_seqscan: the server refuses",
    ):
        assert word in notes
    assert "hunter2" not in notes


def test_a_servers_own_export_is_the_same_everywhere(server: Server) -> None:
    with connect(server.target, "rehearse") as connection:
        row = connection.execute(
            "SELECT json_agg(json_build_object('name', name, 'setting', setting, 'unit', unit))::text"
            " FROM pg_settings"
        ).fetchone()
    assert row is not None
    with provision(DatabaseSpec(production=exported(row[0]))) as copy:
        assert "0 settings taken over" in "".join(copy.environment.notes)
    assert len(json.loads(row[0])) > 300


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("postgis", r"does not have the extension 'postgis'; .*docker:postgis/postgis"),
        ("pg_trgrm", "did you mean 'pg_trgm'"),
    ],
)
def test_a_missing_extension_is_named_with_its_mend(server: Server, missing: str, said: str) -> None:
    spec = DatabaseSpec(extensions=("pg_stat_statements", missing))
    with pytest.raises(ProvisionError, match=said), with_extensions(nullcontext(server), spec):
        pass


def test_extensions_are_looked_for_when_a_server_is_provided(database: Target) -> None:
    assert database.password is not None
    place = f"{database.host}:{database.port}/{database.dbname}"
    address = f"postgresql://{database.user}:{database.password.reveal()}@{place}"
    spec = DatabaseSpec(provision=address, extensions=("pg_trgm", "timescaledb"))
    with pytest.raises(ProvisionError, match="'timescaledb'"):
        provision(spec, disposable=database.dbname).__enter__()


def test_a_file_of_settings_is_for_servers_of_our_own() -> None:
    spec = DatabaseSpec(provision="postgresql://u@h/d", production=exported(CONF))
    with pytest.raises(ValueError, match="settings are for servers of our own"):
        provision(spec, disposable="d").__enter__()
