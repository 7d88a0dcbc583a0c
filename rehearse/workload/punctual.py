"""Being on time: what a process asks of Python and of the system when milliseconds count."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress


@contextmanager
def punctual(*, served_first: bool = True) -> Iterator[None]:
    """Meanwhile, nothing that can be had out of the way makes this thread late.

    The garbage collector does not run (what is done meanwhile must make no cycles). And where the system
    allows it (to root, with CAP_SYS_NICE or an rtprio limit), the thread has the lowest real-time priority,
    so that it is served before ordinary processes as soon as it is due; elsewhere, and where it is not to be
    `served_first`, it stays what it is. It is one thread, processes and threads that it starts meanwhile are
    ordinary ones, and the kernel keeps a part of every second for the rest (`sched_rt_runtime_us`): even if
    it never slept, it would stop nobody else for good.
    """
    collects = gc.isenabled()
    gc.collect()
    gc.freeze()  # what is here by now is not looked through again afterwards either, until it is thawed
    gc.disable()
    try:
        with _served_first() if served_first else nullcontext():
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
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        try:
            os.sched_setscheduler(0, policy, parameters)
        except OSError:  # only with CAP_SYS_NICE may a thread's children inherit again
            with suppress(OSError):
                os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, parameters)
