"""Every metric a gate can name, computed from the facts; None where it was not measured.

Where a metric of the traffic has no `phase`, it counts from the migration's start to the end of the
run. A transaction belongs to the phase it was scheduled in; one for which the client had nothing to
send counts nowhere; one that never finished is an error, and its response time goes to the end of the
run. Percentiles are exact, by nearest rank. Cached-plan errors (0A000) that the application got over
are counted apart, and without a phase so are errors at the rate they had before the migration.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from rehearse.judge.disk import disk_peak_bytes
from rehearse.judge.holds import Hold
from rehearse.judge.projection import Cost, Grown, summed
from rehearse.judge.refusals import CACHED_PLAN, Refusal, excess_count
from rehearse.judge.replica import of_replica
from rehearse.judge.stalls import find_stalls, total_ns
from rehearse.judge.traffic import Longs, Mask, Span, Traffic, after_start, span_of
from rehearse.model.gates import METRIC_KINDS, METRICS, MetricRef
from rehearse.model.growth import Bounds
from rehearse.model.migration import MigrationRun, StatementOutcome
from rehearse.model.record import Phase, RunRecord, Trial, TrialKind
from rehearse.model.verdict import Quantity
from rehearse.model.waits import Role, Stall
from rehearse.model.workload import Outcome

PERCENTILES = {
    "latency.p50": 0.5,
    "latency.p95": 0.95,
    "latency.p99": 0.99,
    "latency.p999": 0.999,
    "latency.max": 1.0,
}
_BY_SCRIPT = ("stall.max", "latency.p50", "latency.p99", "latency.max", "errors.count")
_BY_PHASE_AND_SCRIPT = ("latency.p50", "latency.p99")


@dataclass(frozen=True, slots=True)
class Measures:
    """What metrics are computed from. `locks_known` says whether the locks of every statement and the
    tables of the traffic were read, `disk` how the space that is needed grew in the scale trial. `down` are
    the measures of the way back, where the traffic met it.
    """

    record: RunRecord
    trial: Trial | None
    traffic: Traffic | None
    costs: Mapping[int, Cost]
    holds: tuple[Hold, ...]
    refusals: tuple[Refusal, ...]
    stalls: tuple[Stall, ...]
    locks_known: bool
    disk: Grown | None = None
    down: Measures | None = None

    @property
    def run(self) -> MigrationRun | None:
        """The migration, None if it never ran."""
        return self.trial.migration if self.trial else None

    def value(self, ref: MetricRef) -> float | None:
        """The metric in its base unit, None where it was not measured."""
        if ref.of_down:
            return None if self.down is None else self.down.value(on_the_way_back(ref))
        chosen = dict(ref.selector)
        script = chosen.get("script")
        family = ref.name.split(".")[0]
        if family == "stall":
            return self._stall(ref.name, script)
        if family in ("latency", "errors", "retries", "throughput"):
            span = self.span(chosen.get("phase"))
            return None if span is None else self.over(ref.name, span, script, whole="phase" not in chosen)
        if family == "replica":
            return of_replica(self.record.trial(TrialKind.REPLICA), ref.name)
        if ref.name.endswith(".projected"):
            bounds = self.bounds(ref)
            return None if bounds is None else bounds.point
        return self._of_migration(ref.name)

    def over(self, name: str, span: Span, script: str | None, *, whole: bool = False) -> float | None:
        """A traffic metric over the transactions scheduled in `span`; `whole` leaves out of the errors
        what the traffic had before the migration.
        """
        if self.traffic is None:
            return None
        mine = self._due(self.traffic, span, script)
        due = int(mine.sum())
        if due == 0:
            return None
        if name == "throughput":
            return self._throughput(self.traffic, span, script)
        if name.startswith(("errors.", "retries.")):
            found = self._counted(self.traffic, name, span, script, mine, whole=whole)
            return float(found) if name.endswith(".count") else found / due
        latency = (self.traffic.ended[mine] - self.traffic.scheduled[mine]) / 1e9
        if name == "latency.avg":
            return float(latency.mean())
        return nearest_rank(latency, PERCENTILES[name])

    def span(self, phase: str | None) -> Span | None:
        """The time of a phase by its name; without a name, from the migration's start on."""
        if phase is None:
            return after_start(self.trial, self.run)
        known = {known.value: known for known in Phase}
        return span_of(self.trial, known[phase]) if phase in known else None

    def baseline_stalls(self, script: str | None = None) -> tuple[Stall, ...]:
        """Stalls that the baseline had all by itself."""
        span = span_of(self.trial, Phase.BASELINE)
        if span is None or self.traffic is None:
            return ()
        return tuple(s for s in find_stalls(self.traffic, span) if script in (None, s.script))

    def quantities(self) -> tuple[tuple[str, Quantity | None], ...]:
        """Every metric by its full name, in the order of METRICS, and what else the gates name."""
        named = {str(ref): ref for ref in self._references()}
        for gate in self.record.scenario.gates:
            for ref in (gate.metric, gate.relative_to):
                if ref is not None:
                    named.setdefault(str(ref), ref)
        return tuple((name, self.quantity(ref)) for name, ref in named.items())

    def quantity(self, ref: MetricRef) -> Quantity | None:
        """`value` with its unit."""
        value = self.value(ref)
        return None if value is None else Quantity(value, METRIC_KINDS[ref.name].unit)

    def _references(self) -> Iterable[MetricRef]:
        scripts = [script.name for script in self.record.scripts]
        for kind in METRICS:
            yield MetricRef(kind.name)
            phases = [phase.value for phase in Phase] if "phase" in kind.selectors else []
            for phase in phases:
                yield MetricRef(kind.name, (("phase", phase),))
            for script in scripts if kind.name in _BY_SCRIPT else ():
                yield MetricRef(kind.name, (("script", script),))
            for script in scripts if kind.name in _BY_PHASE_AND_SCRIPT else ():
                for phase in phases:
                    yield MetricRef(kind.name, (("phase", phase), ("script", script)))

    def _due(self, traffic: Traffic, span: Span, script: str | None) -> Mask:
        mine = traffic.due & traffic.within(span)
        return mine if script is None else mine & traffic.of_script(script)

    def _failed(self, traffic: Traffic, mine: Mask) -> int:
        """Failures, without the cached plans that were got over, or of which that is not known."""
        failed = mine & traffic.failed
        total = int(failed.sum())
        got_over = [each.script for each in self.refusals if each.recovered or each.unseen]
        if got_over:
            apart = failed & np.equal(traffic.sqlstate, traffic.sqlstates.index(CACHED_PLAN))
            total -= sum(int((apart & traffic.of_script(script)).sum()) for script in got_over)
        return total

    def _counted(
        self, traffic: Traffic, name: str, span: Span, script: str | None, mine: Mask, *, whole: bool
    ) -> int:
        """Errors among `mine`, or retries in `span`."""
        if name.startswith("errors."):
            return excess_count(self.refusals, script) if whole else self._failed(traffic, mine)
        again = traffic.retried & traffic.within(span)
        return int((again if script is None else again & traffic.of_script(script)).sum())

    def _throughput(self, traffic: Traffic, span: Span, script: str | None) -> float | None:
        """Finished in the span, whenever they were scheduled."""
        done = np.equal(traffic.outcome, Outcome.OK)
        done &= np.greater_equal(traffic.ended, span.start_ns) & np.less(traffic.ended, span.end_ns)
        if script is not None:
            done &= traffic.of_script(script)
        recovery = span_of(self.trial, Phase.RECOVERY)
        last_ns = recovery.end_ns if recovery else int(traffic.ended.max())
        seconds = (min(span.end_ns, max(last_ns, span.start_ns)) - span.start_ns) / 1e9
        return float(done.sum()) / seconds if seconds > 0 else None

    def _stall(self, name: str, script: str | None) -> float | None:
        span = after_start(self.trial, self.run)
        if span is None or self.traffic is None or not self._due(self.traffic, span, script).any():
            return None
        mine = [stall for stall in self.stalls if script in (None, stall.script)]
        if name == "stall.total":
            return total_ns(mine) / 1e9
        return max((stall.end_ns - stall.start_ns for stall in mine), default=0) / 1e9

    def bounds(self, ref: MetricRef) -> Bounds | None:
        """A metric that is projected to production rows, with the ends of its interval: alike where no scale
        trial tells how certain it is. None for others, and where it is not known.
        """
        projected = {
            "blocking.projected": self._projected_hold,
            "duration.projected": self._projected_duration,
            "wal.projected": self._projected_wal,
            "disk.projected": self._projected_disk,
        }
        return projected[ref.name]() if self.run is not None and ref.name in projected else None

    def _of_migration(self, name: str) -> float | None:
        if self.run is None:
            return None
        return {
            "blocking.max": self._longest_victim,
            "blocking.held": self._longest_hold,
            "blocking.queued": self._longest_queue,
            "duration": self._duration,
            "wal.bytes": self._wal,
            "disk.peak": self._disk_peak,
        }[name]()

    def _longest_victim(self) -> float | None:
        observer = self.trial.observer if self.trial else None
        if observer is None or observer.samples == 0:
            return None
        assert self.trial is not None
        return max(
            (
                wait.at_least_ns / 1e9
                for wait in self.trial.waits
                if wait.waiter.role is Role.TRAFFIC
                and any(blocker.party.role is Role.MIGRATION for blocker in wait.blockers)
            ),
            default=0.0,
        )

    def _longest_hold(self) -> float | None:
        if not self.locks_known:
            return None
        return max((hold.held_s for hold in self.holds), default=0.0)

    def _longest_queue(self) -> float | None:
        return max((cost.waited_ns / 1e9 for cost in self.costs.values()), default=0.0)

    def _projected_hold(self) -> Bounds | None:
        """None as soon as one hold cannot be projected."""
        if not self.locks_known:
            return None
        projected = [hold.bounds_s for hold in self.holds]
        known = [bounds for bounds in projected if bounds is not None]
        if len(known) < len(projected):
            return None
        ends = zip(*((each.low, each.point, each.high) for each in known), strict=True)
        return Bounds(*(max(end) for end in ends)) if known else Bounds(0.0, 0.0, 0.0)

    def _duration(self) -> float | None:
        run = self.run
        if run is None or any(s.outcome is StatementOutcome.RUNNING for s in run.statements):
            return None
        return (run.ended_ns - run.started_ns) / 1e9

    def _projected_duration(self) -> Bounds | None:
        measured = self._duration()
        if measured is None or not self._effects_known():
            return None
        lasting = [cost for cost in self.costs.values() if cost.lasts]
        constant_s = max(0.0, measured - sum(cost.busy_s for cost in lasting))
        return summed((cost.lasting_s for cost in lasting), constant_s)

    def _wal(self) -> float | None:
        """What the statements wrote; failing that, how far the log went meanwhile, traffic and all."""
        written = [effects.wal_bytes for cost in self.costs.values() if (effects := cost.statement.effects)]
        known = [size for size in written if size is not None]
        if self._effects_known() and len(known) == len(written):
            return float(sum(known))
        return self._log_advance()

    def _log_advance(self) -> float | None:
        run, trial = self.run, self.trial
        if run is None or trial is None:
            return None
        positions = [(r.at_ns, r.wal_position_bytes) for r in trial.resources]
        before = [at for ns, at in positions if at is not None and ns <= run.started_ns]
        after = [at for ns, at in positions if at is not None and ns >= run.ended_ns]
        return float(min(after) - max(before)) if before and after else None

    def _projected_wal(self) -> Bounds | None:
        if not self._effects_known():
            return None
        return summed(cost.log_bounds for cost in self.costs.values())

    def _disk_peak(self) -> float | None:
        return disk_peak_bytes(self.trial, self.run) if self.trial and self.run else None

    def _projected_disk(self) -> Bounds | None:
        return None if self.disk is None else self.disk.projected

    def _effects_known(self) -> bool:
        """Whether the effects of all that ran to its end were read, and no gate broke the migration off."""
        if self.trial is not None and self.trial.aborted is not None:
            return False
        return not any(
            cost.statement.effects is None and cost.statement.outcome is StatementOutcome.OK and cost.busy_ns
            for cost in self.costs.values()
        )


def on_the_way_back(ref: MetricRef) -> MetricRef:
    """What a metric of the way back is called in the trial whose migration that is."""
    if not ref.of_down:
        return ref
    others = tuple(pair for pair in ref.selector if pair[0] != "phase")
    if "phase" in METRIC_KINDS[ref.name].selectors:
        return MetricRef(ref.name, (("phase", Phase.MIGRATION.value), *others))
    return MetricRef(ref.name, others)


def nearest_rank(values: Longs | np.ndarray[tuple[int], np.dtype[np.float64]], share: float) -> float:
    """The smallest of `values` that is not below `share` of them; their maximum where they are few."""
    place = max(0, math.ceil(share * len(values)) - 1)
    return float(np.partition(values, place)[place])
