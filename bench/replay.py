"""How true a replay is: pgbench's own log sent again, its statements counted, its timing measured.

Run as `python -m bench.replay`. The machine's own jitter stands beside, measured by another process while
the replay runs: a timer that is late makes a replay late. `own lag` is what the replay added; `lag` counts
waiting for the server as well, which on a contended table is longer than it was, because row locks are taken
in another order. What is recorded is a quarter of what pgbench can here: of a server that cannot keep up
only the waiting would be replayed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rehearse.model.scenario import DatabaseSpec
from rehearse.model.target import Target
from rehearse.provision import Server, provision
from rehearse.provision.binaries import embedded_installation
from rehearse.workload.evidence.from_log import trace_logs
from rehearse.workload.evidence.replay import replay
from rehearse.workload.evidence.transactions import Wanted

SETTINGS = (
    ("logging_collector", "on"),
    ("log_destination", "jsonlog"),
    ("log_min_duration_statement", "0"),
    ("log_rotation_size", "0"),
)
SCALE, CLIENTS, SHARE = "10", "4", 0.25
_METRONOME = """
import json, select, sys, time
lags, start_ns, beat = [], time.monotonic_ns(), 0
with select.epoll() as nothing:
    nothing.register(0, select.EPOLLIN)
    while not nothing.poll(0):
        beat += 1
        due_ns = start_ns + beat * 3_300_000
        while (left := due_ns - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)
        lags.append((time.monotonic_ns() - due_ns) / 1e6)
lags.sort()
print(json.dumps([lags[len(lags) // 2], lags[len(lags) * 99 // 100]]))
"""


def pgbench(target: Target, *words: str) -> str:
    """What pgbench's own program prints."""
    assert target.password is not None
    env = {**os.environ, "PGPASSWORD": target.password.reveal(), "PGSSLMODE": "disable"}
    place = ["-h", target.host, "-p", str(target.port), "-U", target.user]
    program = embedded_installation().bindir / "pgbench"
    done = subprocess.run(  # noqa: S603 - our own installation's program
        [program, *place, *words, target.dbname], env=env, check=True, capture_output=True, text=True
    )
    return done.stdout


@contextmanager
def jitter_ms() -> Iterator[list[float]]:
    """How late this machine wakes a process that sleeps for some milliseconds: p50 and p99, at the end."""
    late: list[float] = []
    with subprocess.Popen(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-c", _METRONOME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as metronome:
        try:
            yield late
        finally:
            late += json.loads(metronome.communicate()[0])


def measure(server: Server, script: str, seconds: int, folder: Path) -> None:
    """Record one run of pgbench, send it again, and print what came of it."""
    assert server.data_directory is not None
    words = ("-n", "-M", "prepared", "-b", script, "-c", CLIENTS, "-T")
    reached = re.search(r"tps = ([\d.]+)", pgbench(server.target, *words, "3"))
    assert reached is not None
    rate = SHARE * float(reached.group(1))
    time.sleep(1.0)  # the log's writer is another process
    log = next((server.data_directory / "log").glob("*.json"))
    before = log.stat().st_size
    pgbench(server.target, *words, str(seconds), "-R", f"{rate:.1f}")
    time.sleep(1.0)
    recorded, trace = folder / f"{script}.json", folder / f"{script}.jsonl"
    with log.open("rb") as whole:
        whole.seek(before)
        recorded.write_bytes(whole.read())
    facts, tally = trace_logs([recorded], trace, log_line_prefix="%m [%p] ", wanted=Wanted())
    with jitter_ms() as jitter:
        report = replay(server.target, trace)
    own, every = report.own_lag_ms, report.lag_ms
    typical, late = jitter
    sys.stdout.write(
        f"{script} at {rate:.0f}/s: {facts.statements} statements recorded, {report.sent} sent, "
        f"{report.ok} ok, {tally.refused} lines refused\n"
        f"  own lag p50 {own['p50']:.2f} p99 {own['p99']:.2f} ms; lag p50 {every['p50']:.2f} "
        f"p99 {every['p99']:.2f} ms; the machine's jitter meanwhile p50 {typical:.2f} p99 {late:.2f} ms\n"
    )
    sys.stdout.flush()


def main() -> int:
    """Select-only, and TPC-B at a scale at which rows are seldom contended."""
    parser = argparse.ArgumentParser(description="A replay beside what was recorded.")
    parser.add_argument("--seconds", type=int, default=10)
    seconds = parser.parse_args().seconds
    with provision(DatabaseSpec(settings=SETTINGS)) as server, tempfile.TemporaryDirectory() as folder:
        pgbench(server.target, "-i", "-q", "-s", SCALE)
        for script in ("select-only", "tpcb-like"):
            measure(server, script, seconds, Path(folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
