"""What is concluded: metrics, gates, findings, and go or no-go."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rehearse.errors import ExitCode
from rehearse.model.accepted import Accepted
from rehearse.model.growth import Bounds, Law
from rehearse.model.waits import Stall


class Verdict(Enum):
    """The answer."""

    GO = "GO"
    NO_GO = "NO_GO"
    INCONCLUSIVE = "INCONCLUSIVE"

    @property
    def exit_code(self) -> ExitCode:
        """What the process ends with."""
        return {
            Verdict.GO: ExitCode.GO,
            Verdict.NO_GO: ExitCode.NO_GO,
            Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
        }[self]


class Severity(Enum):
    """What a finding does to the verdict: a failure makes NO_GO, else something unmeasured makes
    INCONCLUSIVE; warnings and notes leave it alone, as does what the user accepted: a failure, or something
    unmeasured, that would have stopped it.
    """

    FAILURE = "failure"
    UNMEASURED = "unmeasured"
    ACCEPTED = "accepted"
    WARNING = "warning"
    NOTE = "note"


class Unit(Enum):
    """Base units: values are never stored in others."""

    SECONDS = "s"
    BYTES = "B"
    RATIO = "ratio"  # 0.01 is 1 %; a factor of three is 3.0
    COUNT = "count"
    PER_SECOND = "/s"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit."""

    value: float
    unit: Unit


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a rule found.

    `message` is one sentence a person understands by itself. `statement` indexes the migration's
    statements, None where no single one is to blame. `evidence` are further sentences: lock, victims,
    cost at production size. `advice` is the safe alternative, SQL where it can be. `subject` names the
    table, index or script it is about. `gate` is the metric of the gate it reports, if it does. `accepted`
    says who took the risk, until when and why, where its severity is ACCEPTED. It is `disturbed` where
    nothing speaks for it but a time in which the machine stood still.
    """

    rule: str
    severity: Severity
    message: str
    statement: int | None = None
    subject: str = ""
    observed: Quantity | None = None
    limit: Quantity | None = None
    evidence: tuple[str, ...] = ()
    advice: str = ""
    gate: str = ""
    accepted: Accepted | None = None
    disturbed: bool = False


class GateStatus(Enum):
    """What became of one gate."""

    PASSED = "passed"
    FAILED = "failed"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate, what was measured for it, and the limit it was held against. `note` says more: the noise
    guard that was applied, or why nothing was measured. `resolution` is the smallest difference that this
    run could have seen, None where that is not known. What was `accepted` does not stop the migration. It was
    `disturbed` where only the time in which the machine stood still made it miss: then it is UNMEASURED.
    """

    gate: str  # as the user wrote it: `stall.max <= 1s`
    metric: str
    status: GateStatus
    observed: Quantity | None
    limit: Quantity | None
    note: str = ""
    resolution: Quantity | None = None
    accepted: Accepted | None = None
    disturbed: bool = False


@dataclass(frozen=True, slots=True)
class Growth:
    """How one quantity of the whole migration grew with the rows of `table` over the scale trial's runs:
    `points` are (rows, value) in base units, `projected` what it comes to at the `production_rows`.
    """

    what: str  # duration, blocking, write-ahead log, disk space
    unit: Unit
    law: Law
    table: str
    points: tuple[tuple[int, float], ...]
    production_rows: int | None = None
    projected: Bounds | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Everything concluded from one record. `metrics` has every gate metric by its full name,
    `latency.p99{phase=migration}` and so on; None where it was not measured. `checked` names the rules
    that were applied, whether they found anything or not (empty: not said). `growths` are those that the
    scale trial saw.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    gates: tuple[GateResult, ...]
    metrics: tuple[tuple[str, Quantity | None], ...]
    stalls: tuple[Stall, ...] = ()
    checked: tuple[str, ...] = ()
    growths: tuple[Growth, ...] = ()
