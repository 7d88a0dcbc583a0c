"""All rows, in the catalogue's order."""

from __future__ import annotations

from conformance.columns import COLUMNS, TYPES
from conformance.company import COMPANY
from conformance.constraints import CONSTRAINTS
from conformance.row import Row
from conformance.tables import INDEXES, TABLES

CATALOGUE: tuple[Row, ...] = tuple(
    sorted((*COLUMNS, *CONSTRAINTS, *INDEXES, *TYPES, *TABLES, *COMPANY), key=lambda row: int(row.number))
)
