"""The victims: which scripts were delayed while something was locked, by how much, and behind whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.holds import Hold
from rehearse.judge.traffic import Span
from rehearse.model.waits import LockWait, Role

DELAYED_NS = 100_000_000


def of_hold(facts: Facts, hold: Hold) -> tuple[str, ...]:
    """Sentences about those kept out by `hold`, counting the time its statements queued for it."""
    return of_span(facts, Span(hold.taken_by.started_ns, hold.end_ns), hold.scripts)


def of_span(facts: Facts, span: Span, scripts: Sequence[str] | None = None) -> tuple[str, ...]:
    """Sentences about the transactions of `scripts` (None: of all) that were delayed in `span`."""
    return (*_delays(facts, span, scripts), *_waits(facts, span))


def _delays(facts: Facts, span: Span, scripts: Sequence[str] | None) -> Iterable[str]:
    traffic = facts.traffic
    if traffic is None:
        return
    latency = traffic.ended - traffic.scheduled
    meanwhile = np.less(traffic.scheduled, span.end_ns) & np.greater(traffic.ended, span.start_ns)
    late = traffic.due & meanwhile & np.greater_equal(latency, DELAYED_NS)
    for script in traffic.scripts if scripts is None else scripts:
        mine = late & traffic.of_script(script)
        if mine.any():
            yield (
                f"{script}: {wording.count(int(mine.sum()), 'transaction')} delayed by 100 ms or more, "
                f"the longest took {wording.nanoseconds(int(latency[mine].max()))}"
            )


def _waits(facts: Facts, span: Span) -> Iterable[str]:
    """One sentence for each script and lock, with the longest wait behind the migration."""
    groups: dict[tuple[str, str], list[LockWait]] = {}
    for wait in facts.waits:
        if behind_migration(wait) and span.overlap_ns(wait.first_seen_ns, wait.last_seen_ns + 1):
            groups.setdefault((wait.waiter.script or "a session", _lock(wait)), []).append(wait)
    for (script, lock), waits in sorted(groups.items()):
        longest = max(wait.at_least_ns for wait in waits)
        queued = all(b.queued for w in waits for b in w.blockers if b.party.role is Role.MIGRATION)
        how = "queued behind the migration's own request" if queued else "blocked by the migration"
        yield (
            f"{script} waited for {lock}, {how}: {wording.count(len(waits), 'wait')} seen, "
            f"the longest at least {wording.nanoseconds(longest)}"
        )


def behind_migration(wait: LockWait) -> bool:
    """Whether the traffic waited and the migration stood in its way."""
    return wait.waiter.role is Role.TRAFFIC and any(
        blocker.party.role is Role.MIGRATION for blocker in wait.blockers
    )


def _lock(wait: LockWait) -> str:
    where = f" on {wait.relation}" if wait.relation else ""
    return f"{wait.mode.sql}{where}" if wait.mode and wait.relation else f"a {wait.lock_type} lock{where}"
