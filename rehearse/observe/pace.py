"""When to look at the server next: seldom while nothing happens, densely while somebody may be waiting."""

from __future__ import annotations

from dataclasses import dataclass

CALM_NS = 250_000_000
DENSE_NS = 15_000_000
WATCHFUL_NS = 45_000_000  # at least 20 times a second while the migration executes something

SUSPICIOUS_AGE_NS = 20_000_000  # of the oldest transaction in flight
LONG_STATEMENT_NS = 10_000_000  # of the migration
SETTLED_NS = 250_000_000  # a statement mostly waits for its locks as it begins; then it works
COSTS_APART = 12  # a sample of 2 ms every 24 ms at most: a tenth of a core, outliers included
FURTHEST_NS = 25_000_000  # but never less often than this where somebody has just begun to be suspicious
LOOKS_IN_VAIN = 8  # then a long transaction is taken to be merely long


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known without asking the server.

    `oldest_in_flight_ns` and `statement_started_ns` are times, None where nothing is in flight. `blocked`
    sessions were seen to wait by the last sample; `in_vain` samples in a row saw none although the traffic
    was suspicious. `cost_ns` is what a sample costs.
    """

    now_ns: int
    oldest_in_flight_ns: int | None = None
    statement_started_ns: int | None = None
    blocked: int = 0
    in_vain: int = 0
    cost_ns: int = 0


def interval_ns(situation: Situation) -> int:
    """From the beginning of the last sample to that of the next. Where somebody may be waiting it is so
    short, whatever a sample costs, that no wait of a tenth of a second falls in between.
    """
    apart_ns = min(max(DENSE_NS, COSTS_APART * situation.cost_ns), FURTHEST_NS)
    if situation.blocked or _is_locking(situation):
        return apart_ns
    if suspicious(situation.oldest_in_flight_ns, situation.now_ns):
        return apart_ns if situation.in_vain < LOOKS_IN_VAIN else WATCHFUL_NS
    return CALM_NS if situation.statement_started_ns is None else WATCHFUL_NS


def suspicious(oldest_in_flight_ns: int | None, now_ns: int) -> bool:
    """Whether the oldest transaction in flight has been so for so long that it may be waiting for a lock."""
    return _older(oldest_in_flight_ns, now_ns, SUSPICIOUS_AGE_NS)


def _is_locking(situation: Situation) -> bool:
    """Whether the migration's statement has run for as long as a wait for its first locks would take."""
    started_ns, now_ns = situation.statement_started_ns, situation.now_ns
    return _older(started_ns, now_ns, LONG_STATEMENT_NS) and not _older(started_ns, now_ns, SETTLED_NS)


def _older(since_ns: int | None, now_ns: int, age_ns: int) -> bool:
    return since_ns is not None and now_ns - since_ns > age_ns
