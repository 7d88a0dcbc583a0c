"""What the driver does beyond sending: retries, time-outs of scripts, rates that change, late statements."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psycopg
import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.errors import SqlFileError
from rehearse.model.target import Target
from rehearse.model.workload import (
    Outcome,
    Pacing,
    Pool,
    Protocol,
    RateStep,
    RetryPolicy,
    SampleColumns,
    ScriptSource,
    Trace,
)
from rehearse.provision import Server
from rehearse.workload.driver import Driver, Manner
from rehearse.workload.merge import merged_samples
from rehearse.workload.script import Script, parse_script
from rehearse.workload.takeover import NOTHING, handed_over
from rehearse.workload.traffic import Load

ADD = "\\set n random(1, 9)\nupdate t set n = n + :n where id = 1;\n"
IN_BLOCK = "begin;\nupdate t set n = n + 1 where id = 1;\nupdate t set n = n + 1 where id = 2;\nend;\n"
IMPATIENT = "-- rehearse: lock_timeout=40ms\n"


@pytest.fixture(scope="module")
def own_database(server: Server) -> Iterator[Target]:
    """One for all tests here: making one takes longer than most of them."""
    create_database(server.target, "sending")
    yield server.target.on("sending")
    drop_database(server.target, "sending")


@pytest.fixture
def table(own_database: Target) -> Target:
    with connect(own_database, "rehearse") as connection:
        connection.execute("drop table if exists t")
        connection.execute("create table t (id int primary key, n int not null)")
        connection.execute("insert into t values (1, 0), (2, 0)")
    return own_database


def script(text: str, name: str = "s") -> Script:
    return parse_script(ScriptSource(name, text, file=f"{name}.sql"))


def send(
    target: Target,
    spool: Path,
    scripts: list[Script],
    manner: Manner,
    *,
    rate: float | None = 60.0,
    seconds: float = 0.5,
    clients: int = 3,
    protocol: Protocol = Protocol.PREPARED,
    meanwhile: Callable[[Driver], None] = lambda _driver: None,
    pools: Sequence[Pool] = (),
) -> tuple[Driver, SampleColumns]:
    driver = Driver(target, scripts, pools, Load(rate, clients, 1, protocol, ()), 42, spool, manner)
    try:
        zero_ns = driver.start()
        meanwhile(driver)
        time.sleep(max(0.0, seconds - (time.monotonic_ns() - zero_ns) / 1e9))
        return driver, driver.stop(60.0)
    finally:
        driver.abort()


@contextmanager
def locked(target: Target) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with connect(target, "rehearse", autocommit=False) as holder:
        holder.execute("update t set n = n where id = 1")
        yield holder
        holder.rollback()


def until_tried(target: Target, times: int) -> None:
    """Until a session has come so many times to wait for a lock that nobody gives up."""
    seen: defaultdict[int, set[object]] = defaultdict(set)
    give_up = time.monotonic() + 60
    query = (
        "select pid, query_start from pg_stat_activity where wait_event_type = 'Lock'"
        " and application_name = 'rehearse-traffic' and datname = current_database()"
    )
    with connect(target, "rehearse") as connection:
        while max(map(len, seen.values()), default=0) < times:
            assert time.monotonic() < give_up
            for pid, began in connection.execute(query.encode()).fetchall():
                seen[pid].add(began)


def outcomes(samples: SampleColumns) -> Counter[Outcome]:
    return Counter(Outcome(code) for code in samples.outcome)


def value(target: Target, query: str) -> int:
    with connect(target, "rehearse") as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    ("text", "protocol"),
    [(ADD, Protocol.PREPARED), (IN_BLOCK, Protocol.SIMPLE)],
    ids=["one-statement", "block"],
)
def test_what_a_retry_heals_is_no_error_and_one_transaction(
    table: Target, tmp_path: Path, text: str, protocol: Protocol
) -> None:
    def hold(_driver: Driver) -> None:
        with locked(table):
            until_tried(table, times=5)

    manner = Manner(retry=RetryPolicy(("55P03",), attempts=1000, backoff_s=0.001))
    driver, samples = send(
        table, tmp_path, [script(IMPATIENT + text)], manner, meanwhile=hold, protocol=protocol
    )
    found = outcomes(samples)
    assert found[Outcome.RETRIED] > 0
    assert set(found) == {Outcome.OK, Outcome.RETRIED}
    retried = np.frombuffer(samples.outcome, dtype=np.int16) == Outcome.RETRIED
    assert {samples.sqlstates[samples.sqlstate[place]] for place in np.flatnonzero(retried)} == {"55P03"}
    latency = np.frombuffer(samples.ended_ns, dtype=np.int64) - np.frombuffer(
        samples.scheduled_ns, dtype=np.int64
    )
    assert latency[~retried].max() > 4 * 40e6  # from when it was due to its last end
    health = driver.health((0, 2**62))
    assert health.retries == found[Outcome.RETRIED]
    assert health.offered == health.finished == found[Outcome.OK]
    if text == IN_BLOCK:
        assert value(table, "select n from t where id = 2") == found[Outcome.OK]


def test_attempts_come_to_an_end(table: Target, tmp_path: Path) -> None:
    with locked(table):
        manner = Manner(retry=RetryPolicy(("55P03",), attempts=3, backoff_s=0.001))
        _, samples = send(table, tmp_path, [script(IMPATIENT + ADD)], manner, rate=20.0)
    found = outcomes(samples)
    assert found[Outcome.ERROR] > 0
    assert found[Outcome.RETRIED] == 2 * found[Outcome.ERROR]


@pytest.mark.parametrize("interpreted", [False, True])
def test_the_same_values_are_sent_again(table: Target, tmp_path: Path, interpreted: bool) -> None:
    with connect(table, "rehearse") as connection:
        connection.execute("drop sequence if exists tries, last; create sequence tries; create sequence last")
        connection.execute(  # nothing rolls sequences back
            "create or replace function refuse(v bigint) returns bigint language plpgsql as $$"
            "declare turn bigint; begin"
            "  turn := nextval('tries');"
            "  if turn % 3 = 1 then perform setval('last', v); end if;"
            "  if (select last_value from last) <> v then raise division_by_zero; end if;"
            "  if turn % 3 <> 0 then raise serialization_failure; end if;"
            "  return v; end $$"
        )
    text = "\\set v random(1, 1000000000)\nselect refuse(:v);\n"
    if interpreted:  # a value of a row, of two draws alike, and of a branch
        text = (
            "\\set a sample(t.id)\n\\set b random(1, 1000)\n\\set c random(1, 1000)\n"
            "\\if :b > 500\n\\set d random_gaussian(1, 90, 2.5)\n\\else\n\\set d 7\n\\endif\n"
            "\\set v (:a * 1000 + :b) * 100000 + :c * 100 + :d\nselect refuse(:v);\n"
        )
    manner = Manner(retry=RetryPolicy(attempts=9, backoff_s=0.0))
    pools = [Pool("sample", "t", {"id": [b"%d" % n for n in range(1, 90)]})]
    _, samples = send(table, tmp_path, [script(text)], manner, clients=1, rate=100.0, pools=pools)
    found = outcomes(samples)
    assert found[Outcome.RETRIED] == 2 * found[Outcome.OK] > 0
    assert not found[Outcome.ERROR]


@pytest.mark.parametrize("gset", [False, True], ids=["straight", "interpreted"])
def test_scripts_have_time_outs_of_their_own(table: Target, tmp_path: Path, gset: bool) -> None:
    end = " as x \\gset\n" if gset else ";\n"
    scripts = [
        script("-- rehearse: statement_timeout=50ms\nselect pg_sleep(0.3)" + end, "hasty"),
        script("-- notes\n-- rehearse: statement_timeout=100s\nselect pg_sleep(0.07)" + end, "patient"),
        script("select 1 / (current_setting('statement_timeout') = '0')::int;", "free"),
    ]
    _, samples = send(table, tmp_path, scripts, Manner(), rate=60.0, clients=4)
    ends = Counter(
        (samples.scripts[number], samples.sqlstates[state] if state >= 0 else "")
        for number, state in zip(samples.script, samples.sqlstate, strict=True)
    )
    assert set(ends) == {("hasty", "57014"), ("patient", ""), ("free", "")}


def test_one_time_out_for_all_is_the_connections_own(table: Target, tmp_path: Path) -> None:
    header = "-- rehearse: statement_timeout=123456ms lock_timeout=200s\n"
    text = header + "select 1 / (current_setting('{}') = '{}')::int;"
    scripts = [
        script(text.format("statement_timeout", "123456ms"), "a"),
        script(text.format("lock_timeout", "200s"), "b"),
    ]
    _, samples = send(table, tmp_path, scripts, Manner(), seconds=0.5)
    assert set(outcomes(samples)) == {Outcome.OK}


def test_a_wrong_header_names_its_line() -> None:
    for text, what in (
        ("-- rehearse: statement_timeuot=1s\nselect 1;", r"s\.sql:1: statement_timeuot is no setting"),
        ("-- a\n-- rehearse: lock_timeout=soon\nselect 1;", r"s\.sql:2: lock_timeout takes a time"),
    ):
        with pytest.raises(SqlFileError, match=what):
            script(text)


def test_rates_change_and_a_trace_is_followed(table: Target, tmp_path: Path) -> None:
    two = [script("select 1;", "a"), script("select 2;", "b")]
    steps = (RateStep(50.0, 0.5), RateStep(400.0))
    driver, samples = send(table, tmp_path, two, Manner(Pacing(steps=steps)), rate=None, seconds=1.0)
    due = np.frombuffer(samples.scheduled_ns, dtype=np.int64)
    assert (due < due[0] + 450_000_000).sum() < 80 < (due > due[0] + 550_000_000).sum()
    trace = Trace("t", 10**9, (0, 100_000_000, 200_000_000), (1, 0, 1), repeat=False)
    driver, samples = send(table, tmp_path, two, Manner(Pacing(trace=trace)), rate=None, seconds=0.6)
    assert samples.script.tolist() == [1, 0, 1]
    assert np.diff(np.frombuffer(samples.scheduled_ns, dtype=np.int64)).tolist() == [100_000_000] * 2
    assert driver.health((0, 2**62)).offered == 3


def test_traffic_goes_over_to_what_did_not_exist_before(table: Target, tmp_path: Path) -> None:
    protocol = Protocol.PREPARED
    steps = (RateStep(100.0, 0.2), RateStep(200.0))
    before = Manner(Pacing(steps=steps))
    old = Driver(table, [script(ADD, "old")], (), Load(None, 2, 1, protocol, ()), 1, tmp_path / "old", before)
    text = "\\set v sample(t.m)\nselect m from t where m = :v;\n"
    new = Driver(
        table,
        [script(text, "new")],
        (),
        Load(None, 2, 1, protocol, ()),
        2,
        tmp_path / "new",
        Manner(Pacing(steps=NOTHING), late=True),
    )
    try:
        new.open()
        old.start()
        time.sleep(0.3)
        with connect(table, "rehearse") as connection:
            connection.execute("alter table t add column m int default 5")
        at = new.begin([Pool("sample", "t", {"m": [b"5"]})])
        going, coming = handed_over(steps, (at - old.zero_ns) / 1e9, share=0.5, ramp_s=0.3)
        new.change(at, coming)
        old.change(at, going)
        time.sleep(0.9)
        old.halt(60.0)
        new.halt(60.0)
        samples = merged_samples([old.stop(60.0), new.stop(60.0)])
    finally:
        old.abort()
        new.abort()
    due = np.frombuffer(samples.scheduled_ns, dtype=np.int64)
    of_new = np.frombuffer(samples.script, dtype=np.int16) == samples.scripts.index("new")
    assert set(outcomes(samples)) == {Outcome.OK}
    assert (np.diff(due) >= 0).all()
    assert due[of_new].min() >= at
    late = due > at + 400_000_000
    assert 0.25 < of_new[late].mean() < 0.75


def test_merged_samples_keep_their_names() -> None:
    def one(name: str, state: str, at: int) -> SampleColumns:
        found = SampleColumns((name,), (state,))
        for place, code in ((at, 0), (at + 10, -1)):
            found.script.append(0)
            found.scheduled_ns.append(place)
            found.started_ns.append(place)
            found.ended_ns.append(place)
            found.outcome.append(Outcome.ERROR if code == 0 else Outcome.OK)
            found.sqlstate.append(code)
            found.statement.append(-1)
        return found

    both = merged_samples([one("a", "23505", 5), one("b", "22012", 7)])
    assert both.scheduled_ns.tolist() == [5, 7, 15, 17]
    assert [both.scripts[number] for number in both.script] == ["a", "b", "a", "b"]
    assert [both.sqlstates[code] if code >= 0 else "" for code in both.sqlstate] == ["23505", "22012", "", ""]
