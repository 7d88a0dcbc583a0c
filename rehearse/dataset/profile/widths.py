"""How long a profile's texts and documents are, in the row and out of line. Pure."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np

from rehearse.model.profile import ColumnProfile, TableProfile

_LEAST_TOAST = 0.05  # of the table's size: less than that is the rare long value
_BARE = re.compile(r"(text|character varying|jsonb?|bytea)\b(?!.*\[)")
_POINTER_BYTES = 18  # of a value out of line, in its row
_LONGEST_KEPT = 1024  # bytes of a value in statistics
_SHORT_BYTES = 127  # up to here, the length of a value takes one byte
_FEW = 0.02
_PIECES = 200


def width_of(table: TableProfile, column: ColumnProfile) -> int:
    """Bytes of a value, with its share of what the table has out of line: statistics count a value there
    as the pointer to it. All of that is put down to the columns of long values, or to the widest one.
    """
    wide = [c for c in table.columns if _BARE.match(c.type)]
    widest = _long(table) or sorted(wide, key=lambda c: -c.width_bytes)[:1]
    if column not in widest or table.toast_bytes < _LEAST_TOAST * max(1, table.heap_bytes):
        return column.width_bytes
    values = sum(table.rows * (1 - c.null_fraction) for c in widest)
    return column.width_bytes + round(table.toast_bytes / max(1.0, values))


def lengths_of(table: TableProfile, column: ColumnProfile) -> tuple[int, ...]:
    """Quantiles of the lengths of what is not common, with the mean that the width on disk leaves."""
    width, known = width_of(table, column), column.lengths
    if (outside := _outside(table, column, width)) is not None:
        return _partly_outside(column, outside, width)
    wanted = max(0.0, width - (1 if width <= _SHORT_BYTES else 4))
    shares = [common.frequency / max(1e-9, 1.0 - column.null_fraction) for common in column.common]
    rest = 1.0 - sum(shares)
    if rest > 0.01:
        lengths = [common.length or len(common.value or "") for common in column.common]
        taken = sum(share * length for share, length in zip(shares, lengths, strict=True))
        wanted = max(1.0, (wanted - taken) / rest)
    mean = _mean(known)
    if len(known) < 2 or mean <= 0 or not wanted:
        return (round(wanted) or 1,)
    return tuple(max(1, round(length * wanted / mean)) for length in known)


def _outside(table: TableProfile, column: ColumnProfile, width: int) -> float | None:
    """The share of the values that lie out of line, where only some do: by how much the width, in which each
    of these counts as a pointer, is below that of the values that the server keeps; None where that does
    not tell.
    """
    if column.common or len(column.lengths) < 3 or _long(table) or width <= column.width_bytes:
        return None
    mean = _mean(column.lengths)
    inside = mean + (1 if mean < _SHORT_BYTES else 4)
    if not 2 * _POINTER_BYTES < inside < _LONGEST_KEPT:
        return None
    share = (inside - column.width_bytes) / (inside - _POINTER_BYTES)
    return share if _FEW < share < 1 - _FEW else None


def _partly_outside(column: ColumnProfile, share: float, width: int) -> tuple[int, ...]:
    """Quantiles of the lengths: those that the profile has, and above them that of the values outside."""
    known = column.lengths
    outside = round(_PIECES * share)
    places = np.linspace(0, len(known) - 1, _PIECES + 1 - outside)
    inside = np.interp(places, np.arange(len(known)), known)
    each = round((width - column.width_bytes) / share)
    return (*(max(1, round(length)) for length in inside.tolist()), *(each,) * outside)


def _long(table: TableProfile) -> list[ColumnProfile]:
    """The columns of which the server kept no value: it keeps none of more than a kilobyte."""
    wide = [c for c in table.columns if _BARE.match(c.type)]
    return [c for c in wide if c.known and not c.lengths and not c.common and c.null_fraction < 1]


def _mean(quantiles: tuple[int, ...]) -> float:
    return sum((a + b) / 2 for a, b in pairwise(quantiles)) / max(1, len(quantiles) - 1)
