"""`rehearse up`: a server held for others, and nothing left of it however it ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from rehearse.acts.holding import DATABASE
from rehearse.cli.main import main
from rehearse.engines.mysql.connect import connect, fetch
from rehearse.engines.postgres.databases import run_databases
from rehearse.errors import ExitCode, InputError
from rehearse.model.migration import SqlFile
from rehearse.model.scenario import DatabaseSpec, DatasetSpec, MigrationSpec, Scenario
from rehearse.model.target import EngineName
from rehearse.provision.clean import clean
from rehearse.provision.mysql_dsn import parse_mysql_dsn
from rehearse.rehearsal import rehearse
from tests.provision.deaths import containers_of
from tests.provision.runs import ROOT

WITHIN_S = 120.0
POSTGRES_INIT = "CREATE TABLE t (n int);\nINSERT INTO t VALUES (7);\n"
MYSQL_INIT = """DELIMITER //
CREATE PROCEDURE fill() BEGIN INSERT INTO t VALUES (3); INSERT INTO t VALUES (4); END//
DELIMITER ;
CREATE TABLE t (n int PRIMARY KEY);
CALL fill();
"""


@contextmanager
def holding(*words: str) -> Iterator[subprocess.Popen[str]]:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "rehearse", "up", "--json", *words]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def shown(child: subprocess.Popen[str]) -> dict[str, Any]:
    """What it prints once it is up."""
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line)
        if line == "}\n":
            break
    document: dict[str, Any] = json.loads("".join(lines))
    return document


def test_a_server_is_held_until_ctrl_c_and_its_password_is_in_a_private_file(tmp_path: Path) -> None:
    init = tmp_path / "init.sql"
    init.write_text(POSTGRES_INIT)
    with holding("--init", str(init), "--extension", "pg_trgm", "--setting", "work_mem=7MB") as child:
        document = shown(child)
        file = Path(document["password_file"])
        password = file.read_text().strip()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert password not in json.dumps(document)
        assert dict(document["environment"]["settings"])["work_mem"] == "7MB"
        passfile = document["command"].partition("?passfile=")[2].strip("'")
        with psycopg.connect(document["address"], passfile=passfile) as session:
            assert session.execute("SELECT n FROM t").fetchall() == [(7,)]
            assert session.execute("SELECT similarity('a', 'a')").fetchone() == (1.0,)
            # somebody's, which no run on this server drops as one that a dead run left
            (ours,) = [each for each in run_databases(session) if each.name == DATABASE]
            assert not ours.made_by_a_run
        child.send_signal(signal.SIGINT)
        assert child.wait(WITHIN_S) == ExitCode.GO
        assert not file.parent.exists()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(document["address"], password=password)


@pytest.mark.container
def test_killed_it_leaves_no_server_and_no_password(
    tmp_path: Path, mysql_bindir: Callable[[EngineName], Path]
) -> None:
    init = tmp_path / "init.sql"
    init.write_text(MYSQL_INIT)
    bindir = mysql_bindir(EngineName.MARIADB)
    with holding("--provision", f"local:{bindir}", "--init", str(init)) as child:
        document = shown(child)
        file = Path(document["password_file"])
        target = parse_mysql_dsn(f"{document['address']}?password-file={file}", EngineName.MARIADB)
        with closing(connect(target, "rehearse")) as session:
            assert fetch(session, "SELECT n FROM t ORDER BY n") == [(3,), (4,)]
            place = Path(str(fetch(session, "SELECT @@datadir")[0][0])).parent
        child.kill()
        child.wait()
        wait_until(lambda: not place.exists())
        assert not [p.pid for p in psutil.process_iter(["cmdline"]) if str(place) in str(p.info["cmdline"])]
        clean()
        assert not file.parent.exists()


@pytest.mark.container
def test_a_container_of_one_that_was_killed_is_swept(container_images: frozenset[str]) -> None:
    assert "mariadb:11.8" in container_images
    with holding("--provision", "docker:mariadb:11.8") as child:
        wait_until(lambda: bool(containers_of(child.pid)))
        child.kill()
        child.wait()
    assert any("mariadb:11.8" in line for line in clean())
    assert not containers_of(child.pid)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "spec",
    [
        DatabaseSpec(engine=EngineName.MYSQL, provision="docker:mysql:9.7"),
        DatabaseSpec(engine=EngineName.MARIADB, provision="mariadb://u@h/d"),
        DatabaseSpec(provision="docker:mariadb:11.8"),
    ],
    ids=lambda spec: f"{spec.engine.value} {spec.provision}",
)
def test_what_cannot_be_rehearsed_on_yet_is_refused_before_anything_is_started(
    spec: DatabaseSpec, tmp_path: Path
) -> None:
    files = SqlFile("a.sql", "SELECT 1")
    scenario = Scenario("x", DatasetSpec(files), MigrationSpec((files,)), database=spec)
    with pytest.raises(InputError, match=r"cannot be rehearsed on (mysql|mariadb) yet, only on postgres"):
        rehearse(scenario, tmp_path, disposable=None, on_status=lambda _: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--provision", "nowhere"], "`--provision` must be"),
        (["--setting", "work_mem"], "`--setting work_mem` has no value"),
        (["--init", "/nope.sql"], "`--init` names `/nope.sql`, which does not exist"),
        (["--memory", "1"], "`--memory` must be a size"),
        (["--memory", "1GiB"], "is for `docker:IMAGE`"),
        (
            ["--provision", "docker:mysql:9.7", "--engine", "mariadb"],
            "does not look like an image of mariadb",
        ),
        (["--provision", "docker:mysql:9.7", "--extension", "x"], "extensions are PostgreSQL's"),
        (["--provision", "mysql://u:hunter2@h/d"], "--disposable d"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_two(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["rehearse", "up", *words])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # what the command does with SIGTERM is its own
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == ExitCode.USAGE
    printed = capsys.readouterr().err
    assert said in printed
    assert "hunter2" not in printed
    assert printed.count("\n") == 1
