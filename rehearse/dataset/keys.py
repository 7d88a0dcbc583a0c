"""Unique keys by construction: which columns carry which digits of the row number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rehearse.dataset.bits import key_of
from rehearse.dataset.recipe import Digit
from rehearse.dataset.siblings import Nth, Shared

_ENDLESS = 1 << 62
_CHILDREN = 5  # rows per parent, where a key leaves that open


@dataclass(frozen=True, slots=True)
class Carrier:
    """Something that can carry a digit: a reference (its parent row) or a column of the table's own.

    `needs` names a carrier that has to be in the same key for this one's digit to count. `rank` orders
    those that could carry the rest of the number alone: a running number rather than a moment.
    """

    name: str
    size: int
    shared: bool  # a reference: rows of one parent are wanted, even where each could have its own
    needs: str | None = None
    rank: int = 0


@dataclass(frozen=True, slots=True)
class KeySpec:
    """A unique key by its carriers; `columns` are for messages and for finding keys within keys."""

    name: str
    columns: tuple[str, ...]
    carriers: tuple[Carrier, ...]


@dataclass(frozen=True, slots=True)
class Allocation:
    """Digits by carrier, and how many rows the keys allow; `shared` are carriers of keys whose reference is
    shared out.
    """

    digits: Mapping[str, Digit]
    limit: int
    limit_by: KeySpec | None
    shared: Mapping[str, Shared | Nth] = field(default_factory=dict)


def allocate(
    rows: int, keys: Iterable[KeySpec], assigned: Mapping[str, Digit], seed: Sequence[object]
) -> Allocation:
    """Digits for every key's carriers so that no two of the first `limit` rows agree on a key.

    `assigned` are digits that are settled already. `rows` is what is wanted: it decides how the digits
    are balanced, not how far they reach.
    """
    digits = dict(assigned)
    limit, limit_by = _ENDLESS, None
    settled: list[frozenset[str]] = []
    for key in sorted(keys, key=lambda k: (len(k.columns), _room(k))):
        if any(inner <= frozenset(key.columns) for inner in settled):
            continue
        reach = _allocate(rows, key, digits, seed)
        settled.append(frozenset(key.columns))
        if reach < limit:
            limit, limit_by = reach, key
    return Allocation(digits, limit, limit_by)


def _room(key: KeySpec) -> int:
    return min(_ENDLESS, math.prod(carrier.size for carrier in key.carriers))


def _allocate(rows: int, key: KeySpec, digits: dict[str, Digit], seed: Sequence[object]) -> int:
    """Settles one key's free carriers; returns how many rows it allows."""
    names = {carrier.name for carrier in key.carriers}
    carriers = [carrier for carrier in key.carriers if carrier.needs is None or carrier.needs in names]
    fixed = [digits[carrier.name] for carrier in carriers if carrier.name in digits]
    sizes = {carrier.name: carrier.size for carrier in carriers}
    whole = [c for c in carriers if c.name in digits and _is_whole(digits[c.name])]
    if whole:  # one of its columns is different in every row anyway
        return max(sizes[carrier.name] for carrier in whole)
    base = max(fixed, key=lambda digit: digit.modulo or 1) if fixed else None
    without = (base.divide, base.modulo) if base is not None and base.modulo is not None else None
    reach = 1 if without is None else without[1]
    free = sorted(
        (carrier for carrier in carriers if carrier.name not in digits),
        key=lambda carrier: (
            not carrier.shared,
            carrier.size * reach >= rows and 1 + carrier.rank,
            carrier.size,
        ),
    )
    return reach * _spread(rows, reach, free, without, digits, (*seed, key.name))


def _is_whole(digit: Digit) -> bool:
    return digit.divide == 1 and digit.modulo is None and digit.without is None


def _spread(
    rows: int,
    reach: int,
    free: list[Carrier],
    without: tuple[int, int] | None,
    digits: dict[str, Digit],
    seed: Sequence[object],
) -> int:
    """Lays the rest of the row number over the free carriers, lowest digit first; returns its room."""
    divide = 1
    for place, carrier in enumerate(free):
        last = place == len(free) - 1
        roomy = not carrier.shared and carrier.size * divide * reach >= rows
        if (roomy or last) and not (carrier.shared and last and divide > 1):
            bounded = carrier.size if carrier.shared else None
            digits[carrier.name] = Digit(divide, bounded if divide > 1 or without else None, without)
            return min(_ENDLESS, divide * carrier.size)
        modulo = carrier.size
        if carrier.shared and not last and not free[-1].shared:
            room = reach * divide * min(_ENDLESS, math.prod(c.size for c in free[place + 1 :]))
            modulo = max(1, min(modulo, max(-(-rows // room), -(-rows // (reach * _CHILDREN)))))
        turn = key_of(*seed, carrier.name) if divide > 1 else None
        digits[carrier.name] = Digit(divide, modulo, without, turn)
        divide *= modulo
    return min(_ENDLESS, divide)
