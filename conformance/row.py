"""What a row of the catalogue says: the operation, what it does to locks and files, and the verdict on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from conformance.shop import SHOP, Site
from rehearse.model.locks import LockMode
from rehearse.model.verdict import Verdict

SR = LockMode.ACCESS_SHARE
RS = LockMode.ROW_SHARE
RX = LockMode.ROW_EXCLUSIVE
SUE = LockMode.SHARE_UPDATE_EXCLUSIVE
S = LockMode.SHARE
SRE = LockMode.SHARE_ROW_EXCLUSIVE
X = LockMode.EXCLUSIVE
AX = LockMode.ACCESS_EXCLUSIVE

GO, NO_GO = Verdict.GO, Verdict.NO_GO

REWRITE = "rewrite-under-lock"
SCAN = "scan-under-lock"
BUILD = "index-build-blocks-writes"
ACROSS = "lock-held-across-statements"
LONG = "long-transaction"
ROWS_LOCKED = "rows-locked"
LOSS = "data-loss"
BREAKS = "breaks-running-application"

ACX_ORDERS: Mapping[str, LockMode] = {"orders": AX}
OLDEST = 15  # the oldest server that the suite runs on


@dataclass(frozen=True, slots=True)
class Structure:
    """What the operation, the last statement of the row, does whether or not anybody is there.

    `locks`: the strongest mode on each table that was there before; `index_locks` the same for indexes,
    None where it is not looked at. The others are names of tables (`rewritten`, `scanned`) and indexes.
    """

    locks: Mapping[str, LockMode]
    rewritten: tuple[str, ...] = ()
    scanned: tuple[str, ...] = ()
    built: tuple[str, ...] = ()
    index_locks: Mapping[str, LockMode] | None = None


@dataclass(frozen=True, slots=True)
class Company:
    """An adversary: a session on `table`, `duration_s` long, from `start_s` after the migration's start."""

    kind: str
    table: str
    duration_s: float
    start_s: float = -1.0


@dataclass(frozen=True, slots=True)
class Row:
    """One executed example. `number` is the catalogue's row, `variant` tells its examples apart.

    `before` is DDL that belongs to the schema as it was, `data` is SQL run when the tables are full,
    `up` the migration. `rule` is the one that fails it (empty: none may), `warns` whether its lock asks
    for a lock_timeout. `scripts` are what the application does besides, or instead where `alone`.
    `structure` is None where only traffic shows what the row is about. `since`, `until`: the first
    and the last major version of the server that the example is for.
    """

    number: str
    variant: str
    up: str
    verdict: Verdict
    structure: Structure | None = None
    rule: str = ""
    warns: bool = False
    before: str = ""
    data: str = ""
    scripts: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    site: Site = SHOP
    company: tuple[Company, ...] = ()
    expendable: tuple[str, ...] = ()
    transaction: str = "as-written"
    since: int = OLDEST
    until: int | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """`30, session UTC`."""
        return f"{self.number}, {self.variant}" if self.variant else self.number

    def fits(self, version: int) -> bool:
        """Whether a server of that major version can run it."""
        return self.since <= version and (self.until is None or version <= self.until)


def instant(
    number: str,
    variant: str,
    up: str,
    locks: Mapping[str, LockMode] = ACX_ORDERS,
    *,
    before: str = "",
    since: int = OLDEST,
) -> Row:
    """Nothing but a lock in somebody's way: GO, with a warning as long as no lock_timeout is in force."""
    return Row(number, variant, up, GO, Structure(locks), warns=True, before=before, since=since)


def rewrites(number: str, variant: str, up: str, *, before: str = "") -> Row:
    """`orders` is written anew under ACCESS EXCLUSIVE."""
    return Row(number, variant, up, NO_GO, Structure(ACX_ORDERS, ("orders",)), REWRITE, before=before)


def scans(number: str, variant: str, up: str, *, before: str = "") -> Row:
    """`orders` is read as a whole under ACCESS EXCLUSIVE."""
    return Row(number, variant, up, NO_GO, Structure(ACX_ORDERS, scanned=("orders",)), SCAN, before=before)
