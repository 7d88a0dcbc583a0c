"""Risks that are accepted: shown, and not in the way; and only what was meant."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from rehearse.errors import ScenarioError
from rehearse.judge.accepted import check_accepted
from rehearse.judge.judge import judge
from rehearse.judge.rules import RULE_NAMES
from rehearse.model.accepted import AcceptSpec
from rehearse.model.migration import Effects, MigrationRun
from rehearse.model.record import RunRecord
from rehearse.model.verdict import Finding, GateStatus, Judgement, Severity, Verdict
from rehearse.model.workload import SampleColumns
from tests.judge.build import AX, ORDERS, lock, migration, queued, quiet, record, statement, work

SQL = "ALTER TABLE orders\n  ADD COLUMN token uuid DEFAULT gen_random_uuid();"
REWRITE = migration(
    statement(SQL, lock(ORDERS, AX), took_s=0.5, timeout_ms=2000, effects=Effects(rewritten=(work(),)))
)
LONG = migration(
    statement(SQL, lock(ORDERS, AX), took_s=3.0, timeout_ms=2000, effects=Effects(rewritten=(work(),)))
)
RUN_DAY = date(2030, 1, 1)


def spec(statement: str = "", rule: str = "rewrite-under-lock", **more: str) -> AcceptSpec:
    return AcceptSpec(rule, "a window is announced", date(2030, 1, 31), statement, **more)


def judged(
    *specs: AcceptSpec, run: MigrationRun = REWRITE, traffic: SampleColumns | None = None
) -> Judgement:
    made: RunRecord = record(run)
    made = replace(made, scenario=replace(made.scenario, accepted=specs))
    return judge(made, traffic or quiet(run))


def of_rule(judgement: Judgement, rule: str) -> Finding:
    (found,) = [finding for finding in judgement.findings if finding.rule == rule]
    return found


def test_unaccepted_it_fails() -> None:
    assert judged().verdict is Verdict.NO_GO


@pytest.mark.parametrize(
    "pattern",
    [
        "ALTER TABLE orders ADD COLUMN token uuid DEFAULT gen_random_uuid()",
        "alter table orders add column *",
        "*token*",
        "ALTER TABLE order? *",
        "/add\\s+column\\s+token/",
        "1",
    ],
)
def test_what_is_accepted_is_shown_and_does_not_fail(pattern: str) -> None:
    judgement = judged(spec(pattern, by="dba"))
    finding = of_rule(judgement, "rewrite-under-lock")

    assert judgement.verdict is Verdict.GO
    assert finding.severity is Severity.ACCEPTED
    assert finding.accepted is not None
    assert (finding.accepted.severity, finding.accepted.until) == ("failure", date(2030, 1, 31))
    assert "a window is announced" in finding.evidence[0]
    assert "dba" in finding.evidence[0]


def test_the_gate_that_it_explains_goes_with_it_and_stays_visible() -> None:
    gates = {gate.metric: gate for gate in judged(spec("*")).gates}
    blocking = gates["blocking.projected"]
    assert blocking.status is GateStatus.FAILED
    assert blocking.accepted is not None
    assert "accepted" in blocking.note


@pytest.mark.parametrize(
    "other",
    [
        spec("ALTER TABLE customers *"),
        spec("2"),
        spec("*", rule="scan-under-lock"),
        spec(subject="customers"),
    ],
)
def test_what_was_not_meant_fails_as_before(other: AcceptSpec) -> None:
    judgement = judged(other)
    assert judgement.verdict is Verdict.NO_GO
    assert of_rule(judgement, "rewrite-under-lock").severity is Severity.FAILURE
    assert "nothing was found" in of_rule(judgement, "accepted-risk").message


def test_a_stall_that_it_explains_goes_with_it() -> None:
    judgement = judged(spec("*"), run=LONG, traffic=queued(LONG))
    assert judgement.verdict is Verdict.GO
    assert of_rule(judgement, "stall").severity is Severity.ACCEPTED
    assert "rewrite-under-lock" not in {f.rule for f in judgement.findings if f.severity is Severity.FAILURE}


def test_another_statements_stall_does_not() -> None:
    slow = statement("SELECT pg_sleep(3)", took_s=3.0)
    run = migration(*REWRITE.statements, slow)
    judgement = judged(spec("1"), run=run, traffic=queued(run))
    assert judgement.verdict is Verdict.NO_GO
    assert of_rule(judgement, "stall").severity is Severity.FAILURE


def test_on_its_last_day_it_holds_and_on_the_next_it_fails_and_says_so() -> None:
    assert judged(replace(spec("*"), until=RUN_DAY)).verdict is Verdict.GO
    expired = judged(replace(spec("*"), until=date(2029, 12, 31)))
    assert expired.verdict is Verdict.NO_GO
    assert "that day has passed" in of_rule(expired, "rewrite-under-lock").evidence[0]
    assert "no longer" in of_rule(expired, "accepted-risk").message


def test_what_is_wrong_with_an_acceptance_is_said_before_anything_starts() -> None:
    check_accepted([spec("*")], RULE_NAMES)
    with pytest.raises(ScenarioError, match="did you mean `rewrite-under-lock`"):
        check_accepted(
            [spec("*", rule="rewrite-under-locks", place="case.toml:9: `accept[0].rule`")], RULE_NAMES
        )
    with pytest.raises(ScenarioError, match="cannot be accepted"):
        check_accepted([spec("*", rule="baseline-noisy")], RULE_NAMES)
