"""Which transactions are sent again, and when."""

from __future__ import annotations

from rehearse.model.workload import Outcome, RetryPolicy
from rehearse.workload.session import Ending, Session


class Retries:
    """A retry policy at work in one process."""

    def __init__(self, policy: RetryPolicy | None) -> None:
        self._sqlstates = frozenset(policy.sqlstates) if policy else frozenset()
        self._most = policy.attempts - 1 if policy else 0
        self._backoff_ns = policy.backoff_s * 1e9 if policy else 0.0

    @property
    def are_wanted(self) -> bool:
        """Whether any error makes a transaction be sent again."""
        return self._most > 0

    def pause_ns(self, session: Session, ending: Ending) -> int | None:
        """How long to wait before the session's transaction is sent again; None where it is not to be."""
        if ending.outcome is not Outcome.ERROR or ending.sqlstate not in self._sqlstates:
            return None
        # the fast path does not reset the count: it belongs to the transaction that was due then
        before = session.retries if session.retried_ns == session.scheduled_ns else 0
        if before >= self._most:
            return None
        session.retries, session.retried_ns = before + 1, session.scheduled_ns
        spread = 1 + session.number % 7 / 14  # so that those who met each other do not meet again
        return round(self._backoff_ns * 2.0**before * spread)
