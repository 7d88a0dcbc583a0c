"""The trials beside the traffic: which there are, which are wanted, and what each of them found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rehearse.model.migration import MigrationRun, SqlFile
from rehearse.model.relation import Relation


class TrialKind(Enum):
    """What a trial is for."""

    TRAFFIC = "traffic"
    INTEGRITY = "integrity"
    ROLLBACK = "rollback"
    INTERRUPTION = "interruption"
    SCALE = "scale"
    REPLICA = "replica"
    PLANS = "plans"
    COMPATIBILITY = "compatibility"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class DriftSpec:
    """The migrations that were ever applied, in order, and the SQL of the schema that they are to be compared
    with (None: that of the dataset).
    """

    history: tuple[SqlFile, ...]
    schema: SqlFile | None = None


@dataclass(frozen=True, slots=True)
class TrialsSpec:
    """Which trials to make. The traffic trial is always made; `kinds` None: what costs little besides
    (integrity, plans and compatibility; rollback where the migration has a `down`, drift where there is a
    history to compare with).

    `rollback_traffic` runs `down` under traffic, too, which takes as long as the traffic trial itself.
    `interruptions` is how often the migration is broken off, by each of the ways there are;
    `standby_reader_s` is how long the replica trial holds a reading transaction open on the standby. `named`
    are the kinds that were asked for one by one, not by `all` of them: those have to be possible.
    """

    kinds: tuple[TrialKind, ...] | None = None
    rollback_traffic: bool = False
    interruptions: int = 3
    drift: DriftSpec | None = None
    standby_reader_s: float = 0.0
    named: tuple[TrialKind, ...] = ()

    def must(self, kind: TrialKind) -> bool:
        """Whether it was asked for by name: that it does not apply here is then no answer."""
        return kind in self.named or (kind is TrialKind.ROLLBACK and self.rollback_traffic)

    def beyond_traffic(self, *, has_down: bool) -> tuple[TrialKind, ...]:
        """The trials to make after the traffic trial, in the order in which they are declared."""
        if self.kinds is None:
            kinds = {TrialKind.INTEGRITY, TrialKind.PLANS, TrialKind.COMPATIBILITY}
            kinds |= {TrialKind.ROLLBACK} if has_down or self.must(TrialKind.ROLLBACK) else set()
            kinds |= {TrialKind.DRIFT} if self.drift is not None else set()
            return tuple(kind for kind in TrialKind if kind in kinds)
        return tuple(kind for kind in TrialKind if kind in self.kinds and kind is not TrialKind.TRAFFIC)


class Difference(Enum):
    """How a value differs from what it was. Nothing of the value itself is kept."""

    CUT = "cut"  # the new text is the beginning of the old one
    ROUNDED = "rounded"  # a number or time with less precision
    SHIFTED = "shifted"  # a time moved by quarters of an hour, as another time zone does
    RECODED = "re-encoded"  # the same text or bytes as base64 or hex, as bytes, or read in another encoding
    NULLED = "nulled"
    FILLED = "filled"  # NULL before
    CHANGED = "changed"  # in any other way

    @property
    def loses(self) -> bool:
        """Whether something is gone that cannot be computed from what is left."""
        return self in (Difference.CUT, Difference.ROUNDED, Difference.NULLED)


@dataclass(frozen=True, slots=True)
class ColumnIntegrity:
    """A column that was there before. `after` is its name now, None where nothing has taken its place;
    `values` counts those that were not NULL, `differences` the rows in which it differs, by kind.
    """

    column: str
    type: str
    values: int
    after: str | None = None
    type_after: str | None = None
    differences: tuple[tuple[Difference, int], ...] = ()

    @property
    def differing(self) -> int:
        """Rows in which it is not what it was."""
        return sum(rows for _, rows in self.differences)


@dataclass(frozen=True, slots=True)
class TableIntegrity:
    """A table that was there before, by the name it had, compared with what stands in its place now
    (`after`; None: nothing). Columns whose content is what it was are in `columns` without differences.

    `lost` and `added` count rows by primary key; where there is none (`keyed` False), by their number alone.
    `elsewhere` are rows that `after` has, and the table that took over the name has not.
    """

    table: Relation
    rows_before: int
    after: Relation | None = None
    rows_after: int = 0
    lost: int = 0
    added: int = 0
    keyed: bool = True
    columns: tuple[ColumnIntegrity, ...] = ()
    elsewhere: int = 0

    def column(self, name: str) -> ColumnIntegrity | None:
        """The column of that name before, if it was compared."""
        return next((column for column in self.columns if column.column == name), None)


@dataclass(frozen=True, slots=True)
class MissingRows:
    """A table with fewer rows after the traffic than there were before plus those that it was told were
    committed.
    """

    table: Relation
    promised: int
    found: int


@dataclass(frozen=True, slots=True)
class Misfit:
    """A column whose values the migration changes without an error where they do not fit its new type,
    whether or not any of the rehearsed ones did: found by trying `statement` on a value that makes use of
    all that the old type has room for.
    """

    table: Relation
    column: str
    statement: int
    type: str
    type_after: str
    difference: Difference


@dataclass(frozen=True, slots=True)
class Remains:
    """What is not as it should be in a database's catalog: constraints NOT VALID, and INVALID indexes."""

    unvalidated: tuple[tuple[Relation, str], ...] = ()  # table and constraint
    invalid_indexes: tuple[Relation, ...] = ()


class Loosening(Enum):
    """How a database no longer sees to something that it saw to before."""

    KEY_DROPPED = "foreign key dropped"
    KEY_OFF = "foreign key not enforced"
    TRIGGER_OFF = "trigger disabled"
    DEFAULT_DROPPED = "default dropped"  # of a column that is NOT NULL
    SETTING = "setting of the database"  # for connections made from then on


@dataclass(frozen=True, slots=True)
class Loosened:
    """One such thing by its name (constraint, trigger, column or setting), and the table that it is on."""

    kind: Loosening
    name: str
    table: Relation | None = None


@dataclass(frozen=True, slots=True)
class Orphans:
    """Rows of `table` that refer to no row of `parent` by a foreign key that is enforced and validated as far
    as the catalog knows, and did not before; `rows` None: they could not be counted. `meanwhile`: seen
    where the traffic met the migration, not where it ran in quiet.
    """

    table: Relation
    key: str
    parent: Relation
    rows: int | None
    meanwhile: bool = False


@dataclass(frozen=True, slots=True)
class IntegrityFacts:
    """The data before and after a migration that ran in quiet. `tables` are those whose content may have
    changed; the `untouched` others were neither written to nor rewritten. `remains`, `misfits`, `loosened`
    and `orphans` came by the migration.
    """

    tables: tuple[TableIntegrity, ...]
    untouched: int
    remains: Remains = Remains()
    misfits: tuple[Misfit, ...] = ()
    loosened: tuple[Loosened, ...] = ()
    orphans: tuple[Orphans, ...] = ()

    def table(self, relation: Relation) -> TableIntegrity | None:
        """The table of that name before, if it was compared."""
        return next((table for table in self.tables if table.table == relation), None)


@dataclass(frozen=True, slots=True)
class SchemaDifference:
    """One thing in a schema that is not as it was: `before` None is new, `after` None is gone."""

    kind: str  # table, column, index, constraint, trigger, function, sequence, privilege, comment, ...
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class RollbackFacts:
    """Up, then down, compared with the start. `down` None: it was not run, because `up` failed or because
    there is none. `schema` and `tables` hold what differs from the start.
    """

    has_down: bool
    up: MigrationRun | None = None
    down: MigrationRun | None = None
    schema: tuple[SchemaDifference, ...] = ()
    tables: tuple[TableIntegrity, ...] = ()


class Blow(Enum):
    """How a migration is broken off."""

    TERMINATED = "terminated"  # its server process, by pg_terminate_backend
    KILLED = "killed"  # the whole server, by SIGKILL


@dataclass(frozen=True, slots=True)
class Interruption:
    """One migration broken off in `statement`, at `part` (0 to 1) of the time it takes, and run again.

    `reached` says that it was still under way then. `left` is what it left that is not in the schema it
    started from; `remains` are INVALID indexes and constraints NOT VALID among that. `again` is the second
    run (None: not run), and `schema` how what it made differs from what an uninterrupted run makes.
    """

    blow: Blow
    statement: int
    part: float
    reached: bool
    left: tuple[SchemaDifference, ...] = ()
    remains: Remains = Remains()
    again: MigrationRun | None = None
    schema: tuple[SchemaDifference, ...] = ()


@dataclass(frozen=True, slots=True)
class InterruptionFacts:
    """The migration broken off at several points. `missing` says which blows were not struck, and why."""

    interruptions: tuple[Interruption, ...]
    missing: tuple[str, ...] = ()
