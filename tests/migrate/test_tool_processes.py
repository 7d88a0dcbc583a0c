"""A migration tool as a process: what it is told, what of it is ended, and who has to end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rehearse.errors import ScenarioError
from rehearse.migrate.command import refuse_idle
from rehearse.model.migration import StatementOutcome
from tests.migrate.conftest import RunTool

SOURCE = Path(__file__).parents[2]


def test_a_tool_that_is_broken_off_is_ended_with_all_it_has_started(tool: RunTool, tmp_path: Path) -> None:
    texts: list[str] = []
    run = tool(
        f"""
        import subprocess, sys
        asleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = subprocess.Popen(asleep, start_new_session=True)
        open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
        psycopg.connect("").execute("SELECT pg_sleep(600)")
        """,
        on_state=lambda state: texts.append(state.text),
        broken_off=lambda: "SELECT pg_sleep(600)" in texts,
    )

    assert run.failed is not None
    assert run.failed.text == "SELECT pg_sleep(600)"
    assert run.tool is not None
    assert run.tool.exit_status is None
    assert not psutil.pid_exists(int((tmp_path / "child").read_text()))


def test_a_tool_that_takes_too_long_is_cancelled(tool: RunTool) -> None:
    run = tool("import time; time.sleep(600)", timeout_s=0.5)

    assert run.failed is not None
    assert run.failed.outcome is StatementOutcome.CANCELLED
    assert run.failed.message == "cancelled: the migration took longer than 0.5 s"


def test_nothing_of_the_callers_reaches_it(tool: RunTool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PGHOST",
        "PGSERVICE",
        "PGPASSFILE",
        "PGOPTIONS",
        "POSTGRES_HOST",
        "DATABASE_URL",
        "DB_HOST",
    ):
        monkeypatch.setenv(name, "production.example")
    monkeypatch.setenv("ANYTHING", "postgresql+psycopg://u:p@production.example/x")
    run = tool(
        """
        import os
        print([n for n, v in os.environ.items() if "production.example" in v])
        print(sorted(n for n in os.environ if n.startswith("PG")))
        print(os.environ["OWN"].replace(os.environ["PGPORT"], "PORT"))
        psycopg.connect(os.environ["DATABASE_URL"]).execute("SELECT 1")
        """,
        env={"OWN": "at ${PGHOST}:$PGPORT and $NOTHING"},
    )

    assert run.tool is not None
    assert run.tool.output == (
        "[]",
        str(
            [
                *("PGAPPNAME", "PGDATABASE", "PGHOST", "PGPASSWORD", "PGPORT", "PGSSLMODE"),
                "PGUSER",
            ]
        ),
        "at 127.0.0.1:PORT and $NOTHING",
    )
    with pytest.raises(ScenarioError, match="changed nothing"):
        refuse_idle(run)


def test_the_address_is_for_this_database_and_password_alone(tool: RunTool) -> None:
    run = tool(
        """
        import os
        for wrong in ({"dbname": "postgres"}, {"user": "somebody"}, {"password": "guessed"}):
            try:
                psycopg.connect("", **wrong)
            except psycopg.OperationalError as error:
                print(str(error).strip().rpartition("FATAL:  ")[2])
        """
        """
        c = psycopg.connect("", options="-c lock_timeout=7s", application_name="me")
        print(c.execute("SHOW lock_timeout").fetchone(), c.execute("SHOW application_name").fetchone())
        """,
    )
    assert run.tool is not None
    assert [line[:20] for line in run.tool.output[:3]] == ["this is a rehearsal:"] * 3
    assert run.tool.output[3] == "('7s',) ('rehearse-migration',)"
    assert run.statements[-1].lock_timeout_ms == 7000


def test_one_that_never_comes_is_refused(tool: RunTool) -> None:
    with pytest.raises(ScenarioError, match="never came to the rehearsal's database"):
        tool("pass")


def test_a_keeper_that_is_killed_leaves_nothing_either(tool: RunTool, tmp_path: Path) -> None:
    run = tool(
        f"""
        import os, signal, subprocess, sys, time
        lasting = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '600'], "
        lasting += "start_new_session=True).pid, flush=True); time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", lasting], stdout=subprocess.PIPE, text=True)
        open({str(tmp_path / "pids")!r}, "w").write(f"{{child.pid}} {{child.stdout.readline()}}")
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
        """
    )
    assert run.tool is not None
    assert run.tool.exit_status == -signal.SIGKILL
    assert run.failed is not None
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    until = time.monotonic() + 60
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_a_kill_of_ours_leaves_no_tool_running(tmp_path: Path) -> None:
    script = tmp_path / "lasting.py"
    script.write_text(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(os.getpid(), child.pid, flush=True)\ntime.sleep(600)\n"
    )
    ours = (
        "import sys\n"
        "from rehearse.migrate.tool import Process\n"
        "from rehearse.model.migration import ToolSpec\n"
        "process = Process(ToolSpec((sys.executable, sys.argv[1])), {'PATH': ''})\n"
        "process.wait(lambda: bool(process.output()))\n"
        "print(process.output()[0], flush=True)\n"
        "sys.stdin.read()\n"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", ours, str(script)],
        cwd=SOURCE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdin is not None
    pids = [int(word) for word in started.stdout.readline().split()]
    assert len(pids) == 2
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    until = time.monotonic() + 60
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    started.stdout.close()
    started.stdin.close()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
