"""What a migration left behind in the relations that it touched: their sizes, and dead rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rehearse.engines.postgres.catalog import Catalog, RelationFacts
from rehearse.model.migration import Aftermath, Statement
from rehearse.model.relation import Relation

MOST_KEPT = 200  # the largest ones
_STORED = "rmi"


def aftermath(
    before: Catalog,
    after: Catalog,
    dead_before: Mapping[int, int],
    dead_after: Mapping[int, int],
    statements: Sequence[Statement],
) -> tuple[Aftermath, ...]:
    """Tables that `statements` locked or changed, with their indexes, whose size is or was another than
    before, or that have more dead rows than before, the largest first. `dead_*` are by oid.
    """
    touched = _touched(statements)
    found = []
    for old, new in _pairs(before, after):
        facts = new or old
        if facts is None or facts.code not in _STORED or not _is_touched(old, new, before, after, touched):
            continue
        counted = new is not None and facts.holds_rows
        dead = max(0, dead_after.get(facts.oid, 0) - dead_before.get(facts.oid, 0)) if counted else 0
        sizes = old.size_bytes if old else None, new.size_bytes if new else None
        table = after.get(new.table) if new and new.table else None
        peak = _peak(old, new, table.relation if table else None, statements)
        if dead or not sizes[0] == sizes[1] == peak:
            found.append(Aftermath(facts.relation, facts.kind, *sizes, dead, peak))
    found.sort(key=lambda one: (-max(one.before_bytes or 0, one.after_bytes or 0), str(one.relation)))
    return tuple(found[:MOST_KEPT])


def _pairs(before: Catalog, after: Catalog) -> Iterator[tuple[RelationFacts | None, RelationFacts | None]]:
    """Each relation before and after. An index that was dropped and one that has its name now, as REINDEX
    CONCURRENTLY leaves them, are one.
    """
    gone = {before[oid].relation: before[oid] for oid in before.keys() - after.keys() if before[oid].is_index}
    heirs = {after[oid].relation: after[oid] for oid in after.keys() - before.keys() if after[oid].is_index}
    both = gone.keys() & heirs.keys()
    yield from ((gone[name], heirs[name]) for name in both)
    known = {facts.oid for name in both for facts in (gone[name], heirs[name])}
    yield from ((before.get(oid), after.get(oid)) for oid in (before.keys() | after.keys()) - known)


def _peak(
    old: RelationFacts | None,
    new: RelationFacts | None,
    table: Relation | None,
    statements: Sequence[Statement],
) -> int:
    """The most bytes that the relation is known to have taken at a time; `table` is an index's."""
    names = {facts.relation for facts in (old, new) if facts}
    size = peak = old.size_bytes if old else 0
    for effects in (statement.effects for statement in statements if statement.effects):
        for work in effects.scanned:
            if work.table in names:
                size = work.size_bytes
                peak = max(peak, size)
        for work in effects.rewritten:
            if work.table in names:
                peak, size = max(peak, size + work.size_bytes), work.size_bytes
    if old and new and old.filenode != new.filenode and _is_replaced(new, table, statements):
        peak = max(peak, old.size_bytes + new.size_bytes)
    return max(peak, new.size_bytes if new else 0)


def _is_replaced(index: RelationFacts, table: Relation | None, statements: Iterable[Statement]) -> bool:
    """Whether it was made anew beside its old file: with its table, or by a REINDEX."""
    return any(
        any(work.table == table for work in effects.rewritten)
        or (statement.command.startswith("REINDEX") and any(b.index == index.relation for b in effects.built))
        for statement in statements
        if (effects := statement.effects)
    )


def _touched(statements: Iterable[Statement]) -> frozenset[Relation]:
    effects = [statement.effects for statement in statements if statement.effects]
    locked = {lock.table for each in effects for lock in each.locks}
    return frozenset(locked | {table for each in effects for table, _ in each.rows_changed})


def _is_touched(
    old: RelationFacts | None,
    new: RelationFacts | None,
    before: Catalog,
    after: Catalog,
    touched: frozenset[Relation],
) -> bool:
    """By the table's name, which may have changed on the way."""
    for facts, catalog in ((old, before), (new, after)):
        table = catalog.get(facts.table) if facts and facts.table else facts
        if table and table.relation in touched:
            return True
    return False
