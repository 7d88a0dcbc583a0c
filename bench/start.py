"""From nothing to a database that takes statements, for every provisioner this machine has.

Run as `python -m bench.start [--rounds N] [PROVISION ...]`; by default embedded, the newest local
installation, the PostgreSQL images that the container engine has, and a DSN of a server of our own. What is
measured is what a rehearsal waits for: provisioning, a database made, a table made in it. The same for a
standby beside it, where there can be one.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Iterator

from rehearse.engines.postgres.connect import connect
from rehearse.engines.postgres.databases import create_database, drop_database
from rehearse.errors import EnvironmentFailure, ProvisionError
from rehearse.model.scenario import DatabaseSpec
from rehearse.provision import Server, provision
from rehearse.provision.binaries import local_installations
from rehearse.provision.engine import engine_client

LIMIT_S = 10.0
_NAME = "rehearse_base"


def places() -> Iterator[str]:
    """What `provision` can say on this machine."""
    yield "embedded"
    yield from (f"local:{bindir}" for bindir in local_installations()[:1])
    with contextlib.suppress(ProvisionError), engine_client() as client:
        tags = sorted(tag for image in client.images.list() for tag in image.tags)
        yield from (f"docker:{tag}" for tag in tags if tag.startswith("postgres:"))


def start(provisioned: contextlib.AbstractContextManager[Server]) -> tuple[str, float, float | None]:
    """The server's version, seconds to a table in a database of its own, and to a standby that follows."""
    began = time.monotonic()
    with provisioned as server:
        create_database(server.target, _NAME)
        with connect(server.target.on(_NAME), "rehearse") as connection:
            connection.execute("CREATE TABLE ready (id bigint PRIMARY KEY)")
        ready = time.monotonic()
        standby = _standby(server)
        drop_database(server.target, _NAME)
        return server.environment.server_version, ready - began, standby


def _standby(server: Server) -> float | None:
    began = time.monotonic()
    try:
        with server.standby() as standby, connect(standby.target.on(_NAME), "rehearse"):
            return time.monotonic() - began
    except EnvironmentFailure:  # a server that is not ours has none
        return None


@contextlib.contextmanager
def existing(server: Server) -> Iterator[Server]:
    """The same server by its DSN."""
    words = server.target.conninfo("x")
    with connect(server.target, "rehearse") as connection:
        connection.execute("CREATE DATABASE scratch")
    dsn = f"postgresql://{words['user']}:{words['password']}@{words['host']}:{words['port']}/scratch"
    with provision(DatabaseSpec(provision=dsn), disposable="scratch") as reached:
        yield reached
    drop_database(server.target, "scratch")


def report(place: str, rounds: list[tuple[str, float, float | None]]) -> bool:
    """A line of the table; whether it was quick enough."""
    took = statistics.median(ready for _, ready, _ in rounds)
    standbys = [standby for _, _, standby in rounds if standby is not None]
    shown = f"{statistics.median(standbys):.2f}" if standbys else ""
    worst = max(ready for _, ready, _ in rounds)
    sys.stdout.write(f"| {place} | {rounds[0][0]} | {took:.2f} | {worst:.2f} | {shown} |\n")
    sys.stdout.flush()
    return took < LIMIT_S


def main() -> int:
    """Start each in turn, `--rounds` times; 1 if the median of one of them is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("place", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sys.stdout.write(
        "| provision | version | ready, s | slowest, s | a standby, s |\n|---|---|---|---|---|\n"
    )
    quick = True
    for place in options.place or places():
        rounds = [start(provision(DatabaseSpec(provision=place))) for _ in range(options.rounds)]
        quick &= report(place, rounds)
    if not options.place:
        with provision(DatabaseSpec()) as server:
            quick &= report("a DSN", [start(existing(server)) for _ in range(options.rounds)])
    return 0 if quick else 1


if __name__ == "__main__":
    raise SystemExit(main())
