"""The catalogue under traffic: `python -m conformance [--provision P] [--row N ...] [--times N]`.

Every example is a rehearsal of its own, with the application at work and production of 200 M rows, and its
verdict and rule are compared with what the catalogue says, those of the held-out migrations (P1, P2 ...) too.
`make conformance` runs all of them on the embedded server. Exit code 1 where one of them differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from conformance.catalogue import CATALOGUE
from conformance.held_out import HELD_OUT
from conformance.page import keep
from conformance.rehearsals import Answer, rehearse_row
from conformance.results import Result, line, summary
from conformance.row import Row
from conformance.services import SERVICES
from rehearse.engines.postgres.connect import connect
from rehearse.model.scenario import DatabaseSpec
from rehearse.provision import provision


def main() -> int:
    """Rehearse what is asked for, print a line an example, and how many agreed."""
    given = _options().parse_args()
    version = major_version(given.provision)
    rows = [
        row for row in (*CATALOGUE, *HELD_OUT, *SERVICES) if row.fits(version) and _wanted(row, given.row)
    ]
    if not rows:
        sys.stderr.write(f"no example of {', '.join(given.row)} is for PostgreSQL {version}\n")
        return 2
    _say(f"PostgreSQL {version} ({given.provision}), {given.times} x {len(rows)} examples")
    results = []
    for result in run(rows, given.provision, given.times, given.parallel):
        results.append(result)
        _say(line(result))
        if given.write:  # one by one: a run that is broken off leaves what it had
            keep(f"PostgreSQL {version} ({given.provision.partition(':')[0]})", [result])
    _say(summary(results))
    return 0 if all(result.agreed for result in results) else 1


def run(rows: Sequence[Row], place: str, times: int, parallel: int) -> Iterator[Result]:
    """Each row's result as soon as it and those before it are there."""

    def answers(row: Row) -> tuple[Answer, ...]:
        return tuple(rehearse_row(row, place) for _ in range(times))

    with ThreadPoolExecutor(parallel) as pool:
        for row, found in zip(rows, pool.map(answers, rows), strict=True):
            yield Result(row, found)


def major_version(place: str) -> int:
    """Of the server that `place` provides. Raises ProvisionError where it cannot be had."""
    with provision(DatabaseSpec(provision=place)) as server, connect(server.target, "rehearse") as asked:
        return asked.info.server_version // 10_000


def _wanted(row: Row, asked: Sequence[str]) -> bool:
    return not asked or row.number in asked or row.name in asked


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    options.add_argument("--provision", default="embedded", help="as for `rehearse run`")
    options.add_argument(
        "--row", action="append", default=[], help="a row's number, or an example's name; repeat"
    )
    options.add_argument("--times", type=int, default=1, help="rehearsals of each example")
    options.add_argument("--parallel", type=int, default=1, help="rehearsals at a time")
    options.add_argument("--write", action="store_true", help="keep the answers in docs/conformance.md")
    return options


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
