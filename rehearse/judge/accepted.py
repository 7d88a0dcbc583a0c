"""Risks that the user accepts: findings that match become accepted, are shown as such, and stop nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches

from rehearse.errors import ScenarioError
from rehearse.judge import wording
from rehearse.judge.missed_gates import LOCK_RULES
from rehearse.model.accepted import Accepted, AcceptSpec
from rehearse.model.migration import Statement
from rehearse.model.record import RunRecord, TrialKind
from rehearse.model.verdict import Finding, GateResult, GateStatus, Severity, Unit
from rehearse.model.waits import Stall

# These say that the migration was not tried to its end, or that what was measured is worth nothing: there is
# no risk in them that anybody could know.
NOT_TO_BE_ACCEPTED = frozenset(
    {
        "aborted",
        "accepted-risk",
        "adversary-missing",
        "baseline-noisy",
        "closed-loop",
        "driver-behind",
        "migration-failed",
        "sampler-gap",
        "trial-missing",
    }
)
_GRAVE = (Severity.FAILURE, Severity.UNMEASURED)


@dataclass(frozen=True, slots=True)
class Settled:
    """Findings and gates with what is accepted marked; `unused` acceptances matched nothing, and of the
    `expired` ones nothing was accepted any more.
    """

    findings: tuple[Finding, ...]
    gates: tuple[GateResult, ...]
    unused: tuple[AcceptSpec, ...]
    expired: tuple[AcceptSpec, ...] = ()


def check_accepted(specs: Iterable[AcceptSpec], rules: Collection[str]) -> None:
    """Raises ScenarioError for a rule that does not exist, naming the nearest, or that cannot be accepted."""
    for spec in specs:
        if spec.rule not in rules:
            near = get_close_matches(spec.rule, rules, n=1)
            mend = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(sorted(rules))}"
            raise ScenarioError(f"{spec.place}: there is no rule `{spec.rule}`", mend)
        if spec.rule in NOT_TO_BE_ACCEPTED:
            raise ScenarioError(
                f"{spec.place}: `{spec.rule}` cannot be accepted: with it nothing is known of the risk",
                f"see what `rehearse explain {spec.rule}` says",
            )


def settle(
    record: RunRecord, findings: Sequence[Finding], gates: Sequence[GateResult], stalls: Sequence[Stall]
) -> Settled:
    """What is left of `findings` and `gates` once the risks that the scenario accepts are taken.

    A gate is accepted with the finding that reports it. With work under a lock go the stalls and response
    times that it explains, where none of the `stalls` beyond the limit is another statement's. The
    day is that on which the run began: judged again later, it is judged the same.
    """
    specs = record.scenario.accepted
    today = date.fromisoformat(record.started_at[:10])
    trial = record.trial(TrialKind.TRAFFIC)
    statements = trial.migration.statements if trial and trial.migration else ()
    used: set[int] = set()
    settled: list[Finding] = []
    for finding in findings:
        places = [n for n, spec in enumerate(specs) if _grave(finding) and _covers(spec, finding, statements)]
        used.update(places)
        settled.append(_settled(finding, [specs[place] for place in places], today))
    settled = [_follows(finding, settled, stalls) for finding in settled]
    return Settled(
        findings=tuple(settled),
        gates=tuple(_gate(gate, settled) for gate in gates),
        unused=tuple(spec for n, spec in enumerate(specs) if n not in used),
        expired=tuple(spec for n, spec in enumerate(specs) if n in used and spec.until < today),
    )


def _grave(finding: Finding) -> bool:
    return finding.severity in _GRAVE and finding.rule not in NOT_TO_BE_ACCEPTED


def _settled(finding: Finding, specs: Sequence[AcceptSpec], today: date) -> Finding:
    current = [spec for spec in specs if spec.until >= today]
    if current:
        last = max(current, key=lambda spec: spec.until)
        accepted = Accepted(last.reason, last.until, last.by, finding.severity.value)
        return replace(
            finding,
            severity=Severity.ACCEPTED,
            accepted=accepted,
            evidence=(str(accepted), *finding.evidence),
        )
    past = tuple(
        f"this risk was accepted until {spec.until.isoformat()}, and that day has passed: {spec.reason}"
        for spec in specs
    )
    return replace(finding, evidence=(*past, *finding.evidence)) if past else finding


def _follows(finding: Finding, findings: Iterable[Finding], stalls: Iterable[Stall]) -> Finding:
    """`finding`, accepted if it is a stall or a late answer that accepted work under a lock explains."""
    if finding.severity is not Severity.FAILURE or finding.rule not in ("stall", "latency"):
        return finding
    work = [cause for cause in findings if cause.rule in LOCK_RULES]
    taken = {cause.statement: cause.accepted for cause in work if cause.accepted is not None}
    accepted = taken.get(finding.statement)
    limit = finding.limit
    if accepted is None or finding.statement is None or limit is None or limit.unit is not Unit.SECONDS:
        return finding
    beyond = {stall.statement for stall in stalls if (stall.end_ns - stall.start_ns) / 1e9 > limit.value}
    if not beyond or not beyond <= taken.keys() or any(cause.severity is Severity.FAILURE for cause in work):
        return finding
    return replace(
        finding,
        severity=Severity.ACCEPTED,
        accepted=accepted,
        evidence=(f"it follows from what is {accepted}", *finding.evidence),
    )


def _gate(gate: GateResult, findings: Sequence[Finding]) -> GateResult:
    if gate.status is GateStatus.PASSED:
        return gate
    mine = [finding for finding in findings if finding.gate == gate.gate]
    if not mine and gate.metric.startswith("blocking."):  # told by the rules for work under a lock
        mine = [f for f in findings if f.rule in LOCK_RULES and (_grave(f) or f.accepted is not None)]
    taken = [finding.accepted for finding in mine if finding.accepted is not None]
    if not taken or len(taken) < len(mine):
        return gate
    note = f"{gate.note}; {taken[0]}" if gate.note else str(taken[0])
    return replace(gate, accepted=taken[0], note=note)


def _covers(spec: AcceptSpec, finding: Finding, statements: Sequence[Statement]) -> bool:
    if spec.rule != finding.rule:
        return False
    if spec.subject and not _matches(spec.subject, finding.subject):
        return False
    if not spec.statement:
        return True
    statement = next((s for s in statements if s.index == finding.statement), None)
    if statement is None:
        return spec.statement == "*"
    if spec.statement.isdecimal():
        return int(spec.statement) == statement.index + 1
    return _matches(spec.statement, statement.text)


def _matches(pattern: str, text: str) -> bool:
    """A regular expression between slashes is looked for as it stands; else white space, letter case and a
    closing semicolon do not count, and `*` and `?` stand for anything, and any one character.
    """
    if len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/"):
        return re.search(pattern[1:-1], text, re.IGNORECASE | re.DOTALL) is not None
    parts = (re.escape(part) for part in re.split(r"([*?])", _plain(pattern)))
    translated = "".join({r"\*": ".*", r"\?": "."}.get(part, part) for part in parts)
    return re.fullmatch(translated, _plain(text), re.DOTALL) is not None


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip("; ").lower()


def described(spec: AcceptSpec) -> str:
    """What it accepts, as a phrase."""
    of = f" of `{wording.excerpt(spec.statement, 60)}`" if spec.statement else ""
    about = f" about {spec.subject}" if spec.subject else ""
    return f"{spec.rule}{of}{about}"
