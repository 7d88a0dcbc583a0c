"""Every benchmark, one after the other: `python -m bench [NAME ...]`; `make bench` runs them all."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = ("driver", "tail", "memory", "observer", "episodes", "load", "mask", "twin", "start", "replay")
ON_DEMAND = ("locust",)  # needs what is no dependency of ours: see there


def main() -> int:
    """Run those that are named, or all. A benchmark is a process of its own, so that none warms another."""
    wanted = sys.argv[1:] or list(BENCHMARKS)
    known = (*BENCHMARKS, *ON_DEMAND)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        sys.stderr.write(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(known)}\n")
        return 2
    worst = 0
    for name in wanted:
        sys.stdout.write(f"== {name}\n")
        sys.stdout.flush()
        done = subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False)  # noqa: S603 - our own
        worst = max(worst, done.returncode)
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
