"""The application's statements on both schemas: their plans side by side, who fits what, and drift."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rehearse.model.compatibility import Cell, CompatibilityFacts, Misfitting, SchemaVersion
from rehearse.model.drift import Drift, DriftFacts
from rehearse.model.plans import Execution, PlansFacts, StatementPlans
from rehearse.model.record import RunRecord
from rehearse.model.trials import TrialKind
from rehearse.model.workload import Version
from rehearse.report import format as fmt

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_MOST_PLANS = 12
_NUMBERS = re.compile(r" \([^()]*\)$")
# Half as much again is worth showing side by side.
_MORE = 1.5
_FAR_MORE = 10.0
_FEW_BLOCKS = 50.0


@dataclass(frozen=True, slots=True)
class PlanView:
    """A statement whose plan or cost changed: blocks and plans before, after, and after VACUUM (ANALYZE)."""

    script: str
    text: str
    blocks_before: str
    blocks_after: str
    before: str
    after: str
    vacuumed: str


@dataclass(frozen=True, slots=True)
class CellView:
    """One version of the application on one schema."""

    application: str
    schema: str
    fits: bool
    expected: bool  # the new application need not work before the migration
    statements: int
    lines: tuple[str, ...]


def plan_views(record: RunRecord) -> list[PlanView]:
    """The statements whose plans changed, those that became costliest first."""
    trial = record.trial(TrialKind.PLANS)
    found = trial.plans if trial else None
    changed = [each for each in found.statements if _changed(each)] if found else []
    changed.sort(key=lambda each: each.before.blocks - each.after.blocks)
    return [_plan_view(record, each) for each in changed[:_MOST_PLANS]]


def cell_views(record: RunRecord) -> list[CellView]:
    """The table of application by schema."""
    trial = record.trial(TrialKind.COMPATIBILITY)
    found = trial.compatibility if trial else None
    return [_cell_view(cell) for cell in found.cells] if found else []


def plan_lines(found: PlansFacts) -> list[str]:
    """What the plans trial found, in a few lines."""
    lines = [
        f"{each.script}, statement {each.index + 1}: {_blocks(each.before)} blocks before, "
        f"{_blocks(each.after)} after"
        for each in sorted(found.statements, key=lambda each: each.before.blocks - each.after.blocks)
        if _changed(each)
    ]
    lines += [f"the index {lost.index} of {lost.table} was used and is gone" for lost in found.lost]
    if found.unanalyzed and any(each.vacuumed for each in found.statements):
        names = ", ".join(str(one) for one in found.unanalyzed[:5])
        lines.append(f"no statistics for {names}")
    return lines


def uncompared_lines(found: PlansFacts) -> list[str]:
    """The statements of which no two plans could be held side by side, and why, in a line each."""
    return [
        f"not compared: {each.script}, statement {each.index + 1} ({each.version.value} application), "
        f"{_why_uncompared(each)}"
        for each in found.statements
        if not is_compared(each)
    ]


def is_compared(each: StatementPlans) -> bool:
    """Whether it ran on both schemas, or was cancelled on the migrated one."""
    return bool(each.before.seconds and (each.after.seconds or each.after.timed_out))


def _why_uncompared(each: StatementPlans) -> str:
    sides = (("old", each.before), ("migrated", each.after))
    return "and ".join(_not_on(schema, side) for schema, side in sides if not side.seconds).strip()


def _not_on(schema: str, side: Execution) -> str:
    """Never reached is not refused: an earlier statement of its script was, or a condition led elsewhere."""
    if not side.draws:
        return f"which was not reached on the {schema} schema "
    states = sorted({refused.sqlstate for refused in side.refusals})
    return f"which does not run on the {schema} schema ({', '.join(states)}) "


def cell_lines(found: CompatibilityFacts) -> list[str]:
    """The table in a line a cell, and the cached plans."""
    lines = []
    for cell in found.cells:
        view = _cell_view(cell)
        head = f"{view.application} application, {view.schema} schema: "
        tried = fmt.plural(view.statements, "statement")
        lines.append(head + ("; ".join(view.lines) if view.lines else f"{tried} tried, all work"))
    for cached in found.cached or ():
        count = fmt.plural(cached.transactions, "transaction")
        lines.append(f"apart from that, {count} of {cached.script} met 0A000 (cached plan) under traffic")
    return lines


def drift_lines(found: DriftFacts) -> list[str]:
    """What differs, in a line each; what the migration locks first."""
    ordered = sorted(found.found, key=lambda each: not each.touched)
    return [_drift(each) + (", and the migration locks it" if each.touched else "") for each in ordered]


def plans_document(record: RunRecord) -> list[Json]:
    """For programs: every statement with blocks, rows and seconds (the least of the draws) on both sides."""
    trial = record.trial(TrialKind.PLANS)
    found = trial.plans if trial else None
    return [
        {
            "script": each.script,
            "statement": each.index,
            "application": each.version.value,
            "compared": is_compared(each),
            "before": _execution(each.before),
            "after": _execution(each.after),
            "after_vacuum": _execution(each.vacuumed) if each.vacuumed else None,
        }
        for each in (found.statements if found else ())
    ]


def compatibility_document(record: RunRecord) -> Json:
    """For programs: the cells, and what met 0A000; null where it was not tried."""
    trial = record.trial(TrialKind.COMPATIBILITY)
    found = trial.compatibility if trial else None
    if found is None:
        return None
    cached: Json = None
    if found.cached is not None:
        cached = {each.script: each.transactions for each in found.cached}
    return {"cells": [_cell(cell) for cell in found.cells], "cached_plans": cached}


def drift_document(record: RunRecord) -> Json:
    """For programs: what differs; null where nothing was compared."""
    trial = record.trial(TrialKind.DRIFT)
    found = trial.drift if trial else None
    return None if found is None else drift_objects(found)


def drift_objects(found: DriftFacts) -> list[Json]:
    """For programs: what differs, an object each."""
    return [
        {
            "kind": each.difference.kind,
            "name": each.difference.name,
            "table": str(each.table) if each.table else None,
            "touched": each.touched,
            "history": each.difference.before,
            "production": each.difference.after,
        }
        for each in found.found
    ]


def _plan_view(record: RunRecord, each: StatementPlans) -> PlanView:
    script = next((s for s in record.scripts if s.name == each.script), None)
    known = script is not None and 0 <= each.index < len(script.statements)
    return PlanView(
        script=each.script,
        text=script.statements[each.index] if script is not None and known else "",
        blocks_before=_blocks(each.before),
        blocks_after=_blocks(each.after),
        before="\n".join(each.before.plan),
        after="\n".join(each.after.plan) or ("cancelled" if each.after.timed_out else ""),
        vacuumed="\n".join(each.vacuumed.plan) if each.vacuumed else "",
    )


def _changed(each: StatementPlans) -> bool:
    if not each.before.seconds:
        return False  # it did not work before: nothing to compare with
    if each.after.timed_out:
        return True
    if not each.after.seconds:
        return False
    costlier = each.after.blocks > _MORE * each.before.blocks + 1
    return costlier or _shape(each.before.plan) != _shape(each.after.plan)


def is_far_costlier(each: StatementPlans) -> bool:
    """Whether a statement that worked reads ten times as much, or does not come to an end any more."""
    if not each.before.seconds:
        return False
    return each.after.timed_out or each.after.blocks > _FAR_MORE * each.before.blocks + _FEW_BLOCKS


def _shape(plan: Sequence[str]) -> list[str]:
    """The nodes of a plan, without what they did."""
    return [_NUMBERS.sub("", line) for line in plan if ": " not in line]


def _blocks(execution: Execution) -> str:
    return fmt.count(execution.blocks)


def _cell_view(cell: Cell) -> CellView:
    early = (cell.application, cell.schema) == (Version.NEW, SchemaVersion.OLD)
    return CellView(
        application=cell.application.value,
        schema=cell.schema.value,
        fits=cell.fits,
        expected=early,
        statements=cell.statements,
        lines=tuple(_misfit(each) for each in cell.refused),
    )


def _misfit(each: Misfitting) -> str:
    where = f"{each.script}, statement {each.index + 1}"
    also = " (on the other schema, too)" if each.elsewhere else ""
    return f"{where}: {each.sqlstate} {each.message}{also}"


def _drift(drift: Drift) -> str:
    each = drift.difference
    name = f"the {each.kind} {each.name}"
    if each.before is None:
        return f"{name} is in production alone"
    if each.after is None:
        return f"{name} is missing in production"
    return f"{name}: the history makes {each.before}, production has {each.after}"


def _execution(execution: Execution) -> Json:
    return {
        "draws": execution.draws,
        "blocks": execution.blocks,
        "rows_in_sequence": sum(read.rows for read in execution.reads),
        "seconds": min(execution.seconds) if execution.seconds else None,
        "plan": list(execution.plan),
        "sqlstates": [refused.sqlstate for refused in execution.refusals],
    }


def _cell(cell: Cell) -> Json:
    return {
        "application": cell.application.value,
        "schema": cell.schema.value,
        "fits": cell.fits,
        "statements": cell.statements,
        "refused": [
            {
                "script": each.script,
                "statement": each.index,
                "sqlstate": each.sqlstate,
                "message": each.message,
                "times": each.times,
                "on_the_other_schema_too": each.elsewhere,
            }
            for each in cell.refused
        ],
    }
