"""What a streaming standby went through while the primary was migrated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplicaSample:
    """How far the standby was behind at one moment: `lag_ns` is how long ago the primary had written what
    the standby has not replayed yet; the bytes are of log written on the primary, and not yet flushed, or
    not yet replayed, on the standby.
    """

    at_ns: int
    lag_ns: int
    unflushed_bytes: int
    unreplayed_bytes: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Transactions on the standby that were cancelled so that replay could go on."""

    script: str  # empty: the reader that was held open on purpose
    sqlstate: str
    count: int


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """A streaming standby through the migration. The largest lags count from the migration's start until the
    standby had caught up; `caught_up_ns` is how long after the migration's end that was, None where it had
    not after `waited_ns`.

    `conflicts` are the server's own counts by kind; `finished` read-only transactions of `scripts` were
    answered there meanwhile, and `failed` of them failed for another reason, `refused` by SQLSTATE;
    `reader_s` is how long one transaction was held open on purpose (0: none). `settings` are those of the
    standby that decide on conflicts.
    """

    lag_max_ns: int
    unflushed_max_bytes: int
    unreplayed_max_bytes: int
    wal_bytes: int
    caught_up_ns: int | None
    waited_ns: int
    scripts: tuple[str, ...] = ()
    finished: int = 0
    failed: int = 0
    conflicts: tuple[tuple[str, int], ...] = ()
    cancelled: tuple[Cancelled, ...] = ()
    reader_s: float = 0.0
    settings: tuple[tuple[str, str], ...] = ()
    samples: tuple[ReplicaSample, ...] = ()
    refused: tuple[tuple[str, int], ...] = ()

    @property
    def conflict_count(self) -> int:
        """Queries and transactions cancelled: as the server counted them, or as they were seen to fail."""
        counted = sum(count for _, count in self.conflicts)
        return max(counted, sum(each.count for each in self.cancelled))
