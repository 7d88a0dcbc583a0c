"""The parts of made-up runs: traffic, statements, waits, gates, whole records."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rehearse.model.gates import Comparison, Gate, MetricRef
from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    Effects,
    HeldLock,
    MigrationRun,
    SqlFile,
    Statement,
    StatementOutcome,
    TransactionMode,
    TransactionSpan,
)
from rehearse.model.record import (
    SCHEMA_VERSION,
    DatasetFacts,
    Environment,
    Phase,
    PhaseSpan,
    RunRecord,
    ScriptInfo,
    Stage,
    TableFacts,
    Trial,
    TrialKind,
)
from rehearse.model.relation import Relation
from rehearse.model.scenario import DatasetSpec, MigrationSpec, RowCounts, Scenario
from rehearse.model.verdict import (
    GateResult,
    GateStatus,
    Judgement,
    Quantity,
    Unit,
)
from rehearse.model.waits import Blocker, LockWait, ObserverCost, Party, Role
from rehearse.model.workload import DriverHealth, Outcome, SampleColumns

SECOND = 1_000_000_000
ORIGIN = 5_000 * SECOND
START = ORIGIN + 20 * SECOND  # the migration's start
ORDERS = Relation("public", "orders")
CUSTOMERS = Relation("public", "customers")
NOTHING = Effects()
INDEX = Relation("public", "orders_customer_id_idx")
SCRIPTS = ("read_order", "place_order")
NAIVE_INDEX = "CREATE INDEX orders_customer_id_idx ON orders (customer_id)"


def ns(seconds: float) -> int:
    """`seconds` as nanoseconds."""
    return round(seconds * SECOND)


def at(seconds: float) -> int:
    """The monotonic time `seconds` after the migration's start."""
    return START + ns(seconds)


@dataclass(frozen=True)
class Block:
    """A time in which nothing of these scripts (indexes) finishes; what was due then ends after it."""

    start: float
    end: float
    scripts: tuple[int, ...] = (0, 1)
    fails: str | None = None  # the SQLSTATE with which every transaction in it fails, right away


def phases(migration_s: float, recovery_s: float = 4.0) -> tuple[PhaseSpan, ...]:
    """3 s of warm-up and 8 s of baseline before the migration, which gets a fifth of a second at least."""
    borders = (-11.0, -8.0, 0.0, max(migration_s, 0.2), max(migration_s, 0.2) + recovery_s)
    spans = zip(Phase, borders, borders[1:], strict=False)
    return tuple(PhaseSpan(phase, at(a), at(b)) for phase, a, b in spans)


def traffic(
    spans: Sequence[PhaseSpan], blocks: Sequence[Block] = (), rate: float = 400.0, seed: int = 7
) -> SampleColumns:
    """Open-loop traffic: 400 transactions a second, median 1.2 ms, 99th percentile 4 ms."""
    rng = np.random.default_rng(seed)
    seconds = (spans[-1].end_ns - spans[0].start_ns) / SECOND
    due = np.sort(rng.uniform(0, seconds, rng.poisson(rate * seconds))) + (spans[0].start_ns - START) / SECOND
    script = (rng.random(len(due)) < 0.3).astype(np.int64)
    ended = due + rng.lognormal(np.log(1.2e-3), 0.52, len(due))
    outcome = np.full(len(due), int(Outcome.OK))
    sqlstate = np.full(len(due), -1)
    states: list[str] = []
    last = (spans[-1].end_ns - START) / SECOND
    for block in blocks:
        hit = np.isin(script, block.scripts) & (due >= block.start) & (due < block.end)
        if block.fails:
            if block.fails not in states:
                states.append(block.fails)
            outcome[hit], sqlstate[hit] = int(Outcome.ERROR), states.index(block.fails)
        else:
            ended[hit] = block.end + rng.lognormal(np.log(8e-3), 1.0, int(hit.sum()))
    late = ended > last
    outcome[late], sqlstate[late], ended[late] = int(Outcome.UNFINISHED), -1, last
    return _columns(due, ended, script, outcome, sqlstate, tuple(states))


def _columns(
    due: np.ndarray, ended: np.ndarray, script: np.ndarray, outcome: np.ndarray, sqlstate: np.ndarray,
    states: tuple[str, ...],
) -> SampleColumns:  # fmt: skip
    def long(values: np.ndarray) -> array[int]:
        return array("q", (START + np.round(values * SECOND).astype(np.int64)).tolist())

    def short(values: np.ndarray) -> array[int]:
        return array("h", values.astype(np.int16).tolist())

    return SampleColumns(
        SCRIPTS,
        states,
        short(script),
        long(due),
        long(due + 4e-5),
        long(ended),
        short(outcome),
        short(sqlstate),
        short(np.where(outcome == Outcome.ERROR, 0, -1)),
    )


def statement(
    index: int,
    text: str,
    start: float,
    end: float,
    effects: Effects | None = NOTHING,
    *,
    command: str = "",
    transaction: int | None = None,
    outcome: StatementOutcome = StatementOutcome.OK,
    sqlstate: str | None = None,
    message: str | None = None,
    waited: float = 0.0,
) -> Statement:
    """A statement that ran from `start` to `end`, in a transaction of its own unless said otherwise."""
    return Statement(
        index=index,
        text=text,
        file="up.sql",
        line=index * 2 + 1,
        command=command or " ".join(text.split()[:2]).upper(),
        transaction=index if transaction is None else transaction,
        started_ns=at(start),
        ended_ns=at(end),
        outcome=outcome,
        sqlstate=sqlstate,
        message=message,
        waited_ns=ns(waited),
        effects=effects,
    )


def held(mode: LockMode, relation: Relation = ORDERS, kind: str = "table") -> HeldLock:
    """A lock on `relation` read inside the transaction."""
    return HeldLock(relation, mode, kind, ORDERS if kind == "index" else relation)


def run_of(*statements: Statement, mode: TransactionMode = TransactionMode.AS_WRITTEN) -> MigrationRun:
    """The migration of these statements, with a span a transaction."""
    executed = [s for s in statements if s.outcome is not StatementOutcome.NOT_RUN]
    spans = []
    for index in dict.fromkeys(s.transaction for s in executed):
        mine = [s for s in executed if s.transaction == index]
        ok = all(s.outcome is StatementOutcome.OK for s in mine)
        spans.append(TransactionSpan(index, mine[0].started_ns, mine[-1].ended_ns, ok))
    return MigrationRun(mode, executed[0].started_ns, executed[-1].ended_ns, tuple(statements), tuple(spans))


MIGRATION = Party(900, Role.MIGRATION, statement=0)


def waits_behind(
    script: str, mode: LockMode, held_mode: LockMode, start: float, end: float, sessions: int = 8
) -> tuple[LockWait, ...]:
    """Sessions of `script` that queue up one after the other behind the migration until `end`."""
    return tuple(
        LockWait(
            Party(1000 + i, Role.TRAFFIC, script=script),
            (Blocker(MIGRATION, held_mode, queued=False),),
            "relation",
            mode,
            ORDERS,
            at(start + (end - start) * 0.1 * i / sessions),
            at(end - 0.02),
        )
        for i in range(sessions)
    )


def seconds(value: float) -> Quantity:
    """A quantity of time."""
    return Quantity(value, Unit.SECONDS)


def scenario(name: str, sql: str) -> Scenario:
    """The scenario of the made-up runs."""
    gates = (
        Gate("stall.max <= 1s", MetricRef("stall.max"), Comparison.AT_MOST, 1.0),
        Gate("errors.rate <= 0.1%", MetricRef("errors.rate"), Comparison.AT_MOST, 0.001),
    )
    return Scenario(
        name=name,
        dataset=DatasetSpec(
            SqlFile("schema.sql", "CREATE TABLE orders (...)"), RowCounts(None, (("orders", 2_000_000),))
        ),
        migration=MigrationSpec((SqlFile("up.sql", sql),)),
        production=RowCounts(None, (("orders", 300_000_000),)),
        gates=gates,
        source=f"scenarios/{name}.toml",
    )


ENVIRONMENT = Environment(
    provisioner="embedded",
    server_version="18.1",
    cpus=8,
    memory_bytes=16 * 2**30,
    platform="Linux 6.8 x86_64",
    tool_version="0.1.0",
    python_version="3.12.4",
    settings=(("shared_buffers", "1GB"), ("max_wal_size", "8GB")),
    notes=("fsync is on, as in production", "copies were made by clone"),
)
HEALTH = DriverHealth(
    processes=1, clients=32, offered=6000, finished=5998, offered_baseline=3200, finished_baseline=3200,
    lag_p50_ns=80_000, lag_p99_ns=410_000, lag_max_ns=2_300_000, cpu_share=0.14, peak_queue=12,
)  # fmt: skip


def record_of(
    name: str,
    run: MigrationRun | None,
    judgement: Judgement | None,
    *,
    waits: Sequence[LockWait] = (),
    spans: Sequence[PhaseSpan] | None = None,
    stage: Stage = Stage.DONE,
) -> RunRecord:
    """A whole record around a migration."""
    if spans is None:
        spans = phases((run.ended_ns - run.started_ns) / SECOND if run else 1.0)
    cost = ObserverCost(412, ns(0.31), spans[-1].end_ns - spans[0].start_ns, ns(0.06), ns(0.25))
    trial = Trial(TrialKind.TRAFFIC, tuple(spans), run, tuple(waits), (), cost, HEALTH, "samples.parquet")
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        run_id=f"20250301T120000Z-{name}",
        started_at="2025-03-01T12:00:00+00:00",
        origin_ns=ORIGIN,
        stage=stage,
        scenario=scenario(name, "; ".join(s.text for s in run.statements) if run else ""),
        environment=ENVIRONMENT,
        dataset=DatasetFacts(2_200_000, 412 * 2**20, 3.4, 1.2, 42, ("orders.customer_id has no NULLs",)),
        tables=(
            TableFacts(ORDERS, 2_000_000, 310 * 2**20, 44 * 2**20, 300_000_000, touched=True),
            TableFacts(CUSTOMERS, 200_000, 22 * 2**20, 8 * 2**20),
        ),
        scripts=(
            ScriptInfo("read_order", 7, ("SELECT * FROM orders WHERE id = $1",)),
            ScriptInfo("place_order", 3, ("INSERT INTO orders (customer_id, total) VALUES ($1, $2)",)),
        ),
        trials=(trial,),
        judgement=judgement,
    )


def metrics(**values: float | None) -> tuple[tuple[str, Quantity | None], ...]:
    """The metrics of a run; keywords replace the calm ones (`stall_max=2.9`)."""
    calm: dict[str, float | None] = {
        "stall.max": 0.0, "stall.total": 0.0, "latency.p50{phase=baseline}": 0.0012,
        "latency.p50{phase=migration}": 0.0012, "latency.p99{phase=baseline}": 0.004,
        "latency.p99{phase=migration}": 0.0043, "blocking.max": 0.0, "blocking.held": 0.0,
        "blocking.queued": 0.0, "blocking.projected": 0.0, "duration": 0.0081, "duration.projected": 0.0081,
    }  # fmt: skip
    for key, value in values.items():
        calm[key if "{" in key else key.replace("_", ".")] = value
    made = [
        (name, None if v is None else seconds(v)) for name, v in calm.items() if not name.startswith("errors")
    ]
    rate = calm.get("errors.rate", 0.0)
    count = calm.get("errors.count", 0.0)
    made += [
        ("errors.rate", None if rate is None else Quantity(rate, Unit.RATIO)),
        ("errors.count", None if count is None else Quantity(count, Unit.COUNT)),
        ("throughput", Quantity(398.0, Unit.PER_SECOND)),
        ("wal.bytes", Quantity(120.0 * 2**20, Unit.BYTES)),
    ]
    return tuple(made)


def ratio(value: float) -> Quantity:
    """A share, 1.0 the whole."""
    return Quantity(value, Unit.RATIO)


def gate(
    text: str, status: GateStatus, observed: Quantity | None, limit: Quantity | None, note: str = ""
) -> GateResult:
    """A gate's result; the metric is the text's first word."""
    return GateResult(text, text.split(" ", 1)[0], status, observed, limit, note)


def passing_gates() -> tuple[GateResult, ...]:
    """The default gates on a calm run."""
    return (
        gate("stall.max <= 1s", GateStatus.PASSED, seconds(0.0), seconds(1)),
        gate(
            "latency.p99{phase=migration} <= 3x latency.p99{phase=baseline}",
            GateStatus.PASSED,
            seconds(0.0043),
            seconds(0.012),
        ),
        gate("errors.rate <= 0.1%", GateStatus.PASSED, ratio(0.0), ratio(0.001)),
        gate("blocking.projected <= 1s", GateStatus.PASSED, seconds(0.0), seconds(1)),
    )
