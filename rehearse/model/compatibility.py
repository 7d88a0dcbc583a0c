"""Which version of the application goes together with which schema."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rehearse.model.workload import Version

# What the server says of a statement that it takes and that changes nothing (SQL's class "no data").
NO_ROWS = "02000"


class SchemaVersion(Enum):
    """The schema before the migration, and the one it makes."""

    OLD = "old"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Misfitting:
    """A statement that a schema refuses, in `times` of the draws; `index` counts within the script. With
    NO_ROWS it is taken, but changes no row where the old schema does; `lost` says that what it was given to
    write vanished, rather than that it may have found nothing to change.

    `elsewhere` says that it was refused alike on the other schema: then the migration is not why.
    """

    script: str
    index: int
    sqlstate: str
    message: str
    times: int
    elsewhere: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """One version of the application on one schema: how many statements were tried, and those refused."""

    application: Version
    schema: SchemaVersion
    statements: int
    refused: tuple[Misfitting, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether every statement works that works on the other schema."""
        return all(each.elsewhere for each in self.refused)


@dataclass(frozen=True, slots=True)
class CachedPlans:
    """Prepared statements of a script that failed with 0A000 when the schema changed under them."""

    script: str
    transactions: int


@dataclass(frozen=True, slots=True)
class CompatibilityFacts:
    """The table of application by schema. Without a new application there are the old one's cells alone.

    `cached` counts, apart, what failed under traffic only because it was prepared before the migration; None
    where the traffic is not sent prepared.
    """

    cells: tuple[Cell, ...]
    cached: tuple[CachedPlans, ...] | None = None

    def cell(self, application: Version, schema: SchemaVersion) -> Cell | None:
        """The cell of that version and schema, if it was tried."""
        return next((c for c in self.cells if (c.application, c.schema) == (application, schema)), None)
