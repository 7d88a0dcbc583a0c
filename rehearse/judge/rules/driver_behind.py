"""`driver-behind`: the traffic could not keep its own schedule."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import wording
from rehearse.judge.facts import Facts
from rehearse.judge.rules.rule import Rule
from rehearse.model.verdict import Finding, Quantity, Severity, Unit
from rehearse.model.workload import DriverHealth

_LEAST_FINISHED = 0.95
_MOST_LAG_NS = 100_000_000
_MOST_SKIPPED = 0.01
_MOST_CPU = 0.9  # of a core for each process: beyond it a transaction waits for the driver's next moment


def _check(facts: Facts) -> Iterable[Finding]:
    driver = facts.trial.driver if facts.trial else None
    if driver is None or driver.offered_baseline == 0:
        yield Finding(
            rule=RULE.id,
            severity=RULE.severity,
            message="nothing is known of whether the traffic kept its schedule before the migration",
        )
        return
    yield from _unfinished(driver)
    yield from _late(driver)
    if facts.record.scenario.workload.rate is not None:  # a closed loop takes all it can get
        yield from _busy(driver)
    yield from _skipped(driver)


def _unfinished(driver: DriverHealth) -> Iterable[Finding]:
    share = driver.finished_baseline / driver.offered_baseline
    if share < _LEAST_FINISHED:
        yield Finding(
            rule=RULE.id,
            severity=RULE.severity,
            message=(
                f"only {share:.0%} of the transactions due in the baseline finished in it: the server or "
                "this machine cannot take this rate even without the migration"
            ),
            observed=Quantity(share, Unit.RATIO),
            limit=Quantity(_LEAST_FINISHED, Unit.RATIO),
            evidence=(
                f"{driver.finished_baseline:,} of {driver.offered_baseline:,}",
                f"at worst {driver.peak_queue:,} transactions queued for {driver.clients} clients",
                f"the driver used {driver.cpu_share:.0%} of one core in {driver.processes} processes",
                f"connections were made anew {driver.reconnects:,} times in the whole run",
            ),
            advice="Lower [workload] rate; or raise clients, or processes where the driver's CPU is used up.",
        )


def _late(driver: DriverHealth) -> Iterable[Finding]:
    if driver.lag_p99_ns > _MOST_LAG_NS:
        yield Finding(
            rule=RULE.id,
            severity=RULE.severity,
            message=(
                f"the driver itself was late by {wording.nanoseconds(driver.lag_p99_ns)} (99th percentile of "
                "the baseline), although connections were free"
            ),
            observed=Quantity(driver.lag_p99_ns / 1e9, Unit.SECONDS),
            limit=Quantity(_MOST_LAG_NS / 1e9, Unit.SECONDS),
            advice="Lower [workload] rate, raise processes, or give the machine less else to do.",
        )


def _busy(driver: DriverHealth) -> Iterable[Finding]:
    share = driver.cpu_share / driver.processes
    if share > _MOST_CPU:
        yield Finding(
            rule=RULE.id,
            severity=RULE.severity,
            message=(
                f"the driver used {share:.0%} of a core for each of its processes: the response times are "
                "its own as well as the server's"
            ),
            observed=Quantity(share, Unit.RATIO),
            limit=Quantity(_MOST_CPU, Unit.RATIO),
            advice="Raise [workload] processes, or lower the rate.",
        )


def _skipped(driver: DriverHealth) -> Iterable[Finding]:
    share = driver.skipped / driver.offered if driver.offered else 0.0
    if share > _MOST_SKIPPED:
        yield Finding(
            rule=RULE.id,
            severity=RULE.severity,
            message=f"{share:.1%} of the transactions could not be sent: the pool of fresh rows ran out",
            observed=Quantity(share, Unit.RATIO),
            limit=Quantity(_MOST_SKIPPED, Unit.RATIO),
            advice="Lower [workload] rate or the weight of scripts that use fresh(), or shorten the phases.",
        )


RULE = Rule(
    id="driver-behind",
    severity=Severity.UNMEASURED,
    reason=(
        "The traffic is sent by a schedule, and what it measures is only worth something while it keeps it. "
        "If it falls behind before the migration has begun, the limits are those of the rehearsal."
    ),
    safe_way="Lower the rate until the baseline keeps up, or use a larger machine.",
    check=_check,
)
