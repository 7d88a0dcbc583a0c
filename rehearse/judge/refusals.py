"""Errors of the traffic by script and SQLSTATE, less what the traffic had before the migration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rehearse.judge.traffic import FOREVER, Longs, Mask, Span, Traffic
from rehearse.model.record import Phase, RunRecord, Trial, TrialKind
from rehearse.model.workload import Outcome

CACHED_PLAN = "0A000"
# Every connection may fail once or so for each statement and each transaction of the migration.
_FAILURES_PER_PLAN = 2
_CODES = 100_000  # more than there can be SQLSTATEs in a run: script and code packed into one number


@dataclass(frozen=True, slots=True)
class Refusal:
    """One script's failures of one kind from the migration's start on.

    `kind` is the SQLSTATE, or `connection lost` or `unfinished`. `excess` is `count` less what the same
    rate as before, with its chance, would have given. `statement` is the script's statement that failed
    most often, -1 where none did. `recovered` marks cached-plan errors that the application got over, and
    `unseen` those of which too few transactions came afterwards to tell.
    """

    script: str
    kind: str
    count: int
    due: int
    count_before: int
    due_before: int
    statement: int
    first_ns: int
    last_ns: int
    recovered: bool = False
    unseen: bool = False

    @property
    def excess(self) -> float:
        """How many of `count` are not explained by the rate before."""
        return max(0.0, self.count - allowance(self.count_before, self.due_before, self.due))


def allowance(before: int, due_before: int, due: int) -> float:
    """The failures to be expected among `due` at the rate before, plus three standard deviations
    (Poisson, of both the count before and the count now); 0 where there were none before.
    """
    if before == 0 or due_before == 0:
        return 0.0
    mean = before * due / due_before
    return mean + 3 * math.sqrt(mean + mean * mean / before)


def find_refusals(record: RunRecord, trial: Trial, traffic: Traffic, span: Span) -> tuple[Refusal, ...]:
    """Every pair of script and kind that failed in `span`, compared with all traffic before it."""
    failed = traffic.failed
    now = failed & traffic.within(span)
    before = failed & traffic.within(Span(-FOREVER, span.start_ns))
    keys = _keys(traffic)
    counts_before = dict(zip(*(a.tolist() for a in np.unique(keys[before], return_counts=True)), strict=True))
    due_now = _due_by_script(traffic, span)
    due_before = _due_by_script(traffic, Span(-FOREVER, span.start_ns))
    found = []
    for key, count in zip(*(a.tolist() for a in np.unique(keys[now], return_counts=True)), strict=True):
        mine = now & np.equal(keys, key)
        number = key // _CODES
        refusal = Refusal(
            script=traffic.scripts[number],
            kind=_kind(traffic, mine),
            count=count,
            due=due_now[number],
            count_before=counts_before.get(key, 0),
            due_before=due_before[number],
            statement=_usual_statement(traffic, mine),
            first_ns=int(traffic.ended[mine].min()),
            last_ns=int(traffic.ended[mine].max()),
        )
        found.append(_with_recovery(refusal, record, trial, traffic))
    found = list(_like_the_others(found, record))
    return tuple(sorted(found, key=lambda r: (r.script, r.kind)))


def excess_count(refusals: Iterable[Refusal], script: str | None = None) -> int:
    """Failures that count: without the share that was there before, and the cached plans that were got over
    or of which that is not known.
    """
    counted = [r.excess for r in refusals if not r.recovered and not r.unseen and script in (None, r.script)]
    return math.ceil(sum(counted))


def _keys(traffic: Traffic) -> Longs:
    """Script and kind of failure as one number: SQLSTATEs by their index, other outcomes below them."""
    code = np.where(
        np.equal(traffic.outcome, Outcome.ERROR), traffic.sqlstate.astype(np.int64) + 10, traffic.outcome
    )
    return traffic.script.astype(np.int64) * _CODES + code


def _kind(traffic: Traffic, mine: Mask) -> str:
    first = int(np.flatnonzero(mine)[0])
    outcome = Outcome(int(traffic.outcome[first]))
    if outcome is not Outcome.ERROR:
        return {Outcome.CONNECTION_LOST: "connection lost"}.get(outcome, "unfinished")
    code = int(traffic.sqlstate[first])
    return traffic.sqlstates[code] if code >= 0 else "unknown"


def _usual_statement(traffic: Traffic, mine: Mask) -> int:
    numbers = traffic.statement[mine]
    numbers = numbers[numbers >= 0]
    return int(np.bincount(numbers).argmax()) if len(numbers) else -1


def _due_by_script(traffic: Traffic, span: Span) -> Mapping[int, int]:
    numbers = traffic.script[traffic.due & traffic.within(span)]
    counts = np.bincount(numbers, minlength=len(traffic.scripts))
    return {number: int(count) for number, count in enumerate(counts)}


def _with_recovery(refusal: Refusal, record: RunRecord, trial: Trial, traffic: Traffic) -> Refusal:
    if refusal.kind != CACHED_PLAN:
        return refusal
    if _got_over(refusal, record, trial, traffic):
        return replace(refusal, recovered=True)
    return replace(refusal, unseen=_may_be_first_tries(refusal, record, trial, traffic))


def _like_the_others(refusals: Sequence[Refusal], record: RunRecord) -> Iterable[Refusal]:
    """What becomes of a script that is run too seldom to have been tried twice on any connection. All scripts
    have one driver: what others were seen to get over, it gets over as well. That the migrated schema takes
    its statements at all, the compatibility trial has to say: 0A000 has other causes than a cached plan.
    """
    clients = record.scenario.workload.clients
    tried = record.trial(TrialKind.COMPATIBILITY) is not None
    seen = tried and any(refusal.recovered for refusal in refusals)
    for refusal in refusals:
        once = refusal.kind == CACHED_PLAN and refusal.count <= clients
        yield replace(refusal, recovered=True, unseen=False) if seen and once else refusal


def _got_over(refusal: Refusal, record: RunRecord, trial: Trial, traffic: Traffic) -> bool:
    """Whether the application prepared its statements again: towards the end the script works.

    A script that is run seldom meets the change late on some connections, so single failures there are
    allowed as long as most of its transactions succeed and no connection can have failed much more
    than once for each statement and each of the migration's transactions.
    """
    recovery = trial.phase(Phase.RECOVERY)
    if recovery is None:
        return False
    late = Span((recovery.start_ns + recovery.end_ns) // 2, recovery.end_ns)
    due = traffic.due & traffic.within(late) & traffic.of_script(refusal.script)
    if not due.any():
        return False
    code = traffic.sqlstates.index(CACHED_PLAN)
    failures = int((due & np.equal(traffic.sqlstate, code)).sum())
    if failures == 0:
        return True
    return failures < 0.5 * int(due.sum()) and refusal.count <= _most_failures(refusal, record, trial)


def _may_be_first_tries(refusal: Refusal, record: RunRecord, trial: Trial, traffic: Traffic) -> bool:
    """Whether what failed once the migration was through can have been the first try of each statement on
    each connection, which nobody is spared: then no connection is known to have failed again.
    """
    recovery = trial.phase(Phase.RECOVERY)
    if recovery is None:
        return True
    due = traffic.due & traffic.within(Span(recovery.start_ns, recovery.end_ns))
    due &= traffic.of_script(refusal.script)
    failures = int((due & np.equal(traffic.sqlstate, traffic.sqlstates.index(CACHED_PLAN))).sum())
    return failures <= first_tries(refusal, record)


def first_tries(refusal: Refusal, record: RunRecord) -> int:
    """How often a script can meet a plan that was made before the migration: every statement once on every
    connection.
    """
    statements = next((len(s.statements) for s in record.scripts if s.name == refusal.script), 1)
    return record.scenario.workload.clients * max(1, statements)


def _most_failures(refusal: Refusal, record: RunRecord, trial: Trial) -> int:
    changes = len(trial.migration.transactions) if trial.migration else 1
    return _FAILURES_PER_PLAN * first_tries(refusal, record) * max(1, changes)
