"""What the trials beside the traffic found, in a few lines each; a new kind is a function and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import partial

from rehearse.model.compatibility import SchemaVersion
from rehearse.model.migration import MigrationRun
from rehearse.model.record import RunRecord, Trial
from rehearse.model.relation import quote_name
from rehearse.model.trials import Difference, Interruption, SchemaDifference, TableIntegrity, TrialKind
from rehearse.model.workload import Version
from rehearse.report import application
from rehearse.report import format as fmt
from rehearse.report.growth import growth_line, replica_lines

_MOST = 12
_WORDS = {
    Difference.CUT: "cut off",
    Difference.ROUNDED: "rounded",
    Difference.SHIFTED: "moved in time",
    Difference.RECODED: "re-encoded",
    Difference.NULLED: "now NULL",
    Difference.FILLED: "no longer NULL",
    Difference.CHANGED: "changed",
}


class Result(Enum):
    """What a trial came to; the values are what reports print."""

    CLEAN = "clean"
    FOUND = "differs"
    UNMEASURED = "not measured"
    ABSENT = "nothing to try"
    MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class TrialView:
    """One trial: its kind, what it came to, and what to say about it."""

    kind: str
    result: Result
    lines: tuple[str, ...]


Told = tuple[Result, list[str]]


def trial_views(record: RunRecord) -> list[TrialView]:
    """The trials beside the traffic, in the order in which they were made."""
    return [_view(trial, record) for trial in record.trials if trial.kind is not TrialKind.TRAFFIC]


def _view(trial: Trial, record: RunRecord) -> TrialView:
    tell = partial(_scale, record) if trial.kind is TrialKind.SCALE else _LINES.get(trial.kind)
    result, lines = tell(trial) if tell else (Result.CLEAN, [])
    if trial.unmeasured is not None:
        result, lines = Result.UNMEASURED, [trial.unmeasured, *lines]
    shown = lines[:_MOST]
    if len(lines) > len(shown):
        shown.append(f"and {fmt.count(len(lines) - len(shown))} more")
    return TrialView(trial.kind.value, result, tuple(shown))


def _integrity(trial: Trial) -> Told:
    facts = trial.integrity
    if facts is None:
        return Result.UNMEASURED, []
    lines = [line for table in facts.tables for line in _table(table)]
    lines += [
        f"{each.table}.{quote_name(each.column)}: what does not fit is {_WORDS[each.difference]}"
        for each in facts.misfits
    ]
    lines += [f"the index {index} is INVALID" for index in facts.remains.invalid_indexes]
    lines += [
        f"the constraint {quote_name(name)} of {table} is NOT VALID"
        for table, name in facts.remains.unvalidated
    ]
    read = f"{fmt.plural(len(facts.tables), 'table')} compared, {facts.untouched} untouched"
    return (Result.FOUND, [read, *lines]) if lines else (Result.CLEAN, [read])


def _table(table: TableIntegrity) -> Iterable[str]:
    if table.after is None:
        yield f"{table.table} is gone, with {fmt.rows(table.rows_before)}"
        return
    if table.lost:
        yield f"{table.table}: {fmt.rows(table.lost)} of {fmt.count(table.rows_before)} are gone"
    if table.added:
        yield f"{table.table}: {fmt.rows(table.added)} came on top"
    for column in table.columns:
        name = f"{table.table}.{quote_name(column.column)}"
        if column.after is None:
            yield f"{name} is gone, with {fmt.plural(column.values, 'value')}"
        if column.differences:
            kinds = ", ".join(f"{fmt.count(rows)} {_WORDS[kind]}" for kind, rows in column.differences)
            yield f"{name}: {kinds}"


def _rollback(trial: Trial) -> Told:
    facts = trial.rollback
    if facts is None:
        return Result.UNMEASURED, []
    if not facts.has_down:
        return Result.ABSENT, ["there is no down migration"]
    lines = _failure("down", facts.down)
    lines += [_schema(each) for each in facts.schema]
    lines += [line for table in facts.tables for line in _table(table)]
    if trial.phases:
        lines.append("down was run under traffic, too")
    clean = not (facts.schema or facts.tables or (facts.down and facts.down.failed))
    if clean:
        return Result.CLEAN, ["up and down lead back to the schema and the data there were", *lines]
    return Result.FOUND, lines


def _failure(what: str, run: MigrationRun | None) -> list[str]:
    failed = run.failed if run else None
    return [f"{what} failed with {failed.sqlstate}: {failed.message}"] if failed else []


def _schema(each: SchemaDifference) -> str:
    if each.kind == "data":
        return f"other values in {each.name}"
    if each.before is None:
        return f"the {each.kind} {each.name} is left over"
    return f"the {each.kind} {each.name} is {'gone' if each.after is None else 'another one'}"


def _interruption(trial: Trial) -> Told:
    facts = trial.interruption
    if facts is None:
        return Result.UNMEASURED, []
    landed = [one for one in facts.interruptions if one.reached]
    lines = [_broken(one) for one in landed]
    bad = any((one.again and one.again.failed) or one.schema for one in landed)
    if facts.missing and not bad:
        return Result.UNMEASURED, [*lines, *facts.missing]
    if not landed:
        return Result.ABSENT, ["one transaction, too short to be broken off: it is there, or it is not"]
    return (Result.FOUND if bad else Result.CLEAN), [*lines, *facts.missing]


_MOST_LEFT = 4


def _broken(one: Interruption) -> str:
    where = "before" if one.part == 0 else "in" if one.part == 0.5 else f"{fmt.percent(one.part)} into"
    head = f"{one.blow.value} {where} statement {one.statement + 1}"
    left = [f"left the index {index} INVALID" for index in one.remains.invalid_indexes]
    left += [
        f"left the constraint {quote_name(n)} of {table} NOT VALID" for table, n in one.remains.unvalidated
    ]
    left += [f"left {each.name} written in part" for each in one.left if each.kind == "data"]
    left += [
        f"left the ledger {each.name} saying it was applied" for each in one.left if each.kind == "ledger"
    ]
    left = left[:_MOST_LEFT] + (["and more"] if len(left) > _MOST_LEFT else [])
    if one.again and one.again.failed:
        again = f"run again, it fails with {one.again.failed.sqlstate}: {one.again.failed.message}"
    elif one.schema:
        again = f"run again, it makes another thing: {_schema(one.schema[0])}"
    else:
        again = "run again, it ends as it should"
    return ": ".join([head, "; ".join([*left, again])])


def _plans(trial: Trial) -> Told:
    if trial.plans is None:
        return Result.UNMEASURED, []
    lines = application.plan_lines(trial.plans)
    apart = application.uncompared_lines(trial.plans)
    compared = len(trial.plans.statements) - len(apart)
    tried = f"{fmt.plural(compared, 'statement')} explained before and after"
    if not lines:
        return Result.CLEAN, [f"{tried}: all as they were" if compared else tried, *apart]
    bad = any(application.is_far_costlier(each) for each in trial.plans.statements)
    return (Result.FOUND if bad else Result.CLEAN), [tried, *lines, *apart]


def _compatibility(trial: Trial) -> Told:
    facts = trial.compatibility
    if facts is None:
        return Result.UNMEASURED, []
    old = facts.cell(Version.OLD, SchemaVersion.NEW)
    new = facts.cell(Version.NEW, SchemaVersion.NEW)
    fits = all(cell is None or cell.fits for cell in (old, new))
    return (Result.CLEAN if fits else Result.FOUND), application.cell_lines(facts)


def _drift(trial: Trial) -> Told:
    facts = trial.drift
    if facts is None:
        return Result.ABSENT, ["there is no history of migrations to compare with"]
    lines = application.drift_lines(facts)
    files = fmt.plural(facts.files, "file")
    if not lines:
        return Result.CLEAN, [f"the {files} of the history make the schema that production has"]
    return Result.FOUND, lines


def _scale(record: RunRecord, trial: Trial) -> Told:
    """What grew is the judge's to say; the trial itself holds the runs."""
    if trial.scale is None:
        return Result.UNMEASURED, []
    growths = record.judgement.growths if record.judgement else ()
    return Result.MEASURED, [*(growth_line(growth) for growth in growths), *trial.notes]


def _replica(trial: Trial) -> Told:
    facts = trial.replica
    if facts is None:
        return Result.UNMEASURED, []
    calm = facts.caught_up_ns is not None and not facts.conflict_count
    return (Result.MEASURED if calm else Result.FOUND), replica_lines(facts)


_LINES: dict[TrialKind, Callable[[Trial], Told]] = {
    TrialKind.INTEGRITY: _integrity,
    TrialKind.ROLLBACK: _rollback,
    TrialKind.INTERRUPTION: _interruption,
    TrialKind.REPLICA: _replica,
    TrialKind.PLANS: _plans,
    TrialKind.COMPATIBILITY: _compatibility,
    TrialKind.DRIFT: _drift,
}
