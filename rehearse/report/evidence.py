"""The evidence of findings, each line said once: what a later finding repeats is referred to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rehearse.model.verdict import Finding

# Fewer lines are as short as the words that would refer to them.
_WORTH_REFERRING = 3


class Told:
    """The lines that were printed so far, and under which finding."""

    def __init__(self) -> None:
        self._under: dict[str, str] = {}

    def lines(self, finding: Finding) -> tuple[str, ...]:
        """The finding's evidence, to be printed now, after that of all findings asked for before. Where much
        of it was printed already, one line says under which finding.
        """
        again = [line for line in finding.evidence if line in self._under]
        if len(again) < _WORTH_REFERRING:
            again = []
        new = [line for line in finding.evidence if line not in again]
        told = (*new, _reference([self._under[line] for line in again])) if again else tuple(new)
        for line in new:
            self._under.setdefault(line, _title(finding))
        return told


def said_once(findings: Iterable[Finding]) -> list[tuple[Finding, tuple[str, ...]]]:
    """Findings in the order in which they are printed, with what to print of the evidence of each."""
    told = Told()
    return [(finding, told.lines(finding)) for finding in findings]


def _title(finding: Finding) -> str:
    return f"{finding.rule} ({finding.subject})" if finding.subject else finding.rule


def _reference(titles: Sequence[str]) -> str:
    where = " and ".join(Counter(titles))
    return f"{len(titles)} lines more, as they stand above under {where}"
