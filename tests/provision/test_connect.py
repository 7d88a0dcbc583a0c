"""Connections go where the target says, whatever the environment says."""

from __future__ import annotations

import dataclasses
import os
import socket
from pathlib import Path

import pytest
from psycopg import pq

from rehearse.engines.postgres.connect import connect, conninfo, ignore_environment
from rehearse.errors import ServerLostError
from rehearse.model.target import EngineName, Secret, Target

MISLEADING = {
    "PGHOST": "192.0.2.1",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGDATABASE": "elsewhere",
    "PGUSER": "somebody",
    "PGPASSWORD": "wrong",
    "PGSERVICE": "production",
    "PGOPTIONS": "-c search_path=nowhere",
    "PGSSLMODE": "verify-full",
    "PGAPPNAME": "other",
    "PGTZ": "Asia/Tokyo",
    "PGCLIENTENCODING": "LATIN1",
    "PGTARGETSESSIONATTRS": "standby",
    "DATABASE_URL": "postgresql://somebody@192.0.2.1/production",
}


def test_the_environment_leads_nowhere_else(database: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in MISLEADING.items():
        monkeypatch.setenv(name, value)
    with connect(database, "rehearse") as connection:
        row = connection.execute(
            "SELECT current_database(), current_user, inet_server_port(),"
            " current_setting('application_name'), current_setting('search_path'),"
            " current_setting('TimeZone'), current_setting('client_encoding')"
        ).fetchone()
    assert row == (
        database.dbname,
        database.user,
        database.port,
        "rehearse",
        '"$user", public',
        "UTC",
        "UTF8",
    )


def test_every_variable_that_libpq_knows_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar]
    for name in known:
        monkeypatch.setenv(name, "x")
    ignore_environment()
    assert not [name for name in known if name in os.environ]


def test_a_password_file_is_read_only_where_the_target_names_it(
    database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database.password is not None
    file = tmp_path / ".pgpass"
    file.touch(mode=0o600)
    file.write_text(f"*:*:*:*:{database.password.reveal()}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PGPASSFILE", str(file))
    bare = dataclasses.replace(database, password=None)
    with pytest.raises(ServerLostError, match="no password supplied"):
        connect(bare, "rehearse")
    named = dataclasses.replace(bare, options=(("passfile", str(file)),))
    connect(named, "rehearse").close()


def test_without_a_password_nothing_is_printed(database: Target, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ServerLostError, match="no password supplied"):
        connect(dataclasses.replace(database, password=None), "rehearse")
    assert capfd.readouterr() == ("", "")


def test_a_refusal_is_one_line_without_the_password(database: Target) -> None:
    wrong = dataclasses.replace(database, password=Secret("hunter2hunter2"))
    with pytest.raises(ServerLostError) as caught:
        connect(wrong, "rehearse")
    text = str(caught.value)
    assert "password authentication failed" in text
    assert "hunter2" not in text
    assert "\n" not in text
    assert (
        caught.value.__context__ is None
    )  # the driver's exception, with all it was given, is not carried along


def test_nobody_listening_is_one_line() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        target = Target(EngineName.POSTGRES, "127.0.0.1", closed.getsockname()[1], "d", "u")
        with pytest.raises(ServerLostError, match=r"no connection to database 'd'.*Connection refused"):
            connect(target, "rehearse")


def test_values_with_quotes_and_spaces_stay_whole() -> None:
    target = Target(EngineName.POSTGRES, "h", 1, "it's a db", "u\\ser", Secret("a b='c'"))
    words = {o.keyword: o.val for o in pq.Conninfo.parse(conninfo(target, "rehearse").encode())}
    assert (words[b"dbname"], words[b"user"], words[b"password"]) == (b"it's a db", b"u\\ser", b"a b='c'")


def test_autocommit_is_the_default_and_can_be_off(database: Target) -> None:
    with connect(database, "rehearse") as on, connect(database, "rehearse", autocommit=False) as off:
        assert on.autocommit
        assert not off.autocommit
