"""What is decided about MySQL and MariaDB without a server: versions, settings, logs, guards, addresses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearse.engines.mysql.execute import without_values
from rehearse.engines.mysql.guards import GUARDS, DatabaseState, failed_guard, prepared_in
from rehearse.engines.mysql.server_facts import parse_version
from rehearse.engines.mysql.split import split
from rehearse.errors import InputError, ProvisionError, SqlFileError
from rehearse.model.migration import SqlFile
from rehearse.model.target import EngineName, Secret
from rehearse.provision import mysql_log
from rehearse.provision.mysql_binaries import mysql_installation
from rehearse.provision.mysql_dsn import parse_mysql_dsn
from rehearse.provision.mysql_settings import settings_for
from rehearse.provision.mysql_takeover import Here, in_force, take_over
from rehearse.provision.table import engine_of
from rehearse.provision.takeover import Takeover
from rehearse.scenario.exported_mysql import parse_variables

GB = 1024**3
MYSQL, MARIADB = EngineName.MYSQL, EngineName.MARIADB


@pytest.mark.parametrize(
    ("text", "engine", "said"),
    [
        ("9.7.4-2", MYSQL, "9.7.4"),
        ("8.0.36", MYSQL, "8.0.36"),
        ("8.0.36-28.1", MYSQL, "8.0.36"),
        ("11.8.6-MariaDB-0+deb13u1 from Debian", MARIADB, "11.8.6"),
        ("5.5.5-10.6.12-MariaDB-log", MARIADB, "10.6.12"),
    ],
)
def test_versions_are_told_apart(text: str, engine: EngineName, said: str) -> None:
    version = parse_version(text)
    assert (version.engine, version.text) == (engine, said)


def statements(text: str) -> list[tuple[str, int]]:
    return [(one.text, one.line) for one in split(SqlFile("f.sql", text))]


def test_a_file_is_taken_apart_as_the_client_does_it() -> None:
    text = """-- a comment; with a semicolon
SELECT 'a;b', "c;d", `e;f`; # and another;
/* one; more */ INSERT INTO t VALUES ('it''s; \\'so\\'');
/*!40101 SET NAMES utf8mb4 */;
delimiter //
CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END//
DELIMITER ;
SELECT 5--1;
SELECT 6"""
    assert statements(text) == [
        ("""SELECT 'a;b', "c;d", `e;f`""", 2),
        (r"INSERT INTO t VALUES ('it''s; \'so\'')", 3),
        ("/*!40101 SET NAMES utf8mb4 */", 4),
        ("CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END", 6),
        ("SELECT 5--1", 8),
        ("SELECT 6", 9),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT 1;\nSELECT 'x", "f.sql:2: a quotation"),
        ("SELECT 1 /* x", "f.sql:1: a quotation or a comment"),
        ("\n\\. other.sql", r"f.sql:2: a command of the mysql client: \."),
        ("source other.sql", "f.sql:1: a command of the mysql client: source"),
    ],
)
def test_what_cannot_be_taken_apart_names_its_line(text: str, said: str) -> None:
    with pytest.raises(SqlFileError) as caught:
        statements(text)
    assert str(caught.value).startswith(said)


_PIECES = st.sampled_from(
    ["SELECT 1", "'a;b'", '"c;"', "`;`", "/* ; */", "-- ;\n", "# ;\n", " ", "\n", "x", "/*! y */"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_PIECES, min_size=1, max_size=5), min_size=1, max_size=4))
def test_only_delimiters_part_statements(parts: list[list[str]]) -> None:
    texts = ["S " + " ".join(part) for part in parts]
    found = split(SqlFile("f.sql", "\n;".join(texts)))
    assert [one.text for one in found] == [text.strip() for text in texts]


def test_a_value_in_a_servers_message_is_not_shown() -> None:
    assert without_values("Duplicate entry 'O'Neil' for key 't.k'") == "Duplicate entry '...' for key 't.k'"
    assert "hunter2" not in without_values("Data truncated 'hunter2'")


EXPORTS = {
    "tsv": "Variable_name\tValue\nSort_Buffer_Size\t262144\nsql_mode\t\n",
    "csv": 'Variable_name,Value\n"sort_buffer_size","262144"\nsql_mode,\n',
    "table": "+---+---+\n|Variable_name|Value|\n+---+---+\n| sort_buffer_size | 262144 |\n|sql_mode||\n",
    "json": '[{"Variable_name": "sort_buffer_size", "Value": 262144},'
    ' {"Variable_name": "sql_mode", "Value": ""}]',
    "object": '{"sort_buffer_size": "262144", "sql_mode": null}',
    "options": '[client]\npassword = x\n[mysqld]\nsort-buffer-size=262144 # bytes\nsql_mode = ""\n',
}


@pytest.mark.parametrize("form", EXPORTS)
def test_every_form_of_an_export_is_read(form: str) -> None:
    pairs = parse_variables(SqlFile("p", EXPORTS[form]))
    assert pairs == (("sort_buffer_size", "262144"), ("sql_mode", ""))


def test_an_option_file_has_switches() -> None:
    text = "[mysqld-9.7]\nskip-name-resolve\nskip_log_bin\nloose-x = 'a\\tb'\n[mysqldump]\nquick\n"
    assert dict(parse_variables(SqlFile("my.cnf", text))) == {
        "skip_name_resolve": "ON",
        "log_bin": "OFF",
        "x": "a\tb",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Variable_name\tValue\na\tb\tc\n", "p:2: not a row"),
        ("[mysqld]\n=3 hunter2", "p:2: not a line of an option file"),
        ("!includedir /etc/hunter2\n", "p:1: other files are not read"),
        ("[{}]", "p:1: not a JSON array"),
        ("{", "p:1: not JSON"),
    ],
)
def test_what_is_no_export_names_its_line_and_quotes_nothing(text: str, said: str) -> None:
    with pytest.raises(SqlFileError) as caught:
        parse_variables(SqlFile("p", text))
    assert str(caught.value).startswith(said)
    assert "hunter2" not in str(caught.value)


KNOWN = {
    "innodb_buffer_pool_size": str(GB),
    "sort_buffer_size": "262144",
    "innodb_lock_wait_timeout": "50",
    "lock_wait_timeout": "31536000",
    "wait_timeout": "28800",
    "sql_mode": "A,B",
    "innodb_redo_log_capacity": str(GB),
    "max_connections": "200",
    "innodb_doublewrite": "ON",
    "hostname": "here",
    "read_only": "OFF",
    "ssl_cert": "",
    "datadir": "/here",
    "slow_query_log": "OFF",
}


def taken(name: str, value: str, own: tuple[str, ...] = ()) -> Takeover:
    return take_over(((name, value),), Here(KNOWN, 4 * GB), own=own)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("innodb_lock_wait_timeout", "7"),
        ("lock_wait_timeout", "60"),
        ("sql_mode", "A"),
        ("sort_buffer_size", "1M"),
        ("max_connections", "500"),
        ("innodb_buffer_pool_size", "2G"),
    ],
)
def test_what_decides_plans_and_waits_is_taken(name: str, value: str) -> None:
    assert taken(name, value) == Takeover({name: value}, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [("sql_mode", "B,A"), ("sort_buffer_size", "256K"), ("innodb_doublewrite", "1"), ("Read-Only", "off")],
)
def test_what_is_so_already_is_counted_however_it_is_written(name: str, value: str) -> None:
    assert taken(name, value) == Takeover({}, {}, same=1)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("no_such_thing", "1", "does not know"),
        ("innodb_no_such", "1", "does not know"),
        ("read_only", "ON", "replicate"),
        ("ssl_cert", "/c.pem", "certificates"),
        ("report_password", "hunter2", "replicate"),
        ("datadir", "/srv", "files or addresses"),
        ("slow_query_log", "ON", "no rows"),
        ("wait_timeout", "5", "rehearsal's own sessions"),
        ("hostname", "db1", "do not decide"),
        ("max_connections", "20", "200 connections"),
        ("innodb_buffer_pool_size", "64G", "50.0% of the 4096 MB of memory here; it stays 1024M"),
    ],
)
def test_what_cannot_be_had_here_is_left_for_a_reason(name: str, value: str, why: str) -> None:
    takeover = taken(name, value)
    assert takeover.taken == {}
    assert why in takeover.left[name]
    assert "hunter2" not in repr(takeover)


def test_memory_and_logs_beyond_the_machine_are_scaled_down() -> None:
    assert taken("sort_buffer_size", "2G").taken == {"sort_buffer_size": str(64 * 1024**2)}
    assert taken("innodb_redo_log_capacity", "64G").taken == {"innodb_redo_log_capacity": "4096M"}


def test_what_the_user_sets_is_passed_over_and_what_the_server_changed_is_told() -> None:
    assert taken("sort_buffer_size", "1M", own=("Sort-Buffer-Size",)) == Takeover({}, {})
    confirmed = in_force(Takeover({"a": "1M", "b": "2"}, {}), {"a": "1048576", "b": "3"})
    assert confirmed.taken == {"a": "1M"}
    assert confirmed.left == {"b": "the server made it '3'"}


def test_the_users_settings_win_however_they_are_spelled() -> None:
    chosen = settings_for(MYSQL, 8 * GB, [("Max-Connections", "50"), ("innodb_redo_log_capacity", "8M")])
    assert chosen["max_connections"] == "50"
    assert chosen["innodb_redo_log_capacity"] == "8M"
    assert "loose_innodb_redo_log_capacity" not in chosen
    assert chosen["innodb_buffer_pool_size"] == "2048M"


LOG = """2026-01-01T10:00:00.1Z 0 [System] [MY-010116] [Server] mysqld (mysqld 9.7) starting as process 1
2026-01-01T10:00:00.2Z 0 [ERROR] [MY-000000] [Server] of an earlier life
2026-01-01T10:00:01.1Z 0 [System] [MY-010116] [Server] mysqld (mysqld 9.7) starting as process 1
2026-01-01T10:00:01.2Z 1 [ERROR] [MY-012576] [InnoDB] Unable to create temporary file inside "/tmp"; errno: 13
2026-01-01T10:00:01.3Z 0 [ERROR] [MY-010020] [Server] Data Dictionary initialization failed.
2026-01-01T10:00:01.4Z 0 [ERROR] [MY-010119] [Server] Aborting
"""


def test_a_log_gives_the_cause_and_not_its_aftermath() -> None:
    assert mysql_log.reason(LOG) == 'Unable to create temporary file inside "/tmp"; errno: 13'
    assert mysql_log.crash(LOG) == ""
    assert mysql_log.bad_setting(LOG) == ""
    assert mysql_log.reason("") == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2026-01-01T10:00:01Z 0 [ERROR] [MY-000067] [Server] unknown variable 'nope=1'.", "'nope=1'"),
        ("2026-01-01 10:00:01 0 [ERROR] /usr/sbin/mariadbd: unknown variable 'nope=1'", "'nope=1'"),
        ("2026-01-01 10:00:01 0 [ERROR] mariadbd: Error while setting value 'X' to 'sql_mode'", "sql_mode"),
    ],
)
def test_a_bad_setting_is_told_from_other_ends(line: str, said: str) -> None:
    assert said in mysql_log.bad_setting(line)
    assert not mysql_log.bad_setting(line).startswith("2026")


FREE = DatabaseState(
    sees_all=True,
    replica=False,
    read_only=False,
    replicas=0,
    clustered=False,
    prepared=0,
    sessions_here=0,
    sessions_elsewhere=3,
    marked=False,
    objects=0,
)


@pytest.mark.parametrize(
    ("change", "guard"),
    [
        ({"sees_all": False}, "sees-everything"),
        ({"replica": True}, "not-in-recovery"),
        ({"read_only": True}, "not-in-recovery"),
        ({"replicas": 1}, "no-standbys"),
        ({"clustered": True}, "no-cluster"),
        ({"of_the_server": True}, "not-the-servers-own"),
        ({"prepared": 1}, "no-prepared"),
        ({"sessions_here": 1}, "no-sessions"),
        ({"objects": 1}, "empty-or-marked"),
        ({"objects": 1, "marked": True}, None),
        ({}, None),
    ],
)
def test_each_guard_refuses_by_itself(change: dict[str, bool | int], guard: str | None) -> None:
    failed = failed_guard(dataclasses.replace(FREE, **change))  # type: ignore[arg-type]  # fields of both kinds
    assert (failed[0] if failed else None) == guard


STATUS = """
TRANSACTIONS
------------
LIST OF TRANSACTIONS FOR EACH SESSION:
---TRANSACTION 376132963504112, not started
0 lock struct(s), heap size 1128, 0 row lock(s)
---TRANSACTION 2072, ACTIVE (PREPARED) 0 sec
4 lock struct(s), heap size 1128, 3 row lock(s), undo log entries 4
MySQL thread id 55, OS thread handle 140111434835712, query id 36265418 h app waiting for handler commit
COMMIT
---TRANSACTION 2071, ACTIVE (PREPARED) 9 sec recovered trx
1 lock struct(s), heap size 1128, 0 row lock(s), undo log entries 1

--------
FILE I/O
--------
I/O thread 0 state: waiting for i/o request (insert buffer thread id 1)
"""


def test_prepared_transactions_that_nobody_has_are_counted_in_innodbs_status() -> None:
    assert prepared_in(STATUS) == 1
    assert prepared_in(STATUS.replace("2071, ACTIVE (PREPARED)", "2071, ACTIVE")) == 0
    assert prepared_in(STATUS.replace("TRANSACTION 376", "... truncated...\n---TRANSACTION 376")) is None


def test_every_guard_has_a_name_of_its_own() -> None:
    assert len({name for name, _, _ in GUARDS}) == len(GUARDS)


def test_an_address_is_read_in_full(tmp_path: Path) -> None:
    target = parse_mysql_dsn("mysql://us%40er:p%2Fw@h:3307/d%20b?ssl-mode=REQUIRED", MYSQL)
    assert (target.user, target.host, target.port, target.dbname) == ("us@er", "h", 3307, "d b")
    assert target.password == Secret("p/w")
    assert target.options == (("ssl-mode", "REQUIRED"),)
    file = tmp_path / "password"
    file.write_text("from a file\n")
    named = parse_mysql_dsn(f"mariadb://u@h/d?password-file={file}", MARIADB)
    assert (named.password, named.port, named.options) == (Secret("from a file"), 3306, ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mysql:///d", "guard complete-address: the DSN names no host, no user"),
        ("mysql://u:hunter2@h", "names no database"),
        ("mysql://u:hunter2@h,g/d", "guard one-host"),
        ("mysql://u:hunter2@h:port/d", "cannot be read"),
        ("mysql://u:hunter2@h/d?service=x", "service cannot be given"),
        ("mysql://u:hunter2@h/d?ssl-mode=MAYBE", "no ssl-mode MAYBE"),
        ("mysql://u@h/d?password-file=/nope", "password-file /nope: No such file"),
    ],
)
def test_an_address_that_leaves_something_open_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_mysql_dsn(text, MYSQL)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "engine"),
    [
        ("docker:mysql:9.7", MYSQL),
        ("docker:registry/percona/percona-server:8", MYSQL),
        ("docker:mariadb:11.8", MARIADB),
        ("mysql://u@h/d", MYSQL),
        ("mariadb://u@h/d", MARIADB),
        ("docker:postgres:18", EngineName.POSTGRES),
        ("embedded", EngineName.POSTGRES),
        ("host=mysql dbname=d", EngineName.POSTGRES),
        ("postgresql://mysql@mysql/mysql", EngineName.POSTGRES),
        ("local:/nope", EngineName.POSTGRES),
    ],
)
def test_an_engine_is_known_by_where_it_is_to_be(text: str, engine: EngineName) -> None:
    assert engine_of(text) is engine


def test_a_directory_without_a_server_or_with_another_ones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match=f"no mariadbd and no mysqld in {tmp_path}"):
        mysql_installation(str(tmp_path), MYSQL)
    server = tmp_path / "mysqld"
    server.write_text("#!/bin/sh\necho 'mysqld  Ver 10.11.6-MariaDB for Linux'\n")
    server.chmod(0o755)
    with pytest.raises(ProvisionError, match=r'mariadb 10.11.6, not mysql; engine = "mariadb"'):
        mysql_installation(str(tmp_path), MYSQL)
    with pytest.raises(ProvisionError, match="makes a data directory"):
        mysql_installation(str(tmp_path), MARIADB)
