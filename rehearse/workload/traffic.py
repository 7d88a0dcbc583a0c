"""Traffic by itself, as one would use pgbench: sent, measured, summed up."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rehearse.model.target import Target
from rehearse.model.workload import Outcome, Pool, Protocol, SampleColumns
from rehearse.workload.driver import PLAIN, Driver, Manner
from rehearse.workload.script import Script

_DRAIN_S = 20.0


@dataclass(frozen=True, slots=True)
class TrafficReport:
    """What came of the traffic. Times are in milliseconds; `tps` counts transactions that ended well.

    Latency counts from the scheduled start, and includes what failed; `schedule_lag_ms` is what the driver
    alone added before it sent the first statement (zero in a closed loop). `errors` and `retries` are by
    SQLSTATE: what failed in the end, and what was sent again.
    """

    tps: float
    transactions: int
    failed: int
    unfinished: int
    skipped: int
    seconds: float
    latency_ms: dict[str, float | None]
    schedule_lag_ms: dict[str, float | None]
    client_cpu_us_per_transaction: float | None
    errors: dict[str, int]
    retries: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Load:
    """How much traffic, and how it is sent; `rate` None where the clients set it, or a pacing."""

    rate: float | None
    clients: int
    processes: int
    protocol: Protocol
    variables: tuple[tuple[str, int], ...]


def run_traffic(  # noqa: PLR0913 - a flag of the command line each
    target: Target,
    scripts: Sequence[Script],
    *,
    clients: int,
    seconds: float,
    rate: float | None = None,
    processes: int = 1,
    protocol: Protocol = Protocol.PREPARED,
    variables: Sequence[tuple[str, int]] = (),
    pools: Sequence[Pool] = (),
    seed: int = 42,
    manner: Manner = PLAIN,
) -> TrafficReport:
    """Send `scripts` for `seconds`, open loop at `rate` a second or as `manner` says, or as fast as `clients`
    can where neither says it. Raises InputError and EnvironmentFailure as the driver does.
    """
    load = Load(rate, clients, processes, protocol, tuple(variables))
    with tempfile.TemporaryDirectory(prefix="rehearse-traffic-") as spool:
        driver = Driver(target, scripts, pools, load, seed, Path(spool), manner)
        try:
            zero_ns = driver.start()
            time.sleep(max(0.0, seconds + (zero_ns - time.monotonic_ns()) / 1e9))
            elapsed_s = (time.monotonic_ns() - zero_ns) / 1e9
            samples = driver.stop(_DRAIN_S)
        finally:
            driver.abort()
    return summarise(samples, elapsed_s, driver.cpu_ns, driver.lag_ns((0, 2**62)))


def summarise(
    samples: SampleColumns, elapsed_s: float, cpu_ns: int, lag_ns: NDArray[np.int64]
) -> TrafficReport:
    """The report on `samples`, whose schedule was `elapsed_s` long."""
    outcome = np.frombuffer(samples.outcome, dtype=np.int16)
    answered = np.isin(outcome, (Outcome.OK, Outcome.ERROR))
    scheduled = np.frombuffer(samples.scheduled_ns, dtype=np.int64)
    ended = np.frombuffer(samples.ended_ns, dtype=np.int64)
    counts = np.bincount(outcome, minlength=len(Outcome)).tolist()
    codes = np.frombuffer(samples.sqlstate, dtype=np.int16)
    again = np.equal(outcome, Outcome.RETRIED)
    names = np.array([*samples.sqlstates, ""])
    errors, retries = (
        dict(Counter(names[codes[among & (codes >= 0)]].tolist()).most_common()) for among in (~again, again)
    )
    # in a closed loop the last ones end after the time is up: counting them needs their time as well
    busy_s = max(elapsed_s, (int(ended.max(initial=0)) - int(scheduled.min(initial=2**62))) / 1e9)
    return TrafficReport(
        tps=counts[Outcome.OK] / busy_s,
        transactions=counts[Outcome.OK],
        failed=counts[Outcome.ERROR] + counts[Outcome.CONNECTION_LOST],
        unfinished=counts[Outcome.UNFINISHED],
        skipped=counts[Outcome.SKIPPED],
        seconds=busy_s,
        latency_ms=_spread((ended - scheduled)[answered], ("avg", "p50", "p95", "p99", "p999", "max")),
        schedule_lag_ms=_spread(lag_ns, ("avg", "p99", "max")),
        client_cpu_us_per_transaction=cpu_ns / 1e3 / int(answered.sum()) if answered.any() else None,
        errors=errors,
        retries=retries,
    )


_SHARES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p999": 99.9, "max": 100.0}


def _spread(times_ns: NDArray[np.int64], names: Sequence[str]) -> dict[str, float | None]:
    """Statistics in milliseconds; None where nothing was measured."""
    if not len(times_ns):
        return dict.fromkeys(names)
    found = {name: float(np.percentile(times_ns, _SHARES[name])) for name in names if name in _SHARES}
    found["avg"] = float(times_ns.mean())
    return {name: found[name] / 1e6 for name in names}
