"""What a migration left behind in the relations that it touched: their sizes, and dead rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rehearse.engines.postgres.catalog import Catalog
from rehearse.model.migration import Aftermath, Statement
from rehearse.model.relation import Relation

MOST_KEPT = 200  # the largest ones
_STORED = "rmi"


def aftermath(
    before: Catalog,
    after: Catalog,
    dead_before: Mapping[int, int],
    dead_after: Mapping[int, int],
    statements: Iterable[Statement],
) -> tuple[Aftermath, ...]:
    """Tables that `statements` locked or changed, with their indexes, whose size is another than before or
    that have more dead rows than before, the largest first. `dead_*` are by oid.
    """
    touched = _touched(statements)
    found = []
    for oid in before.keys() | after.keys():
        was, now = before.get(oid), after.get(oid)
        facts = now or was
        if facts is None or facts.code not in _STORED or not _is_touched(oid, before, after, touched):
            continue
        dead = max(0, dead_after.get(oid, 0) - dead_before.get(oid, 0)) if now and facts.holds_rows else 0
        sizes = was.size_bytes if was else None, now.size_bytes if now else None
        if dead or sizes[0] != sizes[1]:
            found.append(Aftermath(facts.relation, facts.kind, *sizes, dead))
    found.sort(key=lambda one: (-max(one.before_bytes or 0, one.after_bytes or 0), str(one.relation)))
    return tuple(found[:MOST_KEPT])


def _touched(statements: Iterable[Statement]) -> frozenset[Relation]:
    effects = [statement.effects for statement in statements if statement.effects]
    locked = {lock.table for each in effects for lock in each.locks}
    return frozenset(locked | {table for each in effects for table, _ in each.rows_changed})


def _is_touched(oid: int, before: Catalog, after: Catalog, touched: frozenset[Relation]) -> bool:
    """By the table's name, which may have changed on the way."""
    for catalog in (before, after):
        facts = catalog.get(oid)
        table = catalog.get(facts.table) if facts and facts.table else facts
        if table and table.relation in touched:
            return True
    return False
