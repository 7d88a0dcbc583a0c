"""Synthetic records: a shop with two hot tables, 12 s of traffic, and a migration of your choice."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from rehearse.model.gates import DEFAULT_GATES, Comparison, Gate, MetricRef
from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    Effects,
    HeldLock,
    IndexBuild,
    MigrationRun,
    SqlFile,
    Statement,
    StatementOutcome,
    TableWork,
    TransactionMode,
    TransactionSpan,
)
from rehearse.model.record import (
    SCHEMA_VERSION,
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
from rehearse.model.scenario import DatasetSpec, MigrationSpec, Scenario
from rehearse.model.waits import ObserverCost
from rehearse.model.workload import DriverHealth, Footprint, Outcome, SampleColumns

S = 1_000_000_000
MS = 1_000_000
BASELINE = (1 * S, 9 * S)
START = 9 * S  # of the migration
ROWS = 300_000
PRODUCTION = 200_000_000

ORDERS = Relation("public", "orders")
CUSTOMERS = Relation("public", "customers")
AUDIT = Relation("public", "audit")  # nobody's script touches it

AS, ROW_SHARE, RX, SUE, SHARE, SRE, X, AX = LockMode

READ, WRITE = "read_order", "place_order"
SCRIPTS = (
    ScriptInfo(READ, 5, ("SELECT id, status, note FROM orders JOIN customers USING (id) WHERE id = $1",)),
    ScriptInfo(
        WRITE, 5, ("INSERT INTO orders (customer_id, amount) VALUES ($1, $2)", "UPDATE customers ...")
    ),
)
FOOTPRINTS = (
    Footprint(READ, ((ORDERS, AS), (CUSTOMERS, AS))),
    Footprint(WRITE, ((ORDERS, RX), (CUSTOMERS, RX), (CUSTOMERS, ROW_SHARE))),
)


def parse(metric: str) -> MetricRef:
    """`latency.p99{phase=baseline}`."""
    name, _, selector = metric.partition("{")
    pairs = [part.split("=") for part in selector.rstrip("}").split(",") if part]
    return MetricRef(name, tuple((key, value) for key, value in pairs))


def gate(metric: str, operator: str, limit: float, relative: str = "", floor: float | None = None) -> Gate:
    """A gate, as the scenario's parser would make it."""
    other = parse(relative) if relative else None
    text = f"{metric} {operator} {limit:g}" + (f"x {relative}" if relative else "")
    return Gate(text, parse(metric), Comparison(operator), limit, other, floor)


def default_gates() -> tuple[Gate, ...]:
    assert dict(DEFAULT_GATES)["errors.rate"] == "<= 0.1%"  # what follows says the same as DEFAULT_GATES
    return (
        gate("stall.max", "<=", 1.0),
        gate("latency.p99{phase=migration}", "<=", 3.0, "latency.p99{phase=baseline}"),
        gate("errors.rate", "<=", 0.001),
        gate("blocking.projected", "<=", 1.0),
    )


@dataclass(frozen=True)
class Blocked:
    """`scripts` get no answer from `start_ns` to `end_ns`."""

    start_ns: int
    end_ns: int
    scripts: tuple[str, ...] = (READ, WRITE)


@dataclass(frozen=True)
class Failing:
    """Every `every`-th transaction of `script` scheduled in the span fails."""

    script: str
    sqlstate: str
    start_ns: int
    end_ns: int
    every: int = 1
    statement: int = 0


def samples(
    *,
    end_ns: int,
    blocked: Iterable[Blocked] = (),
    failing: Iterable[Failing] = (),
    per_second: int = 100,
    latency_ns: Callable[[int], int] = lambda number: (4 + number % 5) * MS,
) -> SampleColumns:
    """Two scripts, `per_second` transactions of each, from 0 to `end_ns`."""
    columns = SampleColumns(scripts=(READ, WRITE))
    states: list[str] = []
    blocked, failing = tuple(blocked), tuple(failing)
    for number in range(end_ns * per_second // S):
        for index, script in enumerate(columns.scripts):
            due = number * S // per_second + index * MS
            ended = due + latency_ns(number)
            for block in blocked:
                if script in block.scripts and due < block.end_ns and ended > block.start_ns:
                    ended = block.end_ns + number % 50 * MS // 10
            fail = next(
                (
                    f
                    for f in failing
                    if f.script == script and f.start_ns <= due < f.end_ns and number % f.every == 0
                ),
                None,
            )
            if fail and fail.sqlstate not in states:
                states.append(fail.sqlstate)
            add(
                columns,
                index,
                due,
                ended,
                Outcome.ERROR if fail else Outcome.OK,
                states.index(fail.sqlstate) if fail else -1,
                fail.statement if fail else -1,
            )
    columns.sqlstates = tuple(states)
    return columns


def add(
    columns: SampleColumns,
    script: int,
    due: int,
    ended: int,
    outcome: Outcome = Outcome.OK,
    state: int = -1,
    statement: int = -1,
) -> None:
    columns.script.append(script)
    columns.scheduled_ns.append(due)
    columns.started_ns.append(due)
    columns.ended_ns.append(ended)
    columns.outcome.append(outcome)
    columns.sqlstate.append(state)
    columns.statement.append(statement)


def only(columns: SampleColumns, keep: Callable[[int, int], bool]) -> SampleColumns:
    """The samples for which `keep(script, scheduled_ns)`."""
    places = [p for p in range(len(columns)) if keep(columns.script[p], columns.scheduled_ns[p])]
    kept = SampleColumns(scripts=columns.scripts, sqlstates=columns.sqlstates)
    for name in ("script", "scheduled_ns", "started_ns", "ended_ns", "outcome", "sqlstate", "statement"):
        column = getattr(columns, name)
        setattr(kept, name, array(column.typecode, (column[p] for p in places)))
    return kept


def lock(relation: Relation, mode: LockMode, kind: str = "table", *, created_here: bool = False) -> HeldLock:
    return HeldLock(relation, mode, kind, relation, created_here)


def index_lock(name: str, mode: LockMode, table: Relation = ORDERS) -> HeldLock:
    return HeldLock(Relation("public", name), mode, "index", table)


def work(table: Relation = ORDERS, rows: int = ROWS, **more: bool) -> TableWork:
    return TableWork(table, rows, rows * 100, **more)


def build(table: Relation = ORDERS, rows: int = ROWS, name: str = "an_index", **more: bool) -> IndexBuild:
    return IndexBuild(Relation("public", name), table, rows, rows * 30, **more)


def statement(
    text: str,
    *locks: HeldLock,
    took_s: float = 0.005,
    transaction: int = -1,
    waited_s: float = 0.0,
    timeout_ms: int = 0,
    outcome: StatementOutcome = StatementOutcome.OK,
    sqlstate: str | None = None,
    effects: Effects | None = None,
) -> Statement:
    """A statement that began at 0 and took `took_s`; `migration` moves it to its place."""
    words = text.upper().replace("(", " ").split()
    command = " ".join(words[:2])
    if words[0] in ("UPDATE", "DELETE", "INSERT", "SELECT", "CLUSTER", "TRUNCATE", "DO", "BEGIN", "COMMIT"):
        command = words[0]
    if words[:2] == ["CREATE", "UNIQUE"]:
        command = "CREATE UNIQUE INDEX"
    if words[:2] == ["REFRESH", "MATERIALIZED"]:
        command = "REFRESH MATERIALIZED VIEW"
    if "CONCURRENTLY" in words:
        command += " CONCURRENTLY"
    return Statement(
        index=0,
        text=text,
        file="up.sql",
        line=1,
        command=command,
        transaction=transaction,
        started_ns=0,
        ended_ns=round(took_s * S),
        outcome=outcome,
        sqlstate=sqlstate,
        message="the server's words" if sqlstate else None,
        lock_timeout_ms=timeout_ms,
        waited_ns=round(waited_s * S),
        effects=replace(effects or Effects(wal_bytes=1000), locks=locks),
    )


def migration(*statements: Statement, rolled_back: Sequence[int] = ()) -> MigrationRun:
    """The statements one after the other from START on; transaction -1: one of its own."""
    now, placed = START, []
    for index, made in enumerate(statements):
        transaction = 1000 + index if made.transaction < 0 else made.transaction
        lasted = made.ended_ns - made.started_ns
        placed.append(
            replace(
                made,
                index=index,
                line=index + 1,
                transaction=transaction,
                started_ns=now,
                ended_ns=now + lasted,
            )
        )
        now += lasted
    spans = []
    for transaction in dict.fromkeys(made.transaction for made in placed):
        mine = [made for made in placed if made.transaction == transaction]
        failed = any(made.outcome is not StatementOutcome.OK for made in mine)
        committed = not failed and transaction not in rolled_back
        spans.append(TransactionSpan(transaction, mine[0].started_ns, mine[-1].ended_ns, committed))
    return MigrationRun(TransactionMode.AS_WRITTEN, START, now, tuple(placed), tuple(spans))


def tables(production: int | None = PRODUCTION, rows: int = ROWS) -> tuple[TableFacts, ...]:
    return tuple(
        TableFacts(relation, rows, rows * 100, rows * 30, production, touched=True, key=("id",))
        for relation in (ORDERS, CUSTOMERS, AUDIT)
    )


def end_of(run: MigrationRun) -> tuple[int, int]:
    """Where the migration phase and the recovery end."""
    phase_end = max(run.ended_ns, START + S)
    return phase_end, phase_end + 4 * S


def record(
    run: MigrationRun,
    *,
    production: int | None = PRODUCTION,
    gates: tuple[Gate, ...] | None = None,
    expendable: tuple[str, ...] = (),
    footprints: tuple[Footprint, ...] = FOOTPRINTS,
) -> RunRecord:
    """A whole record of `run`, with everything measured."""
    phase_end, recovery_end = end_of(run)
    trial = Trial(
        kind=TrialKind.TRAFFIC,
        phases=(
            PhaseSpan(Phase.WARM_UP, 0, BASELINE[0]),
            PhaseSpan(Phase.BASELINE, *BASELINE),
            PhaseSpan(Phase.MIGRATION, START, phase_end),
            PhaseSpan(Phase.RECOVERY, phase_end, recovery_end),
        ),
        migration=run,
        observer=ObserverCost(500, 1, 100, 20 * MS, 100 * MS),
        driver=DriverHealth(1, 32, 3000, 3000, 1600, 1598, MS, 2 * MS, 5 * MS, 0.2, 3),
    )
    empty = SqlFile("up.sql", "")
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        run_id="0",
        started_at="2030-01-01T00:00:00+00:00",
        origin_ns=0,
        stage=Stage.JUDGE,
        scenario=Scenario(
            name="synthetic",
            dataset=DatasetSpec(empty),
            migration=MigrationSpec((empty,), expendable=expendable),
            gates=default_gates() if gates is None else gates,
        ),
        tables=tables(production),
        scripts=SCRIPTS,
        footprints=footprints,
        trials=(trial,),
    )


def with_trial(made: RunRecord, **changes: object) -> RunRecord:
    return replace(made, trials=(replace(made.trials[0], **changes),))  # type: ignore[arg-type] # any field


def quiet(run: MigrationRun) -> SampleColumns:
    """Traffic that noticed nothing."""
    return samples(end_ns=end_of(run)[1])


def queued(run: MigrationRun) -> SampleColumns:
    """Traffic that stood still from the migration's start to its end."""
    return samples(end_ns=end_of(run)[1], blocked=[Blocked(run.started_ns, run.ended_ns)])
