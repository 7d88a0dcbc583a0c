"""The driver beside pgbench on one server in one run: throughput, client CPU, latency, schedule lag.

Run as `python -m bench.driver [--seconds S] [--rounds N] [--scale N] [--clients N]`. The two take turns, so
that whatever else the machine does meets both; what is printed are medians over the rounds. Aims: at least
0.9 of pgbench's throughput at saturation on prepared point SELECTs, at most 1.3 of its client CPU a
transaction.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
from dataclasses import dataclass

from rehearse.engines.postgres.databases import create_database
from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.model.workload import ScriptSource
from rehearse.provision import provision
from rehearse.provision.binaries import embedded_installation
from rehearse.scenario.scripts import BUILT_IN
from rehearse.workload.script import parse_script
from rehearse.workload.traffic import run_traffic


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison. `share` is the rate as a part of pgbench's own throughput, None for a closed loop."""

    name: str
    script: str
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Transactions a second, client CPU in us a transaction, mean latency and schedule lag in ms."""

    tps: float
    cpu_us: float
    latency_ms: float
    lag_ms: float | None


CASES = (
    Case("point SELECT, saturated", "select-only"),
    Case("TPC-B-like, saturated", "tpcb-like"),
    Case("point SELECT, half load", "select-only", 0.5),
)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how long."""

    target: Target
    seconds: float
    clients: int
    scale: int

    def pgbench(self, *arguments: str) -> tuple[str, float]:
        """Output and CPU seconds of one run of pgbench."""
        target = self.target
        program = str(embedded_installation().bindir / "pgbench")
        address = ("-h", target.host, "-p", str(target.port), "-U", target.user, target.dbname)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(  # noqa: S603 - our own installation's program
            [program, *arguments, *address],
            env={**os.environ, "PGPASSWORD": target.password.reveal() if target.password else ""},
            capture_output=True,
            text=True,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def theirs(self, case: Case, rate: float | None) -> Measured:
        """pgbench, one thread."""
        flags = ["-n", "-M", "prepared", "-j", "1", "-c", str(self.clients), "-b", case.script]
        limit = ["-R", f"{rate:.0f}"] if rate is not None else []
        output, cpu_s = self.pgbench(*flags, *limit, "-T", f"{self.seconds:.0f}")
        done = _number(r"actually processed: (\d+)", output) or 0
        return Measured(
            tps=_number(r"tps = ([\d.]+)", output) or 0,
            cpu_us=cpu_s * 1e6 / max(done, 1),
            latency_ms=_number(r"latency average = ([\d.]+)", output) or 0,
            lag_ms=_number(r"schedule lag: avg ([\d.]+)", output),
        )

    def ours(self, case: Case, rate: float | None) -> Measured:
        """The driver, one process."""
        report = run_traffic(
            self.target,
            [parse_script(ScriptSource(case.script, BUILT_IN[case.script]))],
            clients=self.clients,
            seconds=self.seconds,
            rate=rate,
            variables=[("scale", self.scale)],
        )
        return Measured(
            tps=report.tps,
            cpu_us=report.client_cpu_us_per_transaction or 0,
            latency_ms=report.latency_ms["avg"] or 0,
            lag_ms=report.schedule_lag_ms["avg"] if rate is not None else None,
        )

    def compare(self, case: Case, rounds: int) -> str:
        """A few rounds of one case, as a line of text for each figure."""
        rate = None
        if case.share is not None:
            rate = case.share * self.theirs(case, None).tps
        pairs = [(self.theirs(case, rate), self.ours(case, rate)) for _ in range(rounds)]
        lines = [case.name + (f" ({rate:.0f} tps)" if rate is not None else "")]
        for field, label in (
            ("tps", "transactions/s"),
            ("cpu_us", "client CPU, us"),
            ("latency_ms", "latency, ms"),
            ("lag_ms", "schedule lag, ms"),
        ):
            values = [(getattr(theirs, field), getattr(ours, field)) for theirs, ours in pairs]
            if None in values[0]:
                continue
            theirs, ours = (statistics.median(side) for side in zip(*values, strict=True))
            ratio = statistics.median(b / a for a, b in values if a)
            lines.append(
                f"  {label:<18} pgbench {theirs:>10.3f}   rehearse {ours:>10.3f}   ratio {ratio:.2f}"
            )
        return "\n".join(lines)


def _number(pattern: str, text: str) -> float | None:
    match = re.search(pattern, text)
    return float(match.group(1)) if match else None


def main() -> None:
    """Provision, fill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=int, default=10)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    with provision(DatabaseSpec()) as server:
        create_database(server.target, "bench")
        target = server.target.on("bench")
        bench = Bench(target, arguments.seconds, arguments.clients, arguments.scale)
        bench.pgbench("-i", "-q", "-s", str(arguments.scale))
        for case in CASES:
            sys.stdout.write(bench.compare(case, arguments.rounds) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
