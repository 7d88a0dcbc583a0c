"""Which tables are hot, how the traffic locks them, and which locks of the migration stand in its way."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rehearse.model.locks import LockMode
from rehearse.model.migration import HeldLock, RelationChange, Statement
from rehearse.model.relation import Relation
from rehearse.model.workload import Footprint

_PART = re.compile(r'"(?:[^"]|"")+"|[^".]+')


@dataclass(frozen=True, slots=True)
class Heat:
    """What the traffic locks: for each relation the scripts and the modes each takes.

    `aliases` lead from a name that the migration gave to the name before it, because footprints are
    taken before and locks are read after.
    """

    scripts: Mapping[Relation, Mapping[str, frozenset[LockMode]]]
    aliases: Mapping[Relation, Relation]

    def _by_script(self, relation: Relation) -> dict[str, frozenset[LockMode]]:
        merged: dict[str, frozenset[LockMode]] = {}
        for name in (relation, self.aliases.get(relation)):
            if name is not None:
                for script, modes in self.scripts.get(name, {}).items():
                    merged[script] = merged.get(script, frozenset()) | modes
        return merged

    def modes(self, relation: Relation) -> frozenset[LockMode]:
        """Every mode that some script takes on `relation`; empty where none touches it."""
        return frozenset[LockMode]().union(*self._by_script(relation).values())

    def touched_by(self, relation: Relation) -> tuple[str, ...]:
        """The scripts that touch `relation`, by name."""
        return tuple(sorted(self._by_script(relation)))

    def kept_out(self, statement: Statement, lock: HeldLock) -> tuple[str, ...]:
        """The scripts that have to wait while `lock`, taken by `statement`, is held; empty: none has to.

        A lock on an index keeps out whoever plans a query on its table. Not counted are locks on what
        the migration created itself, those on indexes that no plan can use (yet, or any more): while
        they are created, and in the CONCURRENTLY forms; and those of a plain VACUUM, which lets go as
        soon as somebody waits.
        """
        if lock.created_here or statement.command == "VACUUM":
            return ()
        if is_index(lock) and (is_concurrent(statement) or statement.command.startswith("CREATE")):
            return ()
        return tuple(
            sorted(
                script
                for script, modes in self._by_script(guarded(lock)).items()
                if any(lock.mode.conflicts_with(mode) for mode in modes)
            )
        )


def guarded(lock: HeldLock) -> Relation:
    """What the lock keeps the traffic out of: an index stands for its table."""
    return lock.table if is_index(lock) else lock.relation


def is_index(lock: HeldLock) -> bool:
    """Whether it is on an index, partitioned or not."""
    return lock.kind.endswith("index")


def is_concurrent(statement: Statement) -> bool:
    """Whether it is a CONCURRENTLY form of CREATE, DROP, REINDEX or REFRESH."""
    return "CONCURRENTLY" in statement.command


def measure_heat(footprints: Iterable[Footprint], statements: Iterable[Statement]) -> Heat:
    """Heat from the scripts' footprints, under the names that `statements` gave as well."""
    scripts: dict[Relation, dict[str, frozenset[LockMode]]] = defaultdict(dict)
    for footprint in footprints:
        for relation, mode in footprint.locks:
            modes = scripts[relation].get(footprint.script, frozenset())
            scripts[relation][footprint.script] = modes | {mode}
    return Heat(scripts, aliases_of(statements))


def aliases_of(statements: Iterable[Statement]) -> dict[Relation, Relation]:
    """New name to the name before the migration, through any chain of renames."""
    aliases: dict[Relation, Relation] = {}
    for statement in statements:
        for change in statement.effects.relations if statement.effects else ():
            if change.what == "renamed" and change.after:
                for after in _renamed(change):
                    aliases[after] = aliases.get(change.relation, change.relation)
    return aliases


def _renamed(change: RelationChange) -> tuple[Relation, ...]:
    """`after` may be a bare name (of the same schema, or of `public`), or one with its schema."""
    parts = [part.replace('""', '"').strip('"') for part in _PART.findall(change.after or "")]
    if len(parts) > 1:
        return (Relation(parts[0], parts[1]),)
    return tuple(Relation(schema, part) for part in parts for schema in {change.relation.schema, "public"})
