"""For how long the guards of a DSN wait until sessions are gone: for as long as it takes, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rehearse.provision import existing


@contextmanager
def hasty() -> Iterator[None]:
    """Where a session is held that the guards are meant to find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(existing, "SETTLE_S", 0.0)
        yield


@contextmanager
def patient() -> Iterator[None]:
    """Where another guard speaks once the sessions of the test before are gone, however slow the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(existing, "SETTLE_S", 60.0)
        yield
