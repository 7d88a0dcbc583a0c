from __future__ import annotations

import gc
import os
import subprocess
import sys

import pytest

from rehearse.workload.punctual import punctual

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux scheduler")


def fail_punctually() -> None:
    with punctual():
        assert not gc.isenabled()
        raise ZeroDivisionError


def test_the_collector_rests_meanwhile_and_goes_on_afterwards() -> None:
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        fail_punctually()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


@linux_only
def test_the_scheduling_is_as_before() -> None:
    before = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    with punctual():
        assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK in {os.SCHED_RR, before[0]}
        asks = "import os; print(os.sched_getscheduler(0))"
        child = subprocess.run([sys.executable, "-c", asks], capture_output=True, check=True, text=True)
        assert child.stdout.split()[0] in {str(os.SCHED_OTHER), str(before[0])}
    assert (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority) == before
    with punctual(served_first=False):
        assert (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority) == before


@linux_only
def test_where_it_is_not_allowed_it_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_words: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with punctual():
        assert not gc.isenabled()
