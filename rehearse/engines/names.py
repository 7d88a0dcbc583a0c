"""What a run's databases are called and marked by, whatever the engine."""

from __future__ import annotations

# The databases a run makes.
RUN_DATABASES = (
    "rehearse_base",
    "rehearse_preview",
    "rehearse_trial",
    "rehearse_scale_1",
    "rehearse_scale_2",
)
# On a database that a run made, by which the next one knows that it may be dropped.
MADE_BY_A_RUN = "rehearse: made by a run, to be dropped"
# On a database whose owner says that it is for rehearsals.
MARKER_COMMENT = "rehearse: disposable"
