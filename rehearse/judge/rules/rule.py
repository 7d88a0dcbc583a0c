"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rehearse.judge.facts import Facts
from rehearse.model.verdict import Finding, Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: a stable `id` (people write it into CI configuration), the severity its findings have
    unless they say otherwise, why it exists, what to do instead, and the check itself, which is pure.
    """

    id: str
    severity: Severity
    reason: str
    safe_way: str
    check: Callable[[Facts], Iterable[Finding]]
