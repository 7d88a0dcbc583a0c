"""Statements and waits in words: what a statement did, to which table, under which lock; who waited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    Effects,
    HeldLock,
    LockEvidence,
    MigrationRun,
    Statement,
    StatementOutcome,
)
from rehearse.model.relation import Relation
from rehearse.model.waits import Blocker, LockWait, Party, Role
from rehearse.report import format as fmt
from rehearse.report.palette import Work

_WORTH_TELLING_BYTES = 1 << 20
_LONGEST_CHAIN = 6  # links; a cycle is a deadlock, which the server breaks
_INSTANT_NS = 500_000_000  # what took longer than this is not called instant, whatever it did
_TABLES = ("table", "partitioned table", "materialized view", "view")
_ENDED_BADLY = (StatementOutcome.FAILED, StatementOutcome.CANCELLED)


def work_of(statement: Statement) -> Work:
    """The most expensive thing the statement did to a table that existed before it."""
    if statement.outcome in _ENDED_BADLY:
        return Work.FAILED
    if statement.outcome is StatementOutcome.NOT_RUN:
        return Work.NOT_RUN
    if statement.effects is None:
        return Work.UNKNOWN
    busy_ns = statement.ended_ns - statement.started_ns - statement.waited_ns
    return _dearest(statement.effects) or (Work.INSTANT if busy_ns < _INSTANT_NS else Work.SLOW)


def _dearest(effects: Effects) -> Work | None:
    builds = [build for build in effects.built if not build.created_here]
    found = (
        (any(not work.created_here for work in effects.rewritten), Work.REWRITE),
        (any(not build.concurrently for build in builds), Work.BUILD),
        (bool(builds), Work.CONCURRENT),
        (any(not work.created_here for work in effects.scanned), Work.SCAN),
        (any(rows for _, rows in effects.rows_changed), Work.ROWS),
    )
    return next((work for applies, work in found if applies), None)


def subject_of(statement: Statement) -> str:
    """The table (or `index on table`) the statement is about; empty where it is not known."""
    effects = statement.effects
    if effects is None:
        return ""
    if effects.built:
        build = effects.built[0]
        return f"{build.index} on {build.table}"
    for works in (effects.rewritten, effects.scanned):
        if works:
            return str(works[0].table)
    if effects.rows_changed:
        return str(effects.rows_changed[0][0])
    strongest = strongest_lock(effects.locks)
    return str(strongest.table) if strongest else ""


def strongest_lock(locks: Sequence[HeldLock]) -> HeldLock | None:
    """The strongest lock on a table that was there before; index and sequence locks count for less."""
    old = [lock for lock in locks if not lock.created_here]
    tables = [lock for lock in old if lock.kind in _TABLES] or old
    return max(tables, key=lambda lock: lock.mode.strength, default=None)


def title_of(statement: Statement) -> str:
    """`CREATE INDEX orders_customer on orders`; the beginning of the text where effects say nothing."""
    subject = subject_of(statement)
    return f"{statement.command} {subject}".strip() if subject else fmt.one_line(statement.text, 60)


def lock_lines(locks: Sequence[HeldLock]) -> tuple[str, ...]:
    """`ACCESS EXCLUSIVE on orders, orders_pkey (index)`: one line a mode, strongest first."""
    by_mode: dict[LockMode, list[str]] = defaultdict(list)
    for lock in locks:
        marks = [lock.kind] if lock.kind != "table" else []
        marks += ["new"] if lock.created_here else []
        marks += [] if lock.evidence is LockEvidence.TRANSACTION else [_EVIDENCE[lock.evidence]]
        name = str(lock.relation) + (f" ({', '.join(marks)})" if marks else "")
        if name not in by_mode[lock.mode]:
            by_mode[lock.mode].append(name)
    modes = sorted(by_mode, key=lambda mode: -mode.strength)
    return tuple(f"{mode.sql} on {', '.join(by_mode[mode])}" for mode in modes)


def held_ns(run: MigrationRun, statement: Statement) -> int | None:
    """For how long at most the locks it took were held: from when it had got them to the end of its
    transaction, or of the longest one where it commits as it goes. None where it took none.
    """
    locks = statement.effects.locks if statement.effects else ()
    if not locks:
        return None
    spans = [lock.span_ns for lock in locks if lock.span_ns]
    if len(spans) == len(locks):
        return max(end - start for start, end in spans)
    span = next((span for span in run.transactions if span.index == statement.transaction), None)
    ended_ns = max(statement.ended_ns, span.ended_ns) if span else statement.ended_ns
    return max(0, ended_ns - statement.started_ns - statement.waited_ns)


_EVIDENCE = {LockEvidence.SAMPLED: "seen from outside", LockEvidence.DOCUMENTED: "by the manual"}


def effect_lines(statement: Statement) -> tuple[str, ...]:
    """What the statement did, a line each: rewrites, scans, builds, rows, columns and tables changed."""
    effects = statement.effects
    if effects is None:
        return ()
    lines = [
        f"{word} {work.table}: {fmt.rows(work.rows)}, {fmt.size(work.size_bytes)}{_new(work.created_here)}"
        for word, works in (("rewrote", effects.rewritten), ("scanned", effects.scanned))
        for work in works
    ]
    lines += [
        f"built {build.index} on {build.table}{' concurrently' if build.concurrently else ''}: "
        f"{fmt.rows(build.rows)}, {fmt.size(build.size_bytes)}{_new(build.created_here)}"
        for build in effects.built
    ]
    lines += [f"changed {fmt.rows(rows)} of {table}" for table, rows in effects.rows_changed]
    for column in effects.columns:
        data = f", {fmt.rows(column.rows_with_data)} held data" if column.rows_with_data is not None else ""
        lines.append(f"{column.what} column {column.table}.{column.column}{_to(column.after)}{data}")
    for relation in effects.relations:
        held = f", it held {fmt.rows(relation.rows)}" if relation.rows is not None else ""
        lines.append(f"{relation.what} {relation.relation}{_to(relation.after)}{held}")
    lines += [f"left the index {index} INVALID" for index in effects.invalid_indexes]
    lines += _outside_lines(statement)
    return tuple(lines)


def _outside_lines(statement: Statement) -> Iterable[str]:
    """What was seen of it from outside: the phases of its work, and locks asked for again."""
    for phase in statement.phases:
        seen_ns = phase.last_seen_ns - phase.first_seen_ns
        length = f"for {fmt.at_least(seen_ns)}" if seen_ns else "seen once"
        where = f" of {phase.table}" if phase.table else ""
        part = f", {fmt.percent(phase.done / phase.total)} done when last seen" if phase.total else ""
        yield f"{phase.command}{where}: {phase.phase or 'under way'}, {length}{part}"
    if statement.retries:
        times = fmt.plural(statement.retries, "time")
        lost = fmt.at_least(statement.retried_ns)
        yield f"asked for a lock again after waiting in vain, {times} at least: {lost} lost"


def cost_lines(run: MigrationRun, statement: Statement) -> tuple[str, ...]:
    """What its transaction cost in files, on the transaction's last statement."""
    span = next((span for span in run.transactions if span.index == statement.transaction), None)
    work = span.work if span else None
    mine = [other.index for other in run.statements if other.transaction == statement.transaction]
    if work is None or statement.index != max(mine, default=-1):
        return ()
    whose = "this transaction" if len(mine) > 1 else "it"
    lines = []
    if work.temp_files:
        files = fmt.plural(work.temp_files, "temporary file")
        lines.append(f"wrote {files}, {fmt.size(work.temp_bytes)} (all sessions of the database)")
    if work.own and (work.read_bytes or 0) + (work.written_bytes or 0) >= _WORTH_TELLING_BYTES:
        read, written = fmt.size(work.read_bytes or 0), fmt.size(work.written_bytes or 0)
        lines.append(f"{whose} read {read} of blocks from files and wrote {written} of them back")
    elif not work.own and (work.read_bytes or 0) >= _WORTH_TELLING_BYTES:
        lines.append(
            f"read {fmt.size(work.read_bytes or 0)} of blocks from files (all sessions of the database)"
        )
    return tuple(lines)


def _new(created_here: bool) -> str:
    return " (new table)" if created_here else ""


def _to(after: str | None) -> str:
    return f" to {after}" if after else ""


def wal_text(statement: Statement) -> str:
    """`120 MiB`; `≤ 120 MiB` where the traffic's share is in it."""
    effects = statement.effects
    if effects is None or effects.wal_bytes is None:
        return fmt.NOT_MEASURED
    return ("" if effects.wal_exact else "≤ ") + fmt.size(effects.wal_bytes)


def party_text(party: Party) -> str:
    """Who it is: a script's name, `the migration`, an adversary's kind."""
    if party.role is Role.MIGRATION:
        return "the migration"
    if party.role is Role.TRAFFIC:
        return party.script or "the application"
    return party.label or {Role.ADVERSARY: "an adversary", Role.SERVER: "the server"}.get(
        party.role, "another session"
    )


def blocker_text(blocker: Blocker) -> str:
    """`the migration (ACCESS EXCLUSIVE)`, `the migration (queued for ACCESS EXCLUSIVE)`."""
    mode = f"queued for {blocker.mode.sql}" if blocker.queued and blocker.mode else ""
    mode = mode or ("queued" if blocker.queued else blocker.mode.sql if blocker.mode else "")
    return party_text(blocker.party) + (f" ({mode})" if mode else "")


def lock_text(wait: LockWait) -> str:
    """What is waited for: `ROW EXCLUSIVE on orders`, `a row of orders`, `the end of a transaction`."""
    if wait.mode is not None and wait.lock_type == "relation":
        return wait.mode.sql + (f" on {wait.relation}" if wait.relation else "")
    if wait.lock_type == "tuple":
        return f"a row of {wait.relation}" if wait.relation else "a row"
    if wait.lock_type in ("transactionid", "virtualxid"):
        return "the end of a transaction" + (f" on {wait.relation}" if wait.relation else "")
    mode = f" {wait.mode.sql}" if wait.mode else ""
    return f"{wait.lock_type}{mode}" + (f" on {wait.relation}" if wait.relation else "")


@dataclass(frozen=True, slots=True)
class WaitGroup:
    """Sessions of one kind that waited for one lock behind the same blockers.

    `spans` are the times at which any of them was seen waiting, merged and in order; `sessions` counts
    the sessions, `waits` the single waits, and `longest_ns` is a lower bound of the longest of these.
    """

    waiter: str
    role: Role
    lock: str
    blockers: tuple[str, ...]
    mode: LockMode | None
    relation: Relation | None
    sessions: int
    waits: int
    longest_ns: int
    spans: tuple[tuple[int, int], ...]
    chain: tuple[str, ...] = ()  # whom the blockers waited for meanwhile, and those in turn


def wait_groups(waits: Iterable[LockWait]) -> tuple[WaitGroup, ...]:
    """Waits by waiter, lock and blockers: the migration's own first, then the longest."""
    waits = tuple(waits)
    groups: dict[tuple[str, str, tuple[str, ...]], list[LockWait]] = defaultdict(list)
    for wait in waits:
        blockers = tuple(dict.fromkeys(_short_blocker(blocker) for blocker in _principal(wait.blockers)))
        groups[(party_text(wait.waiter), lock_text(wait), blockers)].append(wait)
    made = [
        replace(_group(key, members), chain=chain_of(max(members, key=_length_ns), waits))
        for key, members in groups.items()
    ]
    return tuple(sorted(made, key=lambda g: (g.role is not Role.MIGRATION, -g.longest_ns, g.waiter)))


def chain_of(wait: LockWait, waits: Sequence[LockWait]) -> tuple[str, ...]:
    """The tree above `wait`, a link each: `the migration waits for ACCESS EXCLUSIVE on orders behind
    long-reader (ACCESS SHARE)`, then whom that one waits for, to the one that waits for nobody.
    """
    links: list[str] = []
    passed = {wait.waiter.pid}
    while len(links) < _LONGEST_CHAIN:
        blockers = {blocker.party.pid for blocker in _principal(wait.blockers)} - passed
        above = [other for other in waits if other.waiter.pid in blockers and _together(other, wait)]
        if not above:
            break
        wait = max(above, key=_length_ns)
        passed.add(wait.waiter.pid)
        behind = ", ".join(blocker_text(blocker) for blocker in wait.blockers) or "somebody not seen"
        links.append(f"{party_text(wait.waiter)} waits for {lock_text(wait)} behind {behind}")
    return tuple(links)


def _together(one: LockWait, other: LockWait) -> bool:
    return one.first_seen_ns <= other.last_seen_ns and other.first_seen_ns <= one.last_seen_ns


def _length_ns(wait: LockWait) -> int:
    return wait.at_least_ns


def _principal(blockers: Sequence[Blocker]) -> Sequence[Blocker]:
    """The migration where it stands in the way (others queue with it); else everyone who does."""
    return [b for b in blockers if b.party.role is Role.MIGRATION] or blockers


def _short_blocker(blocker: Blocker) -> str:
    return party_text(blocker.party) + (" (queued)" if blocker.queued else "")


def _group(key: tuple[str, str, tuple[str, ...]], members: Sequence[LockWait]) -> WaitGroup:
    first = members[0]
    return WaitGroup(
        waiter=key[0],
        role=first.waiter.role,
        lock=key[1],
        blockers=key[2],
        mode=first.mode,
        relation=first.relation,
        sessions=len({wait.waiter.pid for wait in members}),
        waits=len(members),
        longest_ns=max(wait.at_least_ns for wait in members),
        spans=merged((wait.first_seen_ns, wait.last_seen_ns) for wait in members),
    )


def merged(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The union of `spans` as disjoint spans in order."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return tuple(result)
