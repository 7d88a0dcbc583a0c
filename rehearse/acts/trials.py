"""The trials beside the traffic, by kind: each puts a fresh copy of the base through one script of acts.

A new kind is a file with an act in it and a line in `ACTS`; what it found is a field of `Trial`.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from rehearse.acts.compatibility import compatibility
from rehearse.acts.drift import drift
from rehearse.acts.integrity import integrity
from rehearse.acts.interruption import interruption
from rehearse.acts.plans import plans
from rehearse.acts.replica import replica
from rehearse.acts.rollback import rollback
from rehearse.acts.scale import scale
from rehearse.acts.trial import TrialContext
from rehearse.engines.postgres.primary import without_values
from rehearse.errors import InterruptedRunError, RehearseError
from rehearse.model.record import Trial
from rehearse.model.trials import TrialKind

Act = Callable[[TrialContext], Trial]

ACTS: dict[TrialKind, Act] = {
    TrialKind.INTEGRITY: integrity,
    TrialKind.ROLLBACK: rollback,
    TrialKind.INTERRUPTION: interruption,
    TrialKind.SCALE: scale,
    TrialKind.REPLICA: replica,
    TrialKind.PLANS: plans,
    TrialKind.COMPATIBILITY: compatibility,
    TrialKind.DRIFT: drift,
}


def make_trial(kind: TrialKind, context: TrialContext) -> Trial:
    """The trial of that kind. One that cannot be made says why: that is unmeasured, and no reason to lose
    the others. Raises only what ends the whole run: an interruption, or a server that has died.
    """
    act = ACTS.get(kind)
    if act is None:
        return Trial(kind, unmeasured=f"there is no {kind.value} trial on this engine")
    try:
        return act(context)
    except InterruptedRunError:
        raise
    except (RehearseError, psycopg.Error) as error:
        if not context.server.alive():
            raise
        return Trial(kind, unmeasured=_said(error))


def _said(error: Exception) -> str:
    if isinstance(error, psycopg.Error):
        primary = error.diag.message_primary or type(error).__name__
        return without_values(error.sqlstate, primary)
    return str(error)
