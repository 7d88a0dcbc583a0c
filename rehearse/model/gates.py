"""Gates as the user states them, and the metrics there are to state them about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rehearse.model.verdict import Unit


class Comparison(Enum):
    """The operators a gate may use."""

    AT_MOST = "<="
    BELOW = "<"
    AT_LEAST = ">="
    ABOVE = ">"
    EQUAL = "=="


@dataclass(frozen=True, slots=True)
class MetricRef:
    """A metric with its selector: `latency.p99{phase=migration,script=place_order}`."""

    name: str
    selector: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        if not self.selector:
            return self.name
        return self.name + "{" + ",".join(f"{k}={v}" for k, v in self.selector) + "}"

    @property
    def of_down(self) -> bool:
        """Whether the way back is meant."""
        return ("phase", DOWN) in self.selector


# As a phase: the way back, where it was met by the traffic.
DOWN = "down"


@dataclass(frozen=True, slots=True)
class Gate:
    """`metric op limit`, where the limit is a number, or `factor` times another metric.

    With `relative_to`, `limit` is the factor. `floor` is a limit below which a relative gate never
    fails, in the metric's base unit.
    """

    text: str
    metric: MetricRef
    comparison: Comparison
    limit: float
    relative_to: MetricRef | None = None
    floor: float | None = None


@dataclass(frozen=True, slots=True)
class Aborted:
    """A gate that broke the migration off: its text, the value that it saw, in base units, and when."""

    gate: str
    value: float
    at_ns: int


@dataclass(frozen=True, slots=True)
class MetricKind:
    """What a metric means, in which unit, and which selectors it takes.

    `live` says how it is known while the migration runs, for gates that break it off; empty: it is not.
    `of_down` says whether it can be asked of the way back: of one with the selector `phase` it always can.
    """

    name: str
    unit: Unit
    meaning: str
    selectors: tuple[str, ...] = ()
    live: str = ""
    of_down: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The selectors in the order in which they are written, `phase` too where it can be `down` alone."""
        return ("phase", *self.selectors) if self.of_down else self.selectors


_TRAFFIC = ("phase", "script")

METRICS: tuple[MetricKind, ...] = (
    MetricKind(
        "stall.max",
        Unit.SECONDS,
        "longest time in which work of one script was due and none finished, from the migration's start on",
        ("script",),
        "how long nothing has been answered, or while sessions wait for locks the oldest transaction",
        of_down=True,
    ),
    MetricKind(
        "stall.total",
        Unit.SECONDS,
        "time in which any script was stalled, from the migration's start on",
        of_down=True,
    ),
    *(
        MetricKind(
            f"latency.{name}",
            Unit.SECONDS,
            f"{meaning} of response time from the scheduled start",
            _TRAFFIC,
            live,
        )
        for name, meaning, live in (
            ("p50", "median", ""),
            ("p95", "95th percentile", ""),
            ("p99", "99th percentile", ""),
            ("p999", "99.9th percentile", ""),
            ("max", "maximum", "how long the oldest transaction has been out"),
            ("avg", "mean", ""),
        )
    ),
    MetricKind(
        "errors.rate",
        Unit.RATIO,
        "transactions that failed or never finished, over those due",
        _TRAFFIC,
        "those failed since the migration began, over those due (50 at least)",
    ),
    MetricKind(
        "errors.count",
        Unit.COUNT,
        "transactions that failed or never finished",
        _TRAFFIC,
        "those failed since the migration began",
    ),
    MetricKind("retries.rate", Unit.RATIO, "times a transaction was sent again, over those due", _TRAFFIC),
    MetricKind("retries.count", Unit.COUNT, "times a transaction was sent again", _TRAFFIC),
    MetricKind("throughput", Unit.PER_SECOND, "transactions finished per second", _TRAFFIC),
    MetricKind(
        "blocking.max",
        Unit.SECONDS,
        "longest observed wait of the application for a lock behind the migration (lower bound)",
        of_down=True,
    ),
    MetricKind(
        "blocking.held",
        Unit.SECONDS,
        "longest time the migration held a lock that conflicts with the application",
        of_down=True,
    ),
    MetricKind(
        "blocking.queued",
        Unit.SECONDS,
        "longest time the migration itself waited for a lock, so that others queued behind it (lower bound)",
        of_down=True,
    ),
    MetricKind(
        "blocking.projected",
        Unit.SECONDS,
        "longest time a lock that conflicts with the application is held, projected to production rows",
    ),
    MetricKind(
        "duration",
        Unit.SECONDS,
        "the migration from its first to its last statement",
        live="the time since it began",
        of_down=True,
    ),
    MetricKind("duration.projected", Unit.SECONDS, "the same, projected to production rows"),
    MetricKind("wal.bytes", Unit.BYTES, "write-ahead log written during the migration", of_down=True),
    MetricKind("wal.projected", Unit.BYTES, "the same, projected to production rows"),
    MetricKind(
        "disk.peak",
        Unit.BYTES,
        "disk space needed at the peak beyond what was used before, the log not counted (lower bound)",
    ),
    MetricKind(
        "disk.projected",
        Unit.BYTES,
        "disk space needed at the peak beyond what was used before, the log not counted, projected to "
        "production rows (scale trial)",
    ),
    MetricKind(
        "replica.lag.max", Unit.SECONDS, "longest time a standby was behind the primary (replica trial)"
    ),
    MetricKind(
        "replica.lag.bytes",
        Unit.BYTES,
        "most write-ahead log that the standby had not replayed yet (replica trial)",
    ),
    MetricKind(
        "replica.conflicts",
        Unit.COUNT,
        "queries and transactions on the standby that replay cancelled (replica trial)",
    ),
)

METRIC_KINDS: dict[str, MetricKind] = {kind.name: kind for kind in METRICS}

DEFAULT_GATES: tuple[tuple[str, str], ...] = (
    ("stall.max", "<= 1s"),
    ("latency.p99{phase=migration}", "<= 3x latency.p99{phase=baseline}"),
    ("errors.rate", "<= 0.1%"),
    ("blocking.projected", "<= 1s"),
)
