"""Asks the server to give up what it is doing for some connections, and does not wait for it for long."""

from __future__ import annotations

import select
import time
from collections.abc import Iterable
from contextlib import suppress

from psycopg import NotSupportedError, OperationalError, pq
from psycopg.pq.abc import PGcancelConn, PGconn

_WAITS: dict[pq.PollingStatus, int] = {
    pq.PollingStatus.READING: select.POLLIN,
    pq.PollingStatus.WRITING: select.POLLOUT,
}


def cancel_all(connections: Iterable[PGconn], patience_s: float) -> None:
    """Cancel what each of them is waiting for, all at once; whom the server does not heed by then, it never
    will. Refusals are nobody's business: the connections are about to be closed.
    """
    deadline = time.monotonic() + patience_s
    pending = [cancel for connection in connections if (cancel := _begun(connection)) is not None]
    while pending and (left_s := deadline - time.monotonic()) > 0:
        poller = select.poll()
        waiting = []
        for cancel in pending:
            events = _step(cancel)
            if events:
                poller.register(cancel.socket, events)
                waiting.append(cancel)
        pending = waiting
        if pending:
            poller.poll(left_s * 1000)
    for cancel in pending:
        cancel.finish()


def _begun(connection: PGconn) -> PGcancelConn | None:
    with suppress(OperationalError):
        try:
            cancel = connection.cancel_conn()
        except NotSupportedError:  # a libpq before 17 can only wait
            connection.get_cancel().cancel()
            return None
        cancel.start()
        return cancel
    return None


def _step(cancel: PGcancelConn) -> int:
    """Go on; the events to wait for, 0 where it is over."""
    try:
        events = _WAITS.get(pq.PollingStatus(cancel.poll()), 0)
    except OperationalError:
        events = 0
    if not events:
        cancel.finish()
    return events
