"""What the picture shows, in seconds from the migration's start, before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rehearse.model.migration import MigrationRun, Statement, StatementOutcome
from rehearse.model.record import Phase, PhaseSpan, RunRecord, Trial
from rehearse.model.waits import LockWait, Role, Stall
from rehearse.model.workload import SampleColumns
from rehearse.report import digest
from rehearse.report import format as fmt
from rehearse.report.palette import Work
from rehearse.report.points import Buckets, Points, bucket_length, buckets, points
from rehearse.report.work import WaitGroup, lock_lines, merged, strongest_lock, title_of, wait_groups, work_of

MAX_STATEMENT_ROWS = 14
MAX_WAIT_ROWS = 8
STALL_WORTH_SHADING_S = 0.02

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class PhaseBand:
    """A named stretch along the top."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class StallBand:
    """A time in which at least one script stalled: `length` is the longest single stall in it."""

    start: float
    end: float
    length: float
    scripts: tuple[str, ...]

    @property
    def label(self) -> str:
        """`stalled 2.9 s`."""
        return f"stalled {fmt.duration(self.length)}"


@dataclass(frozen=True, slots=True)
class StatementBar:
    """One row of the migration's panel. `labels` say the same at decreasing length; `waiting` are the
    parts in which it waited for a lock itself; `spans` are several for a row that stands for many.
    """

    spans: tuple[Span, ...]
    work: Work
    labels: tuple[str, ...]
    transaction: int | None
    waiting: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class TransactionBand:
    """Rows `first` to `last` (both in it) that share one transaction, and with it its locks."""

    first: int
    last: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class WaitBar:
    """One row of the lock panel."""

    spans: tuple[Span, ...]
    role: Role
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything the picture shows. `points` and `buckets` are None where no sample was kept."""

    start: float
    end: float
    phases: tuple[PhaseBand, ...]
    stalls: tuple[StallBand, ...]
    statements: tuple[StatementBar, ...]
    transactions: tuple[TransactionBand, ...]
    not_run: int
    waits: tuple[WaitBar, ...]
    hidden_waits: int
    migration: Span | None
    bucket: float
    points: Points | None
    buckets: Buckets | None

    @property
    def seconds(self) -> float:
        """The length of the time axis."""
        return self.end - self.start


def timeline(record: RunRecord, samples: SampleColumns | None) -> Timeline | None:
    """What there is to draw; None where no trial has a time to show."""
    trial = digest.main_trial(record)
    if trial is None:
        return None
    zero = digest.zero_ns(record)
    extent = _extent(trial, zero)
    if extent is None:
        return None
    start, end = extent
    run = trial.migration
    bars = _statement_bars(run, trial.waits, zero) if run else ()
    groups = wait_groups(trial.waits)
    length = bucket_length(end - start)
    pts = points(samples, zero) if samples is not None and len(samples) else None
    return Timeline(
        start=start,
        end=end,
        phases=_phases(trial.phases, zero),
        stalls=_stall_bands(digest.stalls(record), zero),
        statements=bars,
        transactions=_transaction_bands(bars, run, zero) if run else (),
        not_run=sum(s.outcome is StatementOutcome.NOT_RUN for s in run.statements) if run else 0,
        waits=tuple(_wait_bar(group, zero) for group in _shown(groups)),
        hidden_waits=max(len(groups) - MAX_WAIT_ROWS, 0),
        migration=(_s(run.started_ns, zero), _s(run.ended_ns, zero)) if run else None,
        bucket=length,
        points=pts,
        buckets=buckets(pts, start, end, length) if pts is not None else None,
    )


def _shown(groups: Sequence[WaitGroup]) -> list[WaitGroup]:
    """The longest waits, in the order in which they began; the migration's own first."""
    return sorted(groups[:MAX_WAIT_ROWS], key=lambda g: (g.role is not Role.MIGRATION, g.spans[0][0]))


def _s(at_ns: int, zero_ns: int) -> float:
    return (at_ns - zero_ns) / 1e9


def _extent(trial: Trial, zero_ns: int) -> Span | None:
    """From the first to the last thing that has a time."""
    times = [t for span in trial.phases for t in (span.start_ns, span.end_ns)]
    if trial.migration:
        times += [trial.migration.started_ns, trial.migration.ended_ns]
    times += [t for wait in trial.waits for t in (wait.first_seen_ns, wait.last_seen_ns)]
    if not times or max(times) <= min(times):
        return None
    return _s(min(times), zero_ns), _s(max(times), zero_ns)


def _phases(spans: Sequence[PhaseSpan], zero_ns: int) -> tuple[PhaseBand, ...]:
    made = [
        PhaseBand(span.phase.value, _s(span.start_ns, zero_ns), _s(span.end_ns, zero_ns)) for span in spans
    ]
    return tuple(band for band in made if band.end > band.start or band.name == Phase.MIGRATION.value)


def _stall_bands(stalls: Sequence[Stall], zero_ns: int) -> tuple[StallBand, ...]:
    """Stalls of several scripts at one time are one band; blinks are left out."""
    worth = [stall for stall in stalls if stall.end_ns - stall.start_ns >= STALL_WORTH_SHADING_S * 1e9]
    bands = []
    for start, end in merged((stall.start_ns, stall.end_ns) for stall in worth):
        inside = [stall for stall in worth if start <= stall.start_ns < end]
        longest = max(stall.end_ns - stall.start_ns for stall in inside) / 1e9
        scripts = tuple(dict.fromkeys(stall.script for stall in inside))
        bands.append(StallBand(_s(start, zero_ns), _s(end, zero_ns), longest, scripts))
    return tuple(bands)


def _statement_bars(run: MigrationRun, waits: Sequence[LockWait], zero_ns: int) -> tuple[StatementBar, ...]:
    """A row a statement; with too many of them, the ones that matter and one row for the rest."""
    executed = [s for s in run.statements if s.outcome is not StatementOutcome.NOT_RUN]
    if len(executed) <= MAX_STATEMENT_ROWS:
        return tuple(_statement_bar(s, run, waits, zero_ns) for s in executed)
    by_weight = sorted(executed, key=_weight, reverse=True)
    chosen = {s.index for s in by_weight[: MAX_STATEMENT_ROWS - 1]}
    rest = [s for s in executed if s.index not in chosen]
    bars = [_statement_bar(s, run, waits, zero_ns) for s in executed if s.index in chosen]
    return (*bars, _rest_bar(rest, zero_ns))


def _weight(statement: Statement) -> tuple[bool, int]:
    return work_of(statement) is Work.FAILED, statement.ended_ns - statement.started_ns


def _rest_bar(rest: Sequence[Statement], zero_ns: int) -> StatementBar:
    longest = max(s.ended_ns - s.started_ns for s in rest)
    words = sorted({work_of(s).word for s in rest})
    label = f"{len(rest)} other statements"
    return StatementBar(
        spans=tuple((_s(s.started_ns, zero_ns), _s(s.ended_ns, zero_ns)) for s in rest),
        work=work_of(rest[0]) if len(words) == 1 else Work.UNKNOWN,
        labels=(
            f"{label} · {', '.join(words)} · none longer than {fmt.nanoseconds(longest)}",
            f"{label} · none longer than {fmt.nanoseconds(longest)}",
            label,
        ),
        transaction=None,
    )


def _statement_bar(
    statement: Statement, run: MigrationRun, waits: Sequence[LockWait], zero_ns: int
) -> StatementBar:
    work = work_of(statement)
    title = fmt.one_line(title_of(statement), 80)
    took = fmt.nanoseconds(statement.ended_ns - statement.started_ns)
    word = work.word + (f" {statement.sqlstate}" if work is Work.FAILED and statement.sqlstate else "")
    if statement.waited_ns >= 20_000_000:
        word += f" after waiting ≥ {fmt.nanoseconds(statement.waited_ns)}"
    lock = _lock_word(statement)
    waiting = merged(
        (max(w.first_seen_ns, statement.started_ns), min(w.last_seen_ns, statement.ended_ns))
        for w in waits
        if w.waiter.role is Role.MIGRATION and w.waiter.statement == statement.index
    )
    shared = sum(s.transaction == statement.transaction for s in run.statements) > 1
    return StatementBar(
        spans=((_s(statement.started_ns, zero_ns), _s(statement.ended_ns, zero_ns)),),
        work=work,
        labels=(
            f"{title} · {word} · {lock} · {took}" if lock else f"{title} · {word} · {took}",
            f"{title} · {word} · {took}",
            f"{title} · {took}",
            f"{statement.command} · {took}",
        ),
        transaction=statement.transaction if shared else None,
        waiting=tuple((_s(a, zero_ns), _s(b, zero_ns)) for a, b in waiting if b > a),
    )


def _lock_word(statement: Statement) -> str:
    strongest = strongest_lock(statement.effects.locks) if statement.effects else None
    return lock_lines([strongest])[0].split(" on ")[0] if strongest else ""


def _transaction_bands(
    bars: Sequence[StatementBar], run: MigrationRun, zero_ns: int
) -> tuple[TransactionBand, ...]:
    """A band behind the rows of each transaction of several statements, to its COMMIT or ROLLBACK."""
    spans = {span.index: span for span in run.transactions}
    bands = []
    for index in dict.fromkeys(bar.transaction for bar in bars if bar.transaction is not None):
        rows = [row for row, bar in enumerate(bars) if bar.transaction == index]
        span = spans.get(index)
        start = span.started_ns if span else run.started_ns
        end = span.ended_ns if span else run.ended_ns
        bands.append(TransactionBand(rows[0], rows[-1], _s(start, zero_ns), _s(end, zero_ns)))
    return tuple(bands)


def _wait_bar(group: WaitGroup, zero_ns: int) -> WaitBar:
    many = f" ×{group.sessions}" if group.sessions > 1 else ""
    lower = f"≥ {fmt.nanoseconds(group.longest_ns)}" if group.longest_ns else "seen once"
    behind = f" · behind {', '.join(group.blockers)}" if group.blockers else ""
    return WaitBar(
        spans=tuple((_s(a, zero_ns), _s(b, zero_ns)) for a, b in group.spans),
        role=group.role,
        labels=(
            f"{group.waiter}{many} · {group.lock} · {lower}{behind}",
            f"{group.waiter}{many} · {group.lock} · {lower}",
            f"{group.waiter}{many} · {lower}",
        ),
    )
