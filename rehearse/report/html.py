"""The report as one self-contained page: no scripts, no requests, readable in print and on a phone.

Heavy: importing this module imports matplotlib and numpy.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rehearse.model.migration import MigrationRun, Statement, StatementOutcome
from rehearse.model.record import RunRecord
from rehearse.model.verdict import Finding, GateResult, Severity
from rehearse.model.workload import SampleColumns
from rehearse.report import digest, facts, picture, work
from rehearse.report import format as fmt
from rehearse.report.application import cell_views, plan_views
from rehearse.report.evidence import Told
from rehearse.report.palette import Work
from rehearse.report.points import LatencyRow, latency_table, points
from rehearse.report.trials import trial_views

SQL_SHOWN = 4_000
_PLURALS = {
    Severity.FAILURE: "Failures",
    Severity.UNMEASURED: "Not measured",
    Severity.ACCEPTED: "Accepted risks",
    Severity.WARNING: "Warnings",
    Severity.NOTE: "Notes",
}


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding with the statement it is about."""

    finding: Finding
    number: int | None  # of the statement, counted from 1
    place: str
    sql: str
    locks: tuple[str, ...]
    measured: str
    evidence: tuple[str, ...]  # without what stands under a finding above


@dataclass(frozen=True, slots=True)
class StatementView:
    """A row of the table of statements."""

    number: int
    place: str
    sql: str
    transaction: int
    took: str
    waited: str
    work: Work
    outcome: str
    bad: bool
    message: str
    measured: bool
    locks: tuple[str, ...]
    held: str
    effects: tuple[str, ...]
    wal: str
    lock_timeout: str


@dataclass(frozen=True, slots=True)
class GateView:
    """A row of the table of gates."""

    gate: GateResult
    observed: str
    limit: str
    status: str
    note: str


@functools.cache
def _environment() -> Environment:
    env = Environment(
        loader=PackageLoader("rehearse.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"duration": fmt.duration, "count": fmt.count, "size": fmt.size, "rows": fmt.rows}
    env.filters |= {"at_least": fmt.at_least, "growth": facts.growth, "visible": visible}
    return env


def render_html(record: RunRecord, samples: SampleColumns | None) -> str:
    """The whole page. `samples` None: the run kept none, and the page says so."""
    trial, run = digest.main_trial(record), digest.migration(record)
    svg = picture.render_svg(record, samples)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            record=record,
            headline=digest.headline(record),
            numbers=digest.key_numbers(record),
            picture=Markup(svg) if svg else None,  # noqa: S704 - our own picture: matplotlib escapes its texts
            groups=_finding_groups(record),
            gates=[_gate_view(gate) for gate in (record.judgement.gates if record.judgement else ())],
            statements=[_statement_view(run, one) for one in run.statements] if run else [],
            left=run.aftermath if run else (),
            room=digest.metric(record, "disk.peak"),
            stalls=digest.stalls(record),
            zero_ns=digest.zero_ns(record),
            waits=work.wait_groups(trial.waits if trial else ()),
            latency=_latency(record, samples),
            dataset=facts.dataset_rows(record),
            environment=facts.environment_rows(record),
            measuring=facts.measuring_rows(record),
            scenario=facts.scenario_rows(record.scenario),
            sources=facts.sources(record),
            trials=record.trials,
            views=trial_views(record),
            cells=cell_views(record),
            plans=plan_views(record),
        )
    )


def visible(text: str) -> str:
    """`text` without control characters that no page may hold, cut where it gets too long to be read."""
    clean = fmt.clean(text)
    if len(clean) <= SQL_SHOWN:
        return clean
    return f"{clean[:SQL_SHOWN]}… ({fmt.count(len(clean) - SQL_SHOWN)} characters more)"


def _finding_groups(record: RunRecord) -> list[tuple[str, str, list[FindingView]]]:
    """Heading, severity and findings of each severity there is, failures first."""
    groups, told = [], Told()
    for severity, heading in _PLURALS.items():
        found = digest.of_severity(record, severity)
        if found:
            groups.append(
                (heading, severity.value, [_finding_view(record, finding, told) for finding in found])
            )
    return groups


def _finding_view(record: RunRecord, finding: Finding, told: Told) -> FindingView:
    evidence = told.lines(finding)
    statement = digest.blamed(record, finding)
    observed, limit = fmt.apart(finding.observed, finding.limit)
    measured = ""
    if finding.observed is not None:
        measured = observed + (f", limit {limit}" if finding.limit is not None else "")
    if statement is None:
        return FindingView(finding, None, "", "", (), measured, evidence)
    locks = work.lock_lines(statement.effects.locks) if statement.effects else ()
    return FindingView(
        finding, statement.index + 1, _place(statement), visible(statement.text), locks, measured, evidence
    )


def _place(statement: Statement) -> str:
    return f"{statement.file}:{statement.line}"


def _gate_view(gate: GateResult) -> GateView:
    observed, limit = fmt.apart(gate.observed, gate.limit)
    status = "accepted" if gate.accepted else gate.status.value
    shown = limit if gate.limit is not None else "not known"
    return GateView(gate, observed, shown, status, digest.gate_note(gate))


def _statement_view(run: MigrationRun, statement: Statement) -> StatementView:
    ran = statement.outcome is not StatementOutcome.NOT_RUN
    message = " ".join(part for part in (statement.sqlstate, statement.message) if part)
    timeout = f"{fmt.duration(statement.lock_timeout_ms / 1000)}" if statement.lock_timeout_ms else "none"
    held = work.held_ns(run, statement)
    return StatementView(
        number=statement.index + 1,
        place=_place(statement),
        sql=visible(statement.text),
        transaction=statement.transaction,
        took=fmt.nanoseconds(statement.ended_ns - statement.started_ns) if ran else "",
        waited=f"≥ {fmt.nanoseconds(statement.waited_ns)}" if statement.waited_ns else "–",
        work=work.work_of(statement),
        outcome=statement.outcome.value,
        bad=statement.outcome in (StatementOutcome.FAILED, StatementOutcome.CANCELLED),
        message=visible(message),
        measured=statement.effects is not None,
        locks=work.lock_lines(statement.effects.locks) if statement.effects else (),
        held="" if held is None else f"held for at most {fmt.nanoseconds(held)}",
        effects=(*work.effect_lines(statement), *work.cost_lines(run, statement)),
        wal=work.wal_text(statement) if ran else "",
        lock_timeout=timeout if ran else "",
    )


def _latency(record: RunRecord, samples: SampleColumns | None) -> list[tuple[str | None, list[LatencyRow]]]:
    """The rows of each script, in the order of the mix."""
    trial = digest.main_trial(record)
    if trial is None or samples is None or not len(samples):
        return []
    zero = digest.zero_ns(record)
    table = latency_table(points(samples, zero), trial.phases, zero)
    return [(script, list(rows)) for script, rows in itertools.groupby(table, lambda row: row.script)]
