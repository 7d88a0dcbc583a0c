"""Answers of many rehearsals, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conformance.rehearsals import Answer
from conformance.row import GO, Row


@dataclass(frozen=True, slots=True)
class Result:
    """A row, and what each rehearsal of it said, in order."""

    row: Row
    answers: tuple[Answer, ...]

    @property
    def agreed(self) -> bool:
        """Whether every answer was the row's."""
        return bool(self.answers) and all(answer.agrees(self.row) for answer in self.answers)

    @property
    def flipped(self) -> bool:
        """Whether the same row had different verdicts."""
        return len({answer.verdict for answer in self.answers}) > 1


def line(result: Result) -> str:
    """One line for a terminal; more where an answer was another than the row's."""
    mark = "ok    " if result.agreed else "DIFFER"
    seconds = sum(answer.seconds for answer in result.answers)
    text = f"{mark} {result.row.name:<48} {said(result.answers):<56} {seconds:5.0f} s"
    if result.agreed:
        return text
    wrong = [answer for answer in result.answers if not answer.agrees(result.row)]
    lines = [text, f"       expected {expected(result.row)}"]
    lines += [f"       {answer.verdict}: {answer.why}" for answer in wrong]
    return "\n".join(lines)


def summary(results: Sequence[Result]) -> str:
    """How many agreed, and which did not."""
    agreed = sum(result.agreed for result in results)
    numbers = {result.row.number for result in results}
    wrong = {result.row.number for result in results if not result.agreed}
    flips = [result.row.name for result in results if result.flipped]
    text = f"{agreed} of {len(results)} examples, {len(numbers - wrong)} of {len(numbers)} rows"
    return f"{text}; flips: {', '.join(flips) or 'none'}"


def expected(row: Row) -> str:
    """The row's verdict, and what speaks for it."""
    if row.verdict is GO:
        return "GO, `lock_timeout` advised" if row.warns else "GO"
    return f"NO-GO, `{row.rule}`"


def said(answers: Iterable[Answer]) -> str:
    """What was answered, and how often."""
    counts: dict[str, int] = {}
    for answer in answers:
        text = answer.verdict.replace("_", "-")
        text += f" {', '.join(answer.failures)}" if answer.failures else ""
        counts[text] = counts.get(text, 0) + 1
    return "; ".join(f"{count} x {text}" if count > 1 else text for text, count in counts.items())
