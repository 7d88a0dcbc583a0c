"""`data-loss`: columns and tables that held data are gone."""

from __future__ import annotations

from collections.abc import Iterable

from rehearse.judge import advice, wording
from rehearse.judge.facts import Facts
from rehearse.judge.integrity import expendable as expendable_data
from rehearse.judge.integrity import integrity_of, is_kept, writing
from rehearse.judge.rules.rule import Rule
from rehearse.judge.swaps import changed_by, updates_at_stake
from rehearse.model.locks import LockMode
from rehearse.model.migration import Statement
from rehearse.model.relation import Relation, quote_name
from rehearse.model.verdict import Finding, Quantity, Severity, Unit


def _check(facts: Facts) -> Iterable[Finding]:
    expendable = frozenset(_plain(name) for name in facts.record.scenario.migration.expendable)
    made_here: set[Relation] = set()
    said: set[str] = set()
    for statement in facts.statements:
        if statement.effects is None:
            continue
        if facts.committed(statement):
            for finding in (
                *_columns(statement, expendable, made_here),
                *_relations(statement, expendable, made_here),
            ):
                if not _is_kept(facts, statement, finding):
                    said.add(finding.subject)
                    yield finding
        made_here |= {lock.relation for lock in statement.effects.locks if lock.created_here}
    yield from _rows_lost(facts, said)
    yield from _left_behind(facts)
    yield from _written_meanwhile(facts)
    yield from updates_at_stake(facts, RULE.id)


def _is_kept(facts: Facts, statement: Statement, finding: Finding) -> bool:
    """Whether another column or table, of the same name in the end, has all of its data."""
    effects = statement.effects
    for change in effects.columns if effects else ():
        if finding.subject == f"{change.table}.{quote_name(change.column)}":
            return is_kept(facts, change.table, change.column)
    for gone in effects.relations if effects else ():
        if finding.subject == str(gone.relation):
            return is_kept(facts, gone.relation)
    return False


def _written_meanwhile(facts: Facts) -> Iterable[Finding]:
    """Rows that the application was told were committed, and that are not there in the end."""
    quiet = integrity_of(facts)
    for missing in facts.trial.missing_rows if facts.trial else ():
        table = quiet.table(missing.table) if quiet else None
        lost = missing.promised - missing.found - (table.lost if table else 0)
        if lost <= 0 or expendable_data(facts, missing.table):
            continue
        swapped = next((s for s in facts.statements if _takes_name(s, missing.table)), None)
        where = wording.place(swapped) if swapped else "the migration"
        yield Finding(
            rule=RULE.id,
            severity=RULE.severity,
            message=(
                f"{where} loses {wording.count(lost, 'row')} of {missing.table} that the application wrote "
                "meanwhile, and was told were committed"
            ),
            statement=None if swapped is None else swapped.index,
            subject=f"{missing.table} (written meanwhile)",
            observed=Quantity(float(lost), Unit.COUNT),
            limit=Quantity(0.0, Unit.COUNT),
            evidence=(
                f"there should be {missing.promised:,} rows at least, and there are {missing.found:,}",
            ),
            advice=(
                "Between reading the old table and putting the new one in its place, writes go to the old "
                "one. Have a trigger write them to both, before the copy begins; or copy and swap in one "
                f"transaction that locks out writes: LOCK TABLE {missing.table} IN SHARE ROW EXCLUSIVE MODE."
            ),
        )


def _takes_name(statement: Statement, table: Relation) -> bool:
    """Whether it takes the table away, or its name."""
    changes = statement.effects.relations if statement.effects else ()
    return any(change.relation == table for change in changes)


def _taken_away(facts: Facts) -> int:
    """Rows of tables that statements dropped or emptied: partitions, of which the whole has fewer now."""
    changes = [change for s in facts.statements if s.effects for change in s.effects.relations]
    return sum(change.rows or 0 for change in changes if change.what in ("dropped", "truncated"))


def _rows_lost(facts: Facts, said: set[str]) -> Iterable[Finding]:
    """Rows that the integrity trial did not find again, and of which no statement has told."""
    found = integrity_of(facts)
    for table in found.tables if found else ():
        subject = str(table.table)
        told_of = table.lost <= _taken_away(facts) or subject in said
        if told_of or expendable_data(facts, table.table):
            continue
        statement = writing(facts, table)
        where = wording.place(statement) if statement else "the migration"
        yield Finding(
            rule=RULE.id,
            severity=RULE.severity,
            message=(
                f"{where} takes {wording.count(table.lost, 'row')} out of {subject}, which had "
                f"{table.rows_before:,}"
            ),
            statement=None if statement is None else statement.index,
            subject=subject,
            observed=Quantity(float(table.lost), Unit.COUNT),
            limit=Quantity(0.0, Unit.COUNT),
            evidence=(
                "told by their key: a row whose key is another one now counts as gone"
                if table.keyed
                else "the table has no key: told by the number of rows alone",
            ),
            advice=advice.expendable(_plain(subject)),
        )


def _left_behind(facts: Facts) -> Iterable[Finding]:
    """Tables whose name leads to another one, which has not all of their rows. Where the application only
    adds rows, as to a log, that may be what it is done for.
    """
    found = integrity_of(facts)
    for table in found.tables if found else ():
        if table.elsewhere == 0 or expendable_data(facts, table.table):
            continue
        swapped = next((s for s in facts.statements if _takes_name(s, table.table)), None)
        where = wording.place(swapped) if swapped else "the migration"
        yield Finding(
            rule=RULE.id,
            severity=RULE.severity if _looked_into(facts, table.table) else Severity.WARNING,
            message=(
                f"{where} gives the name {table.table} to another table, in which "
                f"{wording.count(table.elsewhere, 'row')} of {table.rows_before:,} are missing: "
                f"{table.after} alone has them, where the application does not look"
            ),
            statement=None if swapped is None else swapped.index,
            subject=str(table.table),
            observed=Quantity(float(table.elsewhere), Unit.COUNT),
            limit=Quantity(0.0, Unit.COUNT),
            advice=(
                "Fill the new table before it takes the name, with a trigger that writes to both meanwhile. "
                f"{advice.expendable(_plain(str(table.table)))}"
            ),
        )


def _looked_into(facts: Facts, table: Relation) -> bool:
    """Whether the running application reads or changes rows of it that are there."""
    read = any(
        relation == table and mode is LockMode.ACCESS_SHARE
        for footprint in facts.record.footprints
        if footprint.script not in facts.new_scripts
        for relation, mode in footprint.locks
    )
    return read or bool(changed_by(facts, table))


def _columns(statement: Statement, expendable: frozenset[str], made_here: set[Relation]) -> Iterable[Finding]:
    for change in statement.effects.columns if statement.effects else ():
        names = _names(change.table) | {f"{name}.{change.column}" for name in _names(change.table)}
        if change.what != "dropped" or change.rows_with_data == 0 or change.table in made_here:
            continue
        if not names & expendable:
            what = f"{change.table}.{quote_name(change.column)}"
            yield _finding(statement, f"drops the column {what}", what, change.rows_with_data)


def _relations(
    statement: Statement, expendable: frozenset[str], made_here: set[Relation]
) -> Iterable[Finding]:
    for change in statement.effects.relations if statement.effects else ():
        if change.what not in ("dropped", "truncated") or change.rows == 0 or change.relation in made_here:
            continue
        if not _names(change.relation) & expendable:
            verb = "drops" if change.what == "dropped" else "empties"
            yield _finding(
                statement, f"{verb} the table {change.relation}", str(change.relation), change.rows
            )


def _names(relation: Relation) -> set[str]:
    """The ways in which a person may name it, without quotes."""
    return {relation.name, f"{relation.schema}.{relation.name}"}


def _plain(name: str) -> str:
    return name.replace('"', "").strip()


def _finding(statement: Statement, what: str, subject: str, rows: int | None) -> Finding:
    held = "which may have held data (it was not counted)"
    if rows is not None:
        held = f"which held data in {wording.count(rows, 'row')}"
    return Finding(
        rule=RULE.id,
        severity=RULE.severity,
        message=f"{wording.place(statement)} {what}, {held}",
        statement=statement.index,
        subject=subject,
        observed=None if rows is None else Quantity(float(rows), Unit.COUNT),
        limit=Quantity(0.0, Unit.COUNT),
        evidence=("no rollback brings it back: a down migration can only restore the empty column or table",),
        advice=advice.expendable(_plain(subject)),
    )


RULE = Rule(
    id="data-loss",
    severity=Severity.FAILURE,
    reason=(
        "A column or table that held data is dropped or emptied, or rows of it are gone. Once committed, "
        "nothing but a backup brings the data back, and a down migration only restores the shape."
    ),
    safe_way=(
        "Stop using it first, keep it for a release (rename a table away), then drop it; and name it in "
        "[migration] expendable to say that its data may go."
    ),
    check=_check,
)
