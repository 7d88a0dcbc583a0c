from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.errors import EnvironmentFailure, InputError, SqlFileError
from rehearse.model.target import Target
from rehearse.model.workload import (
    DriverHealth,
    LiveTraffic,
    Outcome,
    Pool,
    Protocol,
    SampleColumns,
    ScriptSource,
)
from rehearse.provision import Server
from rehearse.workload.driver import Driver
from rehearse.workload.script import parse_script

READ = "\\set id random(1, 100)\nselect payload from t where id = :id;\n"
WRITE = """\\set id random(1, 100)
begin;
update t set n = n + 1 where id = :id;
select n from t where id = :id;
end;
"""
SESSIONS = (
    "from pg_stat_activity where application_name = 'rehearse-traffic' and datname = current_database()"
)
EVER = (0, 2**62)
PATIENCE_S = 60.0  # for what takes a fraction of a second on a machine that has nothing else to do


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
    stopped_ns: int  # the order to stop was not given before
    halted_ns: int  # and had been given to every process by then

    @property
    def outcomes(self) -> Counter[Outcome]:
        return Counter(Outcome(code) for code in self.samples.outcome)

    @property
    def errors(self) -> Counter[str]:
        return Counter(self.samples.sqlstates[code] for code in self.samples.sqlstate if code >= 0)

    def latency_s(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        ended = np.frombuffer(self.samples.ended_ns, dtype=np.int64)
        return (ended - np.frombuffer(self.samples.scheduled_ns, dtype=np.int64)) / 1e9


@pytest.fixture(scope="module")
def own_database(server: Server) -> Iterator[Target]:
    """One for all tests here: making one takes longer than most of them."""
    create_database(server.target, "driver")
    yield server.target.on("driver")
    drop_database(server.target, "driver")


@pytest.fixture
def table(own_database: Target) -> Target:
    """A table as if nobody had ever done anything to it; those who did have gone."""
    until(lambda: fetch(own_database, f"select count(*) {SESSIONS}") == [(0,)])
    execute(
        own_database,
        "drop table if exists t",
        "create table t (id int primary key, n int not null default 0, payload text)",
        "insert into t select i, 0, 'p' || i from generate_series(1, 100) i",
    )
    return own_database


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def awaited(driver: Driver, condition: Callable[[LiveTraffic], bool]) -> LiveTraffic:
    """The first look at the traffic that is as wanted: the words of one are some milliseconds apart."""
    seen: list[LiveTraffic] = []

    def look() -> bool:
        seen.append(driver.live())
        return condition(seen[-1])

    until(look)
    return seen[-1]


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
    seconds: float = 0.4,
    meanwhile: Callable[[Driver], None] = lambda _driver: None,
    drain_s: float = PATIENCE_S,
    pools: Sequence[Pool] = (),
) -> Ran:
    driver = make(target, spool, load, *texts, pools=pools)
    try:
        zero_ns = driver.start()
        meanwhile(driver)
        time.sleep(max(0.0, seconds - (time.monotonic_ns() - zero_ns) / 1e9))
        stopped_ns = time.monotonic_ns()
        driver.halt(drain_s)
        halted_ns = time.monotonic_ns()
        samples = driver.stop(drain_s)
        return Ran(samples, driver.health(EVER), zero_ns, stopped_ns, halted_ns)
    finally:
        driver.abort()


DIVIDE = "\\set id random(1, 2)\nbegin;\nupdate t set n = n + 1 where id = :id;\nselect 1 / (:id - 1);\nend;"
CONDITIONS = """\\set id random(3, 100)
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
NO_ROW = "begin;\nselect n from t where id = 0 \\gset\nend;"
PIPED = "begin;\n\\startpipeline\nselect 1;\nselect 1 / 0;\nselect 2;\n\\endpipeline\nend;"

# where the connection might be encrypted, libpq reads and writes, and we do not
PERHAPS_ENCRYPTED = (("gssencmode", "prefer"),)


@pytest.mark.parametrize(
    ("protocol", "processes", "options"),
    [
        (Protocol.PREPARED, 2, ()),
        (Protocol.EXTENDED, 1, PERHAPS_ENCRYPTED),
        (Protocol.SIMPLE, 1, PERHAPS_ENCRYPTED),
    ],
)
def test_every_transaction_that_was_due_is_answered(
    table: Target, tmp_path: Path, protocol: Protocol, processes: int, options: tuple[tuple[str, str], ...]
) -> None:
    table = replace(table, options=(*table.options, *options))
    ran = run(table, tmp_path, Load(processes=processes, protocol=protocol, clients=5), READ, WRITE)
    samples = ran.samples
    assert len(samples) > 40
    assert ran.outcomes == {Outcome.OK: len(samples)}
    assert samples.scripts == ("s0", "s1")
    assert fetch(table, "select sum(n) from t") == [(samples.script.count(1),)]
    scheduled, started, ended = samples.scheduled_ns, samples.started_ns, samples.ended_ns
    assert list(scheduled) == sorted(scheduled)
    assert all(ran.zero_ns <= a <= b < c for a, b, c in zip(scheduled, started, ended, strict=True))
    assert max(scheduled) <= ran.halted_ns + 10_000_000_000  # a process hears of it when it gets its turn
    assert (ran.health.offered, ran.health.finished) == (len(samples), len(samples))
    assert (ran.health.processes, ran.health.clients) == (processes, 5)
    late = [begun - due for due, begun in zip(scheduled, started, strict=True)]
    assert 0 < ran.health.lag_p50_ns <= ran.health.lag_max_ns <= max(late)


def test_a_closed_loop_keeps_every_client_busy(table: Target, tmp_path: Path) -> None:
    ran = run(
        table,
        tmp_path,
        Load(rate=None, clients=3),
        READ,
        seconds=0,
        meanwhile=lambda driver: until(lambda: driver.live().finished > 100),
    )
    assert len(ran.samples) > 100
    assert list(ran.samples.scheduled_ns) == list(ran.samples.started_ns)


def test_a_lock_shows_as_long_as_it_lasts_and_while_it_does(table: Target, tmp_path: Path) -> None:
    driver = make(table, tmp_path, Load(processes=2), READ)
    assert driver.live().due == 0
    try:
        driver.start()
        assert len(driver.pids()) == 4
        pids = fetch(table, f"select pid {SESSIONS}")
        with connect(table, "rehearse") as connection:
            before = awaited(driver, lambda live: live.finished > 40 and live.rate > 0)
            with connection.transaction():
                connection.execute("lock table t in access exclusive mode")
                held_ns = time.monotonic_ns()
                during = awaited(driver, lambda live: is_held(live, since_ns=held_ns))
                now_ns = time.monotonic_ns()
        assert driver.pids() == {row[0] for row in pids}
        samples = driver.stop(PATIENCE_S)
        health = driver.health(EVER)
    finally:
        driver.abort()
    assert before.failed == 0
    assert before.p99_ns is not None
    assert during.failed == 0
    assert set(samples.outcome) == {Outcome.OK}
    due, ended = (np.frombuffer(column, np.int64) for column in (samples.scheduled_ns, samples.ended_ns))
    meanwhile = (due > held_ns) & (due < now_ns)
    assert meanwhile.sum() > 80  # all that came meanwhile, and not just one a connection
    assert (ended[meanwhile] > now_ns).all()
    assert (ended - due).max() >= 0.9 * (now_ns - held_ns)
    assert health.peak_queue > 100
    assert len(driver.lag_ns((held_ns, now_ns))) <= 4  # queueing behind the lock is not the driver's lag


def is_held(live: LiveTraffic, *, since_ns: int) -> bool:
    """Whether a lock taken then has held everybody up for most of a second, as the gauges show it."""
    now_ns, oldest_ns = time.monotonic_ns(), live.oldest_in_flight_ns
    return (
        now_ns > since_ns + 800_000_000
        and (live.in_flight, live.queued > 100) == (4, True)
        and oldest_ns is not None
        and oldest_ns < now_ns - 500_000_000
        and live.due >= live.finished + live.in_flight + live.queued - 10
    )


@pytest.mark.parametrize("options", [(), PERHAPS_ENCRYPTED])
def test_terminated_sessions_come_back(
    table: Target, tmp_path: Path, options: tuple[tuple[str, str], ...]
) -> None:
    table = replace(table, options=(*table.options, *options))

    def terminate(driver: Driver) -> None:
        until(lambda: driver.live().finished > 20 and len(driver.pids()) == 4)
        old = driver.pids()
        execute(table, f"select pg_terminate_backend(pid) {SESSIONS}")
        until(lambda: len(driver.pids() - old - {0}) == 4 and not driver.pids() & old)
        before = driver.live().finished
        until(lambda: driver.live().finished > before + 50)

    ran = run(table, tmp_path, Load(processes=2), WRITE, meanwhile=terminate)
    assert set(ran.outcomes) <= {Outcome.OK, Outcome.CONNECTION_LOST}
    assert ran.outcomes[Outcome.CONNECTION_LOST] <= 4
    assert ran.health.reconnects == 4
    assert ran.outcomes[Outcome.OK] > 60


@pytest.mark.parametrize("options", [(), PERHAPS_ENCRYPTED])
def test_an_error_ends_its_transaction_and_nothing_else(
    table: Target, tmp_path: Path, options: tuple[tuple[str, str], ...]
) -> None:
    table = replace(table, options=(*table.options, *options))
    ran = run(table, tmp_path, Load(), DIVIDE, CONDITIONS, NO_ROW, PIPED)
    samples = ran.samples
    ends = Counter(
        (script, samples.sqlstates[state] if state >= 0 else "", statement)
        for script, state, statement in zip(samples.script, samples.sqlstate, samples.statement, strict=True)
    )
    assert set(ends) == {(0, "", -1), (0, "22012", 2), (1, "", -1), (2, "P0002", 1), (3, "22012", 2)}
    assert set(ran.outcomes) == {Outcome.OK, Outcome.ERROR}
    assert fetch(table, "select sum(n), max(n) filter (where id = 1) from t where id < 3") == [
        (ends[0, "", -1], 0)
    ]
    ((odd, even),) = fetch(
        table,
        "select sum(n) filter (where id % 2 = 1), sum(n) filter (where id % 2 = 0) from t where id > 2",
    )
    assert isinstance(odd, int)
    assert isinstance(even, int)
    assert odd > 0 > even


def test_a_changed_result_type_fails_once_a_connection(table: Target, tmp_path: Path) -> None:
    def change(driver: Driver) -> None:
        until(lambda: driver.live().finished > 30)  # so that each connection has been used
        execute(table, "alter table t add column extra int")
        before = driver.live().finished
        until(lambda: driver.live().finished > before + 50)

    text = "\\set id random(1, 100)\nselect * from t where id = :id;"
    ran = run(table, tmp_path, Load(), text, meanwhile=change)
    assert ran.errors == {"0A000": 4}
    assert ran.outcomes[Outcome.OK] > 60


def test_statements_that_are_gone_are_prepared_again(table: Target, tmp_path: Path) -> None:
    ran = run(table, tmp_path, Load(clients=1, rate=100), READ, "deallocate all;")
    assert set(ran.errors) == {"26000"}
    assert ran.outcomes[Outcome.OK] > 10


def test_a_missing_column_is_reported_as_such_until_it_is_back(table: Target, tmp_path: Path) -> None:
    def rename(driver: Driver) -> None:
        until(lambda: driver.live().finished > 20)
        execute(table, "alter table t rename payload to body")
        execute(table, f"select pg_terminate_backend(pid) {SESSIONS}")
        until(lambda: driver.live().failed > 30)
        execute(table, "alter table t rename body to payload")
        before = driver.live()
        until(lambda: driver.live().finished > before.finished + 50)

    ran = run(table, tmp_path, Load(), READ, meanwhile=rename)
    assert ran.errors["42703"] > 20  # the connections made anew could not prepare it either
    last = [outcome for outcome, due in zip(ran.samples.outcome, ran.samples.scheduled_ns, strict=True)][-20:]
    assert set(last) == {Outcome.OK}


def test_what_does_not_end_in_time_is_unfinished(table: Target, tmp_path: Path) -> None:
    with connect(table, "rehearse") as connection:

        def lock(driver: Driver) -> None:
            connection.execute("begin; lock table t in access exclusive mode")
            until(lambda: driver.live().in_flight == 4 and driver.live().queued > 20)

        ran = run(table, tmp_path, Load(rate=100), READ, drain_s=0.3, meanwhile=lock)
        # and nobody is left waiting on the server
        until(lambda: fetch(table, f"select count(*) {SESSIONS} and wait_event_type = 'Lock'") == [(0,)])
    assert ran.outcomes[Outcome.UNFINISHED] > 20
    unfinished = [place for place, outcome in enumerate(ran.samples.outcome) if outcome == Outcome.UNFINISHED]
    assert sum(ran.samples.started_ns[place] > 0 for place in unfinished) == 4
    assert min(ran.samples.ended_ns[place] for place in unfinished) >= ran.stopped_ns + 290_000_000


def test_answers_of_many_reads_are_taken_whole(table: Target, tmp_path: Path) -> None:
    large = "select repeat('x', 1000), i from generate_series(1, 300) i;"
    long = "select length('" + "y" * 3_000_000 + "');"  # more than a socket takes at once
    ran = run(table, tmp_path, Load(rate=40, protocol=Protocol.EXTENDED), large, long, READ)
    assert ran.outcomes == {Outcome.OK: len(ran.samples)}
    assert set(ran.samples.script) == {0, 1, 2}


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
    load = Load(rate=500.0, processes=2, protocol=protocol)
    ran = run(table, tmp_path, load, text, pools=pools)
    # half of the rows went to each process: both have run out, and nothing was sent twice
    assert ran.outcomes == {Outcome.OK: 60, Outcome.SKIPPED: len(ran.samples) - 60}
    assert ran.health.skipped == len(ran.samples) - 60 > 0
    found = fetch(table, "select id, payload from t where id >= 1000 order by id")
    assert found == [(n, f"it's {n - 1000}\\") for n in range(1000, 1060)]


def test_a_wrong_statement_is_named_before_the_run(table: Target, tmp_path: Path) -> None:
    driver = make(table, tmp_path, Load(), READ, "select 1;\n\nselect payload,\n  nonsense from t;")
    with pytest.raises(SqlFileError, match="nonsense") as caught:
        driver.start()
    assert (caught.value.file, caught.value.line) == ("s1.sql", 4)


def test_no_connection_is_an_environment_failure(table: Target, tmp_path: Path) -> None:
    nowhere = replace(table, dbname="nowhere")
    with pytest.raises(EnvironmentFailure, match="nowhere") as caught:
        make(nowhere, tmp_path, Load(), READ).start()
    assert password_of(table) not in str(caught.value)


def test_scripts_of_no_weight_are_refused(table: Target, tmp_path: Path) -> None:
    script = parse_script(ScriptSource("s", READ, weight=0))
    with pytest.raises(InputError, match="weight"):
        Driver(table, [script], [], Load(), 1, tmp_path)
