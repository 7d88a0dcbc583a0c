"""What the application's statements cost before and after the migration, and by which plans."""

from __future__ import annotations

from dataclasses import dataclass

from rehearse.model.relation import Relation, quote_name
from rehearse.model.workload import Version


@dataclass(frozen=True, slots=True)
class TableReads:
    """What a statement read of one table and its indexes, on average over the draws: rows one after the other
    (a sequential scan, those of foreign keys' checks and other triggers among them), and blocks.
    """

    table: Relation
    rows: float
    blocks: float


@dataclass(frozen=True, slots=True)
class Refused:
    """What the server said of a statement that it refused, in so many of the draws; without any value."""

    sqlstate: str
    message: str
    times: int


@dataclass(frozen=True, slots=True)
class Execution:
    """One statement on one schema, over `draws` times with values that are the same on the other schema.

    `seconds` are the server's, triggers included, of each draw that was not refused. `plan` is that of the
    costliest draw, a line a node, without the values it was made for. `indexes` are those that were read.
    `written` are the rows that the command tag of an INSERT, UPDATE, DELETE or MERGE (`command`) told, of
    each draw that was not refused; `given` is said of an INSERT of values alone, which no other rows decide.
    """

    draws: int
    seconds: tuple[float, ...] = ()
    reads: tuple[TableReads, ...] = ()
    indexes: tuple[Relation, ...] = ()
    plan: tuple[str, ...] = ()
    refusals: tuple[Refused, ...] = ()
    command: str = ""
    given: bool = False
    written: tuple[int, ...] = ()

    @property
    def blocks(self) -> float:
        """Blocks read of all tables, on average."""
        return sum(read.blocks for read in self.reads)

    @property
    def timed_out(self) -> bool:
        """Whether a draw was cancelled because it took too long."""
        return any(refused.sqlstate == "57014" for refused in self.refusals)

    def of(self, table: Relation) -> TableReads:
        """What it read of `table`."""
        return next((read for read in self.reads if read.table == table), TableReads(table, 0.0, 0.0))


@dataclass(frozen=True, slots=True)
class StatementPlans:
    """A statement of a script before and after the migration, and where it read much more afterwards, once
    more after a VACUUM (ANALYZE) of what it reads. `index` counts within the script.
    """

    script: str
    index: int
    version: Version
    before: Execution
    after: Execution
    vacuumed: Execution | None = None


@dataclass(frozen=True, slots=True)
class ServerCount:
    """What the server itself counted of a statement: calls, and of each seconds and blocks, on average."""

    calls: int
    seconds: float
    blocks: float


@dataclass(frozen=True, slots=True)
class CountedStatement:
    """A statement under traffic in the baseline and in the recovery, by pg_stat_statements; one text that
    several scripts send is counted as one.
    """

    script: str
    index: int
    before: ServerCount
    after: ServerCount


@dataclass(frozen=True, slots=True)
class LostIndex:
    """An index that statements used before the migration and that is gone, or INVALID, after it."""

    index: Relation
    table: Relation
    definition: str


@dataclass(frozen=True, slots=True)
class BareKey:
    """A foreign key of the migrated schema without an index on its columns."""

    table: Relation
    constraint: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unanalyzed:
    """A column, or an index on an expression, that has no statistics after the migration."""

    table: Relation
    column: str = ""
    index: Relation | None = None

    def __str__(self) -> str:
        return f"index {self.index}" if self.index else f"{self.table}.{quote_name(self.column)}"


@dataclass(frozen=True, slots=True)
class PlansFacts:
    """The workload's statements on the old and on the migrated schema. `unanalyzed` is what has no statistics
    after the migration and had them before, or is new.
    """

    statements: tuple[StatementPlans, ...]
    lost: tuple[LostIndex, ...] = ()
    bare: tuple[BareKey, ...] = ()
    unanalyzed: tuple[Unanalyzed, ...] = ()
