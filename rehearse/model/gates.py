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
class MetricKind:
    """What a metric means, in which unit, and which selectors it takes."""

    name: str
    unit: Unit
    meaning: str
    selectors: tuple[str, ...] = ()


_TRAFFIC = ("phase", "script")

METRICS: tuple[MetricKind, ...] = (
    MetricKind(
        "stall.max",
        Unit.SECONDS,
        "longest time in which work of one script was due and none finished, from the migration's start on",
        ("script",),
    ),
    MetricKind(
        "stall.total", Unit.SECONDS, "time in which any script was stalled, from the migration's start on"
    ),
    *(
        MetricKind(
            f"latency.{name}", Unit.SECONDS, f"{meaning} of response time from the scheduled start", _TRAFFIC
        )
        for name, meaning in (
            ("p50", "median"),
            ("p95", "95th percentile"),
            ("p99", "99th percentile"),
            ("p999", "99.9th percentile"),
            ("max", "maximum"),
            ("avg", "mean"),
        )
    ),
    MetricKind(
        "errors.rate", Unit.RATIO, "transactions that failed or never finished, over those due", _TRAFFIC
    ),
    MetricKind("errors.count", Unit.COUNT, "transactions that failed or never finished", _TRAFFIC),
    MetricKind("throughput", Unit.PER_SECOND, "transactions finished per second", _TRAFFIC),
    MetricKind(
        "blocking.max",
        Unit.SECONDS,
        "longest observed wait of the application for a lock behind the migration (lower bound)",
    ),
    MetricKind(
        "blocking.held",
        Unit.SECONDS,
        "longest time the migration held a lock that conflicts with the application",
    ),
    MetricKind(
        "blocking.queued",
        Unit.SECONDS,
        "longest time the migration itself waited for a lock, so that others queued behind it (lower bound)",
    ),
    MetricKind(
        "blocking.projected",
        Unit.SECONDS,
        "longest time a lock that conflicts with the application is held, projected to production rows",
    ),
    MetricKind("duration", Unit.SECONDS, "the migration from its first to its last statement"),
    MetricKind("duration.projected", Unit.SECONDS, "the same, projected to production rows"),
    MetricKind("wal.bytes", Unit.BYTES, "write-ahead log written during the migration"),
    MetricKind("wal.projected", Unit.BYTES, "the same, projected to production rows"),
)

METRIC_KINDS: dict[str, MetricKind] = {kind.name: kind for kind in METRICS}

DEFAULT_GATES: tuple[tuple[str, str], ...] = (
    ("stall.max", "<= 1s"),
    ("latency.p99{phase=migration}", "<= 3x latency.p99{phase=baseline}"),
    ("errors.rate", "<= 0.1%"),
    ("blocking.projected", "<= 1s"),
)
