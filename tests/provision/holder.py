"""A process that holds a server until it is killed: run as a script by the tests of sudden death.

Usage: holder.py KIND PROVISION. It prints one JSON line when the server is up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

from rehearse.engines.postgres.connect import connect
from rehearse.model.scenario import DatabaseSpec
from rehearse.provision import Server, provision

FOR_EVER = 600
# never looks at its socket, nor whether its postmaster lives
BUSY = "SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000000) b"

BUSY_SESSIONS = 2
AT_IT = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = %s AND backend_type = 'client backend' AND state = 'active'
"""


def say(words: dict[str, object]) -> None:
    print(json.dumps(words), flush=True)  # noqa: T201 - to the test that started this


def announce(server: Server, **more: object) -> None:
    words: dict[str, object] = {
        "pid": server.pid,
        "data": str(server.data_directory),
        "host": server.target.host,
        "port": server.target.port,
    } | more
    say(words)


def busy(server: Server) -> None:
    def run() -> None:
        with connect(server.target, "rehearse-traffic") as connection:
            connection.execute(BUSY)

    for _ in range(BUSY_SESSIONS):
        threading.Thread(target=run, daemon=True).start()
    with connect(server.target, "rehearse") as connection:
        while connection.execute(AT_IT, ("rehearse-traffic",)).fetchone() != (BUSY_SESSIONS,):
            time.sleep(0.01)


def hold(kind: str, server: Server) -> None:
    if kind == "busy":
        busy(server)
    if kind == "workers":
        subprocess.Popen(["sleep", str(FOR_EVER)], close_fds=False, stdout=subprocess.DEVNULL)
        worker = os.fork()
        if worker == 0:
            time.sleep(FOR_EVER)
            os._exit(0)
        announce(server, worker=worker)
    elif kind == "interrupt":
        try:
            announce(server)  # within: the signal may come before print has returned
            time.sleep(FOR_EVER)
        except KeyboardInterrupt:
            with connect(server.target, "rehearse") as connection:
                answer = connection.execute("SELECT 1").fetchone()
            say({"alive": server.alive(), "answer": answer})
        return
    elif kind == "leave":
        announce(server)
        return
    elif kind == "standby":
        with server.standby() as standby:
            announce(server, standby=standby.pid, copy=str(standby.data_directory))
            time.sleep(FOR_EVER)
    else:
        announce(server)
    time.sleep(FOR_EVER)


def main() -> None:
    with provision(DatabaseSpec(provision=sys.argv[2])) as server:
        hold(sys.argv[1], server)


if __name__ == "__main__":
    main()
