"""Being on time: what a process asks of Python and of the system when milliseconds count."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def punctual() -> Iterator[None]:
    """Meanwhile, nothing that can be had out of the way makes this thread late.

    The garbage collector does not run (what is done meanwhile must make no cycles). And where the system
    allows it (to root, with CAP_SYS_NICE or an rtprio limit), the thread has the lowest real-time priority,
    so that it is served before ordinary processes as soon as it is due; elsewhere it stays what it is.
    Processes that it starts meanwhile inherit that.
    """
    collects = gc.isenabled()
    gc.collect()
    gc.freeze()  # what is here by now is not looked through again afterwards either, until it is thawed
    gc.disable()
    try:
        with _served_first():
            yield
    finally:
        gc.unfreeze()
        if collects:
            gc.enable()


@contextmanager
def _served_first() -> Iterator[None]:
    if sys.platform != "linux":
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(OSError):  # not allowed, or not there
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, policy, parameters)
