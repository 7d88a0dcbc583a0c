"""Made-up runs with realistic numbers, of which everything is known: what the reports are tested with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    Effects,
    HeldLock,
    IndexBuild,
    StatementOutcome,
    TableWork,
    TransactionMode,
)
from rehearse.model.record import RunRecord, ScriptInfo, Stage
from rehearse.model.relation import Relation
from rehearse.model.verdict import Finding, GateStatus, Judgement, Severity, Verdict
from rehearse.model.waits import Blocker, LockWait, Party, Role, Stall
from rehearse.model.workload import SampleColumns
from tests.report.build import (
    INDEX,
    MIGRATION,
    NAIVE_INDEX,
    ORDERS,
    SECOND,
    START,
    Block,
    at,
    gate,
    held,
    metrics,
    passing_gates,
    ratio,
    record_of,
    run_of,
    seconds,
    statement,
    traffic,
    waits_behind,
)


def naive_index() -> tuple[RunRecord, SampleColumns]:
    """CREATE INDEX on a hot table: writes stall for 2.9 s, reads go on. NO-GO."""
    effects = Effects(
        locks=(held(LockMode.SHARE),),
        built=(IndexBuild(INDEX, ORDERS, 2_000_000, 43 * 2**20),),
        wal_bytes=44 * 2**20,
        wal_exact=True,
    )
    run = run_of(statement(0, NAIVE_INDEX, 0.0, 2.9, effects))
    blocked = Finding(
        "index-build-blocks-writes",
        Severity.FAILURE,
        "CREATE INDEX builds over orders while its SHARE lock keeps every write out",
        statement=0,
        subject="orders",
        observed=seconds(435.0),
        limit=seconds(1.0),
        evidence=(
            "SHARE on orders held for 2.9 s at 2 M rows",
            "place_order waited for ROW EXCLUSIVE on orders, at least 2.86 s",
            "at 300 M rows the lock would be held for about 7 min 15 s",
        ),
        advice="CREATE INDEX CONCURRENTLY orders_customer_id_idx ON orders (customer_id);",
    )
    stalled = Finding(
        "stall",
        Severity.FAILURE,
        "place_order stalled for 2.9 s: 348 transactions were due and none finished",
        statement=0,
        subject="place_order",
        observed=seconds(2.9),
        limit=seconds(1.0),
        evidence=("from 0 s to 2.9 s after the migration's start",),
        advice="Build the index CONCURRENTLY.",
    )
    queue = Finding(
        "unbounded-lock-queue",
        Severity.WARNING,
        "CREATE INDEX takes SHARE on orders with no lock_timeout in force",
        statement=0,
        subject="orders",
        advice="SET lock_timeout = '2s';",
    )
    judged = Judgement(
        Verdict.NO_GO,
        (queue, blocked, stalled),
        (
            gate("stall.max <= 1s", GateStatus.FAILED, seconds(2.9), seconds(1)),
            gate(
                "latency.p99{phase=migration} <= 3x latency.p99{phase=baseline}",
                GateStatus.FAILED,
                seconds(2.81),
                seconds(0.012),
                "noise guard: the halves of the baseline differ by 6 %",
            ),
            gate("errors.rate <= 0.1%", GateStatus.PASSED, ratio(0.0), ratio(0.001)),
            gate("blocking.projected <= 1s", GateStatus.FAILED, seconds(435.0), seconds(1)),
        ),
        metrics(
            stall_max=2.9, stall_total=2.9, duration=2.9, blocking_held=2.9, blocking_max=2.86,
            blocking_projected=435.0, duration_projected=435.0, **{"latency.p99{phase=migration}": 2.81},
        ),
        (Stall("place_order", at(0.0), at(2.9), 348, 0),),
    )  # fmt: skip
    record = record_of(
        "naive-index",
        run,
        judged,
        waits=waits_behind("place_order", LockMode.ROW_EXCLUSIVE, LockMode.SHARE, 0.01, 2.9, 32),
    )
    return record, traffic(record.trials[0].phases, [Block(0.0, 2.9, (1,))])


def concurrent_index() -> tuple[RunRecord, SampleColumns]:
    """CREATE INDEX CONCURRENTLY: slower, and nobody notices. GO."""
    effects = Effects(
        locks=(held(LockMode.SHARE_UPDATE_EXCLUSIVE),),
        built=(IndexBuild(INDEX, ORDERS, 2_000_000, 43 * 2**20, concurrently=True),),
    )
    text = "CREATE INDEX CONCURRENTLY orders_customer_id_idx ON orders (customer_id)"
    run = run_of(statement(0, text, 0.0, 5.6, effects, command="CREATE INDEX CONCURRENTLY"))
    judged = Judgement(Verdict.GO, (), passing_gates(), metrics(duration=5.6))
    record = record_of("concurrent-index", run, judged)
    return record, traffic(record.trials[0].phases)


def instant_alter() -> tuple[RunRecord, SampleColumns]:
    """ADD COLUMN in 8 ms: GO, with a warning that no lock_timeout was in force."""
    effects = Effects(locks=(held(LockMode.ACCESS_EXCLUSIVE),))
    run = run_of(statement(0, "ALTER TABLE orders ADD COLUMN note text", 0.0, 0.0081, effects))
    warning = Finding(
        "unbounded-lock-queue",
        Severity.WARNING,
        "ALTER TABLE takes ACCESS EXCLUSIVE on orders with no lock_timeout in force",
        statement=0,
        subject="orders",
        evidence=("behind one long reader it would stop the table",),
        advice="SET lock_timeout = '2s';\nALTER TABLE orders ADD COLUMN note text;",
    )
    judged = Judgement(Verdict.GO, (warning,), passing_gates(), metrics(blocking_held=0.0081))
    record = record_of("instant-alter", run, judged)
    return record, traffic(record.trials[0].phases)


def failed_migration() -> tuple[RunRecord, SampleColumns]:
    """SET NOT NULL meets a null in the middle of one transaction, behind a long reader. NO-GO."""
    scan = Effects(
        locks=(held(LockMode.ACCESS_EXCLUSIVE),), scanned=(TableWork(ORDERS, 2_000_000, 310 * 2**20),)
    )
    reader = Party(800, Role.ADVERSARY, label="long-reader")
    run = run_of(
        statement(0, "ALTER TABLE orders ADD COLUMN region text", 0.0, 1.51, transaction=1, waited=1.5,
                  effects=Effects(locks=(held(LockMode.ACCESS_EXCLUSIVE),))),
        statement(1, "UPDATE orders SET region = 'eu' WHERE id % 2 = 0", 1.51, 4.2, transaction=1,
                  command="UPDATE", effects=Effects(rows_changed=((ORDERS, 1_000_000),), wal_bytes=2**28)),
        statement(2, "ALTER TABLE orders ALTER COLUMN region SET NOT NULL", 4.2, 4.5, scan, transaction=1,
                  outcome=StatementOutcome.FAILED, sqlstate="23502",
                  message='column "region" of relation "orders" contains null values'),
        statement(3, "CREATE INDEX ON orders (region)", 4.5, 4.5, None, transaction=1,
                  outcome=StatementOutcome.NOT_RUN),
        mode=TransactionMode.PER_FILE,
    )  # fmt: skip
    failed = Finding(
        "migration-failed",
        Severity.FAILURE,
        'statement 3 failed with 23502: column "region" of relation "orders" contains null values',
        statement=2,
        subject="orders",
        evidence=("everything before it in the transaction was rolled back", "1 statement never ran"),
        advice="Backfill every row before SET NOT NULL.",
    )
    own = LockWait(
        MIGRATION, (Blocker(reader, LockMode.ACCESS_SHARE, queued=False),), "relation",
        LockMode.ACCESS_EXCLUSIVE, ORDERS, at(0.02), at(1.49),
    )  # fmt: skip
    behind = (
        *waits_behind("read_order", LockMode.ACCESS_SHARE, LockMode.ACCESS_EXCLUSIVE, 0.03, 4.5, 20),
        *waits_behind("place_order", LockMode.ROW_EXCLUSIVE, LockMode.ACCESS_EXCLUSIVE, 0.03, 4.5, 12),
    )
    judged = Judgement(
        Verdict.NO_GO,
        (failed,),
        (
            gate("stall.max <= 1s", GateStatus.FAILED, seconds(4.5), seconds(1)),
            gate("errors.rate <= 0.1%", GateStatus.FAILED, ratio(0.068), ratio(0.001)),
        ),
        metrics(stall_max=4.5, stall_total=4.5, duration=4.5, blocking_held=3.0, blocking_queued=1.47,
                blocking_projected=450.0, duration_projected=450.0, errors_rate=0.068, errors_count=412.0,
                **{"latency.p99{phase=migration}": 4.4}),
        (Stall("read_order", at(0.0), at(4.5), 1260, 0), Stall("place_order", at(0.01), at(4.49), 540, 0)),
    )  # fmt: skip
    record = record_of("failed-migration", run, judged, waits=(own, *behind))
    blocks = [
        Block(0.0, 4.5, (0, 1)),
        Block(4.5, 5.3, (1,), fails="42703"),
        Block(4.6, 4.9, (0,), fails="40P01"),
    ]
    return record, traffic(record.trials[0].phases, blocks)


def inconclusive() -> tuple[RunRecord, None]:
    """The samples are missing and the workload never touched the table: INCONCLUSIVE."""
    run = run_of(statement(0, "ALTER TABLE orders ALTER total TYPE bigint", 0.0, 1.7, None))
    missed = Finding(
        "workload-missed-table",
        Severity.UNMEASURED,
        "no script of the workload touches orders, which the migration locks",
        subject="orders",
        advice="Add a script that reads and writes orders.",
    )
    judged = Judgement(
        Verdict.INCONCLUSIVE,
        (missed,),
        (gate("stall.max <= 1s", GateStatus.UNMEASURED, None, seconds(1), "no samples were kept"),),
        metrics(stall_max=None, errors_rate=None, errors_count=None, blocking_projected=None,
                **{"latency.p99{phase=migration}": None, "latency.p99{phase=baseline}": None}),
    )  # fmt: skip
    return record_of("inconclusive", run, judged), None


def many_statements(count: int = 40) -> tuple[RunRecord, SampleColumns]:
    """Forty statements: most instant, a few long, ten of them in one transaction."""
    rng = np.random.default_rng(3)
    made, clock = [], 0.0
    for i in range(count):
        long = i in (7, 19, 33)
        took = float(rng.uniform(0.4, 1.1)) if long else float(rng.uniform(0.002, 0.02))
        table = Relation("public", f"table_{i % 9}_with_a_rather_long_name")
        works = (TableWork(table, 2_000_000, 2**28),) if long else ()
        effects = Effects(
            locks=(HeldLock(table, LockMode.ACCESS_EXCLUSIVE, "table", table),),
            rewritten=works if i == 7 else (),
            scanned=works if i != 7 else (),
        )
        text = f"ALTER TABLE {table} ADD COLUMN column_{i} bigint DEFAULT 0"
        made.append(statement(i, text, clock, clock + took, effects, transaction=100 if 14 <= i < 24 else i))
        clock += took + 0.002
    judged = Judgement(
        Verdict.NO_GO,
        (
            Finding("rewrite-under-lock", Severity.FAILURE, "ALTER TABLE rewrites table_7", 7, "table_7"),
        ),
        passing_gates(),
        metrics(stall_max=0.9, duration=clock),
        (Stall("read_order", made[7].started_ns, made[7].ended_ns, 80, 7),),
    )  # fmt: skip
    run = run_of(*made)
    record = record_of("many-statements", run, judged)
    s = made[7]
    block = Block((s.started_ns - START) / SECOND, (s.ended_ns - START) / SECOND, (0,))
    return record, traffic(record.trials[0].phases, [block])


def very_long() -> tuple[RunRecord, SampleColumns]:
    """A ten-minute rewrite: the application stands still for all of it."""
    effects = Effects(
        locks=(held(LockMode.ACCESS_EXCLUSIVE),), rewritten=(TableWork(ORDERS, 200_000_000, 31 * 2**30),)
    )
    run = run_of(statement(0, "ALTER TABLE orders ALTER COLUMN id TYPE bigint", 0.0, 612.0, effects))
    rewrite = Finding(
        "rewrite-under-lock",
        Severity.FAILURE,
        "ALTER TABLE rewrites orders while its ACCESS EXCLUSIVE lock keeps reads and writes out",
        statement=0,
        subject="orders",
        observed=seconds(612.0),
        limit=seconds(1.0),
    )
    judged = Judgement(
        Verdict.NO_GO,
        (rewrite,),
        (gate("stall.max <= 1s", GateStatus.FAILED, seconds(612.0), seconds(1)),),
        metrics(stall_max=612.0, duration=612.0, blocking_held=612.0, blocking_projected=918.0),
        (
            Stall("read_order", at(0.0), at(612.0), 171_000, 0),
            Stall("place_order", at(0.0), at(612.0), 73_000, 0),
        ),
    )
    record = record_of(
        "very-long",
        run,
        judged,
        waits=waits_behind("read_order", LockMode.ACCESS_SHARE, LockMode.ACCESS_EXCLUSIVE, 0.01, 612.0, 32),
    )
    return record, traffic(record.trials[0].phases, [Block(0.0, 612.0)])


def aborted(stage: Stage = Stage.LOAD, error: str | None = "the disk is full") -> tuple[RunRecord, None]:
    """A run that ended while the data was loaded: no trial, no judgement."""
    record = record_of("aborted", None, None, stage=stage)
    return replace(
        record, trials=(), dataset=None, tables=(), scripts=(), environment=None, error=error
    ), None


HOSTILE = "<script>alert('x')</script> & \"o\" | `tick` @someone [red]"


def hostile() -> tuple[RunRecord, SampleColumns]:
    """The naive index with markup of every kind in every text that comes from outside."""
    record, samples = naive_index()
    evil = Relation("public", HOSTILE)
    assert record.judgement is not None
    trial = record.trials[0]
    assert trial.migration is not None
    effects = Effects(
        locks=(HeldLock(evil, LockMode.SHARE, "table", evil),),
        built=(IndexBuild(evil, evil, 5, 8192),),
        rows_changed=((evil, 3),),
    )
    bad = replace(
        trial.migration.statements[0], text=f'CREATE INDEX ON "{HOSTILE}" (a)\x0b', effects=effects,
        outcome=StatementOutcome.FAILED, sqlstate="XX000", message=HOSTILE,
    )  # fmt: skip
    findings = tuple(
        replace(f, message=f"{HOSTILE} {f.message}\x00", subject=HOSTILE, evidence=(HOSTILE,),
                advice=f"DROP INDEX \"{HOSTILE}\"; -- ```")
        for f in record.judgement.findings
    )  # fmt: skip
    gates = tuple(replace(g, note=HOSTILE) for g in record.judgement.gates)
    waits = tuple(replace(w, relation=evil, waiter=replace(w.waiter, script=HOSTILE)) for w in trial.waits)
    stalls = tuple(replace(s, script=HOSTILE) for s in record.judgement.stalls)
    trial = replace(
        trial, migration=replace(trial.migration, statements=(bad,)), waits=waits, notes=(HOSTILE,)
    )
    return (
        replace(
            record,
            scenario=replace(record.scenario, name=HOSTILE, source=HOSTILE),
            trials=(trial,),
            tables=(replace(record.tables[0], relation=evil), record.tables[1]),
            scripts=(ScriptInfo(HOSTILE, 1, (HOSTILE,), inferred=True),),
            judgement=replace(record.judgement, findings=findings, gates=gates, stalls=stalls),
            error=HOSTILE,
        ),
        replace(samples, scripts=(HOSTILE, "place_order")),
    )


ALL = {
    "naive-index": naive_index,
    "concurrent-index": concurrent_index,
    "instant-alter": instant_alter,
    "failed-migration": failed_migration,
    "inconclusive": inconclusive,
    "many-statements": many_statements,
    "very-long": very_long,
    "aborted": aborted,
    "hostile": hostile,
}
