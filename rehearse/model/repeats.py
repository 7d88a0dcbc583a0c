"""What is kept of a traffic trial that was made more than once."""

from __future__ import annotations

from dataclasses import dataclass

from rehearse.model.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Repeat:
    """One traffic trial of several, judged by itself.

    `against` are the rules and gates that spoke against a GO. `metrics` has its values in base units by
    full name, None where it was not measured. A `noisy` one could not be told from the machine's own
    unrest, and has no part in what is concluded from all of them.
    """

    verdict: Verdict
    against: tuple[str, ...] = ()
    metrics: tuple[tuple[str, float | None], ...] = ()
    noisy: bool = False
