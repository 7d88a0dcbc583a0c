"""The contract of every provisioner, and that a Server of each kind is one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.errors import (
    EnvironmentFailure,
    InputError,
    NotDisposableError,
    ProvisionError,
    RehearseError,
    ServerLostError,
)
from rehearse.model.scenario import ContainerSpec, DatabaseSpec
from rehearse.model.target import EngineName, Secret, Target
from rehearse.provision import Server, cluster, cluster_standby, provision
from rehearse.provision.binaries import Installation, embedded_installation
from rehearse.provision.container import ContainerServer
from rehearse.provision.existing import ExistingServer
from rehearse.provision.guarded import Guarded
from rehearse.provision.own import OwnServer
from rehearse.provision.server import Standby
from rehearse.provision.standby import StreamingStandby
from rehearse.provision.table import TABLE

# that each class is a Server, for the type checker
_own: type[Server] = OwnServer
_container: type[Server] = ContainerServer
_existing: type[Server] = ExistingServer
_standby: type[Standby] = StreamingStandby

CONTAINER = pytest.mark.container
KINDS = ("embedded", "local", "docker:postgres:17", "docker:postgres:18", "dsn")
PROVISIONERS = [pytest.param(kind, marks=[CONTAINER] if kind.startswith("docker") else []) for kind in KINDS]


@contextmanager
def provided(kind: str, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of that kind, however much the machine has to be looked at for it."""
    if kind == "dsn":
        with (
            beside(request.getfixturevalue("server")) as dsn,
            provision(DatabaseSpec(provision=dsn), disposable="contract") as server,
        ):
            yield server
        return
    text = kind
    if kind == "local":
        text = f"local:{request.getfixturevalue('local_bindir')}"
    elif kind.startswith("docker:") and kind.removeprefix("docker:") not in request.getfixturevalue(
        "container_images"
    ):
        unavailable(f"image {kind.removeprefix('docker:')} is not there")
    with provision(DatabaseSpec(provision=text)) as server:
        yield server


@contextmanager
def beside(server: Server) -> Iterator[str]:
    """A DSN of an empty database on another provisioner's server."""
    create_database(server.target, "contract")
    words = server.target.on("contract").conninfo("x")
    try:
        yield f"postgresql://{words['user']}:{words['password']}@{words['host']}:{words['port']}/contract"
    finally:
        drop_database(server.target, "contract")


def unavailable(reason: str) -> None:
    """Skip for a reason about containers, unless they are required."""
    if os.environ.get("REHEARSE_REQUIRE_CONTAINERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module", params=PROVISIONERS)
def each(request: pytest.FixtureRequest) -> Iterator[Server]:
    with provided(request.param, request) as server:
        yield server
        target = server.target
    with pytest.raises(ServerLostError):
        connect(target, "rehearse")


def test_it_is_alive_and_of_the_version_it_says(each: Server) -> None:
    assert each.alive()
    assert each.last_words() == ""
    with connect(each.target, "rehearse") as connection:
        row = connection.execute("SHOW server_version").fetchone()
        assert row is not None
        assert row[0].split()[0] == each.environment.server_version


def test_databases_are_created_copied_and_dropped(each: Server) -> None:
    create_database(each.target, "original")
    try:
        with connect(each.target.on("original"), "rehearse") as connection:
            connection.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
        assert create_database(each.target, "copy", "original").startswith(("clone", "file copy"))
        with connect(each.target.on("copy"), "rehearse") as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (1000,)
    finally:
        drop_database(each.target, "copy")
        drop_database(each.target, "original")
    with pytest.raises(ServerLostError, match="does not exist"):
        connect(each.target.on("copy"), "rehearse")


def test_text_of_every_language_goes_in_and_out(each: Server) -> None:
    with connect(each.target, "rehearse") as connection:
        assert connection.execute("SELECT upper('żółw 🐢 ñ')").fetchone() == ("ŻÓŁW 🐢 Ñ",)


def test_no_secret_and_no_address_reaches_the_record(each: Server) -> None:
    assert each.target.password is not None
    password = each.target.password.reveal()
    assert len(password) >= 24
    assert password not in repr(each.environment)
    assert password not in repr(each.target)
    assert str(each.target.port) not in [value for _, value in each.environment.settings]
    assert each.target.host not in repr(each.environment)


def test_no_command_line_holds_the_password(each: Server) -> None:
    assert each.target.password is not None
    password = each.target.password.reveal()
    lines = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    assert not any(password in line for line in lines)


def test_durability_is_productions(each: Server) -> None:
    with connect(each.target, "rehearse") as connection:
        for name, value in (
            ("fsync", "on"),
            ("full_page_writes", "on"),
            ("synchronous_commit", "on"),
            ("wal_level", "replica"),
        ):
            assert connection.execute("SELECT current_setting(%s)", (name,)).fetchone() == (value,)


def test_autovacuum_is_off_and_the_record_says_so(each: Server) -> None:
    assert dict(each.environment.settings)["autovacuum"] == "off"


def test_a_standby_follows_dies_alone_and_comes_back(each: Server) -> None:
    if each.environment.provisioner == "dsn":
        with pytest.raises(ProvisionError, match=r"gets no standby; .*embedded"):
            each.standby().__enter__()
        return
    with each.standby() as standby, connect(each.target, "rehearse") as connection:
        assert standby.alive()
        create_database(each.target, "followed")
        try:
            with connect(each.target.on("followed"), "rehearse") as there:
                there.execute("CREATE TABLE t AS SELECT 1 AS n")
            assert rows_on(standby, "followed", connection) == (1,)
            with (
                connect(standby.target, "rehearse") as reader,
                pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
            ):
                reader.execute("CREATE TABLE u ()")
            assert connection.execute(FOLLOWING).fetchall() == [(standby.name, standby.name)]
            standby.kill()
            assert not standby.alive()
            assert standby.last_words()
            assert each.alive()
            with connect(each.target.on("followed"), "rehearse") as there:
                there.execute("INSERT INTO t VALUES (2)")
            standby.restart()
            assert rows_on(standby, "followed", connection) == (2,)
            target, files = standby.target, standby.data_directory
        finally:
            drop_database(each.target, "followed")
    with pytest.raises(ServerLostError):
        connect(target, "rehearse")
    assert files is None or not files.parent.exists()
    with connect(each.target, "rehearse") as connection:
        assert connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)


FOLLOWING = """
SELECT application_name, slot_name FROM pg_stat_replication
JOIN pg_replication_slots ON active_pid = pid WHERE state = 'streaming'
"""


def rows_on(standby: Standby, name: str, primary: psycopg.Connection[Any]) -> tuple[int, ...] | None:
    """The rows of `t` on the standby, once it has replayed what the primary has written by now."""
    row = primary.execute("SELECT pg_current_wal_lsn()::text").fetchone()
    assert row is not None
    deadline = time.monotonic() + 60
    with connect(standby.target, "rehearse") as reader:
        while reader.execute("SELECT pg_last_wal_replay_lsn() < %s::pg_lsn", row).fetchone() != (False,):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    with connect(standby.target.on(name), "rehearse") as reader:
        return reader.execute("SELECT count(*) FROM t").fetchone()


def test_conflicts_on_a_standby_are_seen_and_settings_may_forbid_it() -> None:
    settings = (("max_standby_streaming_delay", "100ms"), ("max_wal_senders", "2"))
    with (
        provision(DatabaseSpec(settings=settings)) as server,
        connect(server.target, "rehearse") as connection,
    ):
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
        with server.standby() as standby, connect(standby.target, "rehearse") as reader:
            shown = [reader.execute(f"SHOW {name}".encode()).fetchone() for name in AS_SHIPPED]
            assert shown == [("off",), ("",), ("on",)]
            rows_on(standby, "postgres", connection)
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM t")
            connection.execute("DROP TABLE t")
            with pytest.raises(psycopg.OperationalError, match="conflict with recovery"):
                reader.execute("SELECT pg_sleep(60)")
            with pytest.raises(InputError, match="max_wal_senders leaves 1 free"):
                server.standby().__enter__()


AS_SHIPPED = ("hot_standby_feedback", "synchronous_standby_names", "hot_standby")


def test_programs_without_a_backup_give_a_server_and_no_standby(tmp_path: Path) -> None:
    wheel = embedded_installation()
    for name in ("initdb", "postgres"):
        (tmp_path / name).symlink_to(wheel.bindir / name)
    install = Installation(tmp_path, tmp_path, (), libraries=wheel.bindir.parent / "lib")
    with pytest.raises(ProvisionError, match=f"no pg_basebackup in {tmp_path}"):
        back_up_with(install, tmp_path)


def back_up_with(install: Installation, directory: Path) -> None:
    target = Target(EngineName.POSTGRES, "127.0.0.1", 1, "d", "u", Secret("x"))
    files = cluster.Cluster(directory, None, Secret("x"), install, {})
    with Guarded(directory, None) as guarded:
        cluster_standby.back_up(target, "name", files, guarded)


def test_z_a_killed_server_says_so_and_recovers(each: Server) -> None:
    """The last one of each: it is gone in the end, killed or not."""
    if each.environment.provisioner == "dsn":
        with pytest.raises(EnvironmentFailure, match="is not killed"):
            each.kill()
        return
    with connect(each.target, "rehearse") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    each.kill()
    assert not each.alive()
    assert each.last_words()
    each.restart()
    assert each.alive()
    with connect(each.target, "rehearse") as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (1,)


def test_the_users_settings_win() -> None:
    settings = (("work_mem", "7MB"), ("autovacuum", "on"), ("max_connections", "50"))
    with (
        provision(DatabaseSpec(settings=settings)) as server,
        connect(server.target, "rehearse") as connection,
    ):
        assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)
        assert dict(server.environment.settings)["work_mem"] == "7MB"
        assert "autovacuum" not in dict(server.environment.settings)
        assert not any("autovacuum" in note for note in server.environment.notes)


@pytest.mark.container
def test_a_containers_limits_are_kept_and_recorded(container_images: frozenset[str]) -> None:
    if "postgres:17" not in container_images:
        unavailable("image postgres:17 is not there")
    limits = ContainerSpec(cpus=1, memory_bytes=1024**3, shm_size_bytes=128 * 1024**2, tmpfs=True)
    spec = DatabaseSpec(provision="docker:postgres:17", settings=(("work_mem", "7MB"),), container=limits)
    with provision(spec) as server:
        assert server.environment.cpus == 1
        assert server.environment.memory_bytes == 1024**3
        assert "container: 1 CPUs, 1024 MB memory, 128 MB shared memory" in server.environment.notes
        assert dict(server.environment.settings)["shared_buffers"] == "256MB"
        assert dict(server.environment.settings)["work_mem"] == "7MB"
        assert any("sha256:" in note for note in server.environment.notes)
        assert dict(server.environment.limits)["storage"] == "tmpfs"
        with connect(server.target, "rehearse") as connection:
            mounts = connection.execute("SELECT pg_read_file('/proc/mounts')").fetchone()
            place = connection.execute("SHOW data_directory").fetchone()
        assert mounts is not None
        assert place is not None
        assert f"tmpfs {place[0]} tmpfs" in mounts[0]
        with pytest.raises(EnvironmentFailure, match="lose them by a restart"):
            server.restart()


@pytest.mark.parametrize("text", ["embedded", "local:/nope", "postgresql://u@h/d"])
def test_limits_of_a_container_are_for_containers(text: str) -> None:
    with pytest.raises(InputError, match=r"\[database.container\] is for docker:IMAGE"):
        provision(DatabaseSpec(provision=text, container=ContainerSpec(cpus=1)))


def test_a_limit_among_the_settings_is_shown_its_place() -> None:
    with pytest.raises(InputError, match=r"cpus stands in the table \[database.container\]"):
        provision(DatabaseSpec(settings=(("container.cpus", "1"),)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no such provisioner"),
        ("podman", "no such provisioner for postgres: 'podman'"),
        ("mysql://u:hunter2@h/d", "no such provisioner for postgres: 'mysql'"),
        ("docker:", "names no image"),
        ("docker:mysql:9.7", "docker:mysql:9.7 does not look like an image of postgres"),
        ("local:", "names no directory"),
        ("local:/nope/bin", "no initdb and no postgres in /nope/bin"),
        ("postgresql://u:hunter2@h/d", "--disposable d"),
    ],
)
def test_what_cannot_be_provided_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(RehearseError) as caught, provision(DatabaseSpec(provision=text)):
        pass
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.container
def test_an_image_that_cannot_be_had_is_named(container_images: frozenset[str]) -> None:
    assert isinstance(container_images, frozenset)
    image = "localhost:1/postgres:none"
    with pytest.raises(RehearseError, match=f"image {image} is not there and cannot be pulled"):
        provision(DatabaseSpec(provision=f"docker:{image}")).__enter__()


def test_no_engine_is_one_line_with_its_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(RehearseError, match=r"no container engine answers: unix:.* does not exist; install"):
        provision(DatabaseSpec(provision="docker:postgres:17")).__enter__()


@pytest.mark.parametrize("text", ["embedded", "postgresql://u@h/d", "host=h"])
def test_an_engine_is_not_given_another_ones_provisioner(text: str) -> None:
    with pytest.raises(InputError, match=r"no such provisioner for mysql: .*mysql://USER"):
        provision(DatabaseSpec(engine=EngineName.MYSQL, provision=text))


def test_every_entry_of_the_table_is_under_contract() -> None:
    kinds = {kind.partition(":")[0] for kind in KINDS}
    assert kinds == {entry.name for entry in TABLE}


def test_errors_have_the_exit_codes_of_their_kind() -> None:
    with pytest.raises(InputError) as usage:
        provision(DatabaseSpec(provision="nothing"))
    assert usage.value.exit_code == 2
    with pytest.raises(RehearseError) as missing:
        provision(DatabaseSpec(provision="local:/nope"))
    assert missing.value.exit_code == 3
    with pytest.raises(NotDisposableError) as guarded:
        provision(DatabaseSpec(provision="postgresql://u@127.0.0.1/d")).__enter__()
    assert guarded.value.exit_code == 2
