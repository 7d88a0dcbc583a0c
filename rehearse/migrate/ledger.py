"""What each statement did: the difference between what was known before it and what was read after it.

Nothing here asks the server; probes and catalogs come in, `Effects` go out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from rehearse.engines.postgres.catalog import PARTITIONED_INDEX, Catalog, RelationFacts
from rehearse.engines.postgres.probe import Counters, Held, Probe
from rehearse.engines.postgres.totals import Totals
from rehearse.migrate.differences import (
    ANYTHING_COMMANDS,
    changed_columns,
    changed_relations,
    complete,
    has_new_file,
    is_emptied,
    named,
)
from rehearse.model.locks import LockMode
from rehearse.model.migration import (
    Effects,
    HeldLock,
    IndexBuild,
    LockEvidence,
    TableTotals,
    TableWork,
)
from rehearse.model.relation import Relation

_DATA_COMMANDS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES"})
# What writes is executed by its own session alone; of what others read in parallel with it, a statement's
# session has its share.
_SERIAL_COMMANDS = frozenset({"ALTER TABLE", "DELETE", "INSERT", "MERGE", "UPDATE"})
_WHOLE = 0.5  # of the rows: read so many, and the table was read as a whole
_TELLING_ROWS = 50  # below that, a plan that reads the whole table says nothing about a big one

Evidence = tuple[int, LockMode, LockEvidence]  # a lock on the relation of that oid


class Ledger:
    """The database as the migration has left it so far.

    `base` is the catalog before the migration, `rows` the rows of its tables by oid. Of each statement
    exactly one of `probed` and `recaptured` is called, and `begin` and `end` around each transaction.
    """

    def __init__(self, base: Catalog, rows: Mapping[int, int]) -> None:
        self._base = base
        self._base_rows = dict(rows)
        self._known = Catalog(base)
        self._rows = dict(rows)
        self._kept: tuple[Catalog, dict[int, int]] = (Catalog(base), dict(rows))
        self._held: dict[int, frozenset[LockMode]] = {}
        self._counters: dict[int, Counters] = {}
        self._read: dict[int, int] = {}  # rows, by the last statement that was probed

    def begin(self) -> None:
        """A transaction begins: no locks."""
        self._held = {}
        self._kept = (Catalog(self._known), dict(self._rows))

    def flushed(self) -> None:
        """Between two transactions the server has set the session's counters to zero."""
        self._counters = {}

    def end(self, *, committed: bool) -> None:
        """It ends; what it did is gone unless it was committed."""
        if not committed:
            self._known, self._rows = self._kept

    def caught_up(self, catalog: Catalog) -> None:
        """Another session of the same migration has changed the database; no transaction is open here."""
        self._known = catalog

    def rolled_back_to(self, probe: Probe, catalog: Catalog) -> None:
        """A savepoint was restored: the transaction stands as `probe` and `catalog` see it now."""
        self._known = catalog
        self._held = {held.oid: held.modes for held in probe.held}
        self._counters = {held.oid: held.counters for held in probe.held}

    def probed(self, command: str, probe: Probe) -> Effects:
        """The effects of a statement after which its transaction was probed."""
        before = self._known
        after = Catalog(before)
        for held in probe.held:
            if held.facts is None:
                after.pop(held.oid, None)
            else:
                after[held.oid] = complete(held.facts, before.get(held.oid))
        locks = self._taken(probe.held, before, after)
        done = self._done(probe.held)
        self._read = {oid: counters.read for oid, counters in done.items() if counters.read}
        touched = {held.oid for held in probe.held}
        effects = self._compare(command, before, after, touched, done, readers=_readers(command, probe))
        self._known = after
        self._count(done, effects)
        changed = tuple((named(oid, before, after), c.changed) for oid, c in done.items() if c.changed)
        return replace(effects, locks=locks, rows_changed=changed, counted=probe.counted)

    def recaptured(
        self,
        command: str,
        after: Catalog,
        locks: Iterable[Evidence],
        spans: Mapping[tuple[int, LockMode], tuple[int, int]] | None = None,
        totals: Totals | None = None,
    ) -> Effects:
        """The effects of a statement that could not be probed, from the whole catalog after it, and locks
        that are known otherwise; `spans` says from when to when one of its transactions held each, and
        `totals` what was counted over all of them.
        """
        before = self._known
        counted = totals.counters if totals else {}
        done = self._done(
            [Held(oid, frozenset(), counters, after.get(oid)) for oid, counters in counted.items()]
        )
        effects = self._compare(command, before, after, set(before) | set(after), done, readers={})
        if totals is not None:
            effects = replace(
                effects,
                scanned=(),
                totals=tuple(self._totals(done, before, after, totals)),
                transactions=totals.transactions,
                counted=totals.counted,
            )
        self._known = after
        self._count(done, effects)
        held = tuple(
            replace(self._lock(oid, mode, evidence, before, after), span_ns=(spans or {}).get((oid, mode)))
            for oid, mode, evidence in locks
            if oid in before or oid in after
        )
        return replace(effects, locks=held)

    def _totals(
        self, done: Mapping[int, Counters], before: Catalog, after: Catalog, totals: Totals
    ) -> Iterable[TableTotals]:
        for oid, counters in sorted(done.items()):
            rows, read = self._rows.get(oid, 0), counters.read
            if counters.begun and totals.workers and after[oid].size_bytes >= totals.parallel_from_bytes:
                read = max(read, rows)  # others may have read it all
            yield TableTotals(
                table=named(oid, before, after),
                rows=rows,
                read=read,
                changed=counters.changed,
                created_here=oid not in self._base,
            )

    def read_under(self, mode: LockMode) -> dict[Relation, int]:
        """Of the tables that the transaction has locked in `mode`, by whichever statement, the rows that the
        last statement read one after the other or through an index. Not those that the migration has made.
        """
        return {
            self._known[oid].relation: rows
            for oid, rows in self._read.items()
            if oid in self._base and oid in self._known and mode in self._held.get(oid, frozenset())
        }

    def catalog(self) -> Catalog:
        """The relations as they are known now."""
        return self._known

    def _taken(self, held: Iterable[Held], before: Catalog, after: Catalog) -> tuple[HeldLock, ...]:
        """Locks that the transaction did not have before this statement. A mode that keeps out no more
        than another one on the same relation is left out.
        """
        found = []
        for entry in held:
            earlier = self._held.get(entry.oid, frozenset())
            self._held[entry.oid] = entry.modes
            if entry.oid not in before and entry.oid not in after:
                continue  # came and went within the statement
            telling = telling_modes(entry.modes)
            weaker = sorted(entry.modes - earlier - set(telling), key=lambda mode: mode.strength)
            found += [
                replace(
                    self._lock(entry.oid, mode, LockEvidence.TRANSACTION, before, after),
                    weaker=tuple(other for other in weaker if _keeps_out(other) <= _keeps_out(mode)),
                )
                for mode in telling
                if mode not in earlier
            ]
        return tuple(found)

    def _lock(
        self, oid: int, mode: LockMode, evidence: LockEvidence, before: Catalog, after: Catalog
    ) -> HeldLock:
        facts = before.get(oid) or after[oid]
        table = before.get(facts.table) or after.get(facts.table) if facts.table else facts
        return HeldLock(
            relation=facts.relation,
            mode=mode,
            kind=facts.kind,
            table=(table or facts).relation,
            created_here=oid not in self._base,
            evidence=evidence,
        )

    def _done(self, held: Iterable[Held]) -> dict[int, Counters]:
        """What the statement read and wrote, by oid of the table; reading a whole index in order counts
        as reading its table.
        """
        done: dict[int, Counters] = {}
        for entry in held:
            counters = entry.counters.since(self._counters.get(entry.oid, Counters()))
            self._counters[entry.oid] = entry.counters
            facts = entry.facts
            if facts is None or facts.code == PARTITIONED_INDEX:
                continue
            oid = facts.table or entry.oid
            known = done.get(oid, Counters())
            if facts.table:
                done[oid] = replace(known, read=max(known.read, counters.read))
            else:
                done[oid] = replace(counters, read=max(known.read, counters.read))
        return done

    def _count(self, done: Mapping[int, Counters], effects: Effects) -> None:
        emptied = {change.relation for change in effects.relations if change.what == "truncated"}
        for oid, facts in self._known.items():
            if facts.relation in emptied:
                self._rows[oid] = 0
        for oid, counters in done.items():
            self._rows[oid] = max(0, self._rows.get(oid, 0) + counters.inserted - counters.deleted)

    def _compare(
        self,
        command: str,
        before: Catalog,
        after: Catalog,
        touched: set[int],
        done: Mapping[int, Counters],
        *,
        readers: Mapping[int, int],
    ) -> Effects:
        new_files = {oid for oid in touched if has_new_file(before.get(oid), after.get(oid))}
        emptied = {
            oid
            for oid in new_files
            if is_emptied(command, before[oid], after[oid])
            or (command in ANYTHING_COMMANDS and self._is_unread(before[oid], done.get(oid)))
        }
        rewritten = new_files - emptied
        emptied |= {oid for oid, counters in done.items() if self._deletes_all(oid, counters)}
        built, invalid = self._indexes(command, before, after, touched, new_files)
        built_on = {build.table for build in built}
        scanned = [
            oid
            for oid, counters in done.items()
            if oid not in new_files
            and oid in after
            and after[oid].relation not in built_on
            and self._is_scan(command, oid, counters, readers.get(oid, 1))
        ]
        return Effects(
            rewritten=tuple(self._work(oid, before, after) for oid in sorted(rewritten)),
            scanned=tuple(self._work(oid, before, after) for oid in sorted(scanned)),
            built=built,
            columns=tuple(changed_columns(self._base, before, after, touched)),
            relations=tuple(
                changed_relations(self._base_rows, before, after, touched & set(self._base), emptied)
            ),
            invalid_indexes=invalid,
        )

    def _is_scan(self, command: str, oid: int, counters: Counters, readers: int) -> bool:
        """Whether the table was read as a whole, by up to so many `readers` of which one was counted."""
        rows = self._rows.get(oid, 0)
        if rows < _TELLING_ROWS and command in _DATA_COMMANDS:
            return False
        if readers > 1 and counters.begun and not counters.read:
            return rows > 0  # the others were faster, and have read it all
        return rows > 0 and counters.read >= _WHOLE * rows / readers

    def _is_unread(self, was: RelationFacts, done: Counters | None) -> bool:
        """Whether a new file was made without reading the old one: emptied and filled anew, as a rewrite
        reads every row.
        """
        return was.code == "r" and done is not None and done.read < _WHOLE * self._rows.get(was.oid, 0)

    def _deletes_all(self, oid: int, done: Counters) -> bool:
        """Whether every row went away and hardly any came; a few that others wrote meanwhile may be left."""
        rows = self._rows.get(oid, 0)
        return rows > 0 and done.deleted >= 0.99 * rows and 2 * done.inserted < done.deleted

    def _work(self, oid: int, before: Catalog, after: Catalog) -> TableWork:
        return TableWork(
            table=named(oid, before, after),
            rows=self._rows.get(oid, 0),
            size_bytes=after[oid].size_bytes,
            created_here=oid not in self._base,
        )

    def _indexes(
        self, command: str, before: Catalog, after: Catalog, touched: set[int], new_files: set[int]
    ) -> tuple[tuple[IndexBuild, ...], tuple[Relation, ...]]:
        """Indexes built, other than those of a table that was rewritten or emptied; and INVALID ones left."""
        earlier = {(f.table, f.relation): f for f in before.values() if f.is_index}
        built, invalid = [], []
        for oid in sorted(touched):
            facts = after.get(oid)
            if facts is None or not facts.is_index or facts.code == PARTITIONED_INDEX:
                continue
            known = before.get(oid) or earlier.get((facts.table, facts.relation))
            if not facts.valid:
                if known is None or known.valid:
                    invalid.append(facts.relation)
                continue
            finished = known is not None and not known.valid
            if known and known.filenode == facts.filenode and not finished:
                continue
            if known and facts.table in new_files:
                continue
            built.append(self._build(command, facts, before, after))
        return tuple(built), tuple(invalid)

    def _build(self, command: str, facts: RelationFacts, before: Catalog, after: Catalog) -> IndexBuild:
        table = facts.table or 0
        return IndexBuild(
            index=facts.relation,
            table=named(table, before, after),
            rows=self._rows.get(table, 0),
            size_bytes=facts.size_bytes,
            concurrently=command.endswith("CONCURRENTLY"),
            created_here=table not in self._base,
        )


def _readers(command: str, probe: Probe) -> dict[int, int]:
    """By oid, how many processes may have shared in reading a table."""
    if command in _SERIAL_COMMANDS:
        return {}
    return {
        held.oid: 1 + probe.workers
        for held in probe.held
        if held.facts is not None and held.facts.size_bytes >= probe.parallel_from_bytes
    }


def telling_modes(modes: Iterable[LockMode]) -> list[LockMode]:
    """Without those that keep out nothing that another of them does not keep out, too; strongest first."""
    kept: list[LockMode] = []
    for mode in sorted(modes, key=lambda m: -m.strength):
        if not any(_keeps_out(mode) <= _keeps_out(other) for other in kept):
            kept.append(mode)
    return kept


def _keeps_out(mode: LockMode) -> set[LockMode]:
    return {other for other in LockMode if mode.conflicts_with(other)}
