"""The contract of provisioners, over MySQL and MariaDB: a container, programs of this machine, a DSN."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path

import psutil
import pymysql
import pytest

from rehearse.acts import holding
from rehearse.engines.mysql.connect import connect, execute, fetch
from rehearse.engines.mysql.databases import (
    MARKER_TABLE,
    create_database,
    drop_database,
    mark,
    run_databases,
)
from rehearse.engines.names import MADE_BY_A_RUN, MARKER_COMMENT
from rehearse.errors import ExitCode, InputError, ProvisionError, ServerLostError
from rehearse.model.migration import SqlFile
from rehearse.model.scenario import ContainerSpec, DatabaseSpec, ServerSettings
from rehearse.model.target import EngineName, Target
from rehearse.provision import Server, provision
from rehearse.provision.mysql_settings import EVENTS_NOTE
from rehearse.scenario.exported_mysql import parse_variables
from tests.provision.patience import hasty, patient

pytestmark = pytest.mark.container

MYSQL, MARIADB = EngineName.MYSQL, EngineName.MARIADB
LIMITS = ContainerSpec(cpus=1, memory_bytes=1024**3)
EXPORT = """Variable_name\tValue
innodb_lock_wait_timeout\t7
innodb_flush_log_at_trx_commit\t2
innodb_buffer_pool_size\t99999999999999
sql_mode\thunter2
time_zone\t+02:00
report_password\thunter2
server_id\t3
no_such_variable\t1
event_scheduler\tON
long_query_time\t0.5
"""
PRODUCTION = ServerSettings("production.tsv", parse_variables(SqlFile("production.tsv", EXPORT)))


@pytest.fixture(scope="module", params=["docker mysql", "docker mariadb", "local mysql", "local mariadb"])
def each(
    request: pytest.FixtureRequest,
    container_images: frozenset[str],
    mysql_bindir: Callable[[EngineName], Path],
) -> Iterator[Server]:
    kind, _, name = request.param.partition(" ")
    engine = EngineName(name)
    if kind == "docker":
        image = {MYSQL: "mysql:9.7", MARIADB: "mariadb:11.8"}[engine]
        assert image in container_images
        container = LIMITS if engine is MYSQL else None
        spec = DatabaseSpec(engine=engine, provision=f"docker:{image}", container=container)
    else:
        spec = DatabaseSpec(engine=engine, provision=f"local:{mysql_bindir(engine)}", production=PRODUCTION)
    with provision(spec) as server:
        yield server
        target, files = server.target, server.data_directory
    with pytest.raises(ServerLostError):
        connect(target, "rehearse")
    assert files is None or not files.parent.exists()


def asked(target: Target, query: str) -> list[tuple[object, ...]]:
    with closing(connect(target, "rehearse")) as connection:
        return fetch(connection, query)


def test_it_is_alive_and_of_the_version_it_says(each: Server) -> None:
    assert each.alive()
    assert each.last_words() == ""
    said = str(asked(each.target, "SELECT version()")[0][0])
    assert said.startswith(each.environment.server_version)
    assert ("mariadb" in said.lower()) is (each.target.engine is MARIADB)


THINGS = (
    "CREATE TABLE parent (id int AUTO_INCREMENT PRIMARY KEY, n int, twice int AS (n * 2) STORED)",
    "CREATE TABLE child (id int, parent_id int, FOREIGN KEY (parent_id) REFERENCES parent (id))",
    "INSERT INTO parent (n) VALUES (1), (2)",
    "INSERT INTO child VALUES (1, 2)",
    "CREATE VIEW a_view AS SELECT b_view.n FROM b_view",
    "CREATE TRIGGER before_child BEFORE INSERT ON child FOR EACH ROW SET NEW.id = NEW.id + 1",
    "CREATE FUNCTION three() RETURNS int DETERMINISTIC RETURN 3",
)


def test_databases_are_created_copied_and_dropped(each: Server) -> None:
    names = ("ori`ginal", "copy")
    assert create_database(each.target, names[0]) == "empty"
    try:
        with closing(connect(each.target.on(names[0]), "rehearse")) as connection:
            execute(connection, "CREATE TABLE b (n int)")
            for statement in THINGS:
                execute(connection, statement.replace("b_view.n FROM b_view", "b.n FROM b"))
            execute(connection, "CREATE VIEW `0_needs_it` AS SELECT * FROM a_view")
        assert create_database(each.target, names[1], names[0]) == "table by table"
        with closing(connect(each.target.on(names[1]), "rehearse")) as copy:
            assert fetch(copy, "SELECT id, n, twice FROM parent ORDER BY id") == [(1, 1, 2), (2, 2, 4)]
            assert fetch(copy, "SELECT * FROM `0_needs_it`") == []
            execute(copy, "INSERT INTO child VALUES (4, 1)")
            assert fetch(copy, "SELECT id, three() FROM child ORDER BY id") == [(1, 3), (5, 3)]
            with pytest.raises(pymysql.IntegrityError):
                execute(copy, "INSERT INTO child VALUES (9, 9)")
            assert {found.name for found in run_databases(copy) if found.made_by_a_run} == set(names)
    finally:
        for name in names:
            drop_database(each.target, name)
    with pytest.raises(ServerLostError, match="Unknown database 'copy'"):
        connect(each.target.on("copy"), "rehearse")


def test_text_of_every_language_goes_in_and_out(each: Server) -> None:
    assert asked(each.target, "SELECT upper('żółw 🐢 ñ')") == [("ŻÓŁW 🐢 Ñ",)]


def test_no_secret_and_no_address_reaches_the_record_or_a_command_line(each: Server) -> None:
    assert each.target.password is not None
    password = each.target.password.reveal()
    assert len(password) >= 24
    for shown in (repr(each.environment), repr(each.target)):
        assert password not in shown
    assert each.target.host not in repr(each.environment)
    assert not any(value == str(each.target.port) for _, value in each.environment.settings)
    lines = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    assert not any(password in line for line in lines)


@pytest.mark.parametrize("user", ["root", "rehearse", ""])
def test_nobody_comes_in_without_the_password(each: Server, user: str) -> None:
    with pytest.raises(pymysql.MySQLError, match="Access denied"):
        pymysql.connect(host=each.target.host, port=each.target.port, user=user, connect_timeout=120)


def test_durability_is_productions_and_events_are_off(each: Server) -> None:
    names = "@@innodb_flush_log_at_trx_commit, @@innodb_doublewrite, @@event_scheduler"
    flushed, doublewrite, events = asked(each.target, f"SELECT {names}")[0]
    taken_over = any("taken over" in note for note in each.environment.notes)
    assert flushed == (2 if taken_over else 1)
    assert doublewrite in ("ON", 1)
    assert events == "OFF"
    assert EVENTS_NOTE in each.environment.notes


def test_what_it_runs_on_is_in_the_record(each: Server) -> None:
    environment = each.environment
    assert dict(environment.settings)["skip_name_resolve"] == "ON"
    assert not {"datadir", "socket", "bind_address", "pid_file"} & dict(environment.settings).keys()
    if environment.provisioner == "docker":
        assert any("sha256:" in note for note in environment.notes)
        limited = each.target.engine is MYSQL
        assert dict(environment.limits)["memory"] == ("1024MB" if limited else "all")
        if limited:
            assert (environment.cpus, environment.memory_bytes) == (1, 1024**3)
            assert dict(environment.settings)["innodb_buffer_pool_size"] == str(256 * 1024**2)


def test_what_can_be_had_of_production_is_in_force_and_the_rest_is_listed(each: Server) -> None:
    notes = "\n".join(each.environment.notes)
    row = asked(each.target, "SELECT @@innodb_lock_wait_timeout, @@GLOBAL.time_zone")[0]
    if each.environment.provisioner == "docker":  # these were given none
        assert row == (50, "+00:00")
        assert "taken over" not in notes
        return
    assert row == (7, "+02:00")
    assert "3 settings taken over from production.tsv" in notes
    for word in (
        "innodb_buffer_pool_size",
        "report_password",
        "no_such_variable: this version does not know",
    ):
        assert word in notes
    assert "sql_mode: the server refuses" in notes
    assert "event_scheduler: what it runs" in notes
    assert "hunter2" not in notes


def test_there_is_no_replica_and_it_says_so(each: Server) -> None:
    with pytest.raises(ProvisionError, match="gets no replica"):
        each.standby().__enter__()


# What makes a database that nobody must touch, the guard that says so, and how it is undone.
Way = tuple[str, str, tuple[str, ...], tuple[str, ...]]
FULL = "CREATE TABLE precious.kept AS SELECT 1 AS n"
WAYS: tuple[Way, ...] = (
    ("it is full", "empty-or-marked", (FULL,), ()),
    ("a view alone", "empty-or-marked", ("CREATE VIEW precious.v AS SELECT 1",), ()),
    (
        "the marker of a run",
        "empty-or-marked",
        (FULL, f"CREATE TABLE precious.{MARKER_TABLE} (n int) COMMENT '{MADE_BY_A_RUN}'"),
        (),
    ),
    ("it is read-only", "not-in-recovery", ("SET GLOBAL read_only = 1",), ("SET GLOBAL read_only = 0",)),
    (
        "a transaction that somebody will finish",
        "no-prepared",
        (FULL, "XA START 'x'", "INSERT INTO precious.kept VALUES (2)", "XA END 'x'", "XA PREPARE 'x'"),
        ("XA ROLLBACK 'x'",),
    ),
    (
        "a name that a run needs",
        "own-names",
        ("CREATE DATABASE rehearse_preview",),
        ("DROP DATABASE rehearse_preview",),
    ),
)


@contextmanager
def precious(server: Server, way: Way) -> Iterator[str]:
    """A DSN of the database `precious`, with what `way` has done to it."""
    words = server.target
    assert words.password is not None
    try:
        run(server, "CREATE DATABASE precious", *way[2])
        place = f"{words.host}:{words.port}/precious"
        with patient():
            yield f"{words.engine.value}://{words.user}:{words.password.reveal()}@{place}"
    finally:
        run(server, *way[3], "DROP DATABASE IF EXISTS precious")


def taken(server: Server, dsn: str, disposable: str | None = "precious") -> AbstractContextManager[Server]:
    spec = DatabaseSpec(engine=server.target.engine, provision=dsn)
    return provision(spec, disposable=disposable)


def fingerprint(server: Server) -> list[tuple[object, ...]]:
    return asked(
        server.target,
        "SELECT table_schema, table_name, table_comment FROM information_schema.tables"
        " WHERE table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')"
        " ORDER BY 1, 2",
    )


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[0])
def test_it_is_refused_by_its_guard_and_nothing_is_written(each: Server, way: Way) -> None:
    with precious(each, way) as dsn:
        before = fingerprint(each)
        with pytest.raises(InputError) as caught, taken(each, dsn):
            pass
        assert f"guard {way[1]}: " in str(caught.value)
        assert caught.value.exit_code is ExitCode.USAGE
        assert each.target.password is not None
        assert each.target.password.reveal() not in str(caught.value)
        assert fingerprint(each) == before


EMPTY: Way = ("it is empty", "", (), ())


def test_one_that_is_named_is_taken_and_swept_and_guarded_from_a_second_run(each: Server) -> None:
    with precious(each, EMPTY) as dsn:
        for said in (None, "PRECIOUS", "other"):
            with pytest.raises(InputError, match="guard named-by-user"):
                taken(each, dsn, said).__enter__()
        create_database(each.target, "rehearse_base")
        with closing(connect(each.target, "owner")) as connection:
            mark(connection, "precious", MARKER_COMMENT)
            execute(connection, FULL)
        with taken(each, dsn) as server:
            assert server.alive()
            assert server.environment.provisioner == "dsn"
            assert "database 'rehearse_base' of a dead run was dropped" in server.environment.notes
            with hasty(), pytest.raises(InputError, match="guard no-sessions"):
                taken(each, dsn).__enter__()
        assert asked(each.target, "SELECT n FROM precious.kept") == [(1,)]


def test_what_is_kept_up_on_a_server_of_our_own_is_marked_as_disposable(
    each: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "provision", lambda *_given, **_more: nullcontext(each))
    spec = DatabaseSpec(engine=each.target.engine, provision="docker:any")
    made = f"SELECT table_comment FROM information_schema.tables WHERE table_schema = '{holding.DATABASE}'"
    with holding.held(spec, None):
        assert asked(each.target, f"{made} AND table_name = '{MARKER_TABLE}'") == [(MARKER_COMMENT,)]
    assert asked(each.target, made) == []


@contextmanager
def modest(server: Server) -> Iterator[str]:
    """A user who may do everything in `precious` and sees nothing else."""
    host = "127.0.0.1" if server.environment.provisioner == "local" else "%"
    user = f"'modest'@'{host}'"
    run(server, f"CREATE USER {user} IDENTIFIED BY 'Modest-1234567890'", f"GRANT ALL ON precious.* TO {user}")
    try:
        yield user
    finally:
        run(server, f"DROP USER {user}")


def run(server: Server, *statements: str) -> None:
    with closing(connect(server.target, "owner")) as connection:
        for statement in statements:
            execute(connection, statement)


def test_a_user_who_sees_little_is_told_what_to_grant_and_that_suffices(each: Server) -> None:
    prepared = WAYS[4][2]
    with precious(each, EMPTY) as dsn, modest(each) as user:
        assert each.target.password is not None
        words = f"{each.target.user}:{each.target.password.reveal()}"
        his = dsn.replace(words, "modest:Modest-1234567890")
        with pytest.raises(InputError, match=r"guard sees-everything: .*GRANT PROCESS"):
            taken(each, his).__enter__()
        rights = "PROCESS, REPLICATION CLIENT" + (", SLAVE MONITOR" if each.target.engine is MARIADB else "")
        run(each, f"GRANT {rights} ON *.* TO {user}", *prepared)
        with pytest.raises(InputError, match="guard no-prepared"):
            taken(each, his).__enter__()
        run(each, "XA ROLLBACK 'x'", "DROP TABLE precious.kept")
        with taken(each, his) as server:
            assert server.alive()


def test_z_a_killed_server_says_so_and_recovers(each: Server) -> None:
    with closing(connect(each.target, "rehearse")) as connection:
        execute(connection, "CREATE DATABASE durable")
        execute(connection, "CREATE TABLE durable.kept AS SELECT 1 AS n")
    each.kill()
    assert not each.alive()
    assert each.last_words()
    each.restart()
    assert each.alive()
    assert asked(each.target, "SELECT n FROM durable.kept") == [(1,)]
