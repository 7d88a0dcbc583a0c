"""Recipes carried out: row numbers in, columns out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from rehearse.dataset.bits import Rows, below, key_of, mix, row_numbers
from rehearse.dataset.recipe import (
    Borrowed,
    ColumnRecipe,
    DatasetPlan,
    Empty,
    Following,
    Nulls,
    Other,
    Own,
    Reference,
    TableRecipe,
    Within,
)
from rehearse.dataset.values import Lattice, Raw
from rehearse.errors import DatasetError
from rehearse.model.relation import Relation

CHUNK_ROWS = 50_000
# stands for NULL in COPY's CSV: no generated text is this
NULL_MARK = "\\N"


@dataclass(slots=True)
class _Batch:
    """Some rows of one table, and the parent rows that were drawn for them so far."""

    table: TableRecipe
    rows: Rows
    parents: dict[int, Rows] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Generator:
    """Makes any rows of any table of a plan."""

    plan: DatasetPlan

    def csv(self, relation: Relation, start: int, stop: int) -> bytes:
        """The rows [start, stop) in COPY's CSV format with NULL as `NULL_MARK`, columns in recipe order."""
        table = self.plan.tables[relation]
        frame = self.frame(relation, [column.name for column in table.columns], row_numbers(start, stop))
        return frame.write_csv(include_header=False, null_value=NULL_MARK, quote_style="necessary").encode()

    def frame(self, relation: Relation, columns: Sequence[str], rows: Rows) -> pl.DataFrame:
        """These columns of these rows: text, or numbers whose text is what the server reads."""
        table = self.plan.tables[relation]
        batch = _Batch(table, rows)
        # by place: a column's own name may be anything, an empty one included
        made = [self._column(batch, table.column(name)) for name in columns]
        return pl.DataFrame([series.alias(str(place)) for place, series in enumerate(made)])

    def _column(self, batch: _Batch, column: ColumnRecipe) -> pl.Series:
        found = self.plan.found.witnesses.get(batch.table.relation, {})
        if column.name in found:
            return self._witness(batch, found[column.name])
        series = self._filled(batch, column)
        return series if column.nulls is None else _with_nulls(series, batch.rows, column.nulls)

    def _witness(self, batch: _Batch, texts: list[str | None]) -> pl.Series:
        """One row of what the server accepted; the same one for all columns of the table."""
        chosen = below(batch.rows, key_of(self.plan.seed, str(batch.table.relation), "witness"), len(texts))
        return pl.Series(texts, dtype=pl.String).gather(chosen)

    def _filled(self, batch: _Batch, column: ColumnRecipe) -> pl.Series:
        match column.source:
            case Own(values, draw):
                return values.at(draw.index(batch.rows))
            case Following(values=values):
                return values.text(self._raw(batch, column))
            case Borrowed(place, parent_column):
                return self._borrowed(batch, place, parent_column)
            case Empty():
                return pl.Series([None], dtype=pl.String).new_from_index(0, len(batch.rows))

    def _borrowed(self, batch: _Batch, place: int, column: str) -> pl.Series:
        reference = batch.table.references[place]
        rows = self._parent_rows(batch, place)
        if reference.from_server:
            existing = self._existing(reference, column)
            return existing.gather(rows % np.uint64(len(existing)))
        parent = self.plan.tables[reference.parent]
        return self._filled(_Batch(parent, rows), parent.column(column))

    def _existing(self, reference: Reference, column: str) -> pl.Series:
        keys = self.plan.found.existing.get((reference.parent, reference.parent_columns))
        if not keys:
            raise DatasetError(
                f"the keys of {reference.parent} have not been read from the database", "load the data first"
            )
        place = reference.parent_columns.index(column)
        return pl.Series([key[place] for key in keys], dtype=pl.String)

    def _parent_rows(self, batch: _Batch, place: int) -> Rows:
        if place not in batch.parents:
            reference = batch.table.references[place]
            draw = reference.draw
            if isinstance(draw, Within):
                batch.parents[place] = self._agreeing(batch, draw)
            elif isinstance(draw, Other):
                further = draw.draw.index(batch.rows) + np.uint64(1)
                batch.parents[place] = (self._parent_rows(batch, draw.lead) + further) % np.uint64(draw.size)
            else:
                batch.parents[place] = draw.index(batch.rows)
        return batch.parents[place]

    def _agreeing(self, batch: _Batch, draw: Within) -> Rows:
        lead = self._parent_rows(batch, draw.lead)
        strata = np.uint64(draw.strata)
        if draw.through is None:
            stratum = lead % strata
        else:
            parent = self.plan.tables[batch.table.references[draw.lead].parent]
            stratum = self._parent_rows(_Batch(parent, lead), draw.through) % strata
        members = (np.uint64(draw.size) - stratum + strata - np.uint64(1)) // strata
        place = mix(batch.rows, draw.key) if draw.place is None else draw.place.index(batch.rows)
        return (stratum + strata * (place % members)).astype(np.uint64)

    def _raw(self, batch: _Batch, column: ColumnRecipe) -> Raw:
        """The raw integers of a column on a lattice."""
        match column.source:
            case Own(Lattice() as values, draw):
                return values.raw(draw.index(batch.rows))
            case Following(base, values, key, least, span, sign):
                start = self._raw(batch, batch.table.column(base))
                distance = below(batch.rows, key, span + 1).astype(np.int64) + least
                # what runs out of the lattice is brought back, but not past the base
                low, high = values.spans[0][0], values.spans[-1][1]
                raw: Raw
                if sign > 0:
                    raw = np.maximum(np.minimum(start + distance, high), start + least)
                else:
                    raw = np.minimum(np.maximum(start - distance, low), start - least)
                return raw
            case _:
                raise AssertionError(f"{column.name} is not on a lattice")


def _with_nulls(series: pl.Series, rows: Rows, nulls: Nulls) -> pl.Series:
    keep = pl.Series((below(rows, nulls.key, 100) >= nulls.percent) & (rows >= nulls.below))
    return series.zip_with(keep, pl.Series([None], dtype=series.dtype).new_from_index(0, len(series)))
