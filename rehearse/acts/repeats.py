"""The traffic trials of one run: how many there are, what is kept of each, and which one is shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from rehearse.acts.steadiness import TIMING_RULES, deciding, enough, rests_on_timing
from rehearse.errors import EnvironmentFailure
from rehearse.model.record import Trial
from rehearse.model.repeats import Repeat
from rehearse.model.verdict import GateStatus, Judgement, Severity, Verdict
from rehearse.model.workload import SampleColumns

_DISK_FULL = "53100"


@dataclass(slots=True)
class Repeats:
    """All that were made so far. `asked` 1: one, and more only where it rests on the machine's mood."""

    asked: int
    trials: list[tuple[Trial, SampleColumns]] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)

    def add(self, trial: Trial, samples: SampleColumns, judgement: Judgement) -> None:
        """One more, judged by itself."""
        self.trials.append((trial, samples))
        self.judgements.append(judgement)

    @property
    def wanted(self) -> bool:
        """Whether there is to be another."""
        if not self.trials:
            return True
        if self.trials[-1][0].aborted is not None:
            return False
        if self.asked > 1:
            return len(self.trials) < self.asked
        return not enough(self.judgements)

    @property
    def chosen(self) -> int:
        """The place of the one that is kept. Of several that were asked for, gates are judged over all; so it
        is one in which a rule found something besides times, be it once; else one of the greater part, in the
        middle by its longest stall.
        """
        if self.trials[-1][0].aborted is not None:
            return len(self.trials) - 1
        if self.asked == 1:
            return deciding(self.judgements)
        places = range(len(self.judgements))
        for severity in (Severity.FAILURE, Severity.UNMEASURED):
            for place in places:
                if by_rule(self.judgements[place], severity) - TIMING_RULES:
                    return place
        quiet = [place for place in places if not is_noisy(self.judgements[place])] or list(places)
        slower = [place for place in quiet if by_rule(self.judgements[place], Severity.FAILURE)]
        among = slower if 2 * len(slower) >= len(quiet) else quiet
        return sorted(among, key=lambda place: _stall_s(self.judgements[place]))[len(among) // 2]

    def kept(self) -> tuple[Repeat, ...]:
        """What the record says of each; nothing where there is one alone."""
        if len(self.judgements) < 2:
            return ()
        return tuple(kept_of(judgement) for judgement in self.judgements)

    def note(self) -> str:
        """How it came to several, and what they said; empty where there is one alone."""
        if len(self.judgements) < 2:
            return ""
        said = ", ".join(_said(kept) for kept in self.kept())
        if self.asked > 1:
            return f"the traffic trial was made {len(self.judgements)} times: {said}"
        return f"only times spoke against a go, so the traffic trial was run again: {said}"


def kept_of(judgement: Judgement) -> Repeat:
    """What is kept of a trial that was judged by itself."""
    grave = (Severity.FAILURE, Severity.UNMEASURED)
    rules = [finding.gate or finding.rule for finding in judgement.findings if finding.severity in grave]
    gates = [g.gate for g in judgement.gates if g.status is not GateStatus.PASSED and g.accepted is None]
    return Repeat(
        verdict=judgement.verdict,
        against=tuple(dict.fromkeys([*rules, *gates])),
        metrics=tuple((name, None if q is None else q.value) for name, q in judgement.metrics),
        noisy=is_noisy(judgement),
    )


def by_rule(judgement: Judgement, severity: Severity) -> frozenset[str]:
    """The rules that found something of that severity, without those that only report gates, and without what
    may only be due to a machine that stood still.
    """
    found = (f for f in judgement.findings if f.severity is severity)
    return frozenset(f.rule for f in found if not f.gate and not f.disturbed)


def is_noisy(judgement: Judgement) -> bool:
    """Whether nothing can be told from it but that the machine was not quiet."""
    return judgement.verdict is Verdict.INCONCLUSIVE and rests_on_timing(judgement)


def raise_if_disk_full(trial: Trial) -> None:
    """EnvironmentFailure if the migration failed for want of disk: of this machine's disk, which says nothing
    about production's.
    """
    failed = trial.migration.failed if trial.migration else None
    if failed is not None and failed.sqlstate == _DISK_FULL:
        raise EnvironmentFailure(
            f"the disk was full in statement {failed.index + 1} of the migration ({failed.sqlstate})",
            "free some space where the database is, or rehearse with fewer rows",
        )


def _said(repeat: Repeat) -> str:
    word = repeat.verdict.value.replace("_", "-")
    return f"{word} ({', '.join(repeat.against)})" if repeat.against else word


def _stall_s(judgement: Judgement) -> float:
    longest = dict(judgement.metrics).get("stall.max")
    return longest.value if longest else 0.0
