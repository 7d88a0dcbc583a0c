from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.errors import EnvironmentFailure, InputError, SqlFileError
from rehearse.model.target import Target
from rehearse.model.workload import DriverHealth, Outcome, Pool, Protocol, SampleColumns, ScriptSource
from rehearse.workload.driver import Driver
from rehearse.workload.script import parse_script

READ = "\\set id random(1, 100)\nselect payload from t where id = :id;\n"
WRITE = """\\set id random(1, 100)
begin;
update t set n = n + 1 where id = :id;
select n from t where id = :id;
end;
"""
SESSIONS = "from pg_stat_activity where application_name = 'rehearse-traffic'"
EVER = (0, 2**62)


@dataclass(frozen=True)
class Load:
    rate: float | None = 200.0
    clients: int = 4
    processes: int = 1
    protocol: Protocol = Protocol.PREPARED
    variables: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Ran:
    samples: SampleColumns
    health: DriverHealth
    zero_ns: int
    stopped_ns: int

    @property
    def outcomes(self) -> Counter[Outcome]:
        return Counter(Outcome(code) for code in self.samples.outcome)

    @property
    def errors(self) -> Counter[str]:
        return Counter(self.samples.sqlstates[code] for code in self.samples.sqlstate if code >= 0)

    def latency_s(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        ended = np.frombuffer(self.samples.ended_ns, dtype=np.int64)
        return (ended - np.frombuffer(self.samples.scheduled_ns, dtype=np.int64)) / 1e9


@pytest.fixture
def table(database: Target) -> Target:
    execute(
        database,
        "create table t (id int primary key, n int not null default 0, payload text)",
        "insert into t select i, 0, 'p' || i from generate_series(1, 100) i",
    )
    return database


def password_of(target: Target) -> str:
    assert target.password is not None
    return target.password.reveal()


def execute(target: Target, *statements: str) -> None:
    with connect(target, "rehearse") as connection:
        for statement in statements:
            connection.execute(statement.encode())


def fetch(target: Target, query: str) -> list[tuple[object, ...]]:
    with connect(target, "rehearse") as connection:
        return connection.execute(query.encode()).fetchall()


def make(target: Target, spool: Path, load: Load, *texts: str, pools: Sequence[Pool] = ()) -> Driver:
    sources = [ScriptSource(f"s{place}", text, file=f"s{place}.sql") for place, text in enumerate(texts)]
    return Driver(target, [parse_script(source) for source in sources], pools, load, 42, spool)


def run(
    target: Target,
    spool: Path,
    load: Load,
    *texts: str,
    seconds: float = 0.6,
    meanwhile: Callable[[], None] = lambda: None,
    drain_s: float = 5.0,
    pools: Sequence[Pool] = (),
) -> Ran:
    driver = make(target, spool, load, *texts, pools=pools)
    try:
        zero_ns = driver.start()
        meanwhile()
        time.sleep(max(0.0, seconds - (time.monotonic_ns() - zero_ns) / 1e9))
        stopped_ns = time.monotonic_ns()
        samples = driver.stop(drain_s)
        return Ran(samples, driver.health(EVER), zero_ns, stopped_ns)
    finally:
        driver.abort()


@pytest.mark.parametrize(
    ("protocol", "processes"), [(Protocol.PREPARED, 2), (Protocol.EXTENDED, 1), (Protocol.SIMPLE, 1)]
)
def test_every_transaction_that_was_due_is_answered(
    table: Target, tmp_path: Path, protocol: Protocol, processes: int
) -> None:
    ran = run(table, tmp_path, Load(processes=processes, protocol=protocol, clients=5), READ, WRITE)
    samples = ran.samples
    assert 80 < len(samples) < 170
    assert ran.outcomes == {Outcome.OK: len(samples)}
    assert samples.scripts == ("s0", "s1")
    assert fetch(table, "select sum(n) from t") == [(samples.script.count(1),)]
    scheduled, started, ended = samples.scheduled_ns, samples.started_ns, samples.ended_ns
    assert list(scheduled) == sorted(scheduled)
    assert all(ran.zero_ns <= a <= b < c for a, b, c in zip(scheduled, started, ended, strict=True))
    assert max(scheduled) <= ran.stopped_ns + 10_000_000
    assert (ran.health.offered, ran.health.finished) == (len(samples), len(samples))
    assert (ran.health.processes, ran.health.clients) == (processes, 5)
    assert 0 < ran.health.lag_p50_ns < 20_000_000


def test_a_closed_loop_keeps_every_client_busy(table: Target, tmp_path: Path) -> None:
    ran = run(table, tmp_path, Load(rate=None, clients=3), READ)
    assert len(ran.samples) > 300
    assert list(ran.samples.scheduled_ns) == list(ran.samples.started_ns)


def test_a_lock_shows_as_long_as_it_lasts(table: Target, tmp_path: Path) -> None:
    def lock() -> None:
        time.sleep(0.3)
        execute(table, "begin", "lock table t in access exclusive mode", "select pg_sleep(1.5)", "commit")

    ran = run(table, tmp_path, Load(processes=2), READ, seconds=2.2, meanwhile=lock)
    assert ran.outcomes == {Outcome.OK: len(ran.samples)}
    assert 1.4 < ran.latency_s().max() < 2.2
    waited = ran.latency_s() > 0.1
    assert 0.4 < waited.mean() < 0.9  # all that came meanwhile, and not just one a connection
    assert ran.health.peak_queue > 100
    assert ran.health.lag_max_ns < 500_000_000  # queueing behind the lock is not the driver's lag


def test_what_is_going_on_is_seen_while_it_goes_on(table: Target, tmp_path: Path) -> None:
    driver = make(table, tmp_path, Load(processes=2), READ)
    assert driver.live().due == 0
    try:
        driver.start()
        assert len(driver.pids()) == 4
        pids = fetch(table, f"select pid {SESSIONS}")
        with connect(table, "rehearse") as connection:
            time.sleep(0.4)
            before = driver.live()
            with connection.transaction():
                connection.execute("lock table t in access exclusive mode")
                time.sleep(0.4)
                during, now = driver.live(), time.monotonic_ns()
        assert driver.pids() == {row[0] for row in pids}
        assert before.finished > 20
        assert before.failed == before.queued == 0
        assert 60 < before.rate < 500
        assert before.p99_ns is not None
        assert during.in_flight == 4
        assert during.queued > 20
        assert during.due >= during.finished + during.in_flight + during.queued - 5
        assert during.oldest_in_flight_ns is not None
        assert 0.25e9 < now - during.oldest_in_flight_ns < 0.45e9
        driver.stop(5)
    finally:
        driver.abort()


def test_terminated_sessions_come_back(table: Target, tmp_path: Path) -> None:
    def terminate() -> None:
        time.sleep(0.3)
        execute(table, f"select pg_terminate_backend(pid) {SESSIONS}")

    ran = run(table, tmp_path, Load(processes=2), WRITE, seconds=1.2, meanwhile=terminate)
    assert set(ran.outcomes) <= {Outcome.OK, Outcome.CONNECTION_LOST}
    assert ran.outcomes[Outcome.CONNECTION_LOST] <= 4
    assert ran.health.reconnects == 4
    assert max(ran.samples.ended_ns) > ran.zero_ns + 1_000_000_000
    assert ran.outcomes[Outcome.OK] > 150


def test_an_error_ends_its_transaction_and_nothing_else(table: Target, tmp_path: Path) -> None:
    text = (
        "\\set id random(1, 2)\nbegin;\nupdate t set n = n + 1 where id = :id;\nselect 1 / (:id - 1);\nend;"
    )
    ran = run(table, tmp_path, Load(), text)
    assert set(ran.outcomes) == {Outcome.OK, Outcome.ERROR}
    assert ran.errors == {"22012": ran.outcomes[Outcome.ERROR]}
    assert {
        statement
        for statement, outcome in zip(ran.samples.statement, ran.samples.outcome, strict=True)
        if outcome
    } == {2}
    assert fetch(table, "select sum(n), max(n) filter (where id = 1) from t") == [
        (ran.outcomes[Outcome.OK], 0)
    ]


def test_a_changed_result_type_fails_once_a_connection(table: Target, tmp_path: Path) -> None:
    def change() -> None:
        time.sleep(0.3)
        execute(table, "alter table t add column extra int")

    text = "\\set id random(1, 100)\nselect * from t where id = :id;"
    ran = run(table, tmp_path, Load(), text, meanwhile=change, seconds=1.0)
    assert ran.errors == {"0A000": 4}
    assert ran.outcomes[Outcome.OK] > 100


def test_statements_that_are_gone_are_prepared_again(table: Target, tmp_path: Path) -> None:
    ran = run(table, tmp_path, Load(clients=1, rate=100), READ, "deallocate all;", seconds=0.8)
    assert set(ran.errors) == {"26000"}
    assert ran.outcomes[Outcome.OK] > 30


def test_a_missing_column_is_reported_as_such_until_it_is_back(table: Target, tmp_path: Path) -> None:
    def rename() -> None:
        time.sleep(0.3)
        execute(table, "alter table t rename payload to body")
        execute(table, f"select pg_terminate_backend(pid) {SESSIONS}")
        time.sleep(0.4)
        execute(table, "alter table t rename body to payload")
        time.sleep(0.4)

    ran = run(table, tmp_path, Load(), READ, meanwhile=rename)
    assert ran.errors["42703"] > 20  # the connections made anew could not prepare it either
    last = [outcome for outcome, due in zip(ran.samples.outcome, ran.samples.scheduled_ns, strict=True)][-20:]
    assert set(last) == {Outcome.OK}


def test_what_does_not_end_in_time_is_unfinished(table: Target, tmp_path: Path) -> None:
    with connect(table, "rehearse") as connection:

        def lock() -> None:
            connection.execute("begin; lock table t in access exclusive mode")

        ran = run(table, tmp_path, Load(rate=100), READ, drain_s=0.3, meanwhile=lock)
        blocked = fetch(table, f"select count(*) {SESSIONS} and wait_event_type = 'Lock'")
    assert ran.outcomes[Outcome.UNFINISHED] > 30
    unfinished = [place for place, outcome in enumerate(ran.samples.outcome) if outcome == Outcome.UNFINISHED]
    assert sum(ran.samples.started_ns[place] > 0 for place in unfinished) == 4
    assert min(ran.samples.ended_ns[place] for place in unfinished) >= ran.stopped_ns + 290_000_000
    assert blocked == [(0,)]  # and nobody is left waiting on the server


def test_scripts_with_conditions_results_and_pipelines(table: Target, tmp_path: Path) -> None:
    text = """\\set id random(1, 100)
select id % 2 as odd, payload from t where id = :id \\gset got_
\\if :got_odd = 1
update t set n = n + 1 where id = :id and payload = :got_payload;
\\else
\\sleep 1 ms
\\startpipeline
update t set n = n - 1 where id = :id;
select :client_id, :scale;
\\syncpipeline
select 1;
\\endpipeline
\\endif
"""
    ran = run(table, tmp_path, Load(), text)
    assert ran.outcomes == {Outcome.OK: len(ran.samples)}
    ((odd, even),) = fetch(
        table, "select sum(n) filter (where id % 2 = 1), sum(n) filter (where id % 2 = 0) from t"
    )
    assert isinstance(odd, int)
    assert isinstance(even, int)
    assert odd > 0 > even


def test_a_capture_without_its_row_is_an_error_of_the_application(table: Target, tmp_path: Path) -> None:
    ran = run(table, tmp_path, Load(), "begin;\nselect n from t where id = 0 \\gset\nend;")
    assert ran.errors == {"P0002": len(ran.samples)}
    assert set(ran.samples.statement) == {1}


def test_an_error_in_a_pipeline_names_its_statement(table: Target, tmp_path: Path) -> None:
    text = "begin;\n\\startpipeline\nselect 1;\nselect 1 / 0;\nselect 2;\n\\endpipeline\nend;"
    ran = run(table, tmp_path, Load(), text)
    assert ran.errors == {"22012": len(ran.samples)}
    assert set(ran.samples.statement) == {2}


@pytest.mark.parametrize("protocol", [Protocol.PREPARED, Protocol.SIMPLE])
def test_pools_reach_the_server(table: Target, tmp_path: Path, protocol: Protocol) -> None:
    fresh = [b"%d" % n for n in range(1000, 1060)]
    pools = [
        Pool("fresh", "t", {"id": list(fresh), "payload": [b"it's %d\\" % n for n in range(60)]}),
        Pool("sample", "t", {"payload": [None]}),
    ]
    text = """\\set id fresh(t.id)
\\set payload fresh(t.payload)
\\set nothing sample(t.payload)
insert into t (id, payload) values (:id, coalesce(:nothing, :payload));
"""
    ran = run(table, tmp_path, Load(processes=2, protocol=protocol), text, pools=pools, seconds=0.9)
    # half of the rows went to each process: both have run out, and nothing was sent twice
    assert ran.outcomes == {Outcome.OK: 60, Outcome.SKIPPED: len(ran.samples) - 60}
    assert ran.health.skipped == len(ran.samples) - 60 > 0
    found = fetch(table, "select id, payload from t where id >= 1000 order by id")
    assert found == [(n, f"it's {n - 1000}\\") for n in range(1000, 1060)]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("select 1;\nselect payload,\n  nonsense from t;", 3, "nonsense"),
        ("selec 1;", 1, "syntax error"),
        ("select 1;\n\nselect * from nowhere;", 3, "nowhere"),
    ],
)
def test_a_wrong_statement_is_named_before_the_run(
    table: Target, tmp_path: Path, text: str, line: int, message: str
) -> None:
    driver = make(table, tmp_path, Load(), READ, text)
    with pytest.raises(SqlFileError, match=message) as caught:
        driver.start()
    assert (caught.value.file, caught.value.line) == ("s1.sql", line)


def test_no_connection_is_an_environment_failure(table: Target, tmp_path: Path) -> None:
    nowhere = replace(table, dbname="nowhere")
    with pytest.raises(EnvironmentFailure, match="nowhere") as caught:
        make(nowhere, tmp_path, Load(), READ).start()
    assert password_of(table) not in str(caught.value)


def test_scripts_of_no_weight_are_refused(table: Target, tmp_path: Path) -> None:
    script = parse_script(ScriptSource("s", READ, weight=0))
    with pytest.raises(InputError, match="weight"):
        Driver(table, [script], [], Load(), 1, tmp_path)


def test_the_password_is_neither_in_arguments_nor_in_the_environment(table: Target, tmp_path: Path) -> None:
    driver = make(table, tmp_path, Load(), READ)
    try:
        driver.start()
        (worker,) = (p for p in psutil.Process().children() if "rehearse.workload.worker" in p.cmdline())
        assert password_of(table) not in " ".join(worker.cmdline())
        assert password_of(table) not in str(worker.environ())
    finally:
        driver.abort()


@pytest.fixture
def conductor(table: Target, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs a driver and says so."""
    program = f"""
import sys, time
from pathlib import Path
from rehearse.model.scenario import WorkloadSpec
from rehearse.model.target import EngineName, Secret, Target
from rehearse.model.workload import ScriptSource
from rehearse.workload.driver import Driver
from rehearse.workload.script import parse_script
target = Target(
    EngineName.POSTGRES, {table.host!r}, {table.port}, {table.dbname!r}, {table.user!r}, Secret(sys.argv[1])
)
script = parse_script(ScriptSource("s", {READ!r}))
driver = Driver(target, [script], [], WorkloadSpec(clients=4, processes=2), 1, Path({str(tmp_path)!r}))
driver.start()
print("started", flush=True)
time.sleep(60)
"""
    arguments = [sys.executable, "-c", program, password_of(table)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        yield process
        process.kill()


def _runs(process: psutil.Process) -> bool:
    """A process that has ended but that nobody has waited for does not run."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_killing_the_parent_leaves_no_worker(conductor: subprocess.Popen[bytes], tmp_path: Path) -> None:
    workers = psutil.Process(conductor.pid).children()
    assert len(workers) == 2
    time.sleep(0.3)
    os.kill(conductor.pid, signal.SIGKILL)
    deadline = time.monotonic() + 1.5
    while any(map(_runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, workers))
    assert list(tmp_path.glob("*.samples"))  # and what was measured is kept


def test_nothing_is_left_of_an_aborted_run(table: Target, tmp_path: Path) -> None:
    threads = threading.active_count()
    driver = make(table, tmp_path, Load(processes=2), READ)
    driver.start()
    driver.abort()
    driver.abort()
    assert threading.active_count() == threads
    assert not [p for p in psutil.Process().children() if "rehearse.workload.worker" in p.cmdline()]
