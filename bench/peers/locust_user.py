"""pgbench's select-only as a Locust user: one psycopg connection each, prepared, as fast as it is answered.

Given to Locust by `bench.locust`. Where the traffic is comes in the environment; what it cost is printed as
JSON when the run ends: requests, and CPU seconds and seconds since all users were there.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time

import psycopg
from locust import User, constant, events, task
from locust.env import Environment

_CONNINFO = os.environ.get("BENCH_CONNINFO", "")
_ACCOUNTS = 100_000 * int(os.environ.get("BENCH_SCALE", "1"))
_QUERY = "SELECT abalance FROM pgbench_accounts WHERE aid = %s"
_since = {"cpu_s": 0.0, "wall_s": 0.0, "requests": 0.0}


class Reader(User):  # type: ignore[misc]  # Locust is untyped where it is not installed
    """A client of the application."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Connect."""
        self.connection = psycopg.connect(_CONNINFO, autocommit=True, prepare_threshold=0)

    def on_stop(self) -> None:
        """Hang up."""
        self.connection.close()

    @task  # type: ignore[untyped-decorator]  # as above
    def read(self) -> None:
        """One transaction."""
        started = time.perf_counter()
        error: Exception | None = None
        try:
            self.connection.execute(_QUERY, (random.randint(1, _ACCOUNTS),)).fetchone()
        except psycopg.Error as problem:
            error = problem
        self.environment.events.request.fire(
            request_type="sql",
            name="read",
            response_time=(time.perf_counter() - started) * 1000,
            response_length=0,
            exception=error,
            context={},
        )


_ENVIRONMENTS: list[Environment] = []


@events.init.add_listener  # type: ignore[untyped-decorator]  # as above
def _remember(environment: Environment, **_more: object) -> None:
    _ENVIRONMENTS.append(environment)


@events.spawning_complete.add_listener  # type: ignore[untyped-decorator]  # as above
def _begin(**_more: object) -> None:
    _since.update(cpu_s=time.process_time(), wall_s=time.monotonic(), requests=_requests())


@events.test_stopping.add_listener  # type: ignore[untyped-decorator]  # as above
def _end(**_more: object) -> None:
    now = {"cpu_s": time.process_time(), "wall_s": time.monotonic(), "requests": _requests()}
    spent = {name: now[name] - _since[name] for name in now}
    failed = sum(int(environment.stats.total.num_failures) for environment in _ENVIRONMENTS)
    sys.stdout.write(json.dumps(spent | {"failed": failed}) + "\n")
    sys.stdout.flush()


def _requests() -> float:
    return float(sum(int(environment.stats.total.num_requests) for environment in _ENVIRONMENTS))
