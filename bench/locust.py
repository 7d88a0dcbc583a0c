"""The driver beside Locust and pgbench: client CPU a transaction, of the same point SELECT, 8 clients each.

Run as `python -m bench.locust [--python P]`. Locust is no dependency of ours: `pip install --group bench`
brings it, or `--python` names the interpreter of an environment that has it and psycopg. Both are closed
loops of one process, and take turns on one server; the CPU is counted from when all clients are there, and
pgbench's from its start. The aim: at least ten times less than Locust's. What pgbench uses, which does next
to nothing but send and receive, says how much of that there is to be had.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.driver import CASES, Bench
from rehearse.engines.postgres.connect import conninfo
from rehearse.engines.postgres.databases import create_database
from rehearse.model.scenario import DatabaseSpec
from rehearse.provision import provision

CLIENTS, SCALE = 8, 10
_USER = Path(__file__).parent / "peers" / "locust_user.py"


def theirs(bench: Bench, python: str) -> tuple[float, float]:
    """Locust's transactions a second, and its CPU in us for each."""
    words = ["-m", "locust", "-f", str(_USER), "--headless", "--only-summary", "--skip-log-setup"]
    clients = ["-u", str(bench.clients), "-r", str(bench.clients), "-t", f"{bench.seconds + 1:.0f}s"]
    where = {"BENCH_CONNINFO": conninfo(bench.target, "bench"), "BENCH_SCALE": str(bench.scale)}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(  # noqa: S603 - the interpreter that the user names
            [python, *words, *clients],
            env={**os.environ, **where},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(f"Locust did not run: {done.stderr.strip().splitlines()[-1:]}")
    spent = json.loads(lines[-1])
    if spent["failed"] or not spent["requests"]:
        raise SystemExit(f"Locust's transactions failed: {spent}")
    return spent["requests"] / spent["wall_s"], spent["cpu_s"] * 1e6 / spent["requests"]


def main() -> None:
    """Provision, fill, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has Locust and psycopg")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with provision(DatabaseSpec()) as server:
        create_database(server.target, "bench")
        bench = Bench(server.target.on("bench"), given.seconds, CLIENTS, SCALE)
        bench.pgbench("-i", "-q", "-s", str(SCALE))
        turns = []
        for _ in range(given.rounds):
            mine, least = bench.ours(CASES[0], None), bench.theirs(CASES[0], None)
            turns.append((theirs(bench, given.python), (mine.tps, mine.cpu_us), (least.tps, least.cpu_us)))
        for place, label in enumerate(("transactions/s", "client CPU, us")):
            values = [[side[place] for side in turn] for turn in turns]
            peer, own, least = (statistics.median(side) for side in zip(*values, strict=True))
            ratio = statistics.median(turn[1] / turn[0] for turn in values)
            floor = statistics.median(turn[2] / turn[0] for turn in values)
            sys.stdout.write(
                f"  {label:<18} locust {peer:>10.1f}   rehearse {own:>10.1f}   pgbench {least:>10.1f}"
                f"   rehearse/locust {ratio:.3f}   pgbench/locust {floor:.3f}\n"
            )


if __name__ == "__main__":
    main()
