"""Who waited for whom, as sampled on the server, and what the sampling itself cost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rehearse.model.locks import LockMode
from rehearse.model.relation import Relation


class Role(Enum):
    """Whose session it is."""

    MIGRATION = "migration"
    TRAFFIC = "traffic"
    ADVERSARY = "adversary"
    SERVER = "server"  # autovacuum and the like
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Party:
    """One session in a wait. `script` names the traffic's script, `statement` indexes the migration's
    statements, `label` says what else it is (`autovacuum worker`, an adversary's kind).
    """

    pid: int
    role: Role
    script: str | None = None
    statement: int | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Blocker:
    """What stood in the way. `queued` means that it does not hold the lock yet: it waits ahead in the
    queue with a conflicting request, so that everyone after it waits for it too.
    """

    party: Party
    mode: LockMode | None
    queued: bool


@dataclass(frozen=True, slots=True)
class LockWait:
    """One session waiting for one lock. Sampled, so `last - first` is a lower bound of its length.

    `lock_type` is `pg_locks.locktype`; `mode` is None and `relation` may be None for waits that are not
    for a table (a row's or transaction's end: `transactionid`, `tuple`).
    """

    waiter: Party
    blockers: tuple[Blocker, ...]
    lock_type: str
    mode: LockMode | None
    relation: Relation | None
    first_seen_ns: int
    last_seen_ns: int

    @property
    def at_least_ns(self) -> int:
        """How long it lasted, at least."""
        return self.last_seen_ns - self.first_seen_ns


@dataclass(frozen=True, slots=True)
class Stall:
    """A time in which work of one script was due and none of it finished, by the driver's own clock.

    It starts with the first transaction that was due and unfinished (or the last one that finished
    before it, whichever is later) and ends with the next one that finished. `due` counts the
    transactions that were due in it; `statement` is the migration's statement to blame, if one is.
    """

    script: str
    start_ns: int
    end_ns: int
    due: int
    statement: int | None = None


@dataclass(frozen=True, slots=True)
class ObserverCost:
    """What observation cost and missed.

    `busy_ns` is the time spent in samples as seen from the client, `server_ns` the part spent in the
    server where it was measured. `gaps` are the stretches in which a sample was due and none was taken
    for longer than `gap_limit_ns`. `lapses` are those, `lapsed_ns` in all, of more than `lapse_limit_ns`
    in which the observer itself was not served by processor or server: outside of them no wait of 100 ms
    behind the migration or of the traffic goes unseen. `unflushed` are the times in which sessions waited for
    the log to be flushed to disk and nothing of it was.
    """

    samples: int
    busy_ns: int
    elapsed_ns: int
    max_gap_ns: int
    gap_limit_ns: int
    gaps: tuple[tuple[int, int], ...] = ()
    failed_samples: int = 0
    lapses: tuple[tuple[int, int], ...] = ()
    lapsed_ns: int = 0
    lapse_limit_ns: int = 0
    unflushed: tuple[tuple[int, int], ...] = ()

    @property
    def share(self) -> float:
        """Part of one core's time, 0 to 1, at most: the round trips counted as if all were work."""
        return self.busy_ns / self.elapsed_ns if self.elapsed_ns else 0.0


@dataclass(frozen=True, slots=True)
class ResourceSample:
    """The server's state at one moment. None: not measured.

    `temporary_bytes` are sorts and hashes on disk, of all databases; `retained_bytes` is the log that the
    furthest replication slot behind makes the server keep.
    """

    at_ns: int
    wal_position_bytes: int | None = None
    database_bytes: int | None = None
    active_sessions: int | None = None
    blocked_sessions: int | None = None
    temporary_bytes: int | None = None
    retained_bytes: int | None = None
