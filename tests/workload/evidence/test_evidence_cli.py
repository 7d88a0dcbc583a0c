from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from rehearse.cli.main import app
from rehearse.engines.postgres.connect import connect
from rehearse.model.target import Target
from rehearse.scenario.load import load_scenario
from rehearse.workload.evidence.from_log import trace_logs
from rehearse.workload.evidence.replay import replay
from rehearse.workload.evidence.transactions import Wanted

LOG = "2026-03-01 12:00:0{n}.000 UTC [1] LOG:  duration: 0.1 ms  statement: {text}\n"
SCHEMA = "CREATE TABLE t (id int PRIMARY KEY, note text);"


def dsn(target: Target) -> str:
    assert target.password is not None
    password = target.password.reveal()
    return f"postgresql://{target.user}:{password}@{target.host}:{target.port}/{target.dbname}"


def test_a_log_becomes_scripts_that_a_scenario_takes(tmp_path: Path) -> None:
    log, schema, out = tmp_path / "x.log", tmp_path / "s.sql", tmp_path / "scripts"
    texts = [f"SELECT note FROM t WHERE id = {n}" for n in range(1, 6)] + ["SELECT gone FROM t WHERE id = 1"]
    log.write_text("".join(LOG.format(n=n, text=text) for n, text in enumerate(texts)))
    schema.write_text(SCHEMA)
    result = CliRunner().invoke(
        app, ["workload", "from-log", str(log), "--out", str(out), "--schema", str(schema)]
    )
    assert result.exit_code == 0, result.output
    assert 'column "gone" does not exist' in result.output
    (tmp_path / "up.sql").write_text("ALTER TABLE t ADD x int;")
    scenario = tmp_path / "x.toml"
    head = '[dataset]\nschema = "s.sql"\n[migration]\nup = "up.sql"\n'
    scenario.write_text(head + (out / "workload.toml").read_text())
    workload = load_scenario(scenario).workload
    assert [source.name for source in workload.scripts] == ["select_t"]
    assert workload.rate == 1.0
    recorded = (out / "trace.csv").read_text().splitlines()
    assert recorded[:2] == ["seconds,script", "0.000000,select_t"]
    assert len(recorded) == 1 + 5
    scenario.write_text(scenario.read_text().replace("rate =", "# rate =").replace("# trace =", "trace ="))
    trace = load_scenario(scenario).workload.trace
    assert trace is not None
    assert trace.due_ns == tuple(n * 10**9 for n in range(5))


def test_sessions_that_come_later_connect_meanwhile(tmp_path: Path, database: Target) -> None:
    log = tmp_path / "x.log"
    line = "2026-03-01 12:00:{at:06.3f} UTC [{pid}] LOG:  duration: 0.1 ms  statement: {text}\n"
    busy = [(n / 100, 1, "INSERT INTO t DEFAULT VALUES") for n in range(150)]
    # many at once, each a connection of its own, when the replay has long begun
    short = [(1.3 + n / 1000, 2 + n, f"INSERT INTO u VALUES (pg_backend_pid(), {n})") for n in range(20)]
    log.write_text("".join(line.format(at=at, pid=pid, text=text) for at, pid, text in sorted(busy + short)))
    with connect(database, "rehearse") as connection:
        connection.execute("CREATE TABLE t (id serial); CREATE TABLE u (pid int, n int)")
    trace = tmp_path / "trace.jsonl"
    facts, _ = trace_logs([log], trace, log_line_prefix="%m [%p] ", wanted=Wanted())
    assert facts.sessions == 21
    report = replay(database, trace)
    assert (report.sent, report.ok, report.errors, report.lost) == (170, 170, {}, 0)
    with connect(database, "rehearse") as connection:
        row = connection.execute("SELECT count(DISTINCT pid), count(DISTINCT n) FROM u").fetchone()
    assert row == (20, 20)


def test_a_trace_is_replayed_faster_than_it_happened(tmp_path: Path, database: Target) -> None:
    log = tmp_path / "x.log"
    texts = ["BEGIN", "INSERT INTO t VALUES (1, 'x')", "COMMIT", "SELECT nope"]
    log.write_text("".join(LOG.format(n=n, text=text) for n, text in enumerate(texts)))
    with connect(database, "rehearse") as connection:
        connection.execute(SCHEMA)
    runner = CliRunner()
    words = ["workload", "from-log", str(log), "--out", str(tmp_path / "t"), "--replay"]
    assert runner.invoke(app, words).exit_code != 0
    assert runner.invoke(app, [*words, "--keep-values"]).exit_code == 0
    trace = str(tmp_path / "t" / "trace.jsonl")
    result = runner.invoke(
        app, ["workload", "replay", trace, "--dsn", dsn(database), "--speed", "10", "--json"]
    )
    assert result.exit_code == 0, result.output
    assert '"ok": 3' in result.output
    assert '"42703": 1' in result.output
    with connect(database, "rehearse") as connection:
        assert connection.execute("SELECT * FROM t").fetchall() == [(1, "x")]


def test_what_asks_the_server_about_itself_is_left_out_and_listed(tmp_path: Path) -> None:
    log, schema, out = tmp_path / "x.log", tmp_path / "s.sql", tmp_path / "scripts"
    texts = [
        "SELECT note FROM t WHERE id = 1",
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "SELECT pg_catalog.pg_is_in_recovery()",
        "select c.relname from pg_catalog.pg_class as c join pg_catalog.pg_namespace n on true limit 1",
        "SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'x'",
        "SHOW server_version",
        "SELECT count(*) FROM pg_search_documents",  # the application's, for all its name
        "SELECT nextval('gone_seq')",  # text that names what is not there
        "SELECT current_setting(lower('NO_SUCH.SETTING'))",
    ]
    log.write_text("".join(LOG.format(n=n, text=text) for n, text in enumerate(texts)))
    schema.write_text(f"{SCHEMA} CREATE TABLE pg_search_documents (id int);")
    result = CliRunner().invoke(
        app, ["workload", "from-log", str(log), "--out", str(out), "--schema", str(schema)]
    )
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.glob("*.sql")) == [
        "select_pg_search_documents.sql",
        "select_t.sql",
    ]
    for reason in (
        "left out: 2 statements that read the system's own tables",
        "left out: 2 statements that call set_config()",
        "left out: 1 SHOW statements",
        'relation "x" does not exist',
        'unrecognized configuration parameter "x"',
    ):
        assert reason in result.output
