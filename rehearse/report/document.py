"""The document that `--json` prints: for programs, with plain numbers in base units and null for what was
not measured.
"""

from __future__ import annotations

import math
from typing import TypeAlias

from rehearse.model.accepted import Accepted
from rehearse.model.migration import MigrationRun, Statement, TransactionSpan
from rehearse.model.record import RunRecord, Trial
from rehearse.model.verdict import Finding, GateResult, Quantity
from rehearse.model.waits import LockWait, Party, Stall
from rehearse.report import application, digest, work
from rehearse.report.growth import growth_document
from rehearse.report.trials import trial_views

FORMAT = 1

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def json_document(record: RunRecord, report_path: str, exit_code: int | None = None) -> dict[str, Json]:
    """The document. Seconds, bytes and ratios are plain numbers; times count from the migration's start.

    `exit_code` is for runs that end with another one than their verdict's (a server that died).
    """
    headline = digest.headline(record)
    trial, run = digest.main_trial(record), digest.migration(record)
    judgement = record.judgement
    zero = digest.zero_ns(record)
    return {
        "format": FORMAT,
        "verdict": headline.verdict.value,
        "exit_code": int(headline.verdict.exit_code) if exit_code is None else exit_code,
        "why": headline.why,
        "scenario": record.scenario.name,
        "run_id": record.run_id,
        "started_at": record.started_at,
        "stage": record.stage.value,
        "error": record.error,
        "findings": [_finding(record, f) for f in digest.ranked(judgement.findings)] if judgement else [],
        "metrics": {name: _number(value) for name, value in judgement.metrics} if judgement else {},
        "gates": [_gate(gate) for gate in judgement.gates] if judgement else [],
        "stalls": [_stall(stall, zero) for stall in digest.stalls(record)],
        "statements": [_statement(run, statement, zero) for statement in run.statements] if run else [],
        "transactions": [_transaction(span, zero) for span in run.transactions] if run else [],
        "relations": _relations(run) if run else [],
        "peaks": _peaks(trial) if trial else {},
        "lock_waits": [_wait(wait, zero) for wait in trial.waits] if trial else [],
        "repeats": [
            {
                "verdict": repeat.verdict.value,
                "against": list(repeat.against),
                "noisy": repeat.noisy,
                "metrics": dict(repeat.metrics),
            }
            for repeat in record.repeats
        ],
        "trials": [_trial(one) for one in record.trials],
        "beside_traffic": [
            {"kind": view.kind, "result": view.result.value, "found": list(view.lines)}
            for view in trial_views(record)
        ],
        "growth": growth_document(record),
        "plans": application.plans_document(record),
        "compatibility": application.compatibility_document(record),
        "drift": application.drift_document(record),
        "tables": _tables(record),
        "environment": _environment(record),
        "report": report_path,
    }


def _number(value: Quantity | None) -> float | None:
    return value.value if value is not None and math.isfinite(value.value) else None


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / 1e9


def _finding(record: RunRecord, finding: Finding) -> Json:
    statement = digest.blamed(record, finding)
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "message": finding.message,
        "statement": statement.text if statement else None,
        "statement_index": finding.statement,
        "subject": finding.subject,
        "observed": _number(finding.observed),
        "limit": _number(finding.limit),
        "unit": finding.observed.unit.value if finding.observed else None,
        "evidence": list(finding.evidence),
        "advice": finding.advice,
        "accepted": _accepted(finding.accepted),
    }


def _accepted(accepted: Accepted | None) -> Json:
    if accepted is None:
        return None
    return {
        "reason": accepted.reason,
        "until": accepted.until.isoformat(),
        "by": accepted.by,
        "severity": accepted.severity,
    }


def _gate(gate: GateResult) -> Json:
    return {
        "gate": gate.gate,
        "metric": gate.metric,
        "status": gate.status.value,
        "observed": _number(gate.observed),
        "limit": _number(gate.limit),
        "unit": gate.observed.unit.value if gate.observed else None,
        "note": gate.note,
        "smallest_difference": _number(gate.resolution),
        "accepted": _accepted(gate.accepted),
    }


def _stall(stall: Stall, zero_ns: int) -> Json:
    return {
        "script": stall.script,
        "start_s": _seconds(stall.start_ns - zero_ns),
        "length_s": _seconds(stall.end_ns - stall.start_ns),
        "due": stall.due,
        "statement_index": stall.statement,
    }


def _statement(run: MigrationRun, statement: Statement, zero_ns: int) -> Json:
    effects, held_ns = statement.effects, work.held_ns(run, statement)
    return {
        "index": statement.index,
        "text": statement.text,
        "file": statement.file,
        "line": statement.line,
        "command": statement.command,
        "transaction": statement.transaction,
        "start_s": _seconds(statement.started_ns - zero_ns),
        "duration_s": _seconds(statement.ended_ns - statement.started_ns),
        "waited_at_least_s": _seconds(statement.waited_ns),
        "outcome": statement.outcome.value,
        "sqlstate": statement.sqlstate,
        "message": statement.message,
        "did": work.work_of(statement).name.lower(),
        "locks": None if effects is None else [
            {"mode": lock.mode.sql, "relation": str(lock.relation), "kind": lock.kind,
             "table": str(lock.table), "created_here": lock.created_here, "evidence": lock.evidence.value}
            for lock in effects.locks
        ],
        "locks_held_at_most_s": None if held_ns is None else _seconds(held_ns),
        "phases": [
            {"command": phase.command, "table": str(phase.table) if phase.table else None,
             "phase": phase.phase, "first_seen_s": _seconds(phase.first_seen_ns - zero_ns),
             "at_least_s": _seconds(phase.last_seen_ns - phase.first_seen_ns),
             "done": phase.done, "total": phase.total}
            for phase in statement.phases
        ],
        "effects": None if effects is None else list(work.effect_lines(statement)),
        "wal_bytes": effects.wal_bytes if effects else None,
        "lock_retries": statement.retries,
        "lock_retries_lost_at_least_s": _seconds(statement.retried_ns),
    }  # fmt: skip


def _transaction(span: TransactionSpan, zero_ns: int) -> Json:
    cost = span.work
    return {
        "index": span.index,
        "start_s": _seconds(span.started_ns - zero_ns),
        "duration_s": _seconds(span.ended_ns - span.started_ns),
        "committed": span.committed,
        "temporary_files": cost.temp_files if cost else None,
        "temporary_bytes": cost.temp_bytes if cost else None,
        "read_bytes": cost.read_bytes if cost else None,
        "written_bytes": cost.written_bytes if cost else None,
        "read_by_it_alone": cost.own if cost else None,
    }


def _relations(run: MigrationRun) -> Json:
    """What the migration touched and left otherwise than it was."""
    return [
        {
            "relation": str(one.relation),
            "kind": one.kind,
            "before_bytes": one.before_bytes,
            "peak_at_least_bytes": one.peak_bytes,
            "after_bytes": one.after_bytes,
            "dead_rows": one.dead_rows,
        }
        for one in run.aftermath
    ]


def _peaks(trial: Trial) -> Json:
    """The most that temporary files and the log kept for replication slots took, as sampled."""
    temporary = [s.temporary_bytes for s in trial.resources if s.temporary_bytes is not None]
    retained = [s.retained_bytes for s in trial.resources if s.retained_bytes is not None]
    return {
        "temporary_bytes": max(temporary, default=None),
        "slots_retained_wal_bytes": max(retained, default=None),
    }


def _wait(wait: LockWait, zero_ns: int) -> Json:
    return {
        "waiter": _party(wait.waiter),
        "blockers": [
            {
                **_party(blocker.party),
                "mode": blocker.mode.sql if blocker.mode else None,
                "queued": blocker.queued,
            }
            for blocker in wait.blockers
        ],
        "lock_type": wait.lock_type,
        "mode": wait.mode.sql if wait.mode else None,
        "relation": str(wait.relation) if wait.relation else None,
        "first_seen_s": _seconds(wait.first_seen_ns - zero_ns),
        "at_least_s": _seconds(wait.at_least_ns),
    }


def _party(party: Party) -> dict[str, Json]:
    return {
        "role": party.role.value,
        "script": party.script,
        "statement_index": party.statement,
        "label": party.label,
    }


def _trial(trial: Trial) -> Json:
    run = trial.migration
    return {
        "kind": trial.kind.value,
        "phases": {span.phase.value: _seconds(span.end_ns - span.start_ns) for span in trial.phases},
        "migration_s": _seconds(run.ended_ns - run.started_ns) if run else None,
        "failed_statement": run.failed.index if run and run.failed else None,
        "tool": None
        if run is None or run.tool is None
        else {
            "command": run.tool.command,
            "exit_status": run.tool.exit_status,
            "sessions": run.tool.sessions,
            "output": list(run.tool.output),
        },
        "samples_file": trial.samples_file,
        "lock_samples": trial.observer.samples if trial.observer else None,
        "transactions_due": trial.driver.offered if trial.driver else None,
        "transactions_finished": trial.driver.finished if trial.driver else None,
        "notes": list(trial.notes),
    }


def _tables(record: RunRecord) -> Json:
    return [
        {
            "table": str(table.relation),
            "rows": table.rows,
            "heap_bytes": table.heap_bytes,
            "index_bytes": table.index_bytes,
            "production_rows": table.production_rows,
            "touched": table.touched,
        }
        for table in record.tables
    ]


def _environment(record: RunRecord) -> Json:
    env = record.environment
    if env is None:
        return None
    return {
        "engine": record.scenario.database.engine.value,
        "server_version": env.server_version,
        "provisioner": env.provisioner,
        "cpus": env.cpus,
        "memory_bytes": env.memory_bytes,
        "platform": env.platform,
        "tool_version": env.tool_version,
    }
