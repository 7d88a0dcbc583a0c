"""What a migration will touch, learnt by running it on an empty copy of the database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rehearse.migrate.run import run_migration
from rehearse.model.locks import LockMode
from rehearse.model.migration import MigrationRun, SqlFile, Statement, TransactionMode
from rehearse.model.relation import Relation
from rehearse.model.target import Target

TIMEOUT_S = 120.0
_WITH_ROWS = frozenset({"table", "partitioned table", "materialized view", "index"})


def preview(
    target: Target, files: Sequence[SqlFile], mode: TransactionMode, *, timeout_s: float = TIMEOUT_S
) -> MigrationRun:
    """Runs the migration with nobody watching. The database is changed by it. Errors as `run_migration`."""
    return run_migration(target, files, mode, timeout_s=timeout_s, on_state=lambda _: None)


def touched(run: MigrationRun) -> frozenset[Relation]:
    """The tables, by the names they had before the migration, that it locks in a mode stronger than
    ACCESS SHARE, rewrites, reads as a whole or builds an index on. Tables of its own making are not
    among them.
    """
    original: dict[str, Relation] = {}  # what a renamed table was called before
    found: set[Relation] = set()
    for statement in run.statements:
        found |= {original.get(str(table), table) for table in _touched_by(statement)}
        for change in statement.effects.relations if statement.effects else ():
            if change.what == "renamed" and change.after:
                before = original.pop(str(change.relation), change.relation)
                original[change.after] = before
    return frozenset(found)


def named_where_untold(run: MigrationRun, relations: Iterable[Relation]) -> frozenset[Relation]:
    """Of `relations`, those that the migration's text names, where its locks do not tell: it failed, or a
    block or procedure commits as it goes, whose locks are gone before they are seen without rows.
    """
    commits = any(s.effects and s.effects.longest_transaction_ns is not None for s in run.statements)
    untold = commits or run.failed is not None
    text = "\n".join(statement.text for statement in run.statements) if untold else ""
    return frozenset(
        relation
        for relation in relations
        if re.search(rf"(?<![\w$]){re.escape(relation.name)}(?![\w$])", text, re.IGNORECASE)
    )


def _touched_by(statement: Statement) -> set[Relation]:
    effects = statement.effects
    if effects is None:
        return set()
    locked = {
        lock.table
        for lock in effects.locks
        if lock.mode is not LockMode.ACCESS_SHARE and lock.kind in _WITH_ROWS and not lock.created_here
    }
    worked = {work.table for work in (*effects.rewritten, *effects.scanned) if not work.created_here}
    return locked | worked | {build.table for build in effects.built if not build.created_here}
