"""Rows that scripts draw from: any row of a sample, and fresh rows once each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from rehearse.model.workload import Pool, PoolKey
from rehearse.workload.evaluate import ExhaustedError
from rehearse.workload.lots import Integers

FRESH = "fresh"


def share_of(pools: Iterable[Pool], part: int, parts: int) -> list[Pool]:
    """What process `part` of `parts` gets: all of every sample, its own rows of what is fresh."""
    return [
        Pool(pool.kind, pool.table, {name: rows[part::parts] for name, rows in pool.columns.items()})
        if pool.kind == FRESH
        else pool
        for pool in pools
    ]


class Pools:
    """The pools of one process, and how far it has come through those of fresh rows."""

    def __init__(self, pools: Sequence[Pool], rng: np.random.Generator) -> None:
        self._pools = {(pool.kind, pool.table): pool for pool in pools}
        self._taken = dict.fromkeys(self._pools, 0)
        self._rng = rng

    def add(self, pools: Iterable[Pool]) -> None:
        """Pools that could not be drawn before."""
        for pool in pools:
            self._pools[pool.kind, pool.table] = pool
            self._taken[pool.kind, pool.table] = 0

    def column(self, key: PoolKey) -> list[bytes | None]:
        """All values of a column."""
        return self._pools[key.kind, key.table].columns[key.column]

    def rows(self, kind: str, table: str, count: int) -> Integers:
        """Up to `count` row numbers to draw; fewer where a pool of fresh rows runs out, none where the
        pool is empty.
        """
        size = self._pools[kind, table].rows
        if kind != FRESH:
            return self._rng.integers(0, size, size=count if size else 0)
        first = self._taken[kind, table]
        last = self._taken[kind, table] = min(size, first + count)
        return np.arange(first, last)

    def transaction(self) -> Callable[[PoolKey], bytes | None]:
        """The draws of one transaction: those of one kind from one table are from one row.

        They raise ExhaustedError where no row is left.
        """
        chosen: dict[tuple[str, str], int] = {}

        def draw(key: PoolKey) -> bytes | None:
            place = (key.kind, key.table)
            if place not in chosen:
                rows = self.rows(key.kind, key.table, 1)
                if not rows.size:
                    raise ExhaustedError(f"{key.kind}({key.table})")
                chosen[place] = int(rows[0])
            return self.column(key)[chosen[place]]

        return draw
